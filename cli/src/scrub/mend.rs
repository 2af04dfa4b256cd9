//! Mending: from the store itself, from the ESP, and from where each deployment and each image of a host container came.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use rocketos_deploy::{Deployment, Health, HostContainer, Node, Roles, healths};
use rocketos_model::{ComposefsDigest, DiffId, ImageReference, ManifestDigest, ObjectId, layout};
use rocketos_oci::ReaderConfig;
use rocketos_store::{Contents, Damage, Mender, StoreError};

use crate::{output::Reporter, pull::Puller};

/// What mending came to.
#[derive(Debug, Default)]
pub struct Mended {
    pub objects: BTreeSet<ObjectId>,
    /// Needed by nobody, and removed.
    pub dropped: BTreeSet<ObjectId>,
    /// Why something was not mended, one for each deployment and each image of a host container.
    pub failures: Vec<anyhow::Error>,
}

/// Mends what it can; the nearest source first. That something cannot be mended is no error but a failure among others: what
/// was mended before it is told all the same.
pub fn mend(node: &Node, roles: &Roles, damage: &Damage, reader: &ReaderConfig, reporter: &Reporter) -> Mended {
    reporter.step("Mending");
    let mut mended = Mended::default();
    match node.store.mender(damage).context("beginning to mend") {
        Ok(mender) => {
            let outcome = mend_by(&mender, node, roles, damage, reader, reporter, &mut mended);
            mended.failures.extend(outcome.err());
            mended.objects = mender.mended();
        }
        Err(error) => mended.failures.push(error),
    }
    mended
}

fn mend_by(
    mender: &Mender,
    node: &Node,
    roles: &Roles,
    damage: &Damage,
    reader: &ReaderConfig,
    reporter: &Reporter,
    mended: &mut Mended,
) -> anyhow::Result<()> {
    let failures = &mut mended.failures;
    failures.extend(mender.mend_by_itself().context("mending from the store itself").err());
    offer_kernels(node, roles, mender);
    let mut origins = Origins { config: reader, puller: None };
    for health in healths(node, roles, &mender.left())? {
        let deployment = &health.deployment;
        // An image before it may have brought what this one lacks.
        let now = now(node, deployment, mender)?;
        if now.contents.is_whole() && health.contents.is_whole() && damage.names.is_empty() {
            continue;
        }
        let outcome = bring_again(node, &Again::of(deployment), &now.contents, mender, &mut origins, reporter);
        failures.extend(outcome.err().map(|error| error.context(format!("mending deployment {}", deployment.id))));
    }
    let containers = node.host_container_images()?;
    for container in containers.values() {
        let contents = of_container(node, container, &mender.left())?;
        // One that has lost its name comes with the container's next start.
        if !contents.named || (contents.is_whole() && damage.names.is_empty()) {
            continue;
        }
        let outcome = bring_again(node, &Again::of_container(container), &contents, mender, &mut origins, reporter);
        failures.extend(outcome.err().map(|error| error.context(format!("mending the image {}", container.image))));
    }
    if mender.relisted() {
        // A list that is another object now is named in documents of every image that has the layer.
        for deployment in roles.all() {
            if let Some((manifest, config)) = node.store.documents(&deployment.origin.manifest_digest)? {
                let named = mender.commit_image(&manifest, &config).map(drop).map_err(anyhow::Error::new);
                failures.extend(named.err().map(|error| error.context(format!("naming image {}", deployment.id))));
            }
        }
        for container in
            containers.values().filter(|container| node.store.has_image(&container.manifest_digest).unwrap_or(false))
        {
            if let Some((manifest, config)) = node.store.documents(&container.manifest_digest)? {
                let named = mender.commit_container(&manifest, &config).map(drop).map_err(anyhow::Error::new);
                failures.extend(named.err().map(|error| error.context(format!("naming image {}", container.image))));
            }
        }
    }
    let left = mender.left();
    let mut contents: Vec<_> = healths(node, roles, &left)?.into_iter().map(|health| health.contents).collect();
    for container in containers.values() {
        contents.push(of_container(node, container, &left)?);
    }
    mended.dropped = node.store.drop_unneeded(&contents, &left.objects.keys().copied().collect())?;
    Ok(())
}

