//! Layers into the store, images out of it, on real files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    fs,
    io::{Cursor, Read, Write as _},
};

use fs_verity::FsVeritySha512;
use rocketos_model::ManifestDigest;
use rocketos_store::{Store, StoreError, Verity, digest_of_directory};
use sha2::{Digest as _, Sha256};
use support::{Layer, content, documents, import, objects, os, store};

#[test]
fn objects_bear_the_digest_an_independent_fs_verity_computes() {
    let (directory, store) = store();
    import(&store, &os("1"));
    let objects = objects(directory.path());
    assert!(objects.len() >= 4, "{}", objects.len());
    for (name, bytes) in objects {
        let mut reference: FsVeritySha512<[u8; 0]> = FsVeritySha512::new();
        reference.write_all(&bytes).unwrap();
        let digest: String = reference.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(name, digest);
    }
}

#[test]
fn a_layer_that_is_here_is_not_read_again() {
    let (_directory, store) = store();
    let layer = os("1");
    let stats = import(&store, &layer);
    // The hard link and the tiny file are no objects of their own.
    assert_eq!((stats.objects, stats.new_objects), (3, 3));
    assert!(store.has_layer(&layer.0).unwrap());
    assert_eq!(store.import_layer(&layer.0, &mut Broken).unwrap(), Default::default());
    let second = import(&store, &os("2"));
    assert_eq!((second.objects, second.new_objects, second.new_bytes), (3, 1, 5_000));
}

#[test]
fn a_layer_that_lost_an_object_comes_again() {
    let (directory, store) = store();
    let layer = os("1");
    import(&store, &layer);
    let path = |name: &str| directory.path().join("composefs/objects").join(&name[..2]).join(&name[2..]);
    for (name, _) in objects(directory.path()) {
        fs::remove_file(path(&name)).unwrap();
        assert!(!store.has_layer(&layer.0).unwrap(), "{name} is gone");
        import(&store, &layer);
        assert!(path(&name).exists(), "{name}");
        assert!(store.has_layer(&layer.0).unwrap());
    }
}

/// A source that always fails.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the network is gone"))
    }
}

#[test]
fn refuses_a_layer_of_another_digest() {
    let (_directory, store) = store();
    let (id, _) = os("1");
    let (_, other) = os("2");
    let error = store.import_layer(&id, &mut Cursor::new(other)).unwrap_err();
    assert!(matches!(error, StoreError::DiffId { .. }), "{error}");
    assert!(!store.has_layer(&id).unwrap());
}

#[test]
fn refuses_a_layer_cut_anywhere() {
    let (_directory, store) = store();
    let (id, bytes) = os("1");
    for length in [0, 100, 512, 3_000, 300_000, bytes.len() - 1_024, bytes.len() - 1] {
        let error = store.import_layer(&id, &mut Cursor::new(&bytes[..length])).unwrap_err();
        assert!(matches!(error, StoreError::Layer(_) | StoreError::Read(_) | StoreError::DiffId { .. }), "{error}");
        assert!(!store.has_layer(&id).unwrap(), "cut at {length}");
    }
    let error = store.import_layer(&id, &mut Cursor::new(&bytes[..3_000]).chain(Broken)).unwrap_err();
    assert!(matches!(error, StoreError::Read(_)), "{error}");
    import(&store, &(id, bytes));
}

#[test]
fn refuses_endless_padding() {
    let (_directory, store) = store();
    let (id, bytes) = os("1");
    let error = store.import_layer(&id, &mut Cursor::new(bytes).chain(std::io::repeat(0))).unwrap_err();
    assert!(matches!(error, StoreError::Limit { .. }), "{error}");
}

#[test]
fn the_digest_of_layers_is_the_digest_of_the_directory() {
    let (directory, store) = store();
    let layer = os("1");
    import(&store, &layer);
    let (manifest, config) = documents(&[layer.0]);
    let image = store.commit_image(&manifest, &config).unwrap();

    let root = directory.path().join("root");
    let mut archive = tar::Archive::new(Cursor::new(&layer.1));
    archive.set_preserve_mtime(true);
    archive.set_preserve_permissions(true);
    archive.unpack(&root).unwrap();
    // Unpacking leaves directories and symlinks the time of now.
    for path in ["bin", "usr/bin", "usr", "boot/EFI/Linux", "boot/EFI", "boot", "sysroot", "run", "var"] {
        let time = rustix::fs::Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, root.join(path), &times, flags).unwrap();
    }
    let facts = digest_of_directory(&root).unwrap();
    assert_eq!(facts.digest, image.facts.digest);
    assert!(facts.objects >= image.facts.objects, "the directory still has its kernel");
}

