//! Images of host containers brought with a system that is installed, so that its node has them when it first boots.
//!
//! Which they are its image says in a label, by digests that its own settings have too. They come from beside it, or from beside what the
//! node is to follow, under the policy of the installation.

use anyhow::Context as _;
use rocketos_deploy::{HostContainer, Node};
use rocketos_image::HostContainers;
use rocketos_model::{ImageReference, PlacedImage, labels};
use rocketos_oci::Resolved;

use crate::{
    exit,
    output::Reporter,
    pull::{self, Puller},
    trust::Guard,
};

/// A system that is installed.
pub struct Installed<'a> {
    /// Its image.
    pub image: &'a Resolved,
    /// Where that came from.
    pub from: &'a ImageReference,
    /// What its node follows.
    pub follow: &'a ImageReference,
}

/// Brings them all. One that does not come, or is not allowed, is told: its node will ask for it.
pub fn include(node: &Node, guard: &Guard, puller: &Puller, installed: &Installed<'_>, reporter: &Reporter) {
    let named = installed.image.label(labels::HOST_CONTAINERS).unwrap_or_default();
    let named = match HostContainers::read(named.split_whitespace()) {
        Ok(named) => named,
        Err(error) => return reporter.note(&format!("The label {}: {error}.", labels::HOST_CONTAINERS)),
    };
    for (name, image) in named.images() {
        match bring(node, guard, puller, installed, (name, &image), reporter) {
            Ok(from) => reporter.note(&format!("Host container {name} comes along: {from}.")),
            Err(error) => {
                reporter.note(&format!("Host container {name} does not come along: {}.", exit::chain(&error)));
            }
        }
    }
}

/// Brings one, and says where from.
fn bring(
    node: &Node,
    guard: &Guard,
    puller: &Puller,
    installed: &Installed<'_>,
    (name, image): (&str, &PlacedImage),
    reporter: &Reporter,
) -> anyhow::Result<ImageReference> {
    let follow = image.resolve(installed.follow);
    let from = image.resolve(installed.from).or_else(|| follow.clone());
    let from = from.context("neither the system nor what its node follows is in a registry")?;
    let resolved = puller.resolve(&from).with_context(|| format!("resolving {from}"))?;
    // What the policy says of it where the node will look for it counts as well.
    guard.require(puller, &resolved, follow.as_ref(), reporter)?;
    pull::check_architecture(&resolved).with_context(|| format!("checking {from}"))?;
    let brought = puller.pull_container(&resolved, &node.store, reporter).with_context(|| format!("pulling {from}"))?;
    let container = HostContainer {
        image: follow.unwrap_or_else(|| from.clone()),
        manifest_digest: brought.manifest_digest,
        composefs_digest: brought.facts.digest,
    };
    node.set_host_container(name, &container)?;
    Ok(from)
}
