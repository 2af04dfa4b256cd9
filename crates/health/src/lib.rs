//! Health checks: what a node has to do before its release counts as good.
//!
//! Owns what a check is, which files say so, in which order checks run, and how each looks. Programs are started by the
//! caller ([`Programs`]), and what follows from a verdict is the caller's to do. `docs/health.md` is its page.
//!
//! ```text
//! load(root) -> Suite: checks, and files that are none
//! Suite::run -> Report: per check passed, failed, or not run, and why
//! ```

mod check;
mod load;
mod order;
mod probe;
mod report;
mod run;

pub use check::{Check, Kind, Level, limits};
pub use load::{LoadError, Suite, load};
pub use probe::{Ended, Programs, look};
pub use report::{Outcome, Report, Result as CheckResult};
