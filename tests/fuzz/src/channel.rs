//! Channel documents, and what a node makes of one.

use std::{cmp::Ordering, collections::BTreeSet, error::Error};

use chrono::{DateTime, TimeDelta};
use rocketos_model::ManifestDigest;
use rocketos_update::{
    Decision, Node, Wish,
    channel::{CURVE_POINTS, Channel, DOCUMENT_BYTES, RELEASES, TEXT_CHARS, VERSION_CHARS, Version},
    decide,
};

/// 2030-01-01.
const NOW: i64 = 1_893_456_000;
/// Releases that are decided on, and compared with each other.
const COMPARED: usize = 8;

pub(crate) fn fuzz(bytes: &[u8]) {
    let channel = match Channel::parse(bytes) {
        Ok(channel) => channel,
        Err(error) => {
            let _ = (error.to_string(), error.source().map(ToString::to_string));
            return;
        }
    };
    assert!(bytes.len() as u64 <= DOCUMENT_BYTES && channel.releases.len() <= RELEASES);
    assert!(Channel::is_name(&channel.channel));
    for release in &channel.releases {
        let texts = [&release.notes, &release.recalled];
        assert!(texts.into_iter().flatten().all(|text| text.len() <= TEXT_CHARS));
        assert!(release.version.as_str().len() <= VERSION_CHARS);
        assert!((1..=CURVE_POINTS).contains(&release.curve.points().len()));
        for point in release.curve.points() {
            let share = release.curve.share(TimeDelta::seconds(point.after.into()));
            assert!((0.0..=1.0).contains(&share), "{share}");
            let _ = release.curve.turn(point.share);
        }
    }
    for release in channel.releases.iter().take(COMPARED) {
        follow(&channel, &release.variant, &release.architecture);
    }
    order(channel.releases.iter().map(|release| &release.version).take(COMPARED).collect());
    let again = serde_json::to_vec(&channel).expect("a channel is written");
    assert_eq!(Channel::parse(&again).expect("what was written is read"), channel);
}

/// Decides for a node that this could be for.
fn follow(channel: &Channel, variant: &str, architecture: &str) {
    let running: Version = "1.0".parse().expect("a version");
    let now = DateTime::from_timestamp(NOW, 0).expect("a moment that there is");
    let node = Node {
        machine_id: "0123456789abcdef0123456789abcdef",
        variant,
        architecture,
        version: Some(&running),
        digest: ManifestDigest::from_bytes([7; 32]),
        accepted: None,
        failed: &BTreeSet::new(),
        place: None,
        lock: None,
    };
    for wish in [Wish::default(), Wish { now: true, retry: true, by_hand: true }] {
        let _ = decide(channel, &node, wish, now);
        // Who is locked takes nothing else.
        if let Decision::Take { release, .. } =
            decide(channel, &Node { lock: Some(&running), ..node.clone() }, wish, now)
        {
            assert_eq!(release.version, running);
        }
    }
}

/// Sorting relies on a total order.
fn order(versions: Vec<&Version>) {
    for a in &versions {
        assert_eq!(a.cmp(a), Ordering::Equal);
        for b in &versions {
            assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} {b}");
            for c in &versions {
                assert!(a.cmp(b).is_gt() || b.cmp(c).is_gt() || a.cmp(c).is_le(), "{a} {b} {c}");
            }
        }
    }
}
