//! What a host container starts: written by who mounts its image, read inside by the program that becomes it.

use serde::{Deserialize, Serialize};

/// What is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Process {
    /// The program and its words; the program is looked for in the variable `PATH` where it has no slash.
    pub args: Vec<String>,
    /// Variables, `NAME=value`; of one name the last counts.
    pub env: Vec<String>,
    /// The folder it starts in.
    pub folder: String,
    /// `user`, `uid`, `user:group` or `uid:gid`; root where empty. Names are the image's own.
    pub user: String,
}
