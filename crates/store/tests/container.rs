//! Images of host containers: made mountable, opened, kept and collected with the system's.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use rocketos_model::{DiffId, ManifestDigest, layout::inside};
use rocketos_store::{CONTAINER_LABEL, Store, StoreError};
use support::{Layer, content, documents, import, objects, os, store};

/// As `FROM scratch` with a program: no /usr, and something of its own where the host mounts.
fn tools(version: &str) -> (DiffId, Vec<u8>) {
    Layer::new()
        .directory("bin")
        .file("bin/tool", &content("tool", 40_000))
        .file("bin/version", &content(version, 6_000))
        .directory("run")
        .file("run/left-over", &content("left", 5_000))
        .done()
}

fn commit(store: &Store, layer: &(DiffId, Vec<u8>)) -> rocketos_store::ContainerImage {
    import(store, layer);
    let (manifest, config) = documents(&[layer.0]);
    store.commit_container(&manifest, &config).unwrap()
}

#[test]
fn every_file_bears_one_label_and_everything_mounted_on_is_there() {
    let (_directory, store) = store();
    let image = commit(&store, &tools("1"));
    let listing = store.list_files(&image.facts.digest).unwrap();
    for line in listing.lines() {
        assert!(line.contains(&format!("security.selinux={CONTAINER_LABEL}")), "{line}");
    }
    for path in inside::FOLDERS.iter().chain(&inside::FILES).chain(&["bin/tool"]) {
        assert!(listing.lines().any(|line| line.starts_with(&format!("/{path} "))), "{path}:\n{listing}");
    }
    assert!(!listing.contains("left-over"), "{listing}");
    assert_eq!(image.facts.objects, 2);
}

#[test]
fn the_same_image_comes_to_the_same_digest() {
    let (_one, first) = store();
    let (_other, second) = store();
    let image = commit(&first, &tools("1"));
    assert_eq!(image.facts, commit(&second, &tools("1")).facts);
    assert_ne!(image.facts.digest, commit(&second, &tools("2")).facts.digest);
    let again = commit(&first, &tools("1"));
    assert_eq!((again.manifest_digest, again.facts), (image.manifest_digest, image.facts));
}

#[test]
fn opens_what_it_committed_and_nothing_that_is_not_whole() {
    let (directory, store) = store();
    let image = commit(&store, &tools("1"));
    let opened = store.open_container(&image.manifest_digest).unwrap().unwrap();
    assert_eq!((opened.facts, opened.config), (image.facts, image.config.clone()));
    assert!(store.open_container(&ManifestDigest::from_bytes([0; 32])).unwrap().is_none());
    for (name, bytes) in objects(directory.path()) {
        let path = directory.path().join("composefs/objects").join(&name[..2]).join(&name[2..]);
        fs::remove_file(&path).unwrap();
        assert!(store.open_container(&image.manifest_digest).unwrap().is_none(), "without {name}");
        fs::write(&path, bytes).unwrap();
    }
    assert!(store.open_container(&image.manifest_digest).unwrap().is_some());
    store.remove_image(&image.manifest_digest).unwrap();
    assert!(store.open_container(&image.manifest_digest).unwrap().is_none());
}

#[test]
fn shares_objects_with_a_system_and_is_collected_with_it() {
    let (directory, store) = store();
    let system = os("1");
    import(&store, &system);
    let (manifest, config) = documents(&[system.0]);
    let system = store.commit_image(&manifest, &config).unwrap();
    let before = objects(directory.path()).len();
    let shared = Layer::new().directory("usr").file("usr/big", &content("big", 700_000)).done();
    assert_eq!(import(&store, &shared).new_objects, 0);
    let container = commit(&store, &shared);
    assert_eq!(store.images().unwrap().len(), 2);
    assert_eq!(store.collect_garbage(false).unwrap().objects, 0);
    assert!(store.open_container(&container.manifest_digest).unwrap().is_some());
    store.remove_image(&container.manifest_digest).unwrap();
    assert!(store.collect_garbage(false).unwrap().objects > 0);
    assert_eq!(objects(directory.path()).len(), before);
    assert!(store.open_image(&system.manifest_digest).unwrap().is_some());
}

#[test]
fn refuses_a_system_and_one_without_room_for_what_is_mounted() {
    let (_directory, store) = store();
    let links = ["dev", "run", ".rocketos"].map(|name| Layer::new().link(tar::EntryType::Symlink, name, "bin").done());
    let file = Layer::new().file("proc", b"no folder").done();
    for layer in [os("1")].iter().chain(&links).chain([&file]) {
        import(&store, layer);
        let (manifest, config) = documents(&[layer.0]);
        let error = store.commit_container(&manifest, &config).unwrap_err();
        assert!(matches!(error, StoreError::NoContainer(_)), "{error}");
        assert!(store.images().unwrap().is_empty());
    }
}
