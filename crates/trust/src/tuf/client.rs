//! The client workflow up to the targets role (specification 5.1 to 5.6). One method per section.

use std::time::SystemTime;

use super::{
    Role, State, TargetFile, TufError,
    limits::ROOT_VERSIONS,
    metadata::{Document, Header, MetaFile, Root, Snapshot, Targets, Timestamp},
    transport::{Check, Transport, read_document},
};

/// A repository as one node sees it.
#[derive(Debug)]
pub struct Client<T> {
    pub(super) state: State,
    pub(super) transport: T,
    pub(super) root: Root,
}

/// Metadata that was trusted at the moment [`Client::refresh`] was given.
#[derive(Debug)]
pub struct Fresh<'a, T> {
    pub(super) client: &'a Client<T>,
    pub(super) now: SystemTime,
    pub(super) snapshot: Snapshot,
    pub(super) targets: Targets,
    timestamp: Timestamp,
}

impl<T: Transport> Client<T> {
    /// Loads the trusted root (5.2); asks the repository nothing.
    ///
    /// `shipped` is the root that came with the image: a node begins with it, goes on from it where it is newer than
    /// the one it keeps, and falls back to it where that is damaged.
    ///
    /// # Errors
    /// When neither is a root that its own keys signed, or the state cannot be written.
    pub fn open(state: State, shipped: Option<&[u8]>, transport: T) -> Result<Self, TufError> {
        let kept = state.read(&Role::Root)?.map(|bytes| own_root(&bytes));
        let path = state.path(&Role::Root);
        let root = match (kept, shipped.map(|bytes| Ok((own_root(bytes)?, bytes))).transpose()?) {
            (None, None) => return Err(TufError::NoRoot { path }),
            (Some(Err(source)), None) => return Err(TufError::BadRoot { path, source: source.into() }),
            (Some(Ok(kept)), Some((newer, bytes))) if newer.header.version > kept.header.version => {
                keep_root(&state, &kept, newer, bytes)?
            }
            (Some(Ok(kept)), _) => kept,
            (_, Some((shipped, bytes))) => {
                state.write(&Role::Root, bytes)?;
                shipped
            }
        };
        Ok(Self { state, transport, root })
    }

    /// Where the metadata comes from.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The trusted root's version.
    pub fn root_version(&self) -> u64 {
        self.root.header.version
    }