/// Reads origins, once something is needed of one.
struct Origins<'a> {
    config: &'a ReaderConfig,
    puller: Option<Puller>,
}

impl Origins<'_> {
    fn puller(&mut self) -> anyhow::Result<&Puller> {
        Ok(match &mut self.puller {
            Some(puller) => puller,
            none => none.insert(Puller::with(self.config.clone())?),
        })
    }
}

fn now(node: &Node, deployment: &Deployment, mender: &Mender) -> anyhow::Result<Health> {
    let origin = &deployment.origin;
    let contents = node.store.contents(&origin.manifest_digest, &origin.composefs_digest, &mender.left())?;
    Ok(Health { deployment: deployment.clone(), contents })
}

/// A kernel lies on the ESP too.
fn offer_kernels(node: &Node, roles: &Roles, mender: &Mender) {
    if mender.left().objects.is_empty() {
        return;
    }
    for deployment in roles.all() {
        let path = node.esp.top().join(layout::uki_dir(&deployment.id)).join(&deployment.origin.uki);
        // One that cannot be read is no help; it is not what is mended here.
        let Ok(mut kernel) = std::fs::File::open(&path) else { continue };
        let Ok(size) = kernel.metadata().map(|meta| meta.len()) else { continue };
        let _ = mender.offer(&mut kernel, size);
    }
}

fn of_container(node: &Node, container: &HostContainer, damage: &Damage) -> Result<Contents, StoreError> {
    node.store.contents(&container.manifest_digest, &container.composefs_digest, damage)
}

/// What an image mounts as differs by what it is for.
enum Kind {
    System,
    Container,
}

/// An image that comes again.
struct Again<'a> {
    from: &'a ImageReference,
    manifest: ManifestDigest,
    composefs: ComposefsDigest,
    kind: Kind,
}

impl<'a> Again<'a> {
    fn of(deployment: &'a Deployment) -> Self {
        let origin = &deployment.origin;
        Self {
            from: &origin.image,
            manifest: origin.manifest_digest,
            composefs: origin.composefs_digest,
            kind: Kind::System,
        }
    }

    fn of_container(container: &'a HostContainer) -> Self {
        Self {
            from: &container.image,
            manifest: container.manifest_digest,
            composefs: container.composefs_digest,
            kind: Kind::Container,
        }
    }
}

/// Brings what an image lacks from where it came, and makes what is made of its layers.
fn bring_again(
    node: &Node,
    again: &Again<'_>,
    contents: &Contents,
    mender: &Mender,
    origins: &mut Origins<'_>,
    reporter: &Reporter,
) -> anyhow::Result<()> {
    let Again { from, manifest, composefs, kind } = again;
    let kept = node.store.documents(manifest)?;
    let documents = match kept {
        Some(documents) if contents.wanting.is_empty() => documents,
        kept => {
            let puller = origins.puller()?;
            let resolved = puller.resolve_exactly(from, *manifest).with_context(|| format!("resolving {from}"))?;
            let layers: Vec<DiffId> = resolved.layers.iter().map(|layer| layer.diff_id).collect();
            let wanting = node.store.wanting(&layers, &mender.left())?;
            puller
                .fetch_again(&resolved, &wanting, mender, reporter)
                .with_context(|| format!("fetching from {from}"))?;
            kept.unwrap_or((resolved.manifest, resolved.config))
        }
    };
    let (kept_manifest, config) = &documents;
    let made = match kind {
        Kind::System => mender.commit_image(kept_manifest, config).map(|image| image.facts.digest),
        Kind::Container => mender.commit_container(kept_manifest, config).map(|image| image.facts.digest),
    };
    let found = made.context("making its mountable image")?;
    ensure!(found == *composefs, "its layers come to the image {found}, and {composefs} was expected");
    Ok(())
}
