//! Updates that go well: what is asked for, what is kept, and how a node comes back after a long time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use rocketos_trust::tuf::{Client, Directory, Role, Saved, State, TargetName, TufError, limits};
use serde_json::json;
use support::{EARLIER, Key, Node, Repository, at, block_on};

#[test]
fn takes_each_role_in_turn_and_keeps_it_as_it_came() {
    let mut repository = Repository::new();
    repository.target("targets", "release.json", b"release");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    assert_eq!(node.read(&repository, "release.json").unwrap(), (Role::Targets, b"release".to_vec()));
    let asked = repository.asked();
    assert_eq!(asked[..4], ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]);
    assert!(asked[4].starts_with("targets/") && asked[4].ends_with(".release.json") && asked.len() == 5, "{asked:?}");
    assert_eq!(node.versions(), [Some(1), Some(2), Some(2), Some(2)]);
    assert_eq!(std::fs::read(node.file("timestamp")).unwrap(), repository.bytes("timestamp.json"));
}

#[test]
fn asks_for_no_more_than_is_new() {
    let repository = Repository::new();
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    repository.asked();
    node.refresh(&repository).unwrap();
    assert_eq!(repository.asked(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn reads_repositories_without_consistent_snapshots() {
    let mut repository = Repository::with(false, |_| vec![Key::ecdsa()]);
    repository.hashes = true;
    repository.target("targets", "a/b", b"content");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    assert_eq!(node.read(&repository, "a/b").unwrap().1, b"content");
    assert_eq!(repository.asked(), ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "targets/a/b"]);
}

#[test]
fn takes_signatures_of_all_three_schemes() {
    for key in [Key::ed25519, Key::ecdsa, Key::rsa] {
        let repository = Repository::with(true, |_| vec![key()]);
        Node::new(&repository).refresh(&repository).unwrap();
    }
}

#[test]
fn reads_a_directory() {
    let mut repository = Repository::new();
    repository.target("targets", "a/b", b"content");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let stick = tempfile::tempdir().unwrap();
    repository.write_to(stick.path());
    let directory = Directory::new(stick.path(), stick.path().join("targets"));
    let node = Node::new(&repository);
    let mut client = Client::open(node.state(), None, directory).unwrap();
    let fresh = block_on(client.refresh(at(node.now))).unwrap();
    let target = block_on(fresh.find(&TargetName::new("a/b").unwrap())).unwrap();
    assert_eq!(block_on(fresh.fetch(&target)).unwrap(), b"content");
}

#[test]
fn follows_roots_that_came_while_it_was_away() {
    let mut repository = Repository::new();
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    // Five versions, the keys changed in each, all but the last expired; each signed by its own and the former's keys.
    for version in 2..=6 {
        let old = repository.keys["root"].clone();
        let new = Key::ed25519();
        repository.give_keys("root", vec![new.clone()], 1);
        repository.document("root")["expires"] = json!(if version < 6 { EARLIER } else { support::LATER });
        let both = [old, vec![new.clone()]].concat();
        repository.keys.insert("root".to_owned(), both);
        repository.publish(&["root"]);
        repository.keys.insert("root".to_owned(), vec![new]);
    }
    repository.asked();
    node.refresh(&repository).unwrap();
    let asked = repository.asked();
    assert_eq!(asked[..6], ["2", "3", "4", "5", "6", "7"].map(|version| format!("{version}.root.json")));
    assert_eq!(node.version("root"), Some(6));
    // From there on, not from the image's.
    node.refresh(&repository).unwrap();
    assert_eq!(repository.asked(), ["7.root.json", "timestamp.json"]);
}

#[test]
fn stops_after_so_many_roots_and_goes_on_the_next_time() {
    let mut repository = Repository::new();
    let node = Node::new(&repository);
    for _ in 0..limits::ROOT_VERSIONS + 3 {
        repository.publish(&["root"]);
    }
    node.refresh(&repository).unwrap();
    assert_eq!(node.version("root"), Some(1 + limits::ROOT_VERSIONS));
    node.refresh(&repository).unwrap();
    assert_eq!(node.version("root"), Some(4 + limits::ROOT_VERSIONS));
}

#[test]
fn goes_on_after_an_expired_root_timestamp_or_snapshot_of_its_own() {
    let mut repository = Repository::new();
    let mut node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    // Half a year later all that is kept has expired, and all of it was published anew.
    node.now = support::NOW + 180 * 86400;
    for role in support::TOP {
        repository.document(role)["expires"] = json!("2031-01-01T00:00:00Z");
    }
    repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    node.refresh(&repository).unwrap();
    assert_eq!(node.versions(), [Some(2); 4]);
}

#[test]
fn recovers_from_versions_run_up_by_a_thief_of_keys() {
    for role in ["timestamp", "snapshot"] {
        let mut repository = Repository::new();
        let node = Node::new(&repository);
        repository.publish_as("targets", 900);
        repository.publish_as("snapshot", 900);
        repository.publish_as("timestamp", 900);
        node.refresh(&repository).unwrap();
        assert_eq!(node.versions()[1..], [Some(900); 3]);
        // Back to where the owner was: refused as long as the keys are the same.
        for (role, version) in [("targets", 2), ("snapshot", 2), ("timestamp", 2)] {
            repository.publish_as(role, version);
        }
        node.refresh(&repository).unwrap_err();
        // One new key is enough, beside another that stays and still verifies what is kept.
        let staying = Key::ed25519();
        let old = repository.keys[role].clone();
        repository.give_keys(role, vec![old[0].clone(), staying.clone()], 1);
        repository.publish(&["root"]);
        repository.keys.insert(role.to_owned(), vec![staying.clone()]);
        for (role, version) in [("targets", 3), ("snapshot", 3), ("timestamp", 3)] {
            repository.publish_as(role, version);
        }
        // A key was added and none taken: nothing is forgotten.
        node.refresh(&repository).unwrap_err();
        repository.give_keys(role, vec![staying], 1);
        repository.publish(&["root"]);
        for (role, version) in [("targets", 4), ("snapshot", 4), ("timestamp", 4)] {
            repository.publish_as(role, version);
        }
        node.refresh(&repository).unwrap();
        assert_eq!(node.versions()[1..], [Some(4); 3], "{role}");
        assert!(!node.folder.path().join("rotated").exists());
    }
}

#[test]
fn an_image_with_a_newer_root_brings_the_node_forward() {
    let mut repository = Repository::new();
    let node = Node::new(&repository);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    let shipped = repository.bytes("3.root.json");
    // Without 2.root.json, which the repository lost, there is no chain.
    repository.files.remove("2.root.json");
    node.refresh(&repository).unwrap();
    assert_eq!(node.version("root"), Some(1));
    let client = Client::open(node.state(), Some(&shipped), &repository).unwrap();
    assert_eq!(client.root_version(), 3);
    drop(client);
    assert_eq!(node.version("root"), Some(3));
    // And one with an older root does not take it back.
    let client = Client::open(node.state(), Some(&repository.bytes("1.root.json")), &repository).unwrap();
    assert_eq!(client.root_version(), 3);
}

#[test]
fn saves_a_target_once_under_one_name() {
    let mut repository = Repository::new();
    repository.target("targets", "a/b c", b"one");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    let folder = tempfile::tempdir().unwrap();
    let save = |repository: &Repository| {
        node.with(repository, |fresh| {
            let target = block_on(fresh.find(&TargetName::new("a/b c").unwrap())).unwrap();
            block_on(fresh.save(&target, folder.path()))
        })
    };
    let path = folder.path().join("a%2Fb%20c");
    assert_eq!(save(&repository).unwrap(), Saved::Fetched(path.clone()));
    assert_eq!(save(&repository).unwrap(), Saved::Present(path.clone()));
    repository.target("targets", "a/b c", b"two");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    assert_eq!(save(&repository).unwrap(), Saved::Fetched(path.clone()));
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn keeps_fields_it_does_not_know_in_what_was_signed() {
    let mut repository = Repository::new();
    for role in support::TOP {
        repository.document(role)["x-new"] = json!({"b": [1, {"z": null, "a": true}], "a": "\\ \" é"});
    }
    repository.document("root")["roles"]["x-role"] = json!({"keyids": [], "threshold": 0});
    repository.document("root")["roles"]["timestamp"]["x-note"] = json!("kept");
    let other = json!({"keytype": "x-quantum", "scheme": "x", "keyval": {"public": "?"}});
    let id = hex::encode(openssl::sha::sha256(&serde_json::to_vec(&other).unwrap()));
    repository.document("root")["keys"][&id] = other;
    repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    assert_eq!(node.versions(), [Some(2); 4]);
}

#[test]
fn tells_what_there_is_and_when_to_come_again() {
    let mut repository = Repository::new();
    repository.document("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["timestamp"]);
    let node = Node::new(&repository);
    repository.target("targets", "release.json", b"release");
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let seen = node.with(&repository, |fresh| {
        Ok((fresh.timestamp_version(), fresh.snapshot_version(), fresh.targets_version(), fresh.expires()))
    });
    node.with(&repository, |fresh| {
        let (name, file) = fresh.targets().next().unwrap();
        assert_eq!((name, file.length, file.sha256()), ("release.json", 7, Some(openssl::sha::sha256(b"release"))));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen.unwrap(), (3, 2, 2, at(support::NOW + 86400)));
}

#[test]
fn an_update_may_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let repository = Repository::new();
    let node = Node::new(&repository);
    let directory = Directory::new("metadata", "targets");
    let mut client = Client::open(State::open(node.folder.path()).unwrap(), None, directory).unwrap();
    sendable(&client.refresh(at(support::NOW)));
}

#[test]
fn a_directory_leads_nowhere_else_and_does_not_wait() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let repository = Repository::new();
    let node = Node::new(&repository);
    let outside = tempfile::tempdir().unwrap();
    let stick = tempfile::tempdir().unwrap();
    repository.write_to(outside.path());
    repository.write_to(stick.path());
    let refresh = || {
        let directory = Directory::new(stick.path(), stick.path().join("targets"));
        let mut client = Client::open(node.state(), None, directory).unwrap();
        block_on(client.refresh(at(node.now))).map(|_| ())
    };
    let timestamp = stick.path().join("timestamp.json");
    let replace = |make: &dyn Fn()| {
        std::fs::remove_file(&timestamp).unwrap();
        make();
        refresh()
    };
    // A link within is as good as a file.
    std::fs::copy(&timestamp, stick.path().join("1.timestamp.json")).unwrap();
    replace(&|| std::os::unix::fs::symlink("1.timestamp.json", &timestamp).unwrap()).unwrap();
    for make in [
        &(|| std::os::unix::fs::symlink(outside.path().join("timestamp.json"), &timestamp).unwrap()) as &dyn Fn(),
        &|| mknodat(CWD, &timestamp, FileType::Fifo, Mode::RUSR, 0).unwrap(),
    ] {
        let error = replace(make).unwrap_err();
        assert!(matches!(error, TufError::Transport { .. }), "{error}");
    }
    // What is not there is not there.
    let error = replace(&|| ()).unwrap_err();
    assert!(matches!(error, TufError::Missing { .. }), "{error}");
}