    /// Brings the metadata up to date. `now` is the fixed update start time (5.1): nothing that is trusted had expired by
    /// then, and [`TufError::Expired`] names it, so that a clock that is far off is noticed.
    ///
    /// # Errors
    /// At the first step that fails. What was trusted before it stays, on the disk too.
    pub async fn refresh(&mut self, now: SystemTime) -> Result<Fresh<'_, T>, TufError> {
        self.update_root(now).await?;
        let timestamp = self.update_timestamp(now).await?;
        let snapshot = self.update_snapshot(&timestamp, now).await?;
        self.state.prune(&snapshot)?;
        let verify = |document: &Document| self.root.verify(document);
        let targets = self.load_targets(&Role::Targets, &snapshot, now, verify).await?;
        Ok(Fresh { client: self, now, snapshot, targets, timestamp })
    }

    /// 5.3.
    async fn update_root(&mut self, now: SystemTime) -> Result<(), TufError> {
        for _ in 0..ROOT_VERSIONS {
            // "Try downloading version N+1 of the root metadata file" (5.3.3).
            let Some(next) = self.root.header.version.checked_add(1) else { break };
            let file = Role::Root.versioned_file_name(next);
            let Some(bytes) = read_document(&self.transport, &file, Role::Root.limit()).await? else { break };
            let document = Document::read(&Role::Root, &bytes)?;
            let root = Root::read(&document)?;
            // "signed by (1) a threshold of keys specified in the trusted root metadata file (version N), and (2) a
            // threshold of keys specified in the new root metadata file being validated" (5.3.4).
            self.root.verify(&document)?;
            root.verify(&document)?;
            // "precisely N+1" (5.3.5).
            expect_version(&Role::Root, next, root.header.version, "its file's name")?;
            // 5.3.7 and 5.3.8. Its expiry does not matter yet (5.3.6).
            self.root = keep_root(&self.state, &self.root, root, &bytes)?;
        }
        // "The expiration timestamp in the trusted root metadata file MUST be higher than the fixed update start time"
        // (5.3.10).
        expect_fresh(&Role::Root, &self.root.header, now)?;
        // "If the timestamp and / or snapshot keys have been rotated, then delete the trusted timestamp and snapshot
        // metadata files" (5.3.11).
        self.state.recover(self.root.header.version)
    }

    /// 5.4.
    async fn update_timestamp(&self, now: SystemTime) -> Result<Timestamp, TufError> {
        let role = Role::Timestamp;
        let file = role.file_name();
        let bytes = read_document(&self.transport, &file, role.limit()).await?;
        let bytes = bytes.ok_or_else(|| TufError::Missing { file })?;
        let document = Document::read(&role, &bytes)?;
        self.root.verify(&document)?;
        let new = Timestamp::read(&document)?;
        if let Some((trusted, _)) = self.kept(&role, Timestamp::read)? {
            // "In case they are equal, discard the new timestamp metadata" (5.4.3.1): what was trusted still has to be
            // fresh, and an update that was interrupted after the timestamp goes on.
            if new.header.version == trusted.header.version {
                expect_fresh(&role, &trusted.header, now)?;
                return Ok(trusted);
            }
            not_below(role.clone(), trusted.header.version, new.header.version, "the repository")?;
            // 5.4.3.2.
            not_below(Role::Snapshot, trusted.snapshot.version, new.snapshot.version, "the new timestamp")?;
        }
        expect_fresh(&role, &new.header, now)?;
        self.state.write(&role, &bytes)?;
        Ok(new)
    }

    /// 5.5.
    async fn update_snapshot(&self, timestamp: &Timestamp, now: SystemTime) -> Result<Snapshot, TufError> {
        let role = Role::Snapshot;
        let trusted = match self.kept(&role, Snapshot::read)? {
            Some((trusted, bytes)) if is_listed(&trusted.header, &bytes, &timestamp.snapshot, now) => {
                return Ok(trusted);
            }
            other => other.map(|(trusted, _)| trusted),
        };
        // 5.5.1 and 5.5.2.
        let bytes = self.fetch_listed(&role, &timestamp.snapshot).await?;
        let document = Document::read(&role, &bytes)?;
        self.root.verify(&document)?;
        let new = Snapshot::read(&document)?;
        expect_version(&role, timestamp.snapshot.version, new.header.version, "the timestamp")?;
        // "any targets metadata filename that was listed in the trusted snapshot metadata file, if any, MUST continue to
        // be listed", at no lower version (5.5.5).
        for (path, before) in trusted.iter().flat_map(|trusted| &trusted.meta) {
            let Some(after) = new.meta.get(path) else {
                return Err(TufError::Removed { role: super::name::shorten(path) });
            };
            if after.version < before.version {
                let role = listed_role(path);
                not_below(role, before.version, after.version, "the new snapshot")?;
            }
        }
        expect_fresh(&role, &new.header, now)?;
        self.state.write(&role, &bytes)?;
        Ok(new)
    }

    /// 5.6.1 to 5.6.6, for the targets role and, as 5.6.7 asks, for delegated ones; `verify` knows whose keys count.
    pub(super) async fn load_targets(
        &self,
        role: &Role,
        snapshot: &Snapshot,
        now: SystemTime,
        verify: impl Fn(&Document) -> Result<(), TufError>,
    ) -> Result<Targets, TufError> {
        let meta = snapshot.meta.get(&role.meta_path()).ok_or_else(|| TufError::NotListed { role: role.clone() })?;
        let read = |bytes: &[u8]| {
            let document = Document::read(role, bytes)?;
            verify(&document)?;
            Targets::read(&document)
        };
        if let Some(bytes) = self.state.read(role)?
            && let Ok(kept) = read(&bytes)
            && is_listed(&kept.header, &bytes, meta, now)
        {
            return Ok(kept);
        }
        let bytes = self.fetch_listed(role, meta).await?;
        let new = read(&bytes)?;
        expect_version(role, meta.version, new.header.version, "the snapshot")?;
        expect_fresh(role, &new.header, now)?;
        self.state.write(role, &bytes)?;
        Ok(new)
    }

    /// Fetches a document that another one lists, and compares it with what is said there.
    async fn fetch_listed(&self, role: &Role, meta: &MetaFile) -> Result<Vec<u8>, TufError> {
        let file = match self.root.consistent_snapshot {
            true => role.versioned_file_name(meta.version),
            false => role.file_name(),
        };
        let limit = meta.length.unwrap_or(role.limit());
        if limit > role.limit() {
            return Err(TufError::TooLarge { file, limit: role.limit() });
        }
        let bytes = read_document(&self.transport, &file, limit).await?;
        let bytes = bytes.ok_or_else(|| TufError::Missing { file: file.clone() })?;
        compare(&file, meta, &bytes).map(|()| bytes)
    }

    /// What is kept of a role, and its bytes, where it is what the trusted root's keys signed; else it counts as absent.
    fn kept<D>(
        &self,
        role: &Role,
        read: impl Fn(&Document) -> Result<D, TufError>,
    ) -> Result<Option<(D, Vec<u8>)>, TufError> {
        let Some(bytes) = self.state.read(role)? else { return Ok(None) };
        let verified = Document::read(role, &bytes).and_then(|document| {
            self.root.verify(&document)?;
            read(&document)
        });
        Ok(verified.ok().map(|document| (document, bytes)))
    }
}

