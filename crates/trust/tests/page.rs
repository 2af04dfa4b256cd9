//! docs/trust.md is checked against what it speaks of.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use rocketos_trust::{BUNDLE_TYPE, Outcome, Policy, SIGNATURE_LISTED_AS, limits};
use support::{signatures, text, verdict_on};

const PAGE: &str = include_str!("../../../docs/trust.md");

#[test]
fn the_pages_policy_means_what_it_says() {
    let (_, policy) = PAGE.split_once("```toml\n").unwrap();
    let (policy, _) = policy.split_once("```").unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/rocketos/trust");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy.toml"), policy).unwrap();
    fs::write(folder.join("release.pub"), text("keys/ecdsa.pub")).unwrap();
    let policy = Policy::read(root.path()).unwrap();
    for (reference, expected) in [
        ("docker://registry.example/rocketos/node", Outcome::Refused),
        ("docker://registry.example/rocketos/lab/x", Outcome::Unsigned),
        ("docker://registry.example/rocketos/retired", Outcome::Refused),
        ("oci:/media/usb", Outcome::Signed),
        ("containers-storage:localhost/rocketos/dev:latest", Outcome::Unsigned),
    ] {
        let verdict = verdict_on(&policy, reference, "one", &signatures("cosign2/ecdsa"));
        assert_eq!(verdict.outcome, expected, "{verdict}");
    }
}

#[test]
fn the_page_names_limits_and_types() {
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    for words in [
        format!("payload {}", kib(limits::PAYLOAD_BYTES)),
        format!("bundle {}", kib(limits::BUNDLE_BYTES)),
        format!("a manifest of signatures {} MiB", limits::CARRIER_BYTES >> 20),
        format!("{} signatures an image", limits::SIGNATURES),
        format!("{} bits of RSA", limits::RSA_BITS_MAX),
        format!("RSA from {} bits on, exponent {}", limits::RSA_BITS, limits::RSA_EXPONENT),
        format!("key file {}", kib(limits::KEY_BYTES)),
        format!("{} keys", limits::KEYS),
        format!("{} entries", limits::ENTRIES),
        format!("{} drop-ins", limits::DROP_INS),
        BUNDLE_TYPE.to_owned(),
        SIGNATURE_LISTED_AS[1].to_owned(),
    ] {
        assert!(PAGE.contains(&words), "docs/trust.md lacks '{words}'");
    }
}

#[test]
fn the_page_names_the_limits_of_release_metadata() {
    use rocketos_trust::tuf::limits;
    let (kib, mib) = (|bytes: u64| format!("{} KiB", bytes >> 10), |bytes: u64| format!("{} MiB", bytes >> 20));
    for (what, limit) in [
        ("root document", kib(limits::ROOT_BYTES)),
        ("timestamp", kib(limits::TIMESTAMP_BYTES)),
        ("snapshot", mib(limits::SNAPSHOT_BYTES)),
        ("targets document, delegated ones too", mib(limits::TARGETS_BYTES)),
        ("target", format!("{}, or {} in memory", mib(limits::TARGET_BYTES), mib(limits::TARGET_BYTES_IN_MEMORY))),
        ("root versions followed by one update", format!("{}; the next goes on", limits::ROOT_VERSIONS)),
        ("roles visited in one search", limits::ROLES_VISITED.to_string()),
        ("roles listed by a snapshot", limits::ROLES.to_string()),
        ("delegations of one role", limits::DELEGATIONS.to_string()),
        ("keys of one document", limits::KEYS.to_string()),
        ("signatures of one document", limits::SIGNATURES.to_string()),
        ("a delegated role's name, percent-encoded", format!("{} bytes", limits::ROLE_NAME_BYTES)),
        ("a target's name", format!("{} bytes", limits::TARGET_NAME_BYTES)),
        ("a pattern of paths", format!("{} bytes", limits::PATTERN_BYTES)),
    ] {
        let row = format!("| {what} | {limit} |");
        assert!(PAGE.contains(&row), "docs/trust.md lacks '{row}'");
    }
}
