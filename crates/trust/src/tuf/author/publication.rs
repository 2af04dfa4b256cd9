//! Everything that is served, as files in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use super::{AuthorError, Envelope, RootDocument, TargetsDocument, Top, targets::names};
use crate::tuf::{Body, Place, Transport, TransportError};

/// The folder of the documents.
pub const METADATA: &str = "metadata";
/// The folder of the targets.
pub const TARGETS: &str = "targets";
/// Snapshots that stay, with what they name, for nodes that are in the middle of an update.
pub const SNAPSHOTS_KEPT: usize = 8;

/// What is served: by path, below [`METADATA`] or [`TARGETS`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    files: BTreeMap<String, Vec<u8>>,
}

/// What the timestamp leads to.
pub(super) struct Current {
    pub(super) timestamp: u64,
    pub(super) snapshot: u64,
    pub(super) targets: Envelope,
}

/// The document's path; the timestamp's has no version (specification 6.2.1).
fn document(role: Top, version: u64) -> String {
    match role {
        Top::Timestamp => format!("{METADATA}/{}", role.role().file_name()),
        _ => format!("{METADATA}/{}", role.role().versioned_file_name(version)),
    }
}

/// The version in a document's path.
fn version(path: &str, role: Top) -> Option<u64> {
    let version: u64 = path.strip_prefix(METADATA)?.strip_prefix('/')?.split_once('.')?.0.parse().ok()?;
    (document(role, version) == path).then_some(version)
}

impl Publication {
    /// These files.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { files }
    }

    /// True where a file of this path would be one of ours: what else lies there is left alone.
    pub fn is_ours(path: &str) -> bool {
        let versioned = [Top::Root, Top::Targets, Top::Snapshot].iter().any(|role| version(path, *role).is_some());
        let target = || {
            let name = path.strip_prefix(TARGETS)?.strip_prefix('/')?;
            let (digest, rest) = name.split_once('.')?;
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (digest.len() == 64 && digest.bytes().all(hex) && !rest.is_empty()).then_some(())
        };
        versioned || path == document(Top::Timestamp, 0) || target().is_some()
    }

    /// The files, in the order in which they may be written so that whoever reads meanwhile finds all that is named: the
    /// new root last but one, the timestamp last.
    pub fn in_order(&self) -> Vec<(&str, &[u8])> {
        let mut files: Vec<_> = self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        files.sort_by_key(|(path, _)| match path {
            path if version(path, Top::Root).is_some() => 1,
            path if *path == document(Top::Timestamp, 0) => 2,
            _ => 0,
        });
        files
    }

    /// The files.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// True where there is nothing to follow.
    pub fn is_empty(&self) -> bool {
        !self.files.contains_key(&document(Top::Timestamp, 0))
    }

    /// The oldest root, with which a node may have begun.
    pub fn first_root(&self) -> Option<&[u8]> {
        let first = self.files.keys().filter_map(|path| version(path, Top::Root)).min()?;
        self.files.get(&document(Top::Root, first)).map(Vec::as_slice)
    }

    /// The newest root.
    pub(super) fn root(&self) -> Result<Option<Envelope>, AuthorError> {
        let newest = self.files.keys().filter_map(|path| version(path, Top::Root)).max();
        newest.map(|version| self.envelope(Top::Root, version)).transpose()
    }

    fn envelope(&self, role: Top, version: u64) -> Result<Envelope, AuthorError> {
        let path = document(role, version);
        let bytes = self.files.get(&path).ok_or_else(|| AuthorError::Absent(path))?;
        Envelope::parse(role, bytes)
    }

    /// Follows the timestamp; none where there is none yet.
    pub(super) fn current(&self) -> Result<Option<Current>, AuthorError> {
        if self.is_empty() {
            return Ok(None);
        }
        let timestamp = self.envelope(Top::Timestamp, 0)?;
        let snapshot = names(&timestamp, "snapshot.json")?;
        let targets = names(&self.envelope(Top::Snapshot, snapshot)?, "targets.json")?;
        let (timestamp, _) = timestamp
            .header()
            .map_err(|problem| AuthorError::Malformed { what: "the timestamp".to_owned(), problem })?;
        Ok(Some(Current { timestamp, snapshot, targets: self.envelope(Top::Targets, targets)? }))
    }

    /// A target's bytes, by its path below the targets.
    pub(super) fn target(&self, path: &str) -> Option<&[u8]> {
        self.files.get(&format!("{TARGETS}/{path}")).map(Vec::as_slice)
    }

    pub(super) fn put_document(&mut self, envelope: &Envelope, version: u64) -> Vec<u8> {
        let bytes = envelope.bytes();
        self.files.insert(document(envelope.role(), version), bytes.clone());
        bytes
    }

    pub(super) fn put_target(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(format!("{TARGETS}/{path}"), bytes);
    }

    /// Drops snapshots beyond [`SNAPSHOTS_KEPT`] up to `newest`, and what no snapshot names any more. Every root stays.
    pub(super) fn prune(&mut self, newest: u64) -> Result<(), AuthorError> {
        let mut versions: Vec<u64> = self.files.keys().filter_map(|path| version(path, Top::Snapshot)).collect();
        versions.retain(|version| *version <= newest);
        versions.sort_unstable();
        let mut kept = BTreeSet::from([document(Top::Timestamp, 0)]);
        for snapshot in versions.into_iter().rev().take(SNAPSHOTS_KEPT) {
            kept.insert(document(Top::Snapshot, snapshot));
            let targets = names(&self.envelope(Top::Snapshot, snapshot)?, "targets.json")?;
            if kept.insert(document(Top::Targets, targets)) {
                let all = TargetsDocument::read(&self.envelope(Top::Targets, targets)?)?.targets;
                kept.extend(all.iter().map(|(name, entry)| format!("{TARGETS}/{}", entry.path(name))));
            }
        }
        self.files.retain(|path, _| kept.contains(path) || version(path, Top::Root).is_some());
        Ok(())
    }

    /// Which of the current documents expires first, and when; none where there are none.
    ///
    /// # Errors
    /// When they are none of ours.
    pub fn expires(&self) -> Result<Option<(Top, SystemTime)>, AuthorError> {
        let (Some(root), Some(current)) = (self.root()?, self.current()?) else { return Ok(None) };
        let timestamp = self.envelope(Top::Timestamp, current.timestamp)?;
        let snapshot = self.envelope(Top::Snapshot, current.snapshot)?;
        let mut all = Vec::new();
        for envelope in [&root, &current.targets, &snapshot, &timestamp] {
            let role = envelope.role();
            let header = envelope.header();
            let malformed = |problem| AuthorError::Malformed { what: format!("a document of {role}"), problem };
            all.push((role, header.map_err(malformed)?.1));
        }
        Ok(all.into_iter().min_by_key(|(_, expires)| *expires))
    }

    /// The newest root, read.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn root_document(&self) -> Result<Option<RootDocument>, AuthorError> {
        self.root()?.as_ref().map(RootDocument::read).transpose()
    }
}

/// A file of a publication, handed out at once.
#[derive(Debug)]
pub struct Whole(Option<Vec<u8>>);

impl Body for Whole {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.0.take())
    }
}

impl Transport for &Publication {
    type Body = Whole;

    async fn open(&self, place: Place<'_>) -> Result<Option<Whole>, TransportError> {
        let path = match place {
            Place::Metadata(name) => format!("{METADATA}/{name}"),
            Place::Target(name) => format!("{TARGETS}/{name}"),
        };
        Ok(self.files.get(&path).map(|bytes| Whole(Some(bytes.clone()))))
    }
}
