//! A verdict on an image, and what it was reached by.

use rocketos_deploy::{DeployError, Node};
use rocketos_model::{ManifestDigest, limits::CONFIG_FILE_BYTES};
use rocketos_trust::{Kept, Outcome, Verdict};
use serde_json::{Value, json};

/// A verdict, and through which index it was reached.
#[derive(Debug)]
pub struct Judged {
    /// Of the manifest, or of the index.
    pub verdict: Verdict,
    /// The image's manifest.
    pub manifest: ManifestDigest,
    /// The signatures that count; absent where none was asked for.
    pub kept: Option<Kept>,
}

impl Judged {
    /// True where an index was signed that names the manifest.
    fn through_index(&self) -> bool {
        self.verdict.manifest_digest != self.manifest
    }

    /// Keeps the signatures with the deployment, for `verify`; those that would not be read again are not kept.
    pub fn keep(&self, node: &Node) -> Result<(), DeployError> {
        let Some(text) = self.kept.as_ref().map(Kept::to_json) else { return Ok(()) };
        match text.len() as u64 > CONFIG_FILE_BYTES {
            true => Ok(()),
            false => node.keep_signatures(&self.manifest.deployment(), &text),
        }
    }

    /// True where the image may be brought.
    pub fn is_accepted(&self) -> bool {
        self.verdict.require().is_ok()
    }

    /// What decided, in a line.
    pub fn in_a_line(&self) -> String {
        let verdict = &self.verdict;
        let word = if verdict.outcome == Outcome::Refused { "Refused" } else { "Accepted" };
        let through = match self.through_index() {
            true => format!(", which the index {} names", verdict.manifest_digest),
            false => String::new(),
        };
        format!("{word} {} ({}{through}): {}.", verdict.reference, self.manifest, verdict.reason)
    }

    /// Everything that was looked at, for people.
    pub fn in_words(&self) -> String {
        let text = self.verdict.to_string();
        match self.through_index() {
            true => format!("{text}the index {} names the manifest {}\n", self.verdict.manifest_digest, self.manifest),
            false => text,
        }
    }

    /// The same, for programs.
    pub fn document(&self) -> Value {
        json!({ "manifestDigest": self.manifest, "throughIndex": self.through_index(), "verdict": self.verdict })
    }
}
