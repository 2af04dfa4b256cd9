//! The state on the disk: power cuts, damage, a disk that is full or may not be written.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/tuf.rs"]
mod support;

use std::{env, ffi::CString, fs, io::Write, path::Path, process::Command};

use rocketos_trust::tuf::{Client, State, TargetName, TufError};
use rustix::mount::{MountFlags, mount, mount_remount};
use serde_json::json;
use support::{Node, Repository, at, block_on};

fn up_to_date() -> (Repository, Node) {
    let mut repository = Repository::new();
    repository.target("targets", "release.json", b"release");
    repository.publish(&["root", "targets", "snapshot", "timestamp"]);
    let node = Node::new(&repository);
    node.refresh(&repository).unwrap();
    (repository, node)
}

#[test]
fn nothing_begins_without_a_root() {
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path().join("state")).unwrap();
    let error = Client::open(state, None, &repository).unwrap_err();
    assert!(matches!(error, TufError::NoRoot { .. }), "{error}");
    // Nor with one that its own keys did not sign.
    let mut bad = repository.bytes("1.root.json");
    let at = bad.windows(4).position(|four| four == b"sig\"").unwrap() + 8;
    bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
    let state = State::open(folder.path().join("state")).unwrap();
    let error = Client::open(state, Some(&bad), &repository).unwrap_err();
    assert!(matches!(error, TufError::Threshold { .. }), "{error}");
    assert!(repository.asked().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("state")).unwrap().count(), 0);
}

#[test]
fn damaged_documents_are_fetched_again() {
    for role in ["timestamp", "snapshot", "targets"] {
        for damage in [&b""[..], b"{", b"{\"signed\":{},\"signatures\":[]}", &[0; 4096], &[b' '; 8 << 20]] {
            let (repository, node) = up_to_date();
            fs::write(node.file(role), damage).unwrap();
            node.refresh(&repository).unwrap();
            assert_eq!(node.version(role), Some(2), "{role}");
        }
        // Cut off by the end of the power.
        let (repository, node) = up_to_date();
        let good = fs::read(node.file(role)).unwrap();
        fs::write(node.file(role), &good[..good.len() / 2]).unwrap();
        node.refresh(&repository).unwrap();
        assert_eq!(fs::read(node.file(role)).unwrap(), good);
    }
}

#[test]
fn a_forged_document_on_the_disk_is_not_believed() {
    // A timestamp of somebody else, with a version that would keep all others out.
    let (mut repository, node) = up_to_date();
    let mut stranger = Repository::new();
    stranger.publish_as("timestamp", 9000);
    stranger.publish_as("targets", 2);
    fs::write(node.file("timestamp"), stranger.bytes("timestamp.json")).unwrap();
    fs::write(node.file("targets"), stranger.bytes("2.targets.json")).unwrap();
    repository.publish(&["timestamp"]);
    assert_eq!(node.read(&repository, "release.json").unwrap().1, b"release");
    assert_eq!(node.version("timestamp"), Some(3));
}

#[test]
fn a_damaged_root_is_refused_or_replaced_by_the_images() {
    let (repository, node) = up_to_date();
    fs::write(node.file("root"), b"{").unwrap();
    let error = node.refresh(&repository).unwrap_err();
    assert!(matches!(error, TufError::BadRoot { .. }), "{error}");
    assert!(error.to_string().contains("came with the image"), "{error}");
    repository.asked();
    let shipped = repository.bytes("1.root.json");
    let mut client = Client::open(node.state(), Some(&shipped), &repository).unwrap();
    block_on(client.refresh(at(node.now))).unwrap();
    drop(client);
    assert_eq!(repository.asked()[..2], ["2.root.json", "3.root.json"]);
    assert_eq!(node.version("root"), Some(2));
}

#[test]
fn what_was_left_unfinished_is_no_document_and_is_removed() {
    let (mut repository, node) = up_to_date();
    for name in [".timestamp.json.unfinished", ".root.json.unfinished", ".gone.json.unfinished"] {
        fs::write(node.folder.path().join(name), b"{\"signed\":").unwrap();
    }
    fs::write(node.folder.path().join("gone.json"), b"a role that is no longer").unwrap();
    fs::write(node.folder.path().join("notes.txt"), b"not ours").unwrap();
    repository.publish(&["timestamp"]);
    node.refresh(&repository).unwrap();
    let names: Vec<_> = node.files().into_keys().collect();
    assert_eq!(names, ["notes.txt", "root.json", "snapshot.json", "targets.json", "timestamp.json"]);
}

