//! Which release a node takes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rocketos_model::ManifestDigest;
use rocketos_update::{Accepted, Channel, Decision, Node, Version, Wait, Why, Wish, decide, wave};

const MACHINE: &str = "0123456789abcdef0123456789abcdef";

fn digest(version: &str) -> ManifestDigest {
    let mut bytes = [0; 32];
    bytes[..version.len()].copy_from_slice(version.as_bytes());
    ManifestDigest::from_bytes(bytes)
}

fn published() -> DateTime<Utc> {
    "2026-11-01T00:00:00Z".parse().unwrap()
}

/// Releases, each `version` and further fields in JSON.
fn channel(releases: &[(&str, &str)]) -> Channel {
    let release = |(version, more): &(&str, &str)| {
        format!(
            r#"{{"version": "{version}", "variant": "standalone", "architecture": "amd64", "digest": "{}",
                "image": "docker://registry.example/node", "published": "2026-11-01T00:00:00Z"{more}}}"#,
            digest(version)
        )
    };
    let releases = releases.iter().map(release).collect::<Vec<_>>().join(",");
    Channel::parse(format!(r#"{{"format": 1, "channel": "stable", "releases": [{releases}]}}"#).as_bytes()).unwrap()
}

/// A node of the variant and architecture that releases here are of, which did nothing before.
fn node<'a>(machine_id: &'a str, runs: &str, version: &'a Version, failed: &'a BTreeSet<ManifestDigest>) -> Node<'a> {
    Node {
        machine_id,
        variant: "standalone",
        architecture: "amd64",
        version: Some(version),
        digest: digest(runs),
        accepted: None,
        failed,
        place: None,
        lock: None,
    }
}

/// A node and what it did before.
#[derive(Clone)]
struct Case {
    runs: &'static str,
    accepted: Option<&'static str>,
    failed: &'static [&'static str],
    wish: Wish,
    after: TimeDelta,
    place: Option<u16>,
    lock: Option<&'static str>,
}

fn runs(version: &'static str) -> Case {
    let after = TimeDelta::days(30);
    Case { runs: version, accepted: Some(version), failed: &[], wish: Wish::default(), after, place: None, lock: None }
}

impl Case {
    /// The decision in a word or two.
    fn on(&self, releases: &[(&str, &str)]) -> String {
        let channel = channel(releases);
        let accepted =
            self.accepted.map(|version| Accepted { version: version.parse().unwrap(), digest: digest(version) });
        let failed: BTreeSet<_> = self.failed.iter().map(|version| digest(version)).collect();
        let version = self.runs.parse().unwrap();
        let lock = self.lock.map(|version| version.parse().unwrap());
        let node = Node {
            accepted: accepted.as_ref(),
            place: self.place,
            lock: lock.as_ref(),
            ..node(MACHINE, self.runs, &version, &failed)
        };
        match decide(&channel, &node, self.wish, published() + self.after) {
            Decision::Take { release, why: Why::Newer } => format!("take {}", release.version),
            Decision::Take { release, why: Why::Recalled(_) } => format!("recalled, take {}", release.version),
            Decision::Wait { release, wait } => {
                let what = match wait {
                    Wait::Turn { at, .. } => if at.is_some() { "turn" } else { "no turn" }.to_owned(),
                    Wait::Barrier(version) => format!("barrier {version}"),
                    Wait::Locked(version) => format!("locked to {version}"),
                    other => format!("{other:?}").to_lowercase(),
                };
                format!("wait {}: {what}", release.version)
            }
            Decision::Stuck { .. } => "stuck".to_owned(),
            Decision::UpToDate => "up to date".to_owned(),
        }
    }
}

const RECALLED: &str = r#", "recalled": "it eats disks""#;
const HALTED: &str = r#", "halted": true"#;
const CLOSED: &str = r#", "curve": [{"after": 0, "share": 0.0}]"#;

#[test]
fn takes_the_newest_and_nothing_older() {
    let releases = [("1.9", ""), ("1.10", ""), ("1.2", "")];
    assert_eq!(runs("1.2").on(&releases), "take 1.10");
    assert_eq!(runs("1.10").on(&releases), "up to date");
    assert_eq!(runs("1.11").on(&releases), "up to date", "a replayed older document");
    assert_eq!(Case { accepted: None, ..runs("1.9") }.on(&releases), "take 1.10");
    assert_eq!(Case { accepted: None, ..runs("2") }.on(&releases), "up to date");
    assert_eq!(runs("1").on(&[]), "up to date");
}

