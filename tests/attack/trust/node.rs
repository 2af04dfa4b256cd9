//! A node: resolves, judges, fetches, commits, as `rocketctl upgrade` does.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use rocketos_model::ImageReference;
use rocketos_oci::{Patience, Reader, ReaderConfig, Resolved};
use rocketos_store::{Image, Store, Verity};
use rocketos_trust::{Outcome, Policy, Subject, judge};
use tempfile::TempDir;

use crate::{exit::causes, signatures::Found};

/// A store, a reader and a policy.
pub struct Node {
    folder: TempDir,
    pub store: Store,
    pub reader: Reader,
    pub policy: Policy,
}

/// How long the servers of these tests may be silent or drip, and how often they may fail.
pub const PATIENCE: Patience = Patience {
    attempts: 2,
    first_delay: Duration::from_millis(10),
    stall: Duration::from_millis(300),
    drip: Duration::from_millis(600),
};

/// Reads from this registry without TLS.
pub fn reader(conf: &Path) -> Reader {
    let config = ReaderConfig { registries_conf: Some(conf.to_owned()), patience: PATIENCE, ..ReaderConfig::default() };
    Reader::new(config).unwrap()
}

impl Node {
    pub fn new(conf: &Path, policy: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::init(&folder.path().join("store"), Verity::Optional).unwrap();
        let policy = Policy::parse(Path::new("policy.toml"), policy).unwrap();
        Self { folder, store, reader: reader(conf), policy }
    }

    /// Brings an image; the message of what refused it.
    pub async fn take(&self, reference: &str) -> Result<Image, String> {
        let reference: ImageReference = reference.parse().unwrap();
        let resolved = self.reader.resolve(&reference).await.map_err(|error| causes(&error))?;
        self.judge(&resolved).await?;
        self.reader.fetch(&resolved, &self.store, &()).await.map_err(|error| causes(&error))?;
        let image = self.store.commit_image(&resolved.manifest, &resolved.config).map_err(|error| causes(&error))?;
        assert_eq!(image.manifest_digest, resolved.manifest_digest);
        Ok(image)
    }

    /// As `Guard::judge` of `rocketctl` does, which `image verify` shows.
    pub async fn judge(&self, resolved: &Resolved) -> Result<(), String> {
        let mut refused = Err("nothing was judged".to_owned());
        for bytes in std::iter::once(&resolved.manifest).chain(&resolved.indexes) {
            let subject = Subject::of(bytes);
            let mut found = Found::default();
            found.gather(&mut resolved.beside().unwrap(), subject.digest()).await;
            let verdict = judge(&self.policy, &resolved.reference, &subject, &found.signatures);
            match (verdict.outcome, found.failure) {
                (Outcome::Signed, _) => return Ok(()),
                (_, Some(failure)) => return Err(causes(&failure)),
                (_, None) => refused = verdict.require().map_err(|refused| causes(&refused)),
            }
        }
        refused
    }

    /// Every file of the store but objects, which nothing names yet, with size and inode.
    pub fn names(&self) -> BTreeMap<String, (u64, u64)> {
        let mut found = BTreeMap::new();
        list(&self.folder.path().join("store"), &mut found);
        found.retain(|path, _| !path.contains("/objects/"));
        found
    }

    /// How many objects the store has.
    pub fn objects(&self) -> usize {
        let mut found = BTreeMap::new();
        list(&self.folder.path().join("store/objects"), &mut found);
        found.len()
    }
}

fn list(folder: &Path, found: &mut BTreeMap<String, (u64, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let meta = entry.path().symlink_metadata().unwrap();
        match meta.is_dir() {
            true => list(&entry.path(), found),
            false => drop(found.insert(entry.path().display().to_string(), (meta.len(), meta.ino()))),
        }
    }
}
