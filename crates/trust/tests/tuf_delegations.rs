//! Delegations: who may speak of which target, in which order, and where a search ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use std::{collections::BTreeSet, fs};

use rocketos_trust::tuf::{Role, TargetName, TufError, limits};
use serde_json::{Value, json};
use support::{Key, Node, Repository, block_on};

/// The delegator, the role, and fields of the delegation.
type Delegated<'a> = (&'a str, &'a str, Value);

/// A repository of these delegations, all published, and a node.
fn delegating(delegations: &[Delegated<'_>]) -> (Repository, Node) {
    let mut repository = Repository::new();
    for (from, role, more) in delegations {
        repository.delegate(from, role, more.clone());
    }
    let node = Node::new(&repository);
    publish(&mut repository, delegations);
    (repository, node)
}

fn publish(repository: &mut Repository, delegations: &[Delegated<'_>]) {
    let roles: BTreeSet<&str> = delegations.iter().map(|(_, role, _)| *role).collect();
    for role in roles {
        repository.publish(&[role]);
    }
    repository.publish(&["targets", "snapshot", "timestamp"]);
}

/// The delegated roles that were asked for.
fn asked(repository: &Repository) -> Vec<String> {
    let top = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];
    repository.asked().into_iter().filter(|name| !top.iter().any(|top| name.ends_with(top))).collect()
}

fn all() -> Value {
    json!({"paths": ["*"]})
}

#[test]
fn asks_in_the_order_of_trust_and_no_role_twice() {
    let cases: [(&[Delegated<'_>], &[&str]); 6] = [
        (&[("targets", "a", all()), ("targets", "b", all())], &["a", "b"]),
        (
            &[("targets", "a", all()), ("targets", "b", all()), ("a", "c", all()), ("a", "d", all())],
            &["a", "c", "d", "b"],
        ),
        // A terminating delegation ends the search after its own descendants, above as well.
        (
            &[
                ("targets", "a", all()),
                ("targets", "b", all()),
                ("a", "c", json!({"paths": ["*"], "terminating": true})),
                ("a", "d", all()),
                ("c", "e", all()),
            ],
            &["a", "c", "e"],
        ),
        // A terminating delegation of other paths ends nothing.
        (&[("targets", "a", json!({"paths": ["x/*"], "terminating": true})), ("targets", "b", all())], &["b"]),
        // A cycle.
        (&[("targets", "a", all()), ("a", "b", all()), ("b", "a", all())], &["a", "b"]),
        // A path that the delegator is not trusted for is not asked of those below it.
        (&[("targets", "a", json!({"paths": ["x/*"]})), ("a", "b", all()), ("targets", "c", json!({}))], &[]),
    ];
    for (delegations, expected) in cases {
        let (repository, node) = delegating(delegations);
        let error = node.read(&repository, "target").unwrap_err();
        assert!(matches!(error, TufError::NoTarget { .. }), "{error}");
        let expected: Vec<_> = expected.iter().map(|role| format!("1.{role}.json")).collect();
        assert_eq!(asked(&repository), expected);
    }
}

#[test]
fn takes_the_first_that_names_the_target() {
    let mut repository = Repository::new();
    repository.delegate("targets", "first", all());
    repository.delegate("targets", "second", all());
    repository.target("second", "target", b"of the second");
    repository.target("first", "target", b"of the first");
    repository.publish(&["first", "second", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    let (role, bytes) = node.read(&repository, "target").unwrap();
    assert_eq!((role.name(), bytes.as_slice()), ("first", b"of the first".as_slice()));
}

#[test]
fn divides_targets_by_the_beginning_of_their_digest() {
    let digest = hex::encode(openssl::sha::sha256(b"a/target"));
    for (prefix, found) in [(&digest[..2], true), (&digest[..], true), ("", true), ("zz", false)] {
        let mut repository = Repository::new();
        repository.delegate("targets", "bin", json!({"path_hash_prefixes": [prefix]}));
        repository.target("bin", "a/target", b"content");
        repository.publish(&["bin", "targets", "snapshot", "timestamp"]);
        assert_eq!(Node::new(&repository).read(&repository, "a/target").is_ok(), found, "{prefix}");
    }
}

#[test]
fn refuses_a_target_that_a_role_is_not_trusted_for() {
    let mut repository = Repository::new();
    repository.delegate("targets", "team", json!({"paths": ["team/*"]}));
    repository.target("team", "release.json", b"of the team");
    repository.target("team", "team/deep/er", b"of the team");
    repository.publish(&["team", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    for name in ["release.json", "team/deep/er"] {
        let error = node.read(&repository, name).unwrap_err();
        assert!(matches!(error, TufError::NoTarget { visited: 1, .. }), "{error}");
    }
}

#[test]
fn verifies_a_role_by_the_keys_of_the_one_that_asks_for_it() {
    let mut repository = Repository::new();
    repository.delegate("targets", "one", json!({"paths": ["one/*"]}));
    repository.delegate("targets", "two", json!({"paths": ["two/*"]}));
    let of_one = repository.delegate("one", "shared", json!({"paths": ["one/*"]}));
    repository.delegate("two", "shared", json!({"paths": ["two/*"]}));
    repository.target("shared", "one/x", b"x");
    repository.target("shared", "two/x", b"x");
    // Only the key that `one` names signs it.
    repository.keys.insert("shared".to_owned(), vec![of_one]);
    repository.publish(&["shared", "one", "two", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.with(&repository, |fresh| {
        block_on(fresh.find(&TargetName::new("one/x")?)).unwrap();
        // It is on the disk now, and of no use to `two`.
        let error = block_on(fresh.find(&TargetName::new("two/x")?)).unwrap_err();
        assert!(error.to_string().contains("the delegated role 'two'"), "{error}");
        assert!(matches!(error, TufError::Threshold { found: 0, .. }), "{error}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn refuses_delegated_roles_that_are_wrong() {
    let (mut repository, node) = delegating(&[("targets", "team", json!({"paths": ["team/*"]}))]);
    repository.target("team", "team/x", b"x");
    let refused = |repository: &mut Repository, change: &dyn Fn(&mut Repository)| {
        change(repository);
        repository.publish(&["team", "targets", "snapshot", "timestamp"]);
        node.read(repository, "team/x").unwrap_err()
    };
    let error = refused(&mut repository, &|r| r.document("team")["expires"] = json!(support::EARLIER));
    assert!(matches!(&error, TufError::Expired { role, .. } if role.name() == "team"), "{error}");
    repository.document("team")["expires"] = json!(support::LATER);
    let keys = repository.keys["team"].clone();
    let error = refused(&mut repository, &|r| drop(r.keys.insert("team".to_owned(), vec![Key::ed25519()])));
    assert!(matches!(&error, TufError::Threshold { role, .. } if role.name() == "team"), "{error}");
    repository.keys.insert("team".to_owned(), keys);
    // Another version than the snapshot's.
    repository.publish(&["team"]);
    let stale = repository.bytes("team.json");
    repository.publish(&["team", "snapshot", "timestamp"]);
    let version = repository.document("team")["version"].as_u64().unwrap();
    repository.serve("team", version, &stale);
    let error = node.read(&repository, "team/x").unwrap_err();
    assert!(matches!(error, TufError::Version { .. }), "{error}");
    assert_eq!(node.version("team"), None);
    repository.publish(&["team", "snapshot", "timestamp"]);
    node.read(&repository, "team/x").unwrap();
}

#[test]
fn asks_nobody_that_the_snapshot_does_not_list() {
    let mut repository = Repository::new();
    repository.delegate("targets", "team", all());
    repository.publish(&["team"]);
    repository.document("snapshot")["meta"].as_object_mut().unwrap().remove("team.json");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    let error = node.read(&repository, "x").unwrap_err();
    assert!(matches!(error, TufError::NotListed { .. }), "{error}");
    assert!(asked(&repository).is_empty());
}

#[test]
fn keeps_roles_with_names_of_paths_where_they_belong() {
    for name in ["../../escaped", "/tmp/escaped", "..", "?", "#", "a b/ü"] {
        let mut repository = Repository::new();
        repository.delegate("targets", name, all());
        repository.target(name, "x", b"x");
        repository.publish(&[name, "targets", "snapshot", "timestamp"]);
        let node = Node::new(&repository);
        assert_eq!(node.read(&repository, "x").unwrap().0.name(), name);
        let asked = asked(&repository);
        assert!(asked.iter().all(|name| !name.trim_start_matches("targets/").contains('/')), "{asked:?}");
        assert_eq!(node.files().len(), 5, "{:?}", node.files().keys());
        assert_eq!(fs::read_dir(node.folder.path()).unwrap().count(), 5);
    }
}

#[test]
fn refuses_roles_with_the_names_of_others() {
    for name in ["root", "timestamp", "snapshot", "targets", "", &"x".repeat(300)] {
        let mut repository = Repository::new();
        let key = Key::ed25519();
        repository.document("targets")["delegations"] = json!({
            "keys": {&key.id: key.public},
            "roles": [{"name": name, "keyids": [key.id], "threshold": 1, "paths": ["*"], "terminating": false}],
        });
        repository.publish(&["targets", "snapshot", "timestamp"]);
        let node = Node::new(&repository);
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(error, TufError::Malformed { role: Role::Targets, .. }), "{error}");
    }
}

#[test]
fn refuses_targets_with_names_that_lead_elsewhere() {
    let mut repository = Repository::new();
    let names = ["../../etc/passwd", "/etc/passwd", "a/../../b", "a//b", "..", "a\\..\\b", "a\nb"];
    for name in names {
        repository.document("targets")["targets"][name] = json!({"length": 1, "hashes": {"sha256": "00".repeat(32)}});
    }
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    // That they are listed harms nobody; asking for one is refused before anything is fetched.
    node.refresh(&repository).unwrap();
    repository.asked();
    for name in names {
        let error = node.read(&repository, name).unwrap_err();
        assert!(matches!(error, TufError::Name { what: "target", .. }), "{error}");
    }
    assert!(repository.asked().iter().all(|name| !name.starts_with("targets/")));
}

#[test]
fn visits_no_more_roles_than_the_limit() {
    let mut repository = Repository::new();
    let names: Vec<String> = (0..limits::ROLES_VISITED).map(|n| format!("role{n:02}")).collect();
    for name in &names {
        repository.delegate("targets", name, all());
        repository.publish(&[name]);
    }
    repository.target(names.last().unwrap(), "last", b"x");
    repository.target(&names[limits::ROLES_VISITED - 2], "reached", b"x");
    for name in &names[limits::ROLES_VISITED - 2..] {
        repository.publish(&[name]);
    }
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.read(&repository, "reached").unwrap();
    let error = node.read(&repository, "last").unwrap_err();
    assert!(matches!(error, TufError::SearchTooLong { limit: limits::ROLES_VISITED, .. }), "{error}");
}

#[test]
fn refuses_more_of_anything_than_its_limit() {
    let many = |count: usize| -> Vec<Value> {
        let one = |n| json!({"name": format!("r{n}"), "keyids": [], "threshold": 1, "paths": [], "terminating": false});
        (0..count).map(one).collect()
    };
    for (delegations, fine) in [
        (json!({"keys": {}, "roles": many(limits::DELEGATIONS)}), true),
        (json!({"keys": {}, "roles": many(limits::DELEGATIONS + 1)}), false),
        (json!({"keys": {}, "roles": ([many(1), many(1)].concat())}), false),
        (json!({"keys": {}, "roles": [{"name": "a", "keyids": [], "threshold": 0, "paths": []}]}), false),
        (
            json!({"keys": {}, "roles": [{"name": "a", "keyids": [], "threshold": 1, "paths": ["x".repeat(limits::PATTERN_BYTES + 1)]}]}),
            false,
        ),
        (
            json!({"keys": {}, "roles": [{"name": "a", "keyids": [], "threshold": 1, "paths": [], "path_hash_prefixes": []}]}),
            false,
        ),
    ] {
        let mut repository = Repository::new();
        repository.document("targets")["delegations"] = delegations;
        repository.publish(&["targets", "snapshot", "timestamp"]);
        assert_eq!(Node::new(&repository).refresh(&repository).is_ok(), fine);
    }
    let mut repository = Repository::new();
    for role in 0..limits::ROLES {
        repository.document("snapshot")["meta"][format!("{role}.json")] = json!({"version": 1});
    }
    repository.publish(&["snapshot", "timestamp"]);
    Node::new(&repository).refresh(&repository).unwrap_err();
    let mut repository = Repository::new();
    let mut timestamp: Value = serde_json::from_slice(&repository.bytes("timestamp.json")).unwrap();
    for n in 0..limits::SIGNATURES {
        timestamp["signatures"].as_array_mut().unwrap().push(json!({"keyid": format!("{n}"), "sig": ""}));
    }
    repository.serve("timestamp", 1, &serde_json::to_vec(&timestamp).unwrap());
    Node::new(&repository).refresh(&repository).unwrap_err();
    timestamp["signatures"].as_array_mut().unwrap().pop();
    repository.serve("timestamp", 1, &serde_json::to_vec(&timestamp).unwrap());
    Node::new(&repository).refresh(&repository).unwrap();
}
