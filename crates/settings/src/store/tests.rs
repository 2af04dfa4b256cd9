use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    thread,
};

use serde_json::{Value, json};

use super::*;
use crate::{Key, Layers, SHOWN, Tree, userdata::Document};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2026-11-23T01:02:03Z".parse().unwrap()
}

/// Sets a key in what counts now.
fn set(store: &Store, text: &str, value: impl Into<Value>) -> Result<Generation, StoreError> {
    let Generation { number, mut content, .. } = store.current()?.generation;
    content.set(&key(text), value.into(), "uid 0", now()).unwrap();
    store.commit(number, content, "uid 0", &format!("set {text}"), now())
}

fn numbers(store: &Store) -> Vec<u64> {
    store.numbers().unwrap()
}

#[test]
fn what_is_committed_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("deep/settings")).unwrap();
    let nothing = store.current().unwrap();
    assert_eq!(
        (nothing.generation.number, nothing.generation.content, nothing.damaged),
        (0, Content::default(), vec![])
    );
    let mut content = Content {
        user_data: vec![UserData {
            provider: "nocloud".to_owned(),
            sha256: "ab".repeat(32),
            tree: Tree::from_value(json!({"motd": "hello", "dns": {"name-servers": ["10.0.0.1"]}})).unwrap(),
            lines: [(key("motd"), 2)].into(),
            parked: [(key("later"), Parked { item: json!([1]), why: "unknown".to_owned() })].into(),
            revision: 0,
        }],
        ..Content::default()
    };
    content.set(&key("kernel.sysctl"), json!({"vm.a": "1", "vm.b": "2"}), "uid 0", now()).unwrap();
    assert!(content.unset(&key("kernel.sysctl.\"vm.b\"")) && !content.unset(&key("kernel.sysctl.\"vm.b\"")));
    let parked = Override { value: json!("x"), by: "uid 1".to_owned(), at: now(), revision: 1 };
    content.parked.insert(key("newer.x"), Parked { item: parked, why: "there is no 'newer'".to_owned() });
    let written = store.commit(0, content.clone(), "uid 0", "first", now()).unwrap();
    assert_eq!((written.number, content.revision), (1, 2));
    assert_eq!(store.read(1).unwrap(), written);
    assert_eq!(Store::open(&store.0).unwrap().current().unwrap().generation, written);
    let modes = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((modes(&store.path(1)), modes(&store.0)), (0o600, 0o700));
    let text = fs::read_to_string(store.path(1)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["generation"]["overrides"]["kernel.sysctl.\"vm.a\""]["by"], "uid 0");
    assert_eq!(json["generation"]["removed"], json!({"kernel.sysctl.\"vm.b\"": 2}));

    let mut layers = Layers::default();
    content.add_to(&mut layers);
    let effective = layers.resolve().unwrap();
    assert_eq!(effective.set_by[&key("motd")].to_string(), "line 2 of the user data (nocloud)");
    assert_eq!(effective.set_by[&key("kernel.sysctl.\"vm.a\"")].to_string(), "uid 0 at 2026-11-23T01:02:03Z");
}

#[test]
fn who_changed_something_older_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    set(&store, "motd", "a").unwrap();
    set(&store, "motd", "b").unwrap();
    let error = store.commit(1, Content::default(), "uid 0", "", now()).unwrap_err();
    assert!(matches!(error, StoreError::Stale { expected: 1, found: 2 }) && error.to_string().contains("generation 2"));
    assert!(matches!(store.undo(1, 1, "uid 0", now()), Err(StoreError::Stale { .. })));
    let words = store.commit(2, Content::default(), "uid 0", "a\nb", now()).unwrap_err();
    assert!(matches!(words, StoreError::Words));
    assert!(matches!(store.commit(2, Content::default(), &"x".repeat(201), "", now()), Err(StoreError::Words)));
    assert_eq!(numbers(&store), [1, 2]);
}

#[test]
fn the_last_32_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for n in 0..KEPT as u64 + 3 {
        set(&store, "motd", n.to_string()).unwrap();
    }
    assert_eq!(numbers(&store), (4..=KEPT as u64 + 3).collect::<Vec<_>>());
    assert!(matches!(store.read(3), Err(StoreError::NoSuch(3))));
    let history: Vec<u64> = store.history().unwrap().iter().map(|generation| generation.number).collect();
    assert_eq!(history, (4..=KEPT as u64 + 3).rev().collect::<Vec<_>>());
}

