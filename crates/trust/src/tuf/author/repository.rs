//! What is published, and what is drafted on top of it.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    AuthorError, Entry, Envelope, Key, Publication, RootDocument, Standing, TargetsDocument, Top,
    targets::{snapshot, timestamp},
};
use crate::{sign::Signer, tuf::TargetName};

/// Changes that are not published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The next root.
    pub root: Option<Envelope>,
    /// The next targets document.
    pub targets: Option<Envelope>,
    /// Targets that are not published yet, by their path below the targets.
    pub contents: BTreeMap<String, Vec<u8>>,
}

/// A publisher's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    published: Publication,
    draft: Draft,
}

/// Who signs at publication, and until when that holds.
pub struct Online<'a> {
    /// Of the keys of the snapshot and the timestamp; others are not used.
    pub signers: &'a [&'a dyn Signer],
    /// When the snapshot expires.
    pub snapshot: SystemTime,
    /// When the timestamp expires.
    pub timestamp: SystemTime,
    /// The present: nothing that expired is published.
    pub now: SystemTime,
}

impl Repository {
    /// Takes what was read from a disk. A draft that was published already is none any more.
    ///
    /// # Errors
    /// When either is not ours, or the draft does not follow what is published.
    pub fn new(published: Publication, mut draft: Draft) -> Result<Self, AuthorError> {
        let root = published.root()?;
        let current = published.current()?;
        let pairs = [(&mut draft.root, root), (&mut draft.targets, current.map(|current| current.targets))];
        for (drafted, published) in pairs {
            if let (Some(one), Some(other)) = (&*drafted, published)
                && one.message() == other.message()
            {
                *drafted = None;
            }
        }
        let repository = Self { published, draft };
        repository.expect_next()?;
        Ok(repository)
    }

    fn expect_next(&self) -> Result<(), AuthorError> {
        let next = |role, found, published: Option<u64>| match published.unwrap_or(0) + 1 {
            expected if expected == found => Ok(()),
            expected => Err(AuthorError::Stale { role, expected, found }),
        };
        if let Some(root) = &self.draft.root {
            let published = self.published.root_document()?.map(|root| root.version);
            next(Top::Root, RootDocument::read(root)?.version, published)?;
        }
        if let Some(targets) = &self.draft.targets {
            let published = self.published_targets()?.map(|targets| targets.version);
            next(Top::Targets, TargetsDocument::read(targets)?.version, published)?;
        }
        Ok(())
    }

    /// What is published.
    pub fn published(&self) -> &Publication {
        &self.published
    }

    /// What is drafted.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// True where something is drafted.
    pub fn is_drafted(&self) -> bool {
        self.draft.root.is_some() || self.draft.targets.is_some()
    }

    /// Drops all that is drafted.
    pub fn discard(&mut self) {
        self.draft = Draft::default();
    }

