//! Who signed a document, and who still has to.

use std::fmt;

use serde::Serialize;

use super::{Envelope, RootDocument, Top};

/// How far a document is signed, by the keys that one root gives its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The role.
    pub role: Top,
    /// The document's version.
    pub version: u64,
    /// The version of the root whose keys count.
    pub root: u64,
    /// How many of these keys have to sign.
    pub threshold: u64,
    /// Those that signed.
    pub signed: Vec<String>,
    /// Those that may yet.
    pub open: Vec<String>,
}

impl Standing {
    pub(super) fn of(envelope: &Envelope, version: u64, root: &RootDocument) -> Self {
        let role = envelope.role();
        let (signed, open): (Vec<_>, Vec<_>) = root.keys(role).partition(|key| envelope.is_signed_by(key));
        let names = |keys: Vec<&super::Key>| keys.into_iter().map(ToString::to_string).collect();
        Self {
            role,
            version,
            root: root.version,
            threshold: root.holders(role).threshold,
            signed: names(signed),
            open: names(open),
        }
    }

    /// How many signatures are missing.
    pub fn missing(&self) -> u64 {
        self.threshold.saturating_sub(self.signed.len() as u64)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, version, root, threshold, .. } = self;
        write!(
            f,
            "{role} version {version} has {} of {threshold} signatures by root version {root}",
            self.signed.len()
        )?;
        if !self.signed.is_empty() {
            write!(f, ", by {}", self.signed.join(", "))?;
        }
        match self.missing() {
            0 => Ok(()),
            missing => write!(f, "; {missing} missing, which {} could make", self.open.join(", ")),
        }
    }
}
