//! Attacks, one test each: what a repository, a mirror or somebody between may try. Each begins with a node that was up
//! to date, and ends with the metadata it had.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use std::sync::atomic::Ordering;

use rocketos_trust::tuf::{Client, Role, TufError, limits};
use serde_json::{Value, json};
use support::{EARLIER, Key, LATER, Node, Repository, Served, TOP, canonical, signed};

/// A repository at version 2 with a target, and a node that has it.
fn up_to_date() -> (Repository, Node) {
    let mut repository = Repository::new();
    repository.target("targets", "release.json", b"release");
    repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    (repository, node)
}

/// The roles that stand before `role` in an update.
fn before(role: &str) -> usize {
    TOP.iter().position(|top| *top == role).unwrap()
}

/// Publishes a role and all that announces it.
fn publish_up(repository: &mut Repository, role: &str) {
    for announcing in ["root", "targets", "snapshot", "timestamp"] {
        let below = match role {
            "root" => announcing == "root",
            role => announcing == role || before(announcing) < before(role),
        };
        if below && (announcing != "root" || role == "root") {
            repository.publish(&[announcing]);
        }
    }
}

#[test]
fn refuses_each_expired_role() {
    for role in TOP {
        let (mut repository, node) = up_to_date();
        repository.document(role)["expires"] = json!(EARLIER);
        publish_up(&mut repository, role);
        match node.refresh(&repository).unwrap_err() {
            TufError::Expired { role: found, version, .. } => assert_eq!((found.name(), version), (role, 3)),
            other => panic!("{other}"),
        }
        // Those before it were taken, and of the root itself the new version, as 5.3.10 has it.
        let mut expected = [Some(2); 4];
        match role {
            "root" => expected[0] = Some(3),
            role => expected[1..before(role)].fill(Some(3)),
        }
        assert_eq!(node.versions(), expected, "{role}");
    }
}

#[test]
fn expires_at_the_very_second() {
    let (repository, mut node) = up_to_date();
    node.now = support::NOW + 31 * 86400 - 1;
    node.refresh(&repository).unwrap();
    node.now += 1;
    assert!(matches!(node.refresh(&repository), Err(TufError::Expired { role: Role::Root, .. })), "{LATER}");
}

#[test]
fn refuses_a_frozen_timestamp() {
    let (mut repository, mut node) = up_to_date();
    repository.document("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["timestamp"]);
    node.refresh(&repository).unwrap();
    // The same bytes two days later: the version is the trusted one, and too old.
    node.now += 2 * 86400;
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::Expired { role: Role::Timestamp, version: 3, .. }));
    let text = error.to_string();
    for part in ["timestamp", "2030-01-02T00:00:00Z", "2030-01-03T00:00:00Z", "clock"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn refuses_each_role_rolled_back() {
    let rolled_back = |error| match error {
        TufError::Rollback { role, trusted, found, .. } => (role.name().to_owned(), trusted, found),
        other => panic!("{other}"),
    };
    // The timestamp itself.
    let (mut repository, node) = up_to_date();
    repository.publish_as("timestamp", 1);
    assert_eq!(rolled_back(node.refresh(&repository).unwrap_err()), ("timestamp".to_owned(), 2, 1));
    // A new timestamp with an old snapshot.
    let (mut repository, node) = up_to_date();
    repository.publish_as("snapshot", 1);
    repository.publish(&["timestamp"]);
    assert_eq!(rolled_back(node.refresh(&repository).unwrap_err()), ("snapshot".to_owned(), 2, 1));
    assert_eq!(node.versions(), [Some(2); 4]);
    // A new snapshot with old targets, at the top and delegated.
    let (mut repository, node) = up_to_date();
    repository.publish_as("targets", 1);
    repository.publish(&["snapshot", "timestamp"]);
    assert_eq!(rolled_back(node.refresh(&repository).unwrap_err()), ("targets".to_owned(), 2, 1));
    assert_eq!(node.versions(), [Some(2), Some(3), Some(2), Some(2)]);
    let (mut repository, node) = up_to_date();
    repository.delegate("targets", "team", json!({"paths": ["team/*"]}));
    repository.publish_as("team", 7);
    repository.publish(&["targets", "snapshot", "timestamp"]);
    node.refresh(&repository).unwrap();
    repository.publish_as("team", 6);
    repository.publish(&["snapshot", "timestamp"]);
    assert_eq!(rolled_back(node.refresh(&repository).unwrap_err()), ("team".to_owned(), 7, 6));
    // A root under the next one's name.
    let (repository, node) = up_to_date();
    let mut repository = repository;
    let old = repository.bytes("2.root.json");
    repository.files.insert("3.root.json".to_owned(), Served::Bytes(old));
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::Version { role: Role::Root, expected: 3, found: 2, .. }), "{error}");
}