    /// The root that is published.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn published_root(&self) -> Result<Option<RootDocument>, AuthorError> {
        self.published.root_document()
    }

    /// The root that will count: the drafted one, else the published one.
    ///
    /// # Errors
    /// When there is none, or it is none of ours.
    pub fn root(&self) -> Result<RootDocument, AuthorError> {
        match &self.draft.root {
            Some(drafted) => RootDocument::read(drafted),
            None => self.published_root()?.ok_or(AuthorError::NoRoot),
        }
    }

    /// The targets document that is published.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn published_targets(&self) -> Result<Option<TargetsDocument>, AuthorError> {
        self.published.current()?.map(|current| TargetsDocument::read(&current.targets)).transpose()
    }

    /// The targets document that will count.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn targets(&self) -> Result<Option<TargetsDocument>, AuthorError> {
        match &self.draft.targets {
            Some(drafted) => TargetsDocument::read(drafted).map(Some),
            None => self.published_targets(),
        }
    }

    /// A target's bytes, checked against what a document says of it; absent where it names none.
    ///
    /// # Errors
    /// When it is named and not there.
    pub fn content(&self, of: Option<&TargetsDocument>, name: &TargetName) -> Result<Option<&[u8]>, AuthorError> {
        let Some(entry) = of.and_then(|document| document.targets.get(name)) else { return Ok(None) };
        let path = entry.path(name);
        let drafted = self.draft.contents.get(&path).map(Vec::as_slice);
        let found = drafted.into_iter().chain(self.published.target(&path)).find(|bytes| entry.fits(bytes));
        found.map(Some).ok_or(AuthorError::Absent(path))
    }

    /// Drafts the next root, and returns how many signatures of an earlier draft that costs. Where the new root's keys did
    /// not sign the targets document that is published, its next version is drafted too.
    ///
    /// # Errors
    /// When a role could never be signed for.
    pub fn draft_root(&mut self, mut root: RootDocument) -> Result<usize, AuthorError> {
        root.version = self.published_root()?.map_or(0, |root| root.version) + 1;
        let envelope = root.envelope()?;
        let lost = replace(&mut self.draft.root, envelope);
        if self.draft.targets.is_none()
            && let Some(current) = self.published.current()?
        {
            let document = TargetsDocument::read(&current.targets)?;
            if Standing::of(&current.targets, document.version, &root).missing() > 0 {
                self.draft_targets(Vec::new(), document.expires)?;
            }
        }
        Ok(lost)
    }

    /// Drafts the next targets document: these targets put in or, without bytes, taken out. Returns how many signatures of
    /// an earlier draft that costs.
    ///
    /// # Errors
    /// When nodes would not read so much.
    pub fn draft_targets(
        &mut self,
        changes: Vec<(TargetName, Option<Vec<u8>>)>,
        expires: SystemTime,
    ) -> Result<usize, AuthorError> {
        let version = self.published_targets()?.map_or(0, |targets| targets.version) + 1;
        let targets = self.targets()?.map(|document| document.targets).unwrap_or_default();
        let mut next = TargetsDocument { version, expires, targets };
        let mut contents = self.draft.contents.clone();
        for (name, bytes) in changes {
            match bytes {
                Some(bytes) => {
                    let entry = Entry::of(&bytes);
                    contents.insert(entry.path(&name), bytes);
                    next.targets.insert(name, entry);
                }
                None => drop(next.targets.remove(&name)),
            }
        }
        let envelope = next.envelope()?;
        let named: Vec<String> = next.targets.iter().map(|(name, entry)| entry.path(name)).collect();
        contents.retain(|path, _| named.contains(path) && self.published.target(path).is_none());
        self.draft.contents = contents;
        Ok(replace(&mut self.draft.targets, envelope))
    }

    /// How far the drafts are signed: of the root by the keys of the one before and its own, of the targets by the root
    /// that will count.
    ///
    /// # Errors
    /// When one of them is none of ours.
    pub fn standings(&self) -> Result<Vec<Standing>, AuthorError> {
        let mut standings = Vec::new();
        if let Some(envelope) = &self.draft.root {
            let next = RootDocument::read(envelope)?;
            for root in self.published_root()?.iter().chain([&next]) {
                standings.push(Standing::of(envelope, next.version, root));
            }
        }
        if let Some(envelope) = &self.draft.targets {
            let version = TargetsDocument::read(envelope)?.version;
            standings.push(Standing::of(envelope, version, &self.root()?));
        }
        Ok(standings)
    }

    /// Signs whatever of the drafts the signer's key is entitled to, and returns whose documents that was.
    ///
    /// # Errors
    /// When it is entitled to nothing, a draft is not whole, or no signature comes.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<Vec<Top>, AuthorError> {
        let key = Key::new(signer.public_key().clone());
        let standings = self.standings()?;
        let named = key.id().to_owned();
        let (published, root) = (self.published_root()?, self.root()?);
        let has = |root: &RootDocument, role| root.holders(role).keys.contains(&named);
        let mut signed = Vec::new();
        let before = published.as_ref().is_some_and(|published| has(published, Top::Root));
        if (before || has(&root, Top::Root))
            && let Some(envelope) = &mut self.draft.root
        {
            root.envelope()?;
            envelope.sign(signer)?;
            signed.push(Top::Root);
        }
        if has(&root, Top::Targets) && self.draft.targets.is_some() {
            let document = self.targets()?;
            for name in document.iter().flat_map(|document| document.targets.keys()) {
                self.content(document.as_ref(), name)?;
            }
            if let Some(envelope) = &mut self.draft.targets {
                envelope.sign(signer)?;
                signed.push(Top::Targets);
            }
        }
        match signed.is_empty() {
            false => Ok(signed),
            true => {
                let open: Vec<_> = standings.iter().map(ToString::to_string).collect();
                let wanted = if open.is_empty() { "nothing is drafted".to_owned() } else { open.join("; ") };
                Err(AuthorError::NotEntitled { key: key.to_string(), wanted })
            }
        }
    }

    /// Takes the signatures of another copy of this directory, and returns how many were new. A copy whose draft is another
    /// one gives none.
    pub fn collect(&mut self, other: &Self) -> usize {
        let pairs = [(&mut self.draft.root, &other.draft.root), (&mut self.draft.targets, &other.draft.targets)];
        pairs.into_iter().filter_map(|(own, other)| own.as_mut()?.collect(other.as_ref()?)).sum()
    }

    /// What will be served next: the drafts, as far as there are any, under a new snapshot and timestamp.
    ///
    /// # Errors
    /// When signatures are missing or something expired.
    pub fn publish(&self, online: &Online<'_>) -> Result<Publication, AuthorError> {
        self.expect_next()?;
        let root = self.root()?;
        let current = self.published.current()?;
        let (timestamp_version, snapshot_version) =
            current.as_ref().map_or((1, 1), |current| (current.timestamp + 1, current.snapshot + 1));
        let drafted = self.draft.targets.as_ref();
        let targets = drafted.or(current.as_ref().map(|current| &current.targets)).ok_or(AuthorError::NoRoot)?;
        let document = TargetsDocument::read(targets)?;
        let mut unsigned = self.standings()?;
        if drafted.is_none() {
            unsigned.push(Standing::of(targets, document.version, &root));
        }
        unsigned.retain(|standing| standing.missing() > 0);
        if !unsigned.is_empty() {
            return Err(AuthorError::Unsigned(unsigned));
        }
        let mut next = self.published.clone();
        let expiring = [(Top::Root, root.version, root.expires), (Top::Targets, document.version, document.expires)];
        for (role, version, expires) in expiring {
            if expires <= online.now {
                return Err(AuthorError::Expired { role, version, expires });
            }
        }
        if let Some(envelope) = &self.draft.root {
            next.put_document(envelope, root.version);
        }
        let bytes = next.put_document(targets, document.version);
        for (name, entry) in &document.targets {
            let content = self.content(Some(&document), name)?;
            next.put_target(&entry.path(name), content.unwrap_or_default().to_vec());
        }
        let mut made = snapshot(snapshot_version, online.snapshot, document.version, &bytes);
        sign_online(&mut made, snapshot_version, &root, online)?;
        let bytes = next.put_document(&made, snapshot_version);
        let mut made = timestamp(timestamp_version, online.timestamp, snapshot_version, &bytes);
        sign_online(&mut made, timestamp_version, &root, online)?;
        next.put_document(&made, timestamp_version);
        next.prune(snapshot_version)?;
        Ok(next)
    }
}

/// Puts a draft in place of another, and returns how many signatures that one had. The same one again keeps them.
fn replace(place: &mut Option<Envelope>, next: Envelope) -> usize {
    match place {
        Some(before) if before.message() == next.message() => 0,
        _ => place.replace(next).map_or(0, |before| before.signatures()),
    }
}

fn sign_online(
    envelope: &mut Envelope,
    version: u64,
    root: &RootDocument,
    online: &Online<'_>,
) -> Result<(), AuthorError> {
    for signer in online.signers {
        let key = Key::new(signer.public_key().clone());
        if root.holders(envelope.role()).keys.contains(key.id()) {
            envelope.sign(*signer)?;
        }
    }
    let standing = Standing::of(envelope, version, root);
    match standing.missing() {
        0 => Ok(()),
        _ => Err(AuthorError::Unsigned(vec![standing])),
    }
}