#[test]
fn opens_what_it_committed() {
    let (_directory, store) = store();
    let layer = os("1");
    import(&store, &layer);
    let (manifest, config) = documents(&[layer.0]);
    let image = store.commit_image(&manifest, &config).unwrap();
    assert_eq!(image.manifest_digest, ManifestDigest::from_bytes(Sha256::digest(&manifest).into()));
    let opened = store.open_image(&image.manifest_digest).unwrap().unwrap();
    assert_eq!(opened.facts.digest, image.facts.digest);
    let mut kernel = Vec::new();
    store.read_uki(&opened.uki).unwrap().read_to_end(&mut kernel).unwrap();
    assert_eq!(kernel, content("kernel", 9_000));
    assert_eq!(store.images().unwrap(), [image.manifest_digest]);
    assert!(store.open_image(&ManifestDigest::from_bytes([0; 32])).unwrap().is_none());
}

#[test]
fn refuses_an_image_nobody_sealed_or_whose_layer_is_missing() {
    let (_directory, store) = store();
    let bare = Layer::new().directory("usr").directory("boot").directory("sysroot").done();
    import(&store, &bare);
    let (manifest, config) = documents(&[bare.0]);
    assert!(matches!(store.commit_image(&manifest, &config), Err(StoreError::NotSealed { found: 0 })));
    let (manifest, config) = documents(&[os("1").0]);
    assert!(matches!(store.commit_image(&manifest, &config), Err(StoreError::MissingLayer(_))));
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn collects_what_no_image_needs_and_nothing_else() {
    let (directory, store) = store();
    let mut digests = Vec::new();
    for version in ["1", "2"] {
        let layer = os(version);
        import(&store, &layer);
        let (manifest, config) = documents(&[layer.0]);
        digests.push(store.commit_image(&manifest, &config).unwrap().manifest_digest);
    }
    assert_eq!(store.collect_garbage(true).unwrap().objects, 0);
    let before = objects(directory.path()).len();
    store.remove_image(&digests[0]).unwrap();
    let planned = store.collect_garbage(true).unwrap();
    assert_eq!(objects(directory.path()).len(), before, "a dry run removes nothing");
    let removed = store.collect_garbage(false).unwrap();
    assert_eq!(planned, removed);
    // The version file, the layer, the mountable image, configuration and manifest with their streams.
    assert_eq!(objects(directory.path()).len() as u64, before as u64 - removed.objects);
    assert!(removed.objects >= 5);
    let image = store.open_image(&digests[1]).unwrap().unwrap();
    let mut kernel = Vec::new();
    store.read_uki(&image.uki).unwrap().read_to_end(&mut kernel).unwrap();
    assert!(store.open_image(&digests[0]).unwrap().is_none());
}

#[test]
fn opens_no_store_without_verity_where_it_is_required() {
    let (directory, store) = store();
    drop(store);
    let path = directory.path().join("composefs");
    assert!(matches!(Store::open(&path, Verity::Required), Err(StoreError::Insecure { .. })));
    assert!(matches!(Store::open(&directory.path().join("nothing"), Verity::Optional), Err(StoreError::Open { .. })));
}

#[test]
fn a_check_names_the_object_that_is_not_what_it_says() {
    let (directory, store) = store();
    let layer = os("1");
    import(&store, &layer);
    let (manifest, config) = documents(&[layer.0]);
    let digest = store.commit_image(&manifest, &config).unwrap().facts.digest;
    let checked = store.check_image(&digest).unwrap();
    // Two files and the mountable image; the kernel is in /boot, which the image leaves empty.
    assert_eq!((checked.objects, checked.bad.len()), (3, 0));
    let (name, _) = objects(directory.path()).into_iter().find(|(_, bytes)| bytes == &content("1", 5_000)).unwrap();
    let path = directory.path().join("composefs/objects").join(&name[..2]).join(&name[2..]);
    fs::write(path, content("2", 5_000)).unwrap();
    assert_eq!(store.check_image(&digest).unwrap().bad, [name.parse().unwrap()]);
}