#[test]
fn refuses_a_root_that_skips_a_version() {
    let (mut repository, node) = up_to_date();
    repository.publish_as("root", 4);
    let skipped = repository.bytes("4.root.json");
    repository.files.insert("3.root.json".to_owned(), Served::Bytes(skipped));
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::Version { role: Role::Root, expected: 3, found: 4, .. }), "{error}");
    assert_eq!(node.version("root"), Some(2));
}

#[test]
fn refuses_a_snapshot_that_forgets_a_role() {
    let (mut repository, node) = up_to_date();
    repository.delegate("targets", "team", json!({"paths": ["team/*"]}));
    repository.publish(&["team", "targets", "snapshot", "timestamp"]);
    node.refresh(&repository).unwrap();
    repository.document("snapshot")["meta"].as_object_mut().unwrap().remove("team.json");
    repository.publish(&["snapshot", "timestamp"]);
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(&error, TufError::Removed { role } if role == "team.json"), "{error}");
}

#[test]
fn refuses_fewer_signatures_than_the_threshold() {
    for role in TOP {
        let (mut repository, node) = up_to_date();
        repository.give_keys(role, vec![Key::ed25519(), Key::ecdsa(), repository.keys[role][0].clone()], 2);
        repository.publish(&["root"]);
        // Two of three are enough.
        let all = repository.keys[role].clone();
        repository.keys.insert(role.to_owned(), all[1..].to_vec());
        publish_up(&mut repository, role);
        node.refresh(&repository).unwrap();
        repository.keys.insert(role.to_owned(), all[2..].to_vec());
        publish_up(&mut repository, role);
        let error = node.refresh(&repository).unwrap_err();
        assert!(
            matches!(&error, TufError::Threshold { threshold: 2, found: 1, role: r, .. } if r.name() == role),
            "{error}"
        );
    }
}

#[test]
fn counts_a_key_once_under_two_ids() {
    let (mut repository, node) = up_to_date();
    let key = Key::ed25519();
    repository.give_keys("timestamp", vec![key.clone(), key.twin()], 2);
    repository.publish(&["root", "timestamp"]);
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::Threshold { role: Role::Timestamp, threshold: 2, found: 1, .. }), "{error}");
}

#[test]
fn refuses_an_id_that_signs_twice() {
    let (mut repository, node) = up_to_date();
    let twice = vec![repository.keys["timestamp"][0].clone(); 2];
    repository.keys.insert("timestamp".to_owned(), twice);
    repository.publish(&["timestamp"]);
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(&error, TufError::Malformed { problem, .. } if problem.contains("signs twice")), "{error}");
}

#[test]
fn refuses_keys_of_strangers_and_of_other_roles() {
    for role in TOP {
        let (mut repository, node) = up_to_date();
        let stranger = Key::ed25519();
        let other = repository.keys[if role == "snapshot" { "targets" } else { "snapshot" }].clone();
        repository.keys.insert(role.to_owned(), [other, vec![stranger]].concat());
        publish_up(&mut repository, role);
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(&error, TufError::Threshold { found: 0, role: r, .. } if r.name() == role), "{error}");
    }
}

#[test]
fn refuses_a_root_signed_by_the_old_keys_alone_or_the_new_ones_alone() {
    for by_old in [true, false] {
        let (mut repository, node) = up_to_date();
        let old = repository.keys["root"].clone();
        let new = Key::ed25519();
        repository.give_keys("root", vec![new.clone()], 1);
        repository.keys.insert("root".to_owned(), if by_old { old } else { vec![new] });
        repository.publish(&["root"]);
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(error, TufError::Threshold { role: Role::Root, .. }), "{error}");
        assert_eq!(node.version("root"), Some(2));
    }
}

