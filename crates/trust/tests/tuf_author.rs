//! What publishers draft and sign, nodes follow; what nodes would refuse is not published.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use std::time::{Duration, SystemTime};

use openssl::{
    pkey::{PKey, Private},
    rsa::Rsa,
};
use rocketos_trust::{
    PrivateKey, SignError, Signer,
    tuf::{
        Client, State, TargetName, TufError,
        author::{
            AuthorError, Draft, Envelope, Key, Online, Publication, Repository, RootDocument, SNAPSHOTS_KEPT, Top,
            check, root_changes, versions,
        },
    },
};
use support::{NOW, at, block_on};
use tempfile::TempDir;

const DAY: u64 = 24 * 60 * 60;
const YEAR: u64 = 365 * DAY;

fn private(name: &str, key: &PKey<Private>) -> PrivateKey {
    PrivateKey::from_pem(name, &key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

fn ed25519(name: &str) -> PrivateKey {
    private(name, &PKey::generate_ed25519().unwrap())
}

fn key(signer: &PrivateKey) -> Key {
    Key::new(signer.public_key().clone())
}

fn name(text: &str) -> TargetName {
    TargetName::new(text).unwrap()
}

/// Three custodians of whom two sign the root, one key of each other kind.
struct Scene {
    custodians: Vec<PrivateKey>,
    targets: PrivateKey,
    online: PrivateKey,
    repository: Repository,
    now: u64,
}

impl Scene {
    fn new() -> Self {
        let custodians = ["alice", "bob", "carol"].map(ed25519).into();
        let targets = private("targets", &PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
        let online = private("online", &PKey::ec_gen("prime256v1").unwrap());
        let repository = Repository::new(Publication::default(), Draft::default()).unwrap();
        let mut scene = Self { custodians, targets, online, repository, now: NOW };
        let mut root = RootDocument::new(1, at(NOW + YEAR));
        for custodian in &scene.custodians {
            root.add(Top::Root, key(custodian)).unwrap();
        }
        root.set_threshold(Top::Root, 2);
        root.add(Top::Targets, key(&scene.targets)).unwrap();
        for role in [Top::Snapshot, Top::Timestamp] {
            root.add(role, key(&scene.online)).unwrap();
        }
        scene.repository.draft_root(root).unwrap();
        scene.put("stable.json", b"one");
        scene
    }

    fn put(&mut self, target: &str, bytes: &[u8]) -> usize {
        let changes = vec![(name(target), Some(bytes.to_vec()))];
        self.repository.draft_targets(changes, at(self.now + 90 * DAY)).unwrap()
    }

    fn sign(&mut self) {
        for custodian in &self.custodians[..2] {
            if self.repository.draft().root.is_some() {
                self.repository.sign(custodian).unwrap();
            }
        }
        if self.repository.draft().targets.is_some() {
            self.repository.sign(&self.targets).unwrap();
        }
    }

    fn next(&self) -> Result<Publication, AuthorError> {
        let (now, soon) = (at(self.now), at(self.now + 7 * DAY));
        self.repository.publish(&Online { signers: &[&self.online], snapshot: soon, timestamp: soon, now })
    }

    /// Publishes what is signed, after the check.
    fn publish(&mut self) {
        let next = self.next().unwrap();
        let before = self.repository.published();
        let seen = (!before.is_empty()).then_some(("the directory", before));
        let scratch = TempDir::new().unwrap();
        let known = versions(before).unwrap();
        let (root, now) = (next.first_root().unwrap(), at(self.now));
        block_on(check(scratch.path(), root, seen, known, &next, now)).unwrap();
        self.repository = Repository::new(next, Draft::default()).unwrap();
    }

    fn root(&self) -> RootDocument {
        self.repository.root().unwrap()
    }
}

/// What a node with this state, which began with the first root, reads.
fn node(state: &TempDir, publication: &Publication, now: u64) -> Result<Vec<u8>, TufError> {
    let state = State::open(state.path())?;
    let mut client = Client::open(state, publication.first_root(), publication)?;
    let fresh = block_on(client.refresh(at(now)))?;
    let target = block_on(fresh.find(&name("stable.json")))?;
    block_on(fresh.fetch(&target))
}

fn said(error: &AuthorError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn a_node_follows_every_publication_and_every_rotation() {
    let mut scene = Scene::new();
    scene.sign();
    scene.publish();
    let state = TempDir::new().unwrap();
    let begun = scene.repository.published().first_root().unwrap().to_vec();
    assert_eq!(node(&state, scene.repository.published(), NOW).unwrap(), b"one");
    for role in [Top::Root, Top::Targets, Top::Snapshot] {
        let (gone, come) = match role {
            Top::Root => ("alice", "dave"),
            Top::Targets => ("targets", "targets2"),
            _ => ("online", "online2"),
        };
        let mut root = scene.root();
        let next = ed25519(come);
        root.remove(role, gone).unwrap();
        root.add(role, key(&next)).unwrap();
        // The two on line are one key here.
        if role == Top::Snapshot {
            root.remove(Top::Timestamp, gone).unwrap();
            root.add(Top::Timestamp, key(&next)).unwrap();
        }
        assert!(root_changes(Some(&scene.root()), &root).iter().any(|line| line.contains(come)));
        scene.repository.draft_root(root).unwrap();
        match role {
            Top::Root => {
                scene.sign();
                // Alice signed as one of the old, and counts for nothing among the new.
                let unsigned = scene.next().unwrap_err().to_string();
                assert!(unsigned.contains("1 of 2 signatures by root version 2, by bob"), "{unsigned}");
                scene.repository.sign(&next).unwrap();
                scene.custodians[0] = next;
            }
            Top::Targets => {
                // Nobody has to think of signing it anew.
                assert!(scene.repository.draft().targets.is_some());
                scene.targets = next;
            }
            _ => scene.online = next,
        }
        if role != Top::Root {
            scene.sign();
        }
        scene.publish();
        assert_eq!(node(&state, scene.repository.published(), NOW).unwrap(), b"one", "{role}");
        // And one that saw nothing of it.
        let late = TempDir::new().unwrap();
        assert_eq!(node(&late, scene.repository.published(), NOW).unwrap(), b"one", "{role}");
    }
    assert_eq!(scene.root().version, 4);
    assert_eq!(scene.repository.published().first_root().unwrap(), begun);
}

#[test]
fn nothing_is_published_that_too_few_signed() {
    let mut scene = Scene::new();
    let unsigned = |scene: &Scene| scene.next().unwrap_err().to_string();
    assert!(unsigned(&scene).contains("root version 1 has 0 of 2 signatures by root version 1; 2 missing"));
    scene.repository.sign(&scene.custodians[0]).unwrap();
    // The same again is no second one.
    scene.repository.sign(&scene.custodians[0]).unwrap();
    assert!(unsigned(&scene).contains("1 missing, which bob"), "{}", unsigned(&scene));
    scene.repository.sign(&scene.custodians[2]).unwrap();
    assert!(unsigned(&scene).starts_with("not enough keys signed: targets version 1 has 0 of 1"));
    let stranger = ed25519("mallory");
    let error = scene.repository.sign(&stranger).unwrap_err().to_string();
    assert!(error.contains("mallory") && error.contains("signs nothing here"), "{error}");
    scene.repository.sign(&scene.targets).unwrap();
    // What was signed and then changed is not signed; the same draft again is.
    assert_eq!(scene.put("stable.json", b"one"), 0);
    assert_eq!(scene.put("stable.json", b"two"), 1);
    assert!(unsigned(&scene).contains("targets version 1 has 0 of 1"));
    scene.repository.sign(&scene.targets).unwrap();
    let other = std::mem::replace(&mut scene.online, stranger);
    assert!(unsigned(&scene).contains("snapshot version 1 has 0 of 1"));
    scene.online = other;
    scene.publish();
    assert!(matches!(scene.repository.sign(&scene.targets), Err(AuthorError::NotEntitled { .. })));
}

#[test]
fn signatures_of_another_draft_count_for_nothing() {
    let mut scene = Scene::new();
    let mut other = scene.repository.clone();
    other.sign(&scene.targets).unwrap();
    let signed = other.draft().targets.clone().unwrap();
    assert_eq!(scene.repository.collect(&other), 1);
    assert_eq!(scene.repository.collect(&other), 0);
    scene.put("stable.json", b"two");
    assert_eq!(scene.repository.collect(&other), 0);
    // By hand: the old signature under the new document.
    let text = String::from_utf8(signed.bytes()).unwrap();
    let draft = scene.repository.draft().clone();
    let bytes = String::from_utf8(draft.targets.as_ref().unwrap().bytes()).unwrap();
    let at = |text: &str| text.find("\"signed\"").unwrap();
    let forged = format!("{}{}", &text[..at(&text)], &bytes[at(&bytes)..]);
    let targets = Some(Envelope::parse(Top::Targets, forged.as_bytes()).unwrap());
    let forged = Repository::new(Publication::default(), Draft { targets, ..draft }).unwrap();
    assert_eq!(forged.standings().unwrap()[1].missing(), 1);
}

#[test]
fn refreshing_asks_for_the_online_keys_alone_and_keeps_little() {
    let mut scene = Scene::new();
    scene.sign();
    scene.publish();
    let state = TempDir::new().unwrap();
    for turn in 0..20 {
        scene.now += DAY;
        if turn % 5 == 0 {
            scene.put("stable.json", format!("{turn}").as_bytes());
            scene.sign();
        }
        scene.publish();
        node(&state, scene.repository.published(), scene.now).unwrap();
    }
    let files = scene.repository.published().files();
    let count = |part: &str| files.keys().filter(|path| path.contains(part)).count();
    assert_eq!(count(".snapshot.json"), SNAPSHOTS_KEPT);
    assert_eq!((count(".targets.json"), count("targets/"), count(".root.json")), (2, 2, 1));
    assert!(files.keys().all(|path| Publication::is_ours(path)));
}

#[test]
fn what_expired_off_line_is_renewed_by_its_keys() {
    let mut scene = Scene::new();
    scene.sign();
    scene.publish();
    scene.now += 91 * DAY;
    let error = scene.next().unwrap_err().to_string();
    assert!(
        error.contains("targets version 1 expired at") && error.contains("release renew --role targets"),
        "{error}"
    );
    scene.repository.draft_targets(Vec::new(), at(scene.now + 90 * DAY)).unwrap();
    scene.sign();
    // What was published has expired too; who published it goes on from there.
    scene.publish();
    scene.now += YEAR;
    assert!(matches!(scene.next(), Err(AuthorError::Expired { role: Top::Root, .. })));
    let mut root = scene.root();
    root.expires = at(scene.now + YEAR);
    scene.repository.draft_root(root).unwrap();
    scene.repository.draft_targets(Vec::new(), at(scene.now + 90 * DAY)).unwrap();
    scene.sign();
    scene.publish();
    assert_eq!(node(&TempDir::new().unwrap(), scene.repository.published(), scene.now).unwrap(), b"one");
}

#[test]
fn nothing_is_published_over_what_is_newer_or_anothers() {
    let mut scene = Scene::new();
    scene.sign();
    scene.publish();
    let stale = scene.repository.clone();
    let known = versions(stale.published()).unwrap();
    scene.publish();
    let newer = scene.repository.published().clone();
    let mut mine = Scene { repository: stale, ..scene };
    let next = mine.next().unwrap();
    let root = next.first_root().unwrap().to_vec();
    let judge = |there: &Publication, root: &[u8], next: &Publication| {
        let scratch = TempDir::new().unwrap();
        block_on(check(scratch.path(), root, Some(("the destination", there)), known, next, at(NOW)))
    };
    let error = judge(&newer, &root, &next).unwrap_err().to_string();
    assert!(error.contains("the destination has timestamp version 2, and this directory published 1"), "{error}");
    let mut others = Scene::new();
    others.sign();
    let theirs = others.next().unwrap();
    let error = said(&judge(&theirs, &root, &next).unwrap_err());
    assert!(error.contains("the destination is not what") && error.contains("signed by 0"), "{error}");
    // A target whose bytes are gone.
    let mut files = next.files().clone();
    files.retain(|path, _| !path.starts_with("targets/"));
    let error = said(&judge(mine.repository.published(), &root, &Publication::new(files)).unwrap_err());
    assert!(error.contains("what would be published"), "{error}");
    mine.publish();
}

#[test]
fn drafts_that_do_not_follow_are_refused() {
    let mut scene = Scene::new();
    let first = scene.repository.draft().clone();
    scene.sign();
    scene.publish();
    let published = scene.repository.published().clone();
    // The very draft that was published is done.
    let done = Repository::new(published.clone(), first).unwrap();
    assert!(!done.is_drafted());
    let mut other = Scene::new();
    other.put("stable.json", b"another");
    let error = Repository::new(published.clone(), other.repository.draft().clone()).unwrap_err().to_string();
    assert!(error.contains("has version 1") && error.contains("release discard"), "{error}");
    // Bytes that are not what the draft names are not signed.
    scene.put("stable.json", b"two");
    let mut draft = scene.repository.draft().clone();
    draft.contents.values_mut().for_each(|bytes| *bytes = b"six".to_vec());
    let mut bent = Repository::new(published, draft).unwrap();
    assert!(matches!(bent.sign(&scene.targets), Err(AuthorError::Absent(_))));
}

#[test]
fn refuses_roots_that_nobody_could_sign_for() {
    let mut scene = Scene::new();
    let mut root = scene.root();
    for (threshold, expected) in [(0, "asks for 0 of 3"), (4, "asks for 4 of 3 keys; from 1 to 3")] {
        root.set_threshold(Top::Root, threshold);
        let error = scene.repository.draft_root(root.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut root = scene.root();
    assert!(matches!(root.add(Top::Root, key(&scene.custodians[0])), Err(AuthorError::KeyTwice { .. })));
    let error = root.remove(Top::Root, "dave").unwrap_err().to_string();
    assert!(error.contains("root has no key dave; it has alice (") && error.contains("carol ("), "{error}");
    let id = key(&scene.custodians[1]).id()[..12].to_owned();
    assert_eq!(root.remove(Top::Root, &id).unwrap().name(), "bob");
    let lines = root_changes(None, &scene.root());
    assert!(lines[0].starts_with("root is signed by 2 of 3: alice ("), "{lines:?}");
}

#[test]
fn a_signer_that_lies_is_caught() {
    struct Liar(PrivateKey);
    impl Signer for Liar {
        fn public_key(&self) -> &rocketos_trust::PublicKey {
            self.0.public_key()
        }
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
            self.0.sign(b"something else")
        }
    }
    let mut scene = Scene::new();
    let liar = Liar(scene.custodians.remove(0));
    let error = scene.repository.sign(&liar).unwrap_err().to_string();
    assert!(error.contains("is not a signature by its public key"), "{error}");
    assert_eq!(scene.repository.standings().unwrap()[0].signed.len(), 0);
    // RSA as PKCS#1 v1.5 is another scheme than metadata has.
    struct Old<'a>(&'a PrivateKey);
    impl Signer for Old<'_> {
        fn public_key(&self) -> &rocketos_trust::PublicKey {
            self.0.public_key()
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            self.0.sign(message)
        }
    }
    assert!(matches!(scene.repository.sign(&Old(&scene.targets)), Err(AuthorError::Sign(SignError::Mismatch { .. }))));
}

#[test]
fn expiry_is_written_to_the_second() {
    let mut scene = Scene::new();
    scene.sign();
    scene.publish();
    let first = scene.repository.published().expires().unwrap().unwrap();
    assert_eq!(first, (Top::Snapshot, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 7 * DAY)));
}
