//! Bringing an image into the store: where `oci` ends and `store` begins.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, ensure};
use rocketos_model::{DiffId, ImageReference, ManifestDigest, ReferenceError, labels};
use rocketos_oci::{FetchStats, Reader, ReaderConfig, Resolved};
use rocketos_store::{ContainerImage, Image, Mender, Store};
use tokio::runtime::Runtime;

use crate::output::Reporter;

/// How many bytes on the disk one compressed byte becomes at most, where the image does not say.
const EXPANSION: u64 = 4;
/// Bytes of metadata that one object costs: inode, directory entry, fs-verity descriptor, half a block of slack.
const PER_OBJECT: u64 = 4096;
/// Bytes left free whatever comes.
const RESERVE: u64 = 64 << 20;

/// How a reference that names its transport begins.
const TRANSPORTS: [&str; 4] = ["docker://", "oci:", "oci-archive:", "containers-storage:"];

/// Reads images.
pub struct Puller {
    runtime: Runtime,
    reader: Reader,
}

impl Puller {
    /// Configured as the machine's container tools are.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(ReaderConfig::system())
    }

    /// Configured as `config` says.
    pub fn with(config: ReaderConfig) -> anyhow::Result<Self> {
        Ok(Self { runtime: runtime()?, reader: Reader::new(config)? })
    }

    /// Fetches manifest and configuration. The reference in what comes back says where that was: a local path in it is
    /// absolute and free of links.
    pub fn resolve(&self, reference: &ImageReference) -> anyhow::Result<Resolved> {
        Ok(self.wait(self.reader.resolve(&located(reference)?))?)
    }

    /// The same of the very manifest `digest`, whatever tags say by now.
    pub fn resolve_exactly(&self, reference: &ImageReference, digest: ManifestDigest) -> anyhow::Result<Resolved> {
        Ok(self.wait(self.reader.resolve_exactly(&located(reference)?, digest))?)
    }

    /// Brings layers again, for a mender.
    pub fn fetch_again(
        &self,
        resolved: &Resolved,
        layers: &BTreeSet<DiffId>,
        mender: &Mender,
        reporter: &Reporter,
    ) -> anyhow::Result<FetchStats> {
        Ok(self.wait(self.reader.fetch_again(resolved, layers, mender, reporter))?)
    }

    /// Reads registries, for what is not an image.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Runs to the end.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Attaches a document to an image in a registry.
    pub fn attach(&self, reference: &ImageReference, artifact_type: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
        let digest = self.runtime.block_on(self.reader.attach(reference, artifact_type, artifact_type, bytes))?;
        Ok(digest.to_string())
    }

    /// Brings what the store lacks, and makes the image mountable.
    pub fn pull(&self, resolved: &Resolved, store: &Store, reporter: &Reporter) -> anyhow::Result<Image> {
        self.fetch(resolved, store, reporter)?;
        let image = store.commit_image(&resolved.manifest, &resolved.config)?;
        check_digest(resolved, image.manifest_digest)?;
        Ok(image)
    }

    /// The same of a container's image.
    pub fn pull_container(
        &self,
        resolved: &Resolved,
        store: &Store,
        reporter: &Reporter,
    ) -> anyhow::Result<ContainerImage> {
        self.fetch(resolved, store, reporter)?;
        let image = store.commit_container(&resolved.manifest, &resolved.config)?;
        check_digest(resolved, image.manifest_digest)?;
        Ok(image)
    }

    fn fetch(&self, resolved: &Resolved, store: &Store, reporter: &Reporter) -> anyhow::Result<()> {
        check_room(resolved, store)?;
        self.runtime.block_on(self.reader.fetch(resolved, store, reporter))?;
        reporter.step("Checking");
        Ok(())
    }
}

fn check_digest(resolved: &Resolved, found: ManifestDigest) -> anyhow::Result<()> {
    let expected = resolved.manifest_digest;
    ensure!(found == expected, "the manifest has digest {found}, not {expected}");
    Ok(())
}

/// Runs what waits for the network.
pub fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("starting the asynchronous runtime")
}

/// An image that this machine cannot boot.
#[derive(Debug, thiserror::Error)]
pub enum Unbootable {
    /// Nobody meant it to boot.
    #[error("the image is not bootable: it lacks the label {}=1, which sealing a variant gives it", labels::BOOTC)]
    Unlabelled,
    /// For other machines.
    #[error("the image is for {found}, this machine is {here}; name an image that is built for {here}")]
    Architecture {
        /// In OCI's words.
        found: String,
        /// The same.
        here: String,
    },
}

/// Refuses what no machine, or not this one, can boot.
pub fn check_bootable(resolved: &Resolved) -> Result<(), Unbootable> {
    bootable(resolved.label(labels::BOOTC), &resolved.architecture(), rocketos_oci::running_architecture())
}

