//! Images of host containers brought with a system, when it is installed or an upgrade stages it, so that its node has them when it
//! first boots.
//!
//! Which they are its image says in a label, by digests that its own settings have too. They come from beside it, or from beside what the
//! node is to follow, under the policy that judged the system.

use anyhow::{Context as _, bail};
use rocketos_deploy::{HostContainer, Node};
use rocketos_image::HostContainers;
use rocketos_model::{ImageReference, PlacedImage, labels};
use rocketos_oci::Resolved;

use super::{find, kept, whole};
use crate::{
    exit,
    output::Reporter,
    pull::{self, Puller},
    trust::Guard,
};

/// A system that is staged.
pub struct System<'a> {
    /// Its image.
    pub image: &'a Resolved,
    /// Where that came from.
    pub from: &'a ImageReference,
    /// What its node follows.
    pub follow: &'a ImageReference,
}

/// Brings those that are not here. One that does not come, or is not allowed, is told, and no more: its node will ask for it.
pub fn include(node: &Node, guard: &Guard, puller: &Puller, system: &System<'_>, reporter: &Reporter) {
    let named = system.image.label(labels::HOST_CONTAINERS).unwrap_or_default();
    let named = match HostContainers::read(named.split_whitespace()) {
        Ok(named) => named,
        Err(error) => return reporter.note(&format!("The label {}: {error}.", labels::HOST_CONTAINERS)),
    };
    for (name, image) in named.images() {
        match bring(node, guard, puller, system, (name, &image), reporter) {
            Ok(None) => {}
            Ok(Some(from)) => reporter.note(&format!("Host container {name} comes along: {from}.")),
            Err(error) => {
                reporter.note(&format!("Host container {name} does not come along: {}.", exit::chain(&error)));
            }
        }
    }
}

/// Brings one, and says where from; nothing where it is here.
fn bring(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    system: &System<'_>,
    (name, image): (&str, &PlacedImage),
    reporter: &Reporter,
) -> anyhow::Result<Option<ImageReference>> {
    let id = system.image.manifest_digest.deployment();
    let asked = image.digest();
    let is_asked_for = |container: &HostContainer| Some(container.manifest_digest) == asked;
    if let Some(container) = node.host_containers_of(&id)?.get(name).filter(|container| is_asked_for(container))
        && whole(node, container)?.is_some()
    {
        return Ok(None);
    }
    // What runs goes on with the next release, where that has the same one.
    if let Some((container, _)) = kept(node, name)?.filter(|(container, _)| is_asked_for(container)) {
        node.set_host_container_of(&id, name, &container)?;
        return Ok(None);
    }
    let follow = image.resolve(system.follow);
    let (from, resolved) = match (find(puller, image, system.from), &follow) {
        (Ok(Some(found)), _) => found,
        // A layout may lack it.
        (_, Some(follow)) if image.resolve(system.from).is_none() => {
            (follow.clone(), puller.resolve(follow).with_context(|| format!("resolving {follow}"))?)
        }
        (Err(error), _) => return Err(error),
        (Ok(None), _) => bail!("neither the system nor what its node follows is in a registry"),
    };
    // What the policy says of it where the node will look for it counts as well.
    guard.require(puller, &resolved, follow.as_ref(), reporter)?;
    pull::check_architecture(&resolved).with_context(|| format!("checking {from}"))?;
    let brought = puller.pull_container(&resolved, &node.store, reporter).with_context(|| format!("pulling {from}"))?;
    let container = HostContainer {
        image: follow.unwrap_or_else(|| from.clone()),
        manifest_digest: brought.manifest_digest,
        composefs_digest: brought.facts.digest,
    };
    node.set_host_container_of(&id, name, &container)?;
    // Where none came before it is the one that runs first, on a node that is installed as on one that never had it.
    if kept(node, name)?.is_none() {
        node.set_host_container(name, &container)?;
    }
    Ok(Some(from))
}
