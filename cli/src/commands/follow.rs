//! `upgrade` and `switch`: bring an image, to boot next.

use anyhow::{Context as _, anyhow};
use rocketos_deploy::{Activation, Node, Roles, prune, roles, rollback, stage};
use rocketos_model::{ImageReference, ManifestDigest};
use rocketos_oci::Resolved;
use serde_json::json;

use crate::{
    adapters::systemctl,
    args::{Switch, Upgrade},
    output::Reporter,
    pull::{self, Puller},
};

/// What an upgrade came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The newest image runs, or boots next already.
    Current,
    /// A newer one is there (`--check`).
    Available,
    /// It is here, and boots when it is told to.
    Downloaded,
    /// It boots next.
    Staged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Available => "available",
            Self::Downloaded => "downloaded",
            Self::Staged => "staged",
        }
    }
}

fn say(json: bool, outcome: Outcome, reference: &ImageReference, digest: &ManifestDigest) {
    if json {
        println!("{}", json!({ "outcome": outcome.word(), "image": reference, "manifestDigest": digest }));
        return;
    }
    match outcome {
        Outcome::Current => println!("No update available for {reference} ({digest})."),
        Outcome::Available => println!("Update available for {reference}: {digest}."),
        Outcome::Downloaded => {
            println!("Downloaded {digest}; 'rocketctl upgrade --from-downloaded' makes it boot next.")
        }
        Outcome::Staged => println!("Deployment {} ({digest}) boots next.", digest.deployment()),
    }
}

/// Brings the newest image of what this node follows.
pub fn upgrade(args: &Upgrade) -> anyhow::Result<()> {
    let (node, lock) = Node::locked("upgrade")?;
    let current = roles(&node)?;
    if args.from_downloaded {
        activate_downloaded(&node, args.json)?;
    } else {
        let followed =
            current.staged.as_ref().or(current.booted.as_ref()).ok_or_else(|| {
                anyhow!("the running deployment has no origin; 'rocketctl switch <image>' gives it one")
            })?;
        let reference = followed.origin.image.clone();
        let activation = if args.download_only { Activation::Later } else { Activation::Tried };
        let reporter = Reporter::new(&args.progress)?;
        let (outcome, digest) = bring(&node, &current, &reference, activation, args.check, &reporter)?;
        reporter.finish();
        say(args.json, outcome, &reference, &digest);
    }
    let pending = roles(&node)?.next().map(|next| next.id) != node.booted_deployment();
    drop((node, lock));
    match args.apply && pending {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

/// Follows another image from now on.
pub fn switch(args: &Switch) -> anyhow::Result<()> {
    let reference = pull::reference(&args.transport, &args.target)?;
    let (node, lock) = Node::locked("switch")?;
    let current = roles(&node)?;
    if let (true, Some(booted)) = (args.retain, &current.booted) {
        node.pin(&booted.id)?;
    }
    let reporter = Reporter::new(&args.progress)?;
    let (outcome, digest) = bring(&node, &current, &reference, Activation::Tried, false, &reporter)?;
    reporter.finish();
    say(args.json, outcome, &reference, &digest);
    let pending = roles(&node)?.next().map(|next| next.id) != node.booted_deployment();
    drop((node, lock));
    match args.apply && pending {
        true => systemctl::reboot(),
        false => Ok(()),
    }
}

/// Resolves, pulls and stages `reference`.
fn bring(
    node: &Node,
    current: &Roles,
    reference: &ImageReference,
    activation: Activation,
    check: bool,
    reporter: &Reporter,
) -> anyhow::Result<(Outcome, ManifestDigest)> {
    let puller = Puller::new()?;
    let resolved = puller.resolve(reference).with_context(|| format!("resolving {reference}"))?;
    let digest = resolved.manifest_digest;
    let same = |deployment: &rocketos_deploy::Deployment| {
        deployment.origin.manifest_digest == digest && deployment.origin.image == *reference
    };
    if current.next().is_some_and(same) {
        return Ok((Outcome::Current, digest));
    }
    if check {
        return Ok((Outcome::Available, digest));
    }
    pull::check_bootable(&resolved).with_context(|| format!("checking {reference}"))?;
    // Room first for what comes, from what nobody needs any more.
    prune(node, false).context("making room")?;
    check_esp(node, &resolved)?;
    let image =
        puller.pull(&resolved, &node.store, reporter).with_context(|| format!("pulling {reference} ({digest})"))?;
    reporter.step("Staging");
    stage(node, &image, reference, activation)
        .with_context(|| format!("staging deployment {}", digest.deployment()))?;
    if activation == Activation::Later {
        node.set_downloaded(Some(&digest.deployment()))?;
        return Ok((Outcome::Downloaded, digest));
    }
    node.set_downloaded(None)?;
    Ok((Outcome::Staged, digest))
}

/// Refuses a kernel that the ESP has no room for before anything is fetched. It is sealed into the last layer, and does
/// not compress; staging measures the kernel itself.
fn check_esp(node: &Node, resolved: &Resolved) -> anyhow::Result<()> {
    let here = node.esp.ukis()?.contains(&resolved.manifest_digest.deployment());
    let missing = if here { 0 } else { resolved.layers.last().map_or(0, |layer| layer.size) };
    Ok(node.esp.check_room(missing)?)
}

fn activate_downloaded(node: &Node, json: bool) -> anyhow::Result<()> {
    let id = node
        .downloaded()?
        .ok_or_else(|| anyhow!("nothing is downloaded; 'rocketctl upgrade --download-only' does that"))?;
    let deployment = rollback(node, Some(&id)).context("activating what was downloaded")?;
    node.set_downloaded(None)?;
    say(json, Outcome::Staged, &deployment.origin.image, &deployment.origin.manifest_digest);
    Ok(())
}
