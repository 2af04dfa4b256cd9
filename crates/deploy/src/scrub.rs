//! What a scrub remembers, what its findings mean for deployments, and which of them boots then.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rocketos_model::{ObjectId, layout};
use rocketos_store::{Contents, Damage, Fault, Scrubbed};
use serde::{Deserialize, Serialize};

use crate::{DeployError, Deployment, Lock, Node, Roles, files, roles, rollback};

/// `state/rocketos/scrub`, TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Memory {
    /// The last object that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<ObjectId>,
    objects: u64,
    bytes: u64,
    complete: bool,
    /// What is damaged, by what is wrong with it.
    missing: BTreeSet<ObjectId>,
    unreadable: BTreeSet<ObjectId>,
    changed: BTreeSet<ObjectId>,
    unsealed: BTreeSet<ObjectId>,
    names: BTreeSet<String>,
}

impl Memory {
    fn of(&mut self, fault: Fault) -> &mut BTreeSet<ObjectId> {
        match fault {
            Fault::Missing => &mut self.missing,
            Fault::Unreadable => &mut self.unreadable,
            Fault::Changed => &mut self.changed,
            Fault::Unsealed => &mut self.unsealed,
        }
    }
}

impl Node {
    /// How far the last scrub came; one that cannot be read is as good as none.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn scrubbed(&self) -> Result<Scrubbed, DeployError> {
        let text = files::read(&self.root.join(layout::root::SCRUB))?.unwrap_or_default();
        let Memory { at, objects, bytes, complete, missing, unreadable, changed, unsealed, names } =
            toml::from_str(&text).unwrap_or_default();
        let mut found = BTreeMap::new();
        let all = [
            (missing, Fault::Missing),
            (unreadable, Fault::Unreadable),
            (changed, Fault::Changed),
            (unsealed, Fault::Unsealed),
        ];
        for (ids, fault) in all {
            found.extend(ids.into_iter().map(|id| (id, fault)));
        }
        Ok(Scrubbed { at, objects, bytes, damage: Damage { objects: found, names }, complete })
    }

    /// Remembers it.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn remember_scrub(&self, scrubbed: &Scrubbed) -> Result<(), DeployError> {
        let Scrubbed { at, objects, bytes, damage, complete } = scrubbed;
        let mut memory = Memory { at: *at, objects: *objects, bytes: *bytes, complete: *complete, ..Memory::default() };
        memory.names = damage.names.clone();
        for (id, fault) in &damage.objects {
            memory.of(*fault).insert(*id);
        }
        let path = self.root.join(layout::root::SCRUB);
        let text = toml::to_string(&memory)
            .map_err(|error| DeployError::Format { path: path.clone(), source: error.into() })?;
        files::write(&path, text.as_bytes())
    }
}

/// A deployment, and what damage means for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The deployment.
    pub deployment: Deployment,
    /// What of it is damaged.
    pub contents: Contents,
}

/// What `damage` means for every deployment.
///
/// # Errors
/// When disk or store cannot be read.
pub fn healths(node: &Node, roles: &Roles, damage: &Damage) -> Result<Vec<Health>, DeployError> {
    roles
        .all()
        .map(|deployment| {
            let origin = &deployment.origin;
            let contents = node.store.contents(&origin.manifest_digest, &origin.composefs_digest, damage)?;
            Ok(Health { deployment: deployment.clone(), contents })
        })
        .collect()
}

/// Where what boots next is damaged for good, makes a whole deployment boot next; which. Absent where nothing has to be
/// done, or nothing can.
///
/// Only what has proved itself is gone to, what runs first. What was staged since the damage was found is judged as well.
///
/// # Errors
/// When the ESP cannot be written, or somebody else works on the deployments.
pub fn prefer_whole(node: &Node, damage: &Damage) -> Result<Option<Deployment>, DeployError> {
    let _lock = Lock::take(&node.root, "scrub")?;
    let roles = roles(node)?;
    let healths = healths(node, &roles, damage)?;
    let whole = |deployment: &Deployment| {
        healths.iter().any(|health| health.deployment.id == deployment.id && health.contents.is_whole())
    };
    let Some(next) = roles.next().filter(|next| !whole(next)) else { return Ok(None) };
    let candidates = roles.booted.iter().chain(&roles.rollback).chain(&roles.others);
    let sound = |other: &&Deployment| {
        other.id != next.id && other.is_good() && whole(other) && node.esp.has_uki(&other.id, &other.origin.uki)
    };
    let Some(chosen) = candidates.into_iter().find(sound) else { return Ok(None) };
    rollback(node, Some(&chosen.id)).map(Some)
}

/// True where what runs is damaged for good, and something that is whole boots next: only a reboot helps.
///
/// # Errors
/// When disk or store cannot be read.
pub fn has_to_leave(node: &Node, damage: &Damage) -> Result<bool, DeployError> {
    let roles = roles(node)?;
    let healths = healths(node, &roles, damage)?;
    let is = |deployment: Option<&Deployment>, whole: bool| {
        let of = |health: &&Health| Some(health.deployment.id) == deployment.map(|deployment| deployment.id);
        healths.iter().find(of).is_some_and(|health| health.contents.is_whole() == whole)
    };
    Ok(is(roles.booted.as_ref(), false) && is(roles.next(), true))
}

/// Notes for this boot that these objects were mended under what runs.
///
/// # Errors
/// When it cannot be written.
pub fn note_mended(objects: &BTreeSet<ObjectId>) -> Result<(), DeployError> {
    let all = mended_in_use()?.into_iter().chain(objects.iter().copied()).collect::<BTreeSet<_>>();
    let text: String = all.iter().map(|id| format!("{id}\n")).collect();
    files::write(Path::new(layout::node::MENDED), text.as_bytes())
}

/// Objects that were mended in this boot, while what runs had the damaged ones open: a reboot lets them go.
///
/// # Errors
/// When it cannot be read.
pub fn mended_in_use() -> Result<BTreeSet<ObjectId>, DeployError> {
    let text = files::read(Path::new(layout::node::MENDED))?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}
