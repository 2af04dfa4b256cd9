//! How host containers stand: what settings placed, which image the node has of each, and what systemd says of its unit.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use rocketos_deploy::Node;
use rocketos_model::{ComposefsDigest, ImageReference, ManifestDigest};
use rocketos_settings::render::host_container_unit;
use serde::{Deserialize, Serialize};

use super::{names, read};
use crate::{adapters::systemctl::Lasting, exit};

/// How one stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Whether settings have it run.
    pub enabled: bool,
    /// The image that they name.
    pub source: Option<String>,
    /// The image that the node has.
    pub image: Option<Kept>,
    /// What systemd says of its unit.
    pub unit: Option<Unit>,
    /// What of it could not be read.
    pub problem: Option<String>,
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// As it was named when it came.
    pub image: ImageReference,
    /// What that was.
    pub image_digest: ManifestDigest,
    /// What it mounts as.
    pub composefs_digest: ComposefsDigest,
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// `active`, `inactive`, `failed`, `activating`, …
    pub state: String,
    /// `success`, or how it ended.
    pub result: String,
    /// Since when it is in this state; absent where it was in no other since boot.
    pub since: Option<String>,
    /// How often it was started again by itself.
    pub restarts: u64,
}

impl Unit {
    fn of(lasting: Lasting, now: DateTime<Utc>) -> Self {
        let since = lasting.age.and_then(|age| now.checked_sub_signed(chrono::TimeDelta::from_std(age).ok()?));
        Self {
            state: lasting.active,
            result: lasting.result,
            since: since.map(|since| since.to_rfc3339_opts(SecondsFormat::Secs, true)),
            restarts: lasting.restarts,
        }
    }
}

/// All of a node, by name: those that settings have run, from the files in `folder`, and those whose images it still has.
pub fn standing(
    node: &Node,
    folder: &Path,
    ask: impl Fn(&str) -> anyhow::Result<Lasting>,
) -> anyhow::Result<Vec<Standing>> {
    let placed = names(folder)?;
    let kept = node.host_container_names()?;
    let stands = |name: &String| {
        let enabled = placed.contains(name);
        let mut stands = Standing { name: name.clone(), enabled, source: None, image: None, unit: None, problem: None };
        let mut problems = Vec::new();
        if enabled {
            match read(name, folder) {
                Ok(to_run) => stands.source = Some(to_run.source.to_string()),
                Err(error) => problems.push(exit::chain(&error)),
            }
        }
        match node.host_container(name) {
            Ok(kept) => {
                stands.image = kept.map(|kept| Kept {
                    image: kept.image,
                    image_digest: kept.manifest_digest,
                    composefs_digest: kept.composefs_digest,
                });
            }
            Err(error) => problems.push(exit::causes(&error)),
        }
        if enabled {
            match ask(&host_container_unit(name)) {
                Ok(lasting) => stands.unit = Some(Unit::of(lasting, Utc::now())),
                Err(error) => problems.push(exit::chain(&error)),
            }
        }
        stands.problem = (!problems.is_empty()).then(|| problems.join("; "));
        stands
    };
    Ok(placed.union(&kept).map(stands).collect())
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host container {}: ", self.name)?;
        match &self.unit {
            Some(unit) => {
                write!(f, "{}", unit.state)?;
                if unit.result != "success" {
                    write!(f, " ({})", unit.result)?;
                }
                if let Some(since) = &unit.since {
                    write!(f, " since {since}")?;
                }
                writeln!(f, ", started again {} times", unit.restarts)?;
            }
            None if self.enabled => writeln!(f, "unknown")?,
            None => writeln!(f, "not enabled; its image is kept until the next prune")?,
        }
        if let Some(source) = &self.source {
            writeln!(f, "    source: {source}")?;
        }
        match &self.image {
            Some(Kept { image, image_digest, composefs_digest }) => {
                writeln!(f, "    image: {image}\n    manifest: {image_digest}\n    composefs: {composefs_digest}")?;
            }
            None => writeln!(f, "    image: none came yet")?,
        }
        match &self.problem {
            Some(problem) => writeln!(f, "    problem: {problem}"),
            None => Ok(()),
        }
    }
}