#[test]
fn the_newest_whole_one_counts_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    set(&store, "motd", "a").unwrap();
    let whole = set(&store, "motd", "hunter2").unwrap();
    set(&store, "motd", "c").unwrap();
    let bytes = fs::read(store.path(3)).unwrap();
    let later = String::from_utf8(bytes.clone()).unwrap().replace("\"format\":1", "\"format\":2");
    let mut flipped = bytes.clone();
    let at = flipped.windows(3).position(|window| window == b"\"c\"").unwrap();
    flipped[at + 1] ^= 1;
    for (damaged, says) in [
        (bytes[..bytes.len() - 1].to_vec(), "cut off"),
        (bytes[..40].to_vec(), "cut off"),
        (Vec::new(), "cut off"),
        (vec![0; bytes.len()], "cut off"),
        (vec![0xff], "no text"),
        (flipped, "its SHA-256 is another"),
        (later.into_bytes(), "format 2"),
        (fs::read(store.path(2)).unwrap(), "it is generation 2"),
        (vec![b' '; GENERATION_BYTES + 1], "more than"),
    ] {
        fs::write(store.path(3), damaged).unwrap();
        let current = store.current().unwrap();
        assert_eq!(current.generation, whole);
        let [(path, problem)] = current.damaged.as_slice() else { panic!("{:?}", current.damaged) };
        assert!(*path == store.path(3) && problem.contains(says) && !problem.contains("hunter2"), "{problem}");
        assert!(store.read(3).unwrap_err().to_string().contains("0000000003.json is damaged"));
    }
    // What is made of the whole one comes after the damaged one.
    assert_eq!(set(&store, "motd", "d").unwrap().number, 4);
    let current = store.current().unwrap();
    assert_eq!((current.generation.number, current.damaged.len()), (4, 0));
    assert_eq!(store.history().unwrap().len(), 3);
}

#[test]
fn what_a_power_cut_left_unfinished_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    set(&store, "motd", "a").unwrap();
    let whole = fs::read(store.path(1)).unwrap();
    for length in [0, 10, whole.len()] {
        fs::write(store.path(2).with_extension("unfinished"), &whole[..length]).unwrap();
        fs::write(folder.path().join("README"), "not ours").unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.current().unwrap().generation.number, 1);
        let mut names = store.names().unwrap();
        names.sort();
        assert_eq!(names, ["0000000001.json", "README"]);
    }
}

#[test]
fn going_back_is_a_generation_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let first = set(&store, "motd", "a").unwrap();
    set(&store, "network.hostname", "b").unwrap();
    let third = set(&store, "motd", "c").unwrap();
    let back = store.undo(3, 1, "uid 0", now()).unwrap();
    assert_eq!((back.number, back.why.as_str()), (4, "back to generation 1"));
    assert_eq!(back.content.overrides().unwrap(), first.content.overrides().unwrap());
    // As changes of now: they win over what a deployment that was left knows.
    assert_eq!((back.content.revision, back.content.overrides[&key("motd")].revision), (4, 4));
    assert_eq!(back.content.removed, [(key("network.hostname"), 4)].into());
    let again = store.undo(4, 3, "uid 0", now()).unwrap();
    assert_eq!(again.content.overrides().unwrap(), third.content.overrides().unwrap());
    assert!(again.content.removed.is_empty());
    assert!(store.undo(5, 0, "uid 0", now()).unwrap().content.overrides.is_empty());
    assert!(matches!(store.undo(6, 99, "uid 0", now()), Err(StoreError::NoSuch(99))));
}

#[test]
fn going_back_brings_back_what_was_parked_as_a_change_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut content = Content::default();
    content.set(&key("motd"), json!("a"), "uid 0", now()).unwrap();
    let item = Override { value: json!(1), by: "uid 0".to_owned(), at: now(), revision: 1 };
    content.parked.insert(key("newer.x"), Parked { item, why: "unknown".to_owned() });
    content.set_user_data("nocloud", "ab", Document::default());
    let first = store.commit(0, content, "uid 0", "", now()).unwrap();
    let mut content = first.content.clone();
    content.unset(&key("newer.x"));
    content.set_user_data("nocloud", "cd", Document::default());
    store.commit(1, content, "uid 0", "", now()).unwrap();
    let back = store.undo(2, 1, "uid 0", now()).unwrap().content;
    let revisions = (back.overrides[&key("motd")].revision, back.parked[&key("newer.x")].item.revision);
    assert_eq!((revisions, back.user_data[0].revision, back.revision), ((1, 5), 5, 5));
    assert!(back.removed.is_empty());
}

