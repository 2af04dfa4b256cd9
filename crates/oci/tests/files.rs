//! Named files in a registry.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;

use serde_json::json;
use support::{chain, reader, reference, registry::Registry};
use tempfile::TempDir;

const TAG: &str = "rocketos-channels";
const KIND: &str = "application/vnd.rocketos.test";

fn files(of: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    of.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
}

#[tokio::test]
async fn reads_what_was_put() {
    let (registry, directory) = (Registry::start(), TempDir::new().unwrap());
    let reader = reader(directory.path(), &[&registry.host]);
    let place = reference(&format!("docker://{}/os/node", registry.host));
    assert!(reader.beside(&place).unwrap().files(TAG).await.unwrap().is_none());

    let one = files(&[("1.root.json", b"root"), ("timestamp.json", b"first")]);
    let first = reader.put_files(&place, TAG, KIND, KIND, one.clone()).await.unwrap();
    assert_eq!(reader.put_files(&place, TAG, KIND, KIND, one).await.unwrap(), first, "the same again");
    let old = reader.beside(&place).unwrap().files(TAG).await.unwrap().unwrap();
    reader.put_files(&place, TAG, KIND, KIND, files(&[("timestamp.json", b"second")])).await.unwrap();
    let new = reader.beside(&place).unwrap().files(TAG).await.unwrap().unwrap();

    assert_eq!(old.names().collect::<Vec<_>>(), ["1.root.json", "timestamp.json"]);
    assert_eq!(old.read("timestamp.json", 10).await.unwrap().unwrap(), b"first", "one set stays one set");
    assert_eq!(new.read("timestamp.json", 6).await.unwrap().unwrap(), b"second");
    assert!(new.read("1.root.json", 10).await.unwrap().is_none());
    let error = new.read("timestamp.json", 5).await.unwrap_err();
    assert!(error.to_string().contains("'timestamp.json'"), "{error}");
}

#[tokio::test]
async fn refuses_what_is_no_such_set() {
    let (registry, directory) = (Registry::start(), TempDir::new().unwrap());
    let reader = reader(directory.path(), &[&registry.host]);
    let place = reference(&format!("docker://{}/os/node", registry.host));
    let digest = |text: &str| support::image::digest(text.as_bytes());
    let layer = |title: Option<&str>| {
        let annotations = title.map(|title| json!({"org.opencontainers.image.title": title}));
        json!({"mediaType": KIND, "digest": digest("x"), "size": 1, "annotations": annotations.unwrap_or(json!({}))})
    };
    for (layers, what) in [
        (vec![layer(None)], "a layer has no org.opencontainers.image.title"),
        (vec![layer(Some("a")), layer(Some("a"))], "'a' is there twice"),
        (vec![layer(Some("a")); 4097], "4096"),
    ] {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest("{}"), "size": 2},
            "layers": layers,
        });
        let blobs = vec![b"x".to_vec(), b"{}".to_vec()];
        reader.put(&place, TAG, blobs, manifest.to_string().into()).await.unwrap();
        let error = reader.beside(&place).unwrap().files(TAG).await.err().unwrap();
        assert!(chain(&error).contains(what), "{}", chain(&error));
    }
}
