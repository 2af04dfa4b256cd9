//! Manifests that carry signatures.

use rocketos_model::ManifestDigest;
use rocketos_trust::{Carrier, limits};
use serde_json::Value;

use crate::signing;

pub(crate) fn fuzz(bytes: &[u8]) {
    let image: ManifestDigest = format!("sha256:{}", signing::image_hex()).parse().expect("a digest");
    let Ok(carrier) = Carrier::read("here", bytes, image) else { return };
    assert!(bytes.len() as u64 <= limits::CARRIER_BYTES && carrier.blobs().len() <= limits::SIGNATURES);
    for blob in carrier.blobs() {
        assert!(blob.size() <= limits::PAYLOAD_BYTES.max(limits::BUNDLE_BYTES));
        assert!(blob.with(b"something else".to_vec()).is_err());
    }
    // Strings that nobody looks at may be no text.
    let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else { return };
    assert!(manifest["subject"].is_null() || manifest["subject"]["digest"] == image.to_string());
}