fn bootable(label: Option<&str>, found: &str, here: &str) -> Result<(), Unbootable> {
    if label != Some("1") {
        return Err(Unbootable::Unlabelled);
    }
    built_for(found, here)
}

/// Refuses what this machine cannot run.
pub fn check_architecture(resolved: &Resolved) -> Result<(), Unbootable> {
    built_for(&resolved.architecture(), rocketos_oci::running_architecture())
}

fn built_for(found: &str, here: &str) -> Result<(), Unbootable> {
    match found == here {
        true => Ok(()),
        false => Err(Unbootable::Architecture { found: found.to_owned(), here: here.to_owned() }),
    }
}

/// The reference with its local path as the kernel sees it: a policy speaks of places, which links could misname.
fn located(reference: &ImageReference) -> anyhow::Result<ImageReference> {
    let canonical = |path: &Path| path.canonicalize().with_context(|| format!("looking for {}", path.display()));
    Ok(match reference {
        ImageReference::Layout { path, tag } => ImageReference::Layout { path: canonical(path)?, tag: tag.clone() },
        ImageReference::Archive { path, tag } => ImageReference::Archive { path: canonical(path)?, tag: tag.clone() },
        ImageReference::Registry { .. } | ImageReference::Storage { .. } => reference.clone(),
    })
}

/// Reads what a person typed: a reference with its transport, or a name to which `transport` belongs.
pub fn reference(transport: &str, text: &str) -> Result<ImageReference, ReferenceError> {
    let names_its_own = TRANSPORTS.iter().any(|prefix| text.starts_with(prefix));
    match transport {
        "registry" | "docker" => text.parse(),
        _ if names_its_own => text.parse(),
        other => ImageReference::from_parts(other, text),
    }
}

/// Refuses an image that would fill the disk, before the first byte of it is fetched.
fn check_room(resolved: &Resolved, store: &Store) -> anyhow::Result<()> {
    let missing = resolved.missing_bytes(store)?;
    if missing == 0 {
        return Ok(());
    }
    let total = resolved.layer_bytes();
    let number = |key| resolved.label(key).and_then(|text: &str| text.parse::<u64>().ok());
    let whole = match (number(labels::BYTES), number(labels::OBJECTS)) {
        (Some(bytes), Some(objects)) => bytes.saturating_add(objects.saturating_mul(PER_OBJECT)),
        _ => total.saturating_mul(EXPANSION),
    };
    // Layers that are here need no more room; the label speaks of all of them.
    let needed = (u128::from(whole) * u128::from(missing) / u128::from(total.max(1))) as u64 + RESERVE;
    let free = store.free_bytes()?;
    if needed > free {
        return Err(rocketos_store::StoreError::Write(std::io::ErrorKind::StorageFull.into())).context(format!(
            "the root partition is too full: the image needs up to {needed} bytes, {free} are free; \
             'rocketctl prune' may make room"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_is_free_of_links() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().canonicalize().unwrap().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        for transport in ["oci", "oci-archive"] {
            let typed: ImageReference = format!("{transport}:{}:tag", link.display()).parse().unwrap();
            let meant: ImageReference = format!("{transport}:{}:tag", real.display()).parse().unwrap();
            assert_eq!(located(&typed).unwrap(), meant);
        }
    }

    #[test]
    fn a_transport_belongs_to_names_without_one() {
        for (transport, text, expected) in [
            ("registry", "registry.example/a:b", "docker://registry.example/a:b"),
            ("registry", "oci:/media/usb", "oci:/media/usb"),
            ("oci", "/media/usb:tag", "oci:/media/usb:tag"),
            ("oci", "docker://registry.example/a", "docker://registry.example/a"),
            ("oci-archive", "/media/usb.tar", "oci-archive:/media/usb.tar"),
        ] {
            let expected: ImageReference = expected.parse().unwrap();
            assert_eq!(reference(transport, text).unwrap(), expected, "{transport} {text}");
        }
        for (transport, text) in [("registry", "frob:registry.example/a"), ("frob", "registry.example/a")] {
            let message = reference(transport, text).unwrap_err().to_string();
            assert!(message.starts_with("'frob' is an unknown transport; known are docker://"), "{message}");
        }
    }

    #[test]
    fn says_why_an_image_cannot_boot() {
        bootable(Some("1"), "amd64", "amd64").unwrap();
        for label in [None, Some("0"), Some("")] {
            let message = bootable(label, "amd64", "amd64").unwrap_err().to_string();
            assert!(message.contains("not bootable") && message.contains("containers.bootc=1"), "{message}");
        }
        let message = bootable(Some("1"), "arm64", "amd64").unwrap_err().to_string();
        assert!(message.contains("is for arm64, this machine is amd64"), "{message}");
    }
}
