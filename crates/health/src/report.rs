//! What checks came to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Level;

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, for this reason.
    Failed(String),
    /// It could not be made, for this reason: nobody knows.
    NotRun(String),
}

/// A check and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Result {
    /// Its name.
    pub name: String,
    /// How much it matters.
    pub level: Level,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Result {
    /// Of a file that is no check.
    pub(crate) fn broken(name: &str, problem: &str) -> Self {
        Self { name: name.to_owned(), level: Level::Required, outcome: Outcome::NotRun(problem.to_owned()) }
    }
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Required => "required",
            Level::Wanted => "wanted",
        };
        match &self.outcome {
            Outcome::Passed => write!(f, "{} ({level}) passed", self.name),
            Outcome::Failed(reason) => write!(f, "{} ({level}) failed: {reason}", self.name),
            Outcome::NotRun(reason) => write!(f, "{} ({level}) could not run: {reason}", self.name),
        }
    }
}

/// What all of them came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By name.
    pub checks: Vec<Result>,
}

impl Report {
    /// The required checks that did not pass: a release with one is bad.
    pub fn missed(&self) -> impl Iterator<Item = &Result> {
        self.checks.iter().filter(|check| check.level == Level::Required && check.outcome != Outcome::Passed)
    }

    /// True where all that is required passed.
    pub fn is_good(&self) -> bool {
        self.missed().next().is_none()
    }

    /// Why it is not good, in a line.
    pub fn reason(&self) -> String {
        let all: Vec<String> = self.missed().map(ToString::to_string).collect();
        all.join("; ")
    }
}