#[test]
fn takes_only_its_own_variant_and_architecture() {
    let text = serde_json::to_string(&channel(&[("2", "")])).unwrap();
    for field in ["standalone", "amd64"] {
        let text = text.replace(field, "other");
        let channel = Channel::parse(text.as_bytes()).unwrap();
        let failed = BTreeSet::new();
        let version = "1".parse().unwrap();
        let node = node(MACHINE, "1", &version, &failed);
        assert_eq!(decide(&channel, &node, Wish { now: true, ..Wish::default() }, published()), Decision::UpToDate);
    }
}

#[test]
fn rolled_back_by_hand_it_stays_back() {
    let releases = [("1", ""), ("2", "")];
    let back = Case { accepted: Some("2"), ..runs("1") };
    assert_eq!(back.on(&releases), "wait 2: rolledback");
    let by_hand = Wish { by_hand: true, ..Wish::default() };
    assert_eq!(Case { wish: by_hand, ..back.clone() }.on(&releases), "take 2");
    assert_eq!(back.on(&[("1", ""), ("2", ""), ("3", "")]), "take 3");
    assert_eq!(back.on(&[("1", ""), ("1.5", ""), ("2", "")]), "wait 2: rolledback");
    assert_eq!(back.on(&[("1", ""), ("1.5", "")]), "up to date", "never older than the newest accepted");
}

#[test]
fn leaves_what_is_recalled_at_once() {
    let closed = format!("{CLOSED}{RECALLED}");
    assert_eq!(runs("2").on(&[("1", ""), ("2", RECALLED)]), "recalled, take 1");
    assert_eq!(runs("2").on(&[("1", ""), ("2", &closed), ("3", CLOSED)]), "recalled, take 3");
    assert_eq!(runs("2").on(&[("2", RECALLED)]), "stuck");
    assert_eq!(runs("2").on(&[("1", RECALLED), ("2", RECALLED)]), "stuck");
    assert_eq!(runs("1").on(&[("1", ""), ("2", RECALLED)]), "up to date");
    // What failed here, or is halted, is no better.
    let failed = Case { failed: &["3"], ..runs("2") };
    assert_eq!(failed.on(&[("1", ""), ("2", RECALLED), ("3", "")]), "recalled, take 1");
    assert_eq!(runs("2").on(&[("1", ""), ("2", RECALLED), ("3", HALTED)]), "recalled, take 1");
}

#[test]
fn goes_on_from_what_it_went_back_to() {
    // It accepted 2, which was recalled, and left for 1.
    let left = Case { accepted: Some("2"), ..runs("1") };
    assert_eq!(left.on(&[("1", ""), ("2", RECALLED)]), "up to date");
    assert_eq!(left.on(&[("1", ""), ("1.1", ""), ("2", RECALLED)]), "take 1.1");
    assert_eq!(left.on(&[("1", ""), ("1.1", CLOSED), ("2", RECALLED)]), "wait 1.1: no turn");
}

#[test]
fn steps_over_barriers() {
    let barrier = r#", "earliest": "2""#;
    let releases = [("1", ""), ("2", ""), ("3", barrier)];
    assert_eq!(runs("1").on(&releases), "take 2");
    assert_eq!(runs("2").on(&releases), "take 3");
    assert_eq!(runs("1").on(&[("3", barrier)]), "wait 3: barrier 2");
    let all = Wish { now: true, retry: true, by_hand: true };
    assert_eq!(Case { wish: all, ..runs("1") }.on(&[("3", barrier)]), "wait 3: barrier 2", "no wish jumps a barrier");
    // Going back is no jump; going on from a recalled one is.
    assert_eq!(runs("4").on(&[("3", barrier), ("4", RECALLED)]), "recalled, take 3");
    assert_eq!(runs("1").on(&[("1", RECALLED), ("3", barrier)]), "wait 3: barrier 2");
}

