//! podman's storage, through skopeo.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rocketos_oci::OciError;
use support::{
    chain,
    image::{Image, gzipped, noise, plain, tar},
    pull, reader, store,
};
use tempfile::TempDir;

/// A storage of its own with one image; its name.
fn storage(directory: &Path, image: &Image) -> String {
    let layout = directory.join("layout");
    image.write_layout(&layout, &["1"], |_, _| {});
    let (root, run) = (directory.join("root"), directory.join("run"));
    let name = format!("containers-storage:[vfs@{}+{}]localhost/test:1", root.display(), run.display());
    let done = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet"])
        .arg(format!("oci:{}:1", layout.display()))
        .arg(&name)
        .status()
        .expect("these tests need the program skopeo: 'apt-get install skopeo'");
    assert!(done.success());
    name
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| match entry.file_name() == name {
        true => Some(entry.path()),
        false => find(&entry.path(), name),
    })
}

#[tokio::test]
async fn fetches_what_podman_has() {
    let image =
        Image::new(vec![plain(&tar(&[("usr/a", &noise(1, 200_000))])), plain(&tar(&[("usr/b", &noise(2, 200_000))]))]);
    let directory = TempDir::new().unwrap();
    let name = storage(directory.path(), &image);
    let store = store(directory.path());
    let resolved = pull(&reader(directory.path(), &[]), &name, &store).await.unwrap();
    assert_eq!(resolved.manifest_digest.to_string(), image.digest());
    assert_eq!(resolved.missing_bytes(&store).unwrap(), 0);
}

#[tokio::test]
async fn fetches_what_podman_pulled_compressed() {
    let image = Image::new(vec![gzipped(&tar(&[("usr/a", &noise(1, 200_000))]))]);
    let directory = TempDir::new().unwrap();
    let name = storage(directory.path(), &image);
    let store = store(directory.path());
    let resolved = pull(&reader(directory.path(), &[]), &name, &store).await.unwrap();
    assert_eq!(resolved.manifest_digest.to_string(), image.digest());
    assert_eq!(resolved.missing_bytes(&store).unwrap(), 0);
}

#[tokio::test]
async fn refuses_a_layer_that_was_altered_in_the_storage() {
    let image = Image::new(vec![plain(&tar(&[("usr-file", &noise(1, 200_000))]))]);
    let directory = TempDir::new().unwrap();
    let name = storage(directory.path(), &image);
    let file = find(&directory.path().join("root"), "usr-file").unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let store = store(directory.path());
    let error = pull(&reader(directory.path(), &[]), &name, &store).await.unwrap_err();
    assert!(matches!(error, OciError::Storage { .. } | OciError::Store { .. }), "{error:?}");
    assert!(!store.has_layer(&image.layers[0].diff_id.parse().unwrap()).unwrap());
}

#[tokio::test]
async fn names_what_podman_does_not_have() {
    let image = Image::new(vec![plain(&tar(&[("a", b"b")]))]);
    let directory = TempDir::new().unwrap();
    let name = storage(directory.path(), &image).replace("localhost/test", "localhost/none");
    let error = pull(&reader(directory.path(), &[]), &name, &store(directory.path())).await.unwrap_err();
    assert!(chain(&error).contains("localhost/none"), "{}", chain(&error));
    assert!(matches!(error, OciError::Storage { .. } | OciError::NoSuchImage(_)), "{error:?}");
}
