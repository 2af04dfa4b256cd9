//! What a channel's document may be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::cmp::Ordering;

use chrono::TimeDelta;
use rocketos_update::channel::{Channel, ChannelError, Curve, Point, RELEASES, Version};

fn document(releases: &str) -> String {
    format!(r#"{{"format": 1, "channel": "stable", "more": {{}}, "releases": [{releases}]}}"#)
}

fn release(version: &str, more: &str) -> String {
    let zeros = "0".repeat(64);
    format!(
        r#"{{"version": "{version}", "variant": "v", "architecture": "amd64", "digest": "sha256:{zeros}",
            "image": "docker://registry.example/node", "published": "2026-11-01T00:00:00Z"{more}}}"#
    )
}

fn refusal(text: &str) -> String {
    let error = Channel::parse(text.as_bytes()).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn reads_what_it_writes_and_passes_over_what_is_new() {
    let text = document(&release("1.0", r#", "notes": "n", "halted": true, "later": [1]"#));
    let channel = Channel::parse(text.as_bytes()).unwrap();
    let again = serde_json::to_vec(&channel).unwrap();
    assert_eq!(Channel::parse(&again).unwrap(), channel);
    assert!(channel.releases[0].halted && channel.releases[0].earliest.is_none());
}

#[test]
fn refuses_what_is_unsound() {
    let curve = |points: &str| document(&release("1", &format!(r#", "curve": [{points}]"#)));
    for (text, what) in [
        ("[]".to_owned(), "does not parse"),
        (r#"{"format": 2, "channel": 7}"#.to_owned(), "has format 2"),
        (r#"{"format": 1, "channel": "No Name"}"#.to_owned(), "not a channel's name"),
        (document(&release("", "")), "not a version"),
        (document(&release("1/2", "")), "not a version"),
        (document(&[release("1", ""), release("1", "")].join(",")), "is there twice"),
        (document(&release("1", "").replace("docker://registry.example/node", "oci:/tmp")), "not in a registry"),
        (curve(""), "1 to 64 points"),
        (curve(r#"{"after": 0, "share": 1.5}"#), "is not a share"),
        (curve(r#"{"after": 4000000000, "share": 1}"#), "365 days"),
        (curve(r#"{"after": 9, "share": 0}, {"after": 8, "share": 1}"#), "never fall"),
        (curve(r#"{"after": 1, "share": 0.5}, {"after": 2, "share": 0.4}"#), "never fall"),
        (document(&release("1", &format!(r#", "notes": "{}""#, "n".repeat(9000)))), "at most 8192"),
        (document(&vec![release("1", ""); RELEASES + 1].join(",")), "at most 512"),
    ] {
        let said = refusal(&text);
        assert!(said.contains(what), "{said}");
    }
    let long = vec![b' '; (1 << 20) + 1];
    assert!(matches!(Channel::parse(&long), Err(ChannelError::TooLong { .. })));
}

#[test]
fn compares_versions_as_the_loader_does() {
    let version = |text: &str| text.parse::<Version>().unwrap();
    for (low, high) in [("1.2", "1.10"), ("1.0~rc1", "1.0"), ("1.0", "1.0^1"), ("1.0", "1.0-1"), ("1.0.1", "1.1")] {
        assert_eq!(version(low).cmp(&version(high)), Ordering::Less, "{low} {high}");
    }
}

#[test]
fn a_curve_is_straight_between_its_points() {
    let point = |after, share| Point { after, share };
    let curve = Curve::try_from(vec![point(100, 0.1), point(200, 0.3), point(200, 0.5), point(300, 0.5)]).unwrap();
    let share = |seconds: f64| curve.share(TimeDelta::milliseconds((seconds * 1000.0) as i64));
    for (seconds, expected) in [(-5.0, 0.0), (99.0, 0.0), (100.0, 0.1), (150.0, 0.2), (200.0, 0.5), (1e6, 0.5)] {
        assert!((share(seconds) - expected).abs() < 1e-9, "{seconds}: {}", share(seconds));
    }
    assert_eq!(curve.turn(0.5), None, "it ends there");
    for position in [0.0, 0.05, 0.2, 0.3, 0.4, 0.499] {
        let turn = curve.turn(position).unwrap();
        assert!(curve.share(turn) > position, "{position}: {turn}");
    }
    assert!(Curve::at_once().turn(0.999_999).unwrap() < TimeDelta::seconds(1));
}
