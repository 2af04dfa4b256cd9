//! How things stand, without a secret.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rocketos_model::DeploymentId;
use rocketos_settings::{Key, Shown, store};
use serde::Serialize;
use serde_json::Value;

use super::{InForceShown, Locked, RefusedShown};

/// A key that this system's model does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ParkedShown {
    /// The key.
    pub key: Key,
    /// True where user data has it, false where an operator set it.
    pub user_data: bool,
    /// Why it is parked.
    pub why: String,
}

/// A generation that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DamagedShown {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

/// How things stand.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// Whose settings.
    pub deployment: DeploymentId,
    /// The newest generation; 0 where nothing is stored.
    pub generation: u64,
    /// Where what is in force is from.
    pub in_force: InForceShown,
    /// Every key, with who set it.
    pub settings: Vec<Shown>,
    /// What this system's model does not take.
    pub parked: Vec<ParkedShown>,
    /// What is stored and left out, because it is not sound.
    pub refused: Vec<RefusedShown>,
    /// Newer generations that are damaged.
    pub damaged: Vec<DamagedShown>,
    /// Whether anybody may change settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<Locked>,
    /// Raw files, by their path below /etc.
    pub raw: Vec<String>,
    /// What the newest apply came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Value>,
    /// What the boot came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Value>,
}

/// A generation that is kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Past {
    /// Its number.
    pub generation: u64,
    /// When it was written, by the node's clock.
    pub written: DateTime<Utc>,
    /// Who changed something.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What differs from the one before that is kept.
    pub settings: Vec<store::Change>,
}