#[test]
fn refuses_a_key_under_an_id_that_is_not_its_own() {
    let (mut repository, node) = up_to_date();
    let root = repository.document("root");
    let stranger = Key::ed25519();
    let id = root["roles"]["timestamp"]["keyids"][0].as_str().unwrap().to_owned();
    root["keys"][&id] = stranger.public;
    repository.publish(&["root"]);
    let error = node.refresh(&repository).unwrap_err();
    assert!(
        matches!(&error, TufError::Malformed { problem, .. } if problem.contains("stands under the id")),
        "{error}"
    );
}

#[test]
fn refuses_rsa_in_another_padding_than_the_scheme_says() {
    let (mut repository, node) = up_to_date();
    let key = Key::rsa();
    repository.give_keys("timestamp", vec![key.clone()], 1);
    repository.publish(&["root", "timestamp"]);
    let mut document: Value = serde_json::from_slice(&repository.bytes("timestamp.json")).unwrap();
    document["signatures"][0]["sig"] = json!(hex::encode(key.sign_pkcs1(&canonical(&document["signed"]))));
    repository.serve("timestamp", 3, &serde_json::to_vec(&document).unwrap());
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::Threshold { role: Role::Timestamp, .. }), "{error}");
}

#[test]
fn refuses_documents_that_do_not_belong_together() {
    for hashes in [false, true] {
        // The newest timestamp, and the snapshot of another moment under its name.
        let (mut repository, node) = up_to_date();
        repository.hashes = hashes;
        repository.publish(&["targets", "snapshot"]);
        let other = repository.bytes("3.snapshot.json");
        repository.publish(&["targets", "snapshot", "timestamp"]);
        repository.files.insert("4.snapshot.json".to_owned(), Served::Bytes(other));
        let error = node.refresh(&repository).unwrap_err();
        match hashes {
            true => assert!(matches!(error, TufError::Digest { .. } | TufError::Length { .. }), "{error}"),
            false => assert!(matches!(error, TufError::Version { role: Role::Snapshot, found: 3, .. }), "{error}"),
        }
        // The same of targets.
        let (mut repository, node) = up_to_date();
        repository.hashes = hashes;
        repository.publish(&["targets", "snapshot", "timestamp"]);
        let other = repository.bytes("2.targets.json");
        repository.files.insert("3.targets.json".to_owned(), Served::Bytes(other));
        let error = node.refresh(&repository).unwrap_err();
        match hashes {
            true => assert!(matches!(error, TufError::Digest { .. } | TufError::Length { .. }), "{error}"),
            false => assert!(matches!(error, TufError::Version { role: Role::Targets, found: 2, .. }), "{error}"),
        }
        assert_eq!(node.versions(), [Some(2), Some(3), Some(3), Some(2)]);
    }
}

#[test]
fn reads_no_more_than_the_limit_of_endless_files() {
    for (file, limit) in [
        ("3.root.json", limits::ROOT_BYTES),
        ("timestamp.json", limits::TIMESTAMP_BYTES),
        ("3.snapshot.json", limits::SNAPSHOT_BYTES),
        ("3.targets.json", limits::TARGETS_BYTES),
    ] {
        let (mut repository, node) = up_to_date();
        repository.publish(&["targets", "snapshot", "timestamp"]);
        repository.files.insert(file.to_owned(), Served::Endless);
        repository.sent.store(0, Ordering::Relaxed);
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(error, TufError::TooLarge { limit: found, .. } if found == limit), "{error}");
        // One piece more than the limit, and the documents before it.
        assert!(repository.sent.load(Ordering::Relaxed) < limit + (32 << 10), "{file}");
    }
    // A length that was signed is a limit too, and one beyond ours is not believed.
    let (mut repository, node) = up_to_date();
    repository.hashes = true;
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let length = repository.bytes("3.snapshot.json").len() as u64;
    repository.files.insert("3.snapshot.json".to_owned(), Served::Endless);
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::TooLarge { limit, .. } if limit == length), "{error}");
    repository.document("timestamp")["meta"]["snapshot.json"]["length"] = json!(u64::MAX);
    repository.publish(&["timestamp"]);
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::TooLarge { limit: limits::SNAPSHOT_BYTES, .. }), "{error}");
}