#[test]
fn an_update_that_was_cut_off_goes_on_where_it_was() {
    let (mut repository, node) = up_to_date();
    repository.publish(&["targets", "snapshot", "timestamp"]);
    let missing = repository.files.remove("3.snapshot.json").unwrap();
    node.refresh(&repository).unwrap_err();
    assert_eq!(node.versions(), [Some(2), Some(3), Some(2), Some(2)]);
    repository.files.insert("3.snapshot.json".to_owned(), missing);
    node.refresh(&repository).unwrap();
    assert_eq!(node.versions(), [Some(2), Some(3), Some(3), Some(3)]);
}

#[test]
fn a_rotation_is_remembered_over_a_power_cut() {
    // As `recovers_from_versions_run_up_by_a_thief_of_keys`, with the power gone as soon as the new root was kept.
    let (mut repository, node) = up_to_date();
    let (old, staying) = (repository.keys["timestamp"][0].clone(), support::Key::ed25519());
    repository.give_keys("timestamp", vec![old.clone(), staying.clone()], 1);
    repository.publish(&["root"]);
    repository.keys.insert("timestamp".to_owned(), vec![old, staying.clone()]);
    repository.publish_as("timestamp", 900);
    node.refresh(&repository).unwrap();
    repository.give_keys("timestamp", vec![staying], 1);
    // This root has expired: it is kept, and the update ends before anything is removed.
    repository.document("root")["expires"] = json!(support::EARLIER);
    repository.publish(&["root"]);
    node.refresh(&repository).unwrap_err();
    assert_eq!(node.versions()[..2], [Some(4), Some(900)]);
    repository.document("root")["expires"] = json!(support::LATER);
    repository.publish(&["root"]);
    repository.publish_as("timestamp", 4);
    node.refresh(&repository).unwrap();
    assert_eq!(node.versions()[..2], [Some(5), Some(4)]);
    // Once, not for ever.
    repository.publish_as("timestamp", 3);
    assert!(matches!(node.refresh(&repository), Err(TufError::Rollback { .. })));
}

#[test]
fn a_mark_of_a_root_that_never_came_is_dropped() {
    let (mut repository, node) = up_to_date();
    fs::write(node.folder.path().join("rotated"), "7\n").unwrap();
    repository.publish_as("timestamp", 1);
    assert!(matches!(node.refresh(&repository), Err(TufError::Rollback { .. })));
    assert!(!node.folder.path().join("rotated").exists());
}

#[test]
fn one_update_at_a_time() {
    let (_, node) = up_to_date();
    let held = node.state();
    let error = State::open(node.folder.path()).unwrap_err();
    assert!(matches!(error, TufError::Busy { .. }), "{error}");
    drop(held);
    node.state();
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    for (role, blocked) in [("root", 0), ("timestamp", 1), ("snapshot", 2), ("targets", 3)] {
        let (mut repository, node) = up_to_date();
        repository.publish(&["root", "targets", "snapshot", "timestamp"]);
        // A folder in the place of the unfinished file stops even the superuser.
        let block = node.folder.path().join(format!(".{role}.json.unfinished"));
        fs::create_dir(&block).unwrap();
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(&error, TufError::Disk { path, .. } if *path == block), "{error}");
        let mut expected = [Some(3); 4];
        expected[blocked..].fill(Some(2));
        assert_eq!(node.versions(), expected);
        fs::remove_dir(&block).unwrap();
        node.refresh(&repository).unwrap();
        assert_eq!(node.versions(), [Some(3); 4]);
    }
}

#[test]
fn a_link_in_the_state_is_not_followed() {
    let (mut repository, node) = up_to_date();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, b"untouched").unwrap();
    std::os::unix::fs::symlink(&victim, node.folder.path().join(".timestamp.json.unfinished")).unwrap();
    repository.publish(&["timestamp"]);
    assert!(matches!(node.refresh(&repository), Err(TufError::Disk { .. })));
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
}

