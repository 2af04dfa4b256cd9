//! Removing deployments nobody needs.

use std::collections::BTreeSet;

use rocketos_model::{DeploymentId, ManifestDigest, layout};
use rocketos_store::{Collected, StoreError};

use crate::{DeployError, HostContainer, Node, Roles, files, roles::roles};

/// What a prune removed, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deployments.
    pub deployments: Vec<DeploymentId>,
    /// Objects of the store.
    pub collected: Collected,
}

/// What stays: booted, staged, rollback, what `upgrade --download-only` brought, everything pinned.
fn kept(roles: &Roles, downloaded: Option<DeploymentId>) -> BTreeSet<DeploymentId> {
    let named = roles.booted.iter().chain(&roles.staged).chain(&roles.rollback);
    named
        .chain(roles.others.iter().filter(|other| other.pinned))
        .map(|deployment| deployment.id)
        .chain(downloaded)
        .collect()
}

/// Removes every deployment but those that stay, with the objects, kernels and state that only they used. Images of host containers
/// stay, those that run and those of every deployment that stays.
///
/// Entries go first, so that nothing half removed can boot; then kernels, names in the store, state, and last the objects.
/// Interrupted, it is finished by the next one.
///
/// # Errors
/// When anything cannot be read; then nothing more is removed. Where an image that stays has lost its name or a list of
/// what it needs, the objects stay.
pub fn prune(node: &Node, dry_run: bool) -> Result<Pruned, DeployError> {
    let roles = roles(node)?;
    let keep = kept(&roles, node.downloaded()?);
    let needed: BTreeSet<ManifestDigest> =
        roles.all().filter(|deployment| keep.contains(&deployment.id)).map(|d| d.origin.manifest_digest).collect();
    let mut containers: Vec<HostContainer> = node.host_containers()?.into_values().collect();
    for id in &keep {
        containers.extend(node.host_containers_of(id)?.into_values());
    }
    let containers = containers.into_iter().map(|container| container.manifest_digest);
    let keep_images: BTreeSet<ManifestDigest> = needed.iter().copied().chain(containers).collect();

    let entries = node.esp.entries()?;
    let images = node.store.images()?;
    let mut gone: BTreeSet<DeploymentId> = entries.iter().map(|entry| entry.name.deployment).collect();
    gone.extend(node.esp.ukis()?);
    gone.extend(node.deployments()?);
    gone.extend(images.iter().filter(|image| !keep_images.contains(image)).map(ManifestDigest::deployment));
    gone.retain(|id| !keep.contains(id));

    if !dry_run {
        node.esp.tidy()?;
        let mut seen = BTreeSet::new();
        for entry in &entries {
            let id = entry.name.deployment;
            // Of several entries for one deployment the loader takes the first; the others are older marks of it.
            if !seen.insert(id) || gone.contains(&id) {
                node.esp.remove_entry(entry)?;
            }
        }
        for id in &gone {
            node.esp.remove_uki(id)?;
        }
        for image in images.iter().filter(|image| !keep_images.contains(image)) {
            node.store.remove_image(image)?;
        }
        for id in &gone {
            files::remove(&node.root.join(layout::deployment_dir(id)))?;
            node.unpin(id)?;
        }
    }
    // What the store does not name, its collection would take from a deployment that stays. A container's comes again.
    for image in &needed {
        if !node.store.has_image(image)? {
            return Err(StoreError::Unlisted(*image).into());
        }
    }
    let collected = node.store.collect_garbage(dry_run)?;
    Ok(Pruned { deployments: gone.into_iter().collect(), collected })
}

impl Node {
    /// What `upgrade --download-only` brought and nobody has activated yet.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn downloaded(&self) -> Result<Option<DeploymentId>, DeployError> {
        let text = files::read(&self.root.join(layout::root::DOWNLOADED))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Remembers, or forgets, what `upgrade --download-only` brought.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn set_downloaded(&self, deployment: Option<&DeploymentId>) -> Result<(), DeployError> {
        let path = self.root.join(layout::root::DOWNLOADED);
        match deployment {
            Some(id) => files::write(&path, format!("{id}\n").as_bytes()),
            None => files::remove(&path),
        }
    }
}