#[test]
fn what_differs_is_shown_without_secrets() {
    let mut before = Content::default();
    let mut after = Content::default();
    for (is_before, text, value) in [
        (true, "motd", json!("a")),
        (true, "network.hostname", json!("same")),
        (false, "network.hostname", json!("same")),
        (true, "host-containers.a.user-data", json!("aHVudGVyMg==")),
        (false, "host-containers.a.user-data", json!("aHVudGVyMw==")),
        (false, "ntp.time-servers", json!(["b"])),
    ] {
        let content = if is_before { &mut before } else { &mut after };
        content.set(&key(text), value, "uid 0", now()).unwrap();
    }
    let tree = Tree::from_value(json!({"motd": "c"})).unwrap();
    assert!(after.set_user_data("nocloud", "", Document { tree, ..Document::default() }));
    assert!(!after.set_user_data("nocloud", "", Document::default()));
    let found = serde_json::to_value(diff(&before, &after)).unwrap();
    let expected = json!([
        {"key": "motd", "user-data": true, "after": "c"},
        {"key": "host-containers.a.user-data", "user-data": false, "before": SHOWN, "after": SHOWN},
        {"key": "motd", "user-data": false, "before": "a"},
        {"key": "ntp.time-servers", "user-data": false, "after": ["b"]},
    ]);
    assert_eq!(found, expected);
    assert!(!format!("{before:?} {after:?}").contains("aHVudGV"));
}

#[test]
fn no_update_of_many_writers_is_lost() {
    const WRITERS: usize = 8;
    const KEYS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let stale: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let folder = folder.path();
                scope.spawn(move || {
                    let store = Store::open(folder).unwrap();
                    let mut stale = 0;
                    for n in 0..KEYS {
                        loop {
                            match set(&store, &format!("kernel.sysctl.\"vm.w{writer}k{n}\""), n.to_string()) {
                                Ok(_) => break,
                                Err(StoreError::Stale { .. }) => stale += 1,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                    stale
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let current = Store::open(folder.path()).unwrap().current().unwrap();
    let Generation { number, content, .. } = current.generation;
    assert_eq!((number as usize, content.revision as usize), (WRITERS * KEYS, WRITERS * KEYS));
    assert_eq!(content.overrides.len(), WRITERS * KEYS);
    // Otherwise nobody met anybody, and nothing was shown.
    assert!(stale > 0);
}

#[test]
fn what_is_prepared_counts_when_it_is_committed_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let first = set(&store, "motd", "a").unwrap();
    let mut content = first.content.clone();
    content.set(&key("motd"), json!("b"), "uid 0", now()).unwrap();
    let prepared = store.prepare(1, content.clone(), "uid 0", "", now()).unwrap();
    assert_eq!((prepared.generation().number, store.current().unwrap().generation.number), (2, 1));
    drop(prepared);
    assert_eq!(store.names().unwrap(), ["0000000001.json"]);
    let prepared = store.prepare(1, content, "uid 0", "", now()).unwrap();
    // Nobody else commits meanwhile.
    let folder = File::open(folder.path()).unwrap();
    assert!(flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err());
    assert_eq!(store.current().unwrap().generation, first);
    assert_eq!(prepared.commit().unwrap(), store.current().unwrap().generation);
}

/// A file system in memory, small enough to fill; removed at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &std::ffi::CStr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, options) {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                eprintln!("skipped: mounting a small file system needs root ({error})");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn where_the_disk_is_full_the_last_generation_still_counts() {
    const PAGE: u64 = 4096;
    let Some(small) = Small::mount(c"size=256k,mode=0700") else { return };
    let folder = small.0.path();
    let store = Store::open(folder).unwrap();
    let before = set(&store, "motd", "a").unwrap();
    let fill = folder.join("fill");
    // Some pages free, from none to just enough: it breaks off at each of them.
    let mut failed = 0;
    for free in 0.. {
        let mut file = File::create(&fill).unwrap();
        while file.write_all(&[0; PAGE as usize]).is_ok() {}
        let length = file.metadata().unwrap().size();
        file.set_len(length.saturating_sub(free * PAGE)).unwrap();
        let mut content = before.content.clone();
        let large: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(4000))).collect();
        for (n, text) in large.iter().enumerate() {
            content.set(&key(&format!("containers.c{n}.command")), json!([text]), "uid 0", now()).unwrap();
        }
        match store.commit(1, content, "uid 0", "", now()) {
            Ok(_) => break,
            Err(error) => assert!(
                matches!(&error, StoreError::Io { doing: "writing", path, .. } if path.ends_with("0000000002.json")),
                "{error}"
            ),
        }
        failed += 1;
        assert_eq!(store.current().unwrap(), Current { generation: before.clone(), damaged: Vec::new() });
        assert!(!store.names().unwrap().iter().any(|name| name.ends_with(UNFINISHED)));
    }
    assert!(failed >= 8, "{failed}");
    assert_eq!(store.current().unwrap().generation.number, 2);
}

#[test]
fn where_no_file_can_be_made_the_last_generation_still_counts() {
    let Some(small) = Small::mount(c"size=256k,mode=0700,nr_inodes=4") else { return };
    let store = Store::open(small.0.path()).unwrap();
    let mut last = set(&store, "motd", "a").unwrap();
    let error = loop {
        match set(&store, "motd", "b") {
            Ok(next) => last = next,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Io { doing: "writing", .. }), "{error}");
    assert_eq!(store.current().unwrap().generation, last);
    rustix::mount::mount_remount(small.0.path(), rustix::mount::MountFlags::RDONLY, "").unwrap();
    assert!(matches!(set(&store, "motd", "c"), Err(StoreError::Io { .. })));
    assert_eq!(store.current().unwrap().generation, last);
}

#[test]
fn what_a_newer_system_adds_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let written = set(&store, "motd", "a").unwrap();
    let mut document: Value = serde_json::from_slice(&fs::read(store.path(1)).unwrap()).unwrap();
    document["generation"]["newer"] = json!({"a": 1});
    document["generation"]["overrides"]["motd"]["newer"] = json!(true);
    let inner = document["generation"].to_string();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&inner));
    fs::write(store.path(1), format!("{{\"format\":1,\"sha256\":\"{digest}\",\"generation\":{inner}}}\n")).unwrap();
    assert_eq!(store.read(1).unwrap(), written);
}