#[test]
fn waits_for_halt_failure_and_turn() {
    assert_eq!(runs("1").on(&[("2", HALTED)]), "wait 2: halted");
    assert_eq!(
        Case { wish: Wish { now: true, ..Wish::default() }, ..runs("1") }.on(&[("2", HALTED)]),
        "wait 2: halted"
    );
    let failed = Case { failed: &["2"], ..runs("1") };
    assert_eq!(failed.on(&[("2", "")]), "wait 2: failed");
    assert_eq!(failed.on(&[("2", ""), ("3", "")]), "take 3");
    let accepted = Case { accepted: Some("2"), ..failed.clone() };
    assert_eq!(accepted.on(&[("2", "")]), "wait 2: failed", "it was accepted before it failed");
    let by_hand = Wish { by_hand: true, ..Wish::default() };
    assert_eq!(Case { wish: by_hand, ..accepted.clone() }.on(&[("2", "")]), "wait 2: failed");
    let retry = Wish { retry: true, by_hand: true, ..Wish::default() };
    assert_eq!(Case { wish: retry, ..accepted }.on(&[("2", "")]), "take 2");
    assert_eq!(Case { wish: Wish { retry: true, ..Wish::default() }, ..failed }.on(&[("2", "")]), "take 2");
    assert_eq!(runs("1").on(&[("2", CLOSED)]), "wait 2: no turn");
    assert_eq!(Case { wish: Wish { now: true, ..Wish::default() }, ..runs("1") }.on(&[("2", CLOSED)]), "take 2");
    // The newest is not open yet, the one before is.
    assert_eq!(runs("1").on(&[("2", ""), ("3", CLOSED)]), "take 2");
}

#[test]
fn the_turn_comes_when_it_was_said() {
    let curve = r#", "curve": [{"after": 600, "share": 0.0}, {"after": 86400, "share": 0.5}, {"after": 86400, "share": 0.6},
                    {"after": 172800, "share": 1.0}]"#;
    let channel = channel(&[("2", curve)]);
    let failed = BTreeSet::new();
    let version = "1".parse().unwrap();
    for number in 0..200 {
        let machine_id = format!("{number:032x}");
        let node = node(&machine_id, "1", &version, &failed);
        let Decision::Wait { wait: Wait::Turn { at: Some(at), position, open }, .. } =
            decide(&channel, &node, Wish::default(), published())
        else {
            panic!("nothing is open yet");
        };
        assert_eq!((position, open), (wave::position(&machine_id, &digest("2")), 0.0));
        let before = decide(&channel, &node, Wish::default(), at - TimeDelta::milliseconds(50));
        assert!(matches!(before, Decision::Wait { .. }), "{position}: {before:?}");
        assert!(matches!(decide(&channel, &node, Wish::default(), at), Decision::Take { .. }), "{position} at {at}");
    }
}

#[test]
fn says_before_its_publication_that_it_is_not_open() {
    let case = Case { after: TimeDelta::days(-1), ..runs("1") };
    assert_eq!(case.on(&[("2", "")]), "wait 2: turn");
}

#[test]
fn one_that_is_locked_takes_that_version_and_none_after() {
    let releases = [("1", ""), ("2", ""), ("3", "")];
    let locked = |runs: &'static str, lock| Case { lock: Some(lock), ..self::runs(runs) };
    assert_eq!(locked("1", "2").on(&releases), "take 2");
    assert_eq!(locked("2", "2").on(&releases), "wait 3: locked to 2");
    assert_eq!(locked("2", "2").on(&releases[..2]), "up to date");
    assert_eq!(locked("1", "4").on(&releases), "wait 3: locked to 4");
    // It is no way back, and opens nothing.
    assert_eq!(locked("3", "2").on(&releases), "up to date");
    assert_eq!(locked("1", "2").on(&[("2", HALTED), ("3", "")]), "wait 3: locked to 2");
    assert_eq!(locked("1", "2").on(&[("2", RECALLED)]), "up to date");
    // Nor is it left for what is recalled, or for a wish.
    assert_eq!(locked("2", "2").on(&[("1", ""), ("2", RECALLED), ("3", "")]), "wait 3: locked to 2");
    assert_eq!(locked("3", "2").on(&[("1", ""), ("2", ""), ("3", RECALLED)]), "recalled, take 2");
    let all = Wish { now: true, retry: true, by_hand: true };
    assert_eq!(Case { wish: all, ..locked("2", "2") }.on(&releases), "wait 3: locked to 2");
}

#[test]
fn a_place_that_was_given_stands_for_the_one_by_identity() {
    let half = r#", "curve": [{"after": 0, "share": 0.5}]"#;
    let at = |place| Case { place: Some(place), ..runs("1") }.on(&[("2", half)]);
    assert_eq!((at(0), at(1023), at(1024)), ("take 2".into(), "take 2".into(), "wait 2: no turn".into()));
    assert_eq!(at(wave::PLACES - 1), "wait 2: no turn");
}
