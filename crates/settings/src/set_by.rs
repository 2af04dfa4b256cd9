//! Who set something.

use std::{fmt, path::PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who set a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "layer")]
pub enum SetBy {
    /// A file of the image, or of the administrator of this boot.
    File {
        /// Its path on the node.
        #[schemars(with = "String")]
        path: PathBuf,
    },
    /// What is known of the machine at this boot.
    Fact {
        /// Whence it is known, such as `dhcp`.
        name: String,
    },
    /// User data.
    #[serde(rename_all = "kebab-case")]
    UserData {
        /// Who handed it in, such as `nocloud`.
        provider: String,
        /// The line that says so, from 1.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        line: Option<usize>,
    },
    /// Somebody, by the API.
    Operator {
        /// Who.
        by: String,
        /// When.
        #[schemars(extend("format" = "date-time"), with = "String")]
        at: DateTime<Utc>,
    },
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => write!(f, "{}", path.display()),
            Self::Fact { name } => write!(f, "the fact {name}"),
            Self::UserData { provider, line: Some(line) } => write!(f, "line {line} of the user data ({provider})"),
            Self::UserData { provider, line: None } => write!(f, "the user data ({provider})"),
            Self::Operator { by, at } => write!(f, "{by} at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }
    }
}