/// Runs the test of this name on a small file system of its own: once more, by `unshare`, among mounts that nobody else
/// sees. Says so where that is not allowed.
fn on_small_disk(name: &str, size: &str, test: impl FnOnce(&Path)) {
    const INSIDE: &str = "TUF_STATE_SMALL_DISK";
    if env::var_os(INSIDE).is_some() {
        let folder = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={size},mode=755")).unwrap();
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        return test(folder.path());
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]);
        command
    };
    if !unshare().arg("true").status().is_ok_and(|status| status.success()) {
        return eprintln!("not tried: this user may not mount a file system");
    }
    let again = unshare().arg(env::current_exe().unwrap()).args(["--exact", name]).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

fn copy_state(node: &Node, to: &Path) {
    for (name, bytes) in node.files() {
        fs::write(to.join(name), bytes).unwrap();
    }
}

#[test]
fn a_full_disk_gives_an_error_and_keeps_what_was_there() {
    on_small_disk("a_full_disk_gives_an_error_and_keeps_what_was_there", "64k", |folder| {
        let (mut repository, node) = up_to_date();
        copy_state(&node, folder);
        let mut filler = fs::File::create(folder.join("filler")).unwrap();
        while filler.write_all(&[0; 1024]).is_ok() {}
        drop(filler);
        let before = fs::read(folder.join("timestamp.json")).unwrap();
        repository.publish(&["root", "targets", "snapshot", "timestamp"]);
        let refresh = || {
            let mut client = Client::open(State::open(folder).unwrap(), None, &repository)?;
            block_on(client.refresh(at(node.now))).map(|_| ())
        };
        let error = refresh().unwrap_err();
        assert!(matches!(&error, TufError::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull));
        assert_eq!(fs::read(folder.join("timestamp.json")).unwrap(), before);
        assert!(!folder.join(".root.json.unfinished").exists());
        fs::remove_file(folder.join("filler")).unwrap();
        refresh().unwrap();
    });
}

#[test]
fn a_disk_that_may_not_be_written_serves_what_is_there() {
    on_small_disk("a_disk_that_may_not_be_written_serves_what_is_there", "1m", |folder| {
        let (mut repository, node) = up_to_date();
        copy_state(&node, folder);
        mount_remount(folder, MountFlags::RDONLY, "").unwrap();
        let read = |repository: &Repository| {
            let mut client = Client::open(State::open(folder)?, None, repository)?;
            let fresh = block_on(client.refresh(at(node.now)))?;
            let target = block_on(fresh.find(&TargetName::new("release.json")?))?;
            block_on(fresh.fetch(&target))
        };
        // Nothing is new: nothing has to be written.
        assert_eq!(read(&repository).unwrap(), b"release");
        repository.publish(&["timestamp"]);
        let error = read(&repository).unwrap_err();
        assert!(
            matches!(&error, TufError::Disk { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
        );
    });
}

#[test]
fn what_is_kept_expires_too() {
    for role in ["snapshot", "targets"] {
        let (mut repository, mut node) = up_to_date();
        repository.document(role)["expires"] = json!("2030-01-10T00:00:00Z");
        repository.publish(&["targets", "snapshot", "timestamp"]);
        node.refresh(&repository).unwrap();
        // Nothing is new, the timestamp is good for weeks, and what it names no longer is.
        node.now += 15 * 86400;
        let error = node.refresh(&repository).unwrap_err();
        assert!(matches!(&error, TufError::Expired { role: r, version: 3, .. } if r.name() == role), "{error}");
    }
}

#[test]
fn what_is_kept_is_fetched_again_where_another_digest_is_signed() {
    for role in ["snapshot", "targets"] {
        let (mut repository, node) = up_to_date();
        repository.hashes = true;
        repository.publish(&["targets", "snapshot", "timestamp"]);
        node.refresh(&repository).unwrap();
        // The same version with another content.
        repository.document(role)["x-more"] = json!(1);
        repository.publish_as(role, 3);
        repository.publish_as("snapshot", if role == "snapshot" { 3 } else { 4 });
        repository.publish(&["timestamp"]);
        node.refresh(&repository).unwrap();
        assert_eq!(fs::read(node.file(role)).unwrap(), repository.bytes(&format!("3.{role}.json")));
    }
}
