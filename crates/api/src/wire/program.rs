//! A program in a host container, as it is asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{TERM_BYTES, WORDS};

/// A program that is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exec {
    /// The program, as the container's own root has it, and its arguments; no shell reads them.
    #[schemars(extend("minItems" = 1, "maxItems" = WORDS))]
    pub command: Vec<String>,
    /// The terminal that it has; absent: none, and its standard error is apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terminal: Option<Terminal>,
}

/// A terminal that is made for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Terminal {
    /// What it is called in the variable `TERM`: letters, digits, and `-`, `_`, `.`, `+`.
    #[schemars(extend("minLength" = 1, "maxLength" = TERM_BYTES, "pattern" = "^[-+._A-Za-z0-9]+$"))]
    pub term: String,
    /// The size of its window at first.
    pub window: Window,
}

/// The size of a terminal's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Window {
    /// Characters of a line.
    #[schemars(range(min = 1))]
    pub columns: u16,
    /// Lines.
    #[schemars(range(min = 1))]
    pub rows: u16,
}
