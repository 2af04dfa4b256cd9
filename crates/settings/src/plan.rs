//! What has to be done so that files are as settings have them. Pure: what is on the disk is handed in.
//!
//! ```text
//! plan(what settings had placed, what is on the disk, a fresh render) -> which files are written and removed, and who is told
//! ```
//!
//! A file that is as it should be is neither written nor tells anybody. Who was still to be told when the last one broke off
//! is told now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::render::{File, Files, Service};

/// A file that settings placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// What it says, and its permissions.
    #[serde(flatten)]
    pub seen: Seen,
    /// Who reads it.
    pub service: Service,
}

/// What a file says, and its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// Its permissions.
    pub mode: u32,
}

impl Seen {
    /// A file with these bytes and permissions.
    pub fn of(bytes: &[u8], mode: u32) -> Self {
        Self { sha256: hex::encode(Sha256::digest(bytes)), mode }
    }
}

/// What settings placed: by it files are known that are no longer asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// By their path below the root.
    pub files: BTreeMap<String, Placed>,
    /// Who is still to be told of files that differ.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untold: BTreeSet<Service>,
}

impl Manifest {
    /// That all of these are in place, and nobody is to be told.
    pub fn of(files: &Files) -> Self {
        let placed = |file: &File| Placed { seen: Seen::of(&file.bytes, file.mode), service: file.service.clone() };
        Self { files: files.all().iter().map(|(path, file)| (path.clone(), placed(file))).collect(), ..Self::default() }
    }

    /// What is written down before the first file changes: every file that is placed or will be, and who will have to be told.
    pub fn before(&self, fresh: &Files, plan: &Plan) -> Self {
        let mut files = Self::of(fresh).files;
        files.extend(self.files.clone());
        Self { files, untold: plan.tell.iter().cloned().collect() }
    }

    /// Whose permissions say that only their reader may know what they say.
    pub fn is_secret(mode: u32) -> bool {
        mode & 0o077 == 0
    }
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files to write, by path.
    pub write: Vec<String>,
    /// Files that settings placed and no longer ask for.
    pub remove: Vec<String>,
    /// Of those to write, and of those that are right already, which are somebody else's so far: the image's, or a person's. They are kept and
    /// come back when settings no longer ask for one in their place.
    pub keep: Vec<String>,
    /// Who is told, in this order, each once.
    pub tell: Vec<Service>,
}

impl Plan {
    /// True where everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.write.is_empty() && self.remove.is_empty() && self.tell.is_empty()
    }
}

/// What has to be done. `found` has of every path in `placed` or `fresh` what is there, and nothing where there is no file.
pub fn plan(placed: &Manifest, found: &BTreeMap<String, Seen>, fresh: &Files) -> Plan {
    let mut plan = Plan::default();
    let mut tell = placed.untold.clone();
    for (path, file) in fresh.all() {
        let there = found.get(path);
        if there.is_some() && !placed.files.contains_key(path) {
            plan.keep.push(path.clone());
        }
        if there != Some(&Seen::of(&file.bytes, file.mode)) {
            plan.write.push(path.clone());
            tell.insert(file.service.clone());
        }
    }
    for (path, placed) in placed.files.iter().filter(|(path, _)| !fresh.all().contains_key(*path)) {
        plan.remove.push(path.clone());
        tell.insert(placed.service.clone());
    }
    // A quadlet becomes a unit when the manager reads it, and so does a unit.
    if tell.iter().any(|service| service.action().container().is_some()) {
        tell.insert(Service::Manager);
    }
    // It reads them once as well, where it asks over TLS.
    if tell.contains(&Service::Trust) {
        tell.insert(Service::Resolver);
    }
    plan.tell = tell.into_iter().collect();
    plan
}

#[cfg(test)]
mod tests;
