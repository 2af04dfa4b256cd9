//! Simple-signing payloads that a known key has signed.

use rocketos_trust::Signature;
use serde_json::Value;

use crate::signing;

pub(crate) fn fuzz(bytes: &[u8]) {
    let signature = Signature::simple("here", bytes.to_vec(), signing::sign(bytes));
    let [anywhere, here] = signing::accepted(&signature);
    assert!(anywhere || !here);
    if anywhere {
        let payload: Value = serde_json::from_slice(bytes).expect("it was read");
        let critical = &payload["critical"];
        assert_eq!(critical["image"]["docker-manifest-digest"], format!("sha256:{}", signing::image_hex()));
        assert_eq!(critical["type"], "cosign container image signature");
        let name = critical["identity"]["docker-reference"].as_str().expect("it was read");
        assert!(!here || name.starts_with("registry.example/rocketos/node"), "{name}");
    }
    // Without a signature it never counts.
    assert_eq!(signing::accepted(&Signature::simple("here", bytes.to_vec(), "")), [false; 2]);
}