#[test]
fn refuses_targets_that_are_not_what_was_signed() {
    let path = |repository: &Repository| {
        let name = repository.files.keys().find(|name| name.len() > 70 && name.len() < 100);
        name.unwrap().clone()
    };
    for (content, expected) in [("releasf", "digest"), ("release!", "more than 7 bytes"), ("rel", "has 3 bytes")] {
        let (mut repository, node) = up_to_date();
        let path = path(&repository);
        repository.files.insert(path, Served::Bytes(content.into()));
        let error = node.read(&repository, "release.json").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (mut repository, node) = up_to_date();
    let path = path(&repository);
    repository.files.insert(path.clone(), Served::Endless);
    let error = node.read(&repository, "release.json").unwrap_err();
    assert!(matches!(error, TufError::TooLarge { limit: 7, .. }), "{error}");
    repository.files.remove(&path);
    let error = node.read(&repository, "release.json").unwrap_err();
    assert!(matches!(error, TufError::Missing { .. }), "{error}");
    // Only digests that cannot be computed here.
    repository.document("targets")["targets"]["release.json"]["hashes"] = json!({"md5": "00"});
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let error = node.read(&repository, "release.json").unwrap_err();
    assert!(matches!(error, TufError::Malformed { role: Role::Targets, .. }), "{error}");
    // A length that no node takes, whoever signed it.
    repository.target("targets", "release.json", b"release");
    repository.document("targets")["targets"]["release.json"]["length"] = json!(limits::TARGET_BYTES + 1);
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let error = node.read(&repository, "release.json").unwrap_err();
    assert!(matches!(error, TufError::TooLarge { .. }), "{error}");
}

#[test]
fn refuses_any_flipped_byte() {
    let (mut repository, _) = up_to_date();
    repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    for (file, role) in [("3.root.json", 0), ("timestamp.json", 1), ("3.snapshot.json", 2), ("3.targets.json", 3)] {
        let good = repository.bytes(file);
        // Each byte of the smallest document, some of the others'.
        let step = if role == 1 { 1 } else { 7 };
        for at in (0..good.len()).step_by(step).filter(|at| !good[*at].is_ascii_whitespace()) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            repository.files.insert(file.to_owned(), Served::Bytes(bad));
            let node = Node::new(&repository);
            node.refresh(&repository).expect_err(&format!("{file} with another byte {at}"));
            assert_ne!(node.versions()[role], Some(3), "{file} at {at}");
        }
        repository.files.insert(file.to_owned(), Served::Bytes(good));
    }
}

