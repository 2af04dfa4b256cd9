//! What is published, and the two documents above it that name it.

use std::{collections::BTreeMap, time::SystemTime};

use openssl::sha::sha256;
use serde_json::{Map, Value, json};

use super::{AuthorError, Envelope, Top};
use crate::tuf::{
    limits,
    metadata::{TargetFile, object, positive},
    name::TargetName,
};

/// What is said of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes.
    pub length: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

impl Entry {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, sha256: sha256(bytes) }
    }

    /// The path below the targets.
    pub(super) fn path(&self, name: &TargetName) -> String {
        name.path(Some(&hex::encode(self.sha256)))
    }

    /// True where these bytes are what is meant.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        *self == Self::of(bytes)
    }
}

/// The document of the targets role. It delegates to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetsDocument {
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: SystemTime,
    /// By name.
    pub targets: BTreeMap<TargetName, Entry>,
}

impl TargetsDocument {
    /// Reads a document of ours.
    ///
    /// # Errors
    /// When it is another role's, or says more than we would write again.
    pub fn read(envelope: &Envelope) -> Result<Self, AuthorError> {
        Self::take(envelope)
            .map_err(|problem| AuthorError::Malformed { what: "a document of targets".to_owned(), problem })
    }

    fn take(envelope: &Envelope) -> Result<Self, String> {
        let (version, expires) = envelope.header()?;
        let signed = envelope.signed();
        if signed.contains_key("delegations") {
            return Err("it delegates".to_owned());
        }
        let mut targets = BTreeMap::new();
        for (name, value) in object(signed.get("targets"), "targets")? {
            let file = TargetFile::read(value)?;
            let sha256 = file.sha256().ok_or("a target has no SHA-256")?;
            let name = TargetName::new(name).map_err(|error| error.to_string())?;
            targets.insert(name, Entry { length: file.length, sha256 });
        }
        Ok(Self { version, expires, targets })
    }

    /// The document, which nobody signed yet.
    ///
    /// # Errors
    /// When nodes would not read so large a one.
    pub fn envelope(&self) -> Result<Envelope, AuthorError> {
        let entry = |(name, entry): (&TargetName, &Entry)| {
            let hashes = json!({"sha256": hex::encode(entry.sha256)});
            (name.to_string(), json!({"length": entry.length, "hashes": hashes}))
        };
        if let Some((name, entry)) =
            self.targets.iter().find(|(_, entry)| entry.length > limits::TARGET_BYTES_IN_MEMORY)
        {
            let limit = limits::TARGET_BYTES_IN_MEMORY;
            return Err(AuthorError::Limit { what: format!("{name}, in bytes,"), found: entry.length, limit });
        }
        let targets: Map<_, _> = self.targets.iter().map(entry).collect();
        let envelope = Envelope::new(Top::Targets, self.version, self.expires, json!({"targets": targets}));
        let found = envelope.bytes().len() as u64;
        match found > limits::TARGETS_BYTES {
            true => Err(AuthorError::Limit {
                what: "the targets document, in bytes,".to_owned(),
                found,
                limit: limits::TARGETS_BYTES,
            }),
            false => Ok(envelope),
        }
    }
}

/// A snapshot of this targets document.
pub(super) fn snapshot(version: u64, expires: SystemTime, targets: u64, bytes: &[u8]) -> Envelope {
    Envelope::new(Top::Snapshot, version, expires, json!({"meta": {"targets.json": named(targets, bytes)}}))
}

/// A timestamp of this snapshot.
pub(super) fn timestamp(version: u64, expires: SystemTime, snapshot: u64, bytes: &[u8]) -> Envelope {
    Envelope::new(Top::Timestamp, version, expires, json!({"meta": {"snapshot.json": named(snapshot, bytes)}}))
}

fn named(version: u64, bytes: &[u8]) -> Value {
    json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hex::encode(sha256(bytes))}})
}

/// The version that a snapshot or a timestamp names.
pub(super) fn names(envelope: &Envelope, file: &str) -> Result<u64, AuthorError> {
    let meta = object(envelope.signed().get("meta"), "meta");
    let found = meta.and_then(|meta| positive(meta.get(file).and_then(|meta| meta.get("version")), "version"));
    found.map_err(|problem| AuthorError::Malformed { what: format!("a document of {}", envelope.role()), problem })
}
