//! What became of releases: verdicts beside their deployments, and failures, which outlive them.

use rocketos_model::{DeploymentId, ManifestDigest, layout};
use serde::{Deserialize, Serialize};

use crate::{DeployError, Node, files};

/// Failures that are kept; the oldest go first.
pub const FAILURES: usize = 64;

/// What became of a boot that was on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// True where the release did its work until the end of the soak.
    pub good: bool,
    /// When that was known, RFC 3339.
    pub when: String,
    /// Why it is not good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A release that failed on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// Which.
    pub manifest_digest: ManifestDigest,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// When, RFC 3339.
    pub when: String,
    /// Why.
    pub reason: String,
}

impl Node {
    /// The newest verdict on a deployment.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn verdict(&self, deployment: &DeploymentId) -> Result<Option<Verdict>, DeployError> {
        let path = self.root.join(layout::deployment_dir(deployment)).join(layout::deployment::VERDICT);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        toml::from_str(&text).map(Some).map_err(|error| DeployError::Format { path, source: error.into() })
    }

    /// Keeps a verdict in place of the one before.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn keep_verdict(&self, deployment: &DeploymentId, verdict: &Verdict) -> Result<(), DeployError> {
        let path = self.root.join(layout::deployment_dir(deployment)).join(layout::deployment::VERDICT);
        let text = toml::to_string(verdict);
        let text = text.map_err(|error| DeployError::Format { path: path.clone(), source: error.into() })?;
        files::write(&path, text.as_bytes())
    }

    /// Releases that failed here, the newest failure first. A record that does not parse counts as none: it is a
    /// memory, and no reason to stop.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn failures(&self) -> Result<Vec<Failure>, DeployError> {
        let folder = self.root.join(layout::root::FAILED);
        let mut all: Vec<Failure> = Vec::new();
        for name in files::names(&folder)? {
            let text = files::read(&folder.join(name))?.unwrap_or_default();
            all.extend(toml::from_str::<Failure>(&text).ok());
        }
        all.sort_by(|a, b| b.when.cmp(&a.when));
        Ok(all)
    }

    /// Remembers a failure.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn record_failure(&self, failure: &Failure) -> Result<(), DeployError> {
        let folder = self.root.join(layout::root::FAILED);
        files::directory(&folder)?;
        for old in self.failures()?.into_iter().skip(FAILURES - 1) {
            self.forget_failure(&old.manifest_digest)?;
        }
        let path = folder.join(failure.manifest_digest.to_hex());
        let text = toml::to_string(failure);
        let text = text.map_err(|error| DeployError::Format { path: path.clone(), source: error.into() })?;
        files::write(&path, text.as_bytes())
    }

    /// Forgets a release's failure; absence is success.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn forget_failure(&self, digest: &ManifestDigest) -> Result<(), DeployError> {
        files::remove(&self.root.join(layout::root::FAILED).join(digest.to_hex()))
    }
}