#[test]
fn refuses_documents_of_another_shape() {
    let (mut repository, node) = up_to_date();
    repository.document("timestamp")["version"] = json!(3);
    let good = repository.document("timestamp").clone();
    let keys = repository.keys["timestamp"].clone();
    let mut serve = |bytes: &[u8]| {
        repository.serve("timestamp", 3, bytes);
        node.refresh(&repository)
    };
    for (field, value) in [
        ("_type", json!("snapshot")),
        ("_type", Value::Null),
        ("spec_version", json!("2.0.0")),
        ("spec_version", json!(1)),
        ("version", json!(0)),
        ("version", json!(-3)),
        ("version", json!("3")),
        ("version", json!(3.0)),
        ("expires", json!("2030-02-01")),
        ("expires", json!(1_900_000_000)),
        ("meta", json!([])),
        ("meta", json!({})),
        ("meta", json!({"snapshot.json": {"version": 2, "length": -1}})),
        ("meta", json!({"snapshot.json": {"version": 2, "hashes": {}}})),
        ("meta", json!({"snapshot.json": {"version": 2, "hashes": {"sha256": "00"}}})),
    ] {
        let mut document = good.clone();
        document[field] = value;
        let error = serve(&serde_json::to_vec(&signed(&document, &keys)).unwrap()).unwrap_err();
        assert!(matches!(error, TufError::Malformed { .. }), "{field}: {error}");
    }
    let text = String::from_utf8(serde_json::to_vec(&signed(&good, &keys)).unwrap()).unwrap();
    let deep = format!("{{\"signatures\":[],\"signed\":{}1{}}}", "[".repeat(9000), "]".repeat(9000));
    for bytes in [
        "",
        "null",
        "[]",
        "{}",
        "\u{feff}{}",
        &text[..text.len() - 1],
        &format!("{text}x"),
        // A field twice: each reader could believe another.
        &text.replacen("\"version\":3", "\"version\":3,\"version\":3", 1),
        &text.replacen("\"signed\"", "\"signed\":{},\"signed\"", 1),
        &text.replacen("\"signatures\":[", "\"signatures\":[7,", 1),
        &deep,
    ] {
        let error = serve(bytes.as_bytes()).unwrap_err();
        assert!(matches!(error, TufError::Malformed { .. }), "{error}");
    }
    let error = serve(&[b"\xff\xfe", text.as_bytes()].concat()).unwrap_err();
    assert!(matches!(error, TufError::Malformed { .. }), "{error}");
    // And the good one is taken.
    serve(text.as_bytes()).unwrap();
}

#[test]
fn a_junk_signature_does_no_harm_beside_a_good_one() {
    let (mut repository, node) = up_to_date();
    let other = Key::ecdsa();
    repository.give_keys("timestamp", vec![repository.keys["timestamp"][0].clone(), other.clone()], 1);
    repository.publish(&["root", "timestamp"]);
    for junk in ["", "zz", "00", &"ab".repeat(4000)] {
        let mut document: Value = serde_json::from_slice(&repository.bytes("timestamp.json")).unwrap();
        document["signatures"][1]["sig"] = json!(junk);
        repository.serve("timestamp", 3, &serde_json::to_vec(&document).unwrap());
        node.refresh(&repository).unwrap();
        repository.publish(&["timestamp"]);
    }
}

#[test]
fn says_of_a_missing_file_which_and_what_to_do() {
    let (mut repository, node) = up_to_date();
    repository.publish(&["targets", "snapshot", "timestamp"]);
    repository.files.remove("3.targets.json");
    let error = node.refresh(&repository).unwrap_err().to_string();
    assert!(error.contains("3.targets.json") && error.contains("try again"), "{error}");
    assert_eq!(node.versions(), [Some(2), Some(3), Some(3), Some(2)]);
}

/// Pointers to every value below this one (RFC 6901).
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                pointers(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

#[test]
fn any_value_in_any_place_is_taken_or_refused() {
    let mut repository = Repository::new();
    repository.delegate("targets", "team", json!({"paths": ["team/*"]}));
    repository.delegate("targets", "bins", json!({"path_hash_prefixes": ["0", "a"]}));
    repository.target("team", "team/x", b"x");
    repository.publish(&["root", "team", "bins", "targets", "snapshot", "timestamp"]);
    for role in ["root", "timestamp", "snapshot", "targets", "team"] {
        let mut places = Vec::new();
        pointers(&repository.documents[role], "", &mut places);
        let good = repository.documents[role].clone();
        for place in places {
            let odd = [json!(null), json!(-1), json!(u64::MAX), json!(1.5), json!("../x"), json!([]), json!({})];
            for value in odd {
                let mut document = good.clone();
                *document.pointer_mut(&place).unwrap() = value;
                let version = if role == "root" { 3 } else { good["version"].as_u64().unwrap() };
                let bytes = serde_json::to_vec(&signed(&document, &repository.keys[role])).unwrap();
                let good = repository.files.clone();
                repository.serve(role, version, &bytes);
                // Taken or refused, but never the end of the program or of the node's root.
                let node = Node::new(&repository);
                let taken = node.read(&repository, "team/x");
                Client::open(node.state(), None, &repository).unwrap();
                if let Ok((_, bytes)) = taken {
                    assert_eq!(bytes, b"x", "{role} {place}");
                }
                repository.files = good;
            }
        }
    }
}