impl<T> Fresh<'_, T> {
    /// The timestamp's version: what a newer one will not be below.
    pub fn timestamp_version(&self) -> u64 {
        self.timestamp.header.version
    }

    /// The snapshot's version.
    pub fn snapshot_version(&self) -> u64 {
        self.snapshot.header.version
    }

    /// The targets role's version.
    pub fn targets_version(&self) -> u64 {
        self.targets.header.version
    }

    /// The targets that the targets role itself names, its delegations apart.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &TargetFile)> {
        self.targets.targets.iter().map(|(name, file)| (name.as_str(), file))
    }

    /// When the first of the four top-level documents expires, and is to be refreshed before.
    pub fn expires(&self) -> SystemTime {
        let headers = [&self.timestamp.header, &self.snapshot.header, &self.targets.header];
        headers.iter().fold(self.client.root.header.expires, |first, header| first.min(header.expires))
    }
}

/// Compares a document with what is listed of it.
fn compare(file: &str, meta: &MetaFile, bytes: &[u8]) -> Result<(), TufError> {
    let mut check = Check::new(file, meta.length, &meta.digests);
    check.update(bytes);
    check.finish()
}

/// True where what is kept is the very document that is listed, and fresh, so that it need not be fetched.
fn is_listed(header: &Header, bytes: &[u8], meta: &MetaFile, now: SystemTime) -> bool {
    header.version == meta.version && header.expires > now && compare("", meta, bytes).is_ok()
}

/// Reads a root, and asks that its own keys signed it.
fn own_root(bytes: &[u8]) -> Result<Root, TufError> {
    if bytes.len() as u64 > Role::Root.limit() {
        return Err(TufError::TooLarge { file: Role::Root.file_name(), limit: Role::Root.limit() });
    }
    let document = Document::read(&Role::Root, bytes)?;
    let root = Root::read(&document)?;
    root.verify(&document)?;
    Ok(root)
}

/// Checks that root metadata is what a node could begin with, whenever it expires; its version.
///
/// # Errors
/// When it is no root that its own keys signed.
pub fn check_root(bytes: &[u8]) -> Result<u64, TufError> {
    own_root(bytes).map(|root| root.header.version)
}

/// Keeps a root that may be trusted in place of another.
fn keep_root(state: &State, old: &Root, new: Root, bytes: &[u8]) -> Result<Root, TufError> {
    if old.rotated_in(&new) {
        state.mark_rotation(new.header.version)?;
    }
    state.write(&Role::Root, bytes)?;
    Ok(new)
}

fn expect_version(role: &Role, expected: u64, found: u64, announced_by: &'static str) -> Result<(), TufError> {
    match found == expected {
        true => Ok(()),
        false => Err(TufError::Version { role: role.clone(), announced_by, expected, found }),
    }
}

fn not_below(role: Role, trusted: u64, found: u64, announced_by: &'static str) -> Result<(), TufError> {
    match found < trusted {
        true => Err(TufError::Rollback { role, announced_by, trusted, found }),
        false => Ok(()),
    }
}

/// "The expiration timestamp MUST be higher than the fixed update start time."
fn expect_fresh(role: &Role, header: &Header, now: SystemTime) -> Result<(), TufError> {
    match header.expires > now {
        true => Ok(()),
        false => Err(TufError::Expired { role: role.clone(), version: header.version, expires: header.expires, now }),
    }
}

/// The role that a snapshot lists under this path; for a message.
fn listed_role(path: &str) -> Role {
    let name = path.strip_suffix(".json").unwrap_or(path);
    super::DelegatedName::new(name).map_or(Role::Targets, Role::Delegated)
}
