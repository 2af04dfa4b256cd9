//! What of this node matters to its channel.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Context as _;
use rocketos_deploy::{Deployment, Node, Roles};
use rocketos_model::{Followed, ManifestDigest};
use rocketos_update::{self as update, Accepted, Channel, Decision, Version, Wish, decide};

use chrono::{DateTime, Utc};

use crate::automatic::Schedule;

/// The node's identity, as systemd has it.
const MACHINE_ID: &str = "/etc/machine-id";

/// Where a node stands on a channel.
#[derive(Debug)]
pub struct Standing {
    machine_id: String,
    variant: String,
    architecture: String,
    version: Option<Version>,
    digest: ManifestDigest,
    accepted: Option<Accepted>,
    remembered: bool,
    failed: BTreeSet<ManifestDigest>,
    place: Option<u16>,
    lock: Option<Version>,
}

impl Standing {
    /// Of what boots next: what is staged counts as if it ran. The schedule says what of the channel is for this node.
    ///
    /// # Errors
    /// When nothing boots next, its image names no variant, or the disk cannot be read.
    pub fn of(node: &Node, roles: &Roles, followed: &Followed, schedule: &Schedule) -> anyhow::Result<Self> {
        let next = roles.next().context("the loader did not say what it booted")?;
        let machine_id = machine_id()?;
        let remembered = node.remembered(&followed.from).accepted(&followed.name)?;
        let remembered =
            remembered.map(|text| toml::from_str(&text)).transpose().context("reading what was accepted")?;
        let mut standing = Self::new(machine_id, next, roles, followed, remembered)?;
        (standing.place, standing.lock) = (schedule.seed, schedule.lock().cloned());
        standing.failed.extend(node.failures()?.into_iter().map(|failure| failure.manifest_digest));
        Ok(standing)
    }

    fn new(
        machine_id: String,
        next: &Deployment,
        roles: &Roles,
        followed: &Followed,
        remembered: Option<Accepted>,
    ) -> anyhow::Result<Self> {
        let origin = &next.origin;
        let variant = origin.variant.clone().context("what boots next names no variant, so no release is its next")?;
        let version: Option<Version> = origin.version.as_deref().and_then(|version| version.parse().ok());
        // Staged, and cut off before that was remembered.
        let staged = version.clone().filter(|_| origin.channel.as_ref() == Some(followed));
        let staged = staged.map(|version| Accepted { version, digest: origin.manifest_digest });
        let newest = [&remembered, &staged].into_iter().flatten().max_by(|a, b| a.version.cmp(&b.version)).cloned();
        Ok(Self {
            machine_id,
            variant,
            architecture: origin.architecture.clone(),
            version,
            digest: origin.manifest_digest,
            remembered: newest == remembered,
            accepted: newest,
            failed: roles.all().filter(|one| one.has_failed()).map(|one| one.origin.manifest_digest).collect(),
            place: None,
            lock: None,
        })
    }

    /// What was accepted, where that is not remembered yet.
    pub fn to_remember(&self) -> Option<&Accepted> {
        self.accepted.as_ref().filter(|_| !self.remembered)
    }

    /// The variant and architecture that its releases are of.
    pub fn kind(&self) -> (&str, &str) {
        (&self.variant, &self.architecture)
    }

    /// What the node does about the channel.
    pub fn decide<'a>(&'a self, channel: &'a Channel, wish: Wish, now: DateTime<Utc>) -> Decision<'a> {
        let node = update::Node {
            machine_id: &self.machine_id,
            variant: &self.variant,
            architecture: &self.architecture,
            version: self.version.as_ref(),
            digest: self.digest,
            accepted: self.accepted.as_ref(),
            failed: &self.failed,
            place: self.place,
            lock: self.lock.as_ref(),
        };
        decide(channel, &node, wish, now)
    }
}

/// The machine-id.
pub fn machine_id() -> anyhow::Result<String> {
    fs::read_to_string(MACHINE_ID).with_context(|| format!("reading {MACHINE_ID}"))
}

/// The image's root metadata; absent where it has none.
pub fn shipped_root() -> anyhow::Result<Option<Vec<u8>>> {
    let path = Path::new("/").join(rocketos_model::layout::image::TRUST_ROOT);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
