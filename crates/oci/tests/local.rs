//! Layouts and archives: the same checks without a network.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};

use rocketos_oci::OciError;
use support::{chain, image::Image, image::digest, pull, reader, store};
use tempfile::TempDir;

type Bend<'a> = &'a dyn Fn(&str, &mut Vec<u8>);

/// Writes the image both ways; the references.
fn write(directory: &Path, image: &Image, tags: &[&str], bend: Bend<'_>) -> [String; 2] {
    let (layout, archive): (PathBuf, PathBuf) = (directory.join("layout"), directory.join("archive.tar"));
    image.write_layout(&layout, tags, bend);
    image.write_archive(&archive, tags, bend);
    [format!("oci:{}", layout.display()), format!("oci-archive:{}", archive.display())]
}

async fn errors(image: &Image, bend: Bend<'_>) -> Vec<OciError> {
    let directory = TempDir::new().unwrap();
    let mut errors = Vec::new();
    for name in write(directory.path(), image, &["1"], bend) {
        let store = store(directory.path());
        errors.push(pull(&reader(directory.path(), &[]), &name, &store).await.unwrap_err());
        let id = image.layers[0].diff_id.parse().unwrap();
        assert!(!store.has_layer(&id).unwrap(), "{name}");
    }
    errors
}

fn image() -> Image {
    Image::of_every_kind(300_000)
}

#[tokio::test]
async fn fetches_by_tag_and_the_only_image_without() {
    let directory = TempDir::new().unwrap();
    let image = image();
    for (tag, name) in
        write(directory.path(), &image, &["1"], &|_, _| {}).iter().flat_map(|name| [("", name), (":1", name)])
    {
        let directory = TempDir::new().unwrap();
        let store = store(directory.path());
        let resolved = pull(&reader(directory.path(), &[]), &format!("{name}{tag}"), &store).await.unwrap();
        assert_eq!(resolved.manifest_digest.to_string(), image.digest());
        assert_eq!(resolved.missing_bytes(&store).unwrap(), 0);
    }
}

#[tokio::test]
async fn asks_for_a_tag_where_there_are_several() {
    let directory = TempDir::new().unwrap();
    for name in write(directory.path(), &image(), &["1", "2"], &|_, _| {}) {
        let (reader, store) = (reader(directory.path(), &[]), store(directory.path()));
        let error = pull(&reader, &name, &store).await.unwrap_err();
        assert!(matches!(error, OciError::Ambiguous { count: 2, .. }), "{error:?}");
        let error = pull(&reader, &format!("{name}:3"), &store).await.unwrap_err();
        assert!(matches!(error, OciError::NoSuchImage(_)), "{error:?}");
    }
}

#[tokio::test]
async fn refuses_what_was_altered() {
    let image = image();
    let flip = |wanted: String| {
        move |name: &str, bytes: &mut Vec<u8>| {
            if name.ends_with(&wanted[7..]) {
                bytes[20] ^= 1;
            }
        }
    };
    for error in errors(&image, &flip(image.digest())).await {
        assert!(matches!(error, OciError::ManifestDigestMismatch { .. }), "{error:?}");
    }
    for error in errors(&image, &flip(digest(&image.config))).await {
        assert!(matches!(error, OciError::ConfigDigestMismatch { .. }), "{error:?}");
    }
    for error in errors(&image, &flip(image.layers[0].digest())).await {
        assert!(matches!(error, OciError::LayerDigestMismatch { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn refuses_layers_of_another_length() {
    let image = image();
    let layer = image.layers[0].digest();
    let resize = |change: i64| {
        let wanted = layer.clone();
        move |name: &str, bytes: &mut Vec<u8>| {
            if name.ends_with(&wanted[7..]) {
                bytes.resize(bytes.len().checked_add_signed(change as isize).unwrap(), 0);
            }
        }
    };
    for error in errors(&image, &resize(-1)).await {
        assert!(matches!(&error, OciError::Truncated { what, .. } if what.contains(&layer)), "{error:?}");
    }
    for error in errors(&image, &resize(1)).await {
        assert!(matches!(&error, OciError::Oversized { what, .. } if what.contains(&layer)), "{error:?}");
    }
}

#[tokio::test]
async fn names_what_is_no_layout() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(path("empty")).unwrap();
    std::fs::write(path("text"), "x".repeat(2000)).unwrap();
    std::fs::write(path("docker"), support::image::tar(&[("manifest.json", b"[]"), ("repositories", b"{}")])).unwrap();
    for (name, wanted) in [
        (format!("oci:{}", path("none")), "No such file"),
        (format!("oci:{}", path("empty")), "oci-layout is missing"),
        (format!("oci-archive:{}", path("text")), "not a tar archive"),
        (format!("oci-archive:{}", path("docker")), "is a docker-archive"),
    ] {
        let error = pull(&reader(directory.path(), &[]), &name, &store(directory.path())).await.unwrap_err();
        assert!(chain(&error).contains(wanted), "{name}: {}", chain(&error));
    }
}

#[tokio::test]
async fn refuses_another_architecture() {
    let directory = TempDir::new().unwrap();
    for name in write(directory.path(), &image(), &["1"], &|_, _| {}) {
        let mut config = support::config(directory.path(), &[]);
        config.architecture = "arm64".to_owned();
        let reader = rocketos_oci::Reader::new(config).unwrap();
        let error = pull(&reader, &name, &store(directory.path())).await.unwrap_err();
        assert!(error.to_string().ends_with("is for linux/amd64, this machine is linux/arm64"), "{error}");
    }
}
