//! `release add`.

use anyhow::{Context as _, bail, ensure};
use rocketos_model::{ImageReference, labels};
use rocketos_oci::Resolved;
use rocketos_update::{Channel, Release};

use super::opening;
use crate::{args::Add, publisher::Publisher, pull::Puller};

/// Reads an image as nodes will, and drafts a release of it for each of its architectures.
pub fn run(args: &Add) -> anyhow::Result<()> {
    let mut publisher = Publisher::open(&args.desk.dir)?;
    let mut channel = publisher.channel(&args.channel)?.unwrap_or_else(|| Channel::new(&args.channel));
    let (curve, published) = opening::terms(&args.terms)?;
    let earliest = args.earliest.as_deref().map(opening::version).transpose()?;
    for resolved in resolve(&args.image)? {
        let (version, variant) = (label(&resolved, labels::VERSION)?, label(&resolved, labels::VARIANT)?);
        let bootable = resolved.label(labels::BOOTC) == Some("1");
        ensure!(bootable, "{} is not bootable: it lacks the label {}=1", resolved.reference, labels::BOOTC);
        let release = Release {
            version: opening::version(version)?,
            variant: variant.to_owned(),
            architecture: resolved.architecture(),
            image: by_name(&resolved.reference),
            digest: resolved.manifest_digest,
            earliest: earliest.clone(),
            published,
            curve: curve.clone(),
            halted: false,
            recalled: None,
            notes: args.notes.clone(),
        };
        if let Some(same) = channel.releases.iter().find(|other| other.is_same(&release)) {
            bail!(
                "channel {} has {} {} {} already, as {}; a version is released once",
                args.channel,
                same.version,
                same.variant,
                same.architecture,
                same.digest
            );
        }
        channel.releases.push(release);
    }
    let lost = publisher.draft_channel(&channel)?;
    publisher.finish(lost, args.desk.json)
}

/// The image for each architecture it has, all found through what its tag names now.
fn resolve(image: &str) -> anyhow::Result<Vec<Resolved>> {
    let reference: ImageReference = image.parse()?;
    ensure!(
        matches!(reference, ImageReference::Registry { .. }),
        "{reference} is not in a registry, and nodes bring images from there"
    );
    let resolving = || format!("resolving {reference}");
    let puller = Puller::new()?;
    let reader = puller.reader();
    let named = puller.wait(reader.named(&reference)).with_context(resolving)?;
    let pinned = reference.with_digest(named.digest);
    let architectures = puller.wait(reader.architectures(&pinned)).with_context(resolving)?;
    ensure!(!architectures.is_empty(), "{reference} has no image for Linux");
    let each = |architecture: &String| puller.wait(reader.resolve_for(&pinned, architecture)).with_context(resolving);
    architectures.iter().map(each).collect()
}

fn label<'a>(resolved: &'a Resolved, key: &str) -> anyhow::Result<&'a str> {
    let sealing = "which sealing a variant gives it";
    resolved.label(key).with_context(|| format!("{} lacks the label {key}, {sealing}", resolved.reference))
}

/// Where it is, without tag and digest.
fn by_name(reference: &ImageReference) -> ImageReference {
    match reference.clone() {
        ImageReference::Registry { registry, repository, .. } => {
            ImageReference::Registry { registry, repository, tag: None, digest: None }
        }
        other => other,
    }
}
