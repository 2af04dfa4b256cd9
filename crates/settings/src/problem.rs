//! What is wrong with settings: all of it, each with its key and who set it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Key, SetBy};

/// Problems that are told; what follows is counted.
pub const PROBLEMS: usize = 64;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Wrong")]
pub struct Problem {
    /// The key; absent where it concerns a document as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub key: Option<Key>,
    /// Who set it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set_by: Option<SetBy>,
    /// What is wrong; never a secret.
    pub message: String,
}

impl Problem {
    /// At a key.
    pub(crate) fn at(key: &Key, message: impl Into<String>) -> Self {
        Self { key: Some(key.clone()), set_by: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.set_by) {
            (Some(key), Some(set_by)) => write!(f, "{key}, set by {set_by}: {}", self.message),
            (Some(key), None) => write!(f, "{key}: {}", self.message),
            (None, Some(set_by)) => write!(f, "{set_by}: {}", self.message),
            (None, None) => f.write_str(&self.message),
        }
    }
}

/// Everything that is wrong; at least one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Nothing where there is none.
    pub(crate) fn of(all: Vec<Problem>) -> Result<(), Self> {
        if all.is_empty() { Ok(()) } else { Err(Self(all)) }
    }

    /// Each of them.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().take(PROBLEMS).enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        match self.0.len().saturating_sub(PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Problems {}
