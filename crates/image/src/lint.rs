//! Named checks of a finished image.

/// Placeholder.
#[derive(Debug)]
pub struct Finding;
/// Placeholder.
#[derive(Debug)]
pub struct LintOptions;
/// Placeholder.
#[derive(Debug)]
pub enum Severity {}
/// Placeholder.
pub fn lint() {}
