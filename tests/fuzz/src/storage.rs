//! What skopeo says of the layers that an image has in podman's storage.

use rocketos_oci::{
    Compression, Layer,
    storage::{ConvertedLayerInfo, items},
};

pub(crate) fn fuzz(bytes: &[u8]) {
    // As `containers-image-proxy` reads it.
    let read = || serde_json::from_slice::<Vec<ConvertedLayerInfo>>(bytes);
    let Ok(said) = read() else { return };
    let number = said.len();
    let layer = |_| Layer {
        digest: format!("sha256:{}", "1".repeat(64)).parse().expect("a digest"),
        size: 1,
        compression: Compression::Gzip,
        diff_id: format!("sha256:{}", "2".repeat(64)).parse().expect("a digest"),
    };
    let layers: Vec<Layer> = (0..=number).map(layer).collect();
    assert!(items("localhost/a", read().expect("the same again"), &layers).is_err());
    match items("localhost/a", said, &layers[..number]) {
        Ok(items) => assert!(items.len() == number && items.iter().all(|item| item.size_known)),
        // What it says is shown to somebody.
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    }
}