#[test]
fn reading_makes_and_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    assert_eq!(Store::at(&gone).current().unwrap().generation.number, 0);
    assert!(Store::at(&gone).history().unwrap().is_empty() && !gone.exists());
    let unfinished = folder.path().join("0000000001.unfinished");
    fs::write(&unfinished, "").unwrap();
    assert_eq!(Store::at(folder.path()).current().unwrap().generation.number, 0);
    assert!(unfinished.exists());
}

#[test]
fn what_is_too_large_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut content = Content::default();
    let set = Override { value: json!("x".repeat(GENERATION_BYTES)), by: String::new(), at: now(), revision: 1 };
    content.overrides.insert(key("motd"), set);
    assert!(matches!(store.commit(0, content, "", "", now()), Err(StoreError::TooLarge)));
    assert!(store.names().unwrap().is_empty());
}

#[test]
fn overrides_do_not_get_in_each_others_way() {
    let mut content = Content::default();
    content.set(&key("kernel.sysctl.\"vm.a\""), json!("1"), "uid 0", now()).unwrap();
    let before = content.clone();
    assert!(content.set(&key("kernel.sysctl"), json!("x"), "uid 0", now()).is_err());
    assert!(content.set(&key("kernel.sysctl.\"vm.a\".b"), json!("x"), "uid 0", now()).is_err());
    assert!(content.set(&key("motd"), Value::Null, "uid 0", now()).is_err());
    assert_eq!(content, before);
    assert!(content.unset(&key("kernel")) && content.overrides.is_empty());
    for n in 0..REMOVED + 5 {
        let key = key(&format!("containers.c{n}.source"));
        content.set(&key, json!("a"), "uid 0", now()).unwrap();
        content.unset(&key);
    }
    assert_eq!(content.removed.len(), REMOVED);
    assert!(!content.removed.contains_key(&key("kernel.sysctl.\"vm.a\"")));
}
