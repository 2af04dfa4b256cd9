//! in-toto statements in a bundle that a known key has signed.

use openssl::base64::encode_block;
use rocketos_trust::{BUNDLE_TYPE, Signature};
use serde_json::{Value, json};

use crate::signing;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

pub(crate) fn fuzz(bytes: &[u8]) {
    // DSSE's pre-authentication encoding.
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), bytes.len());
    let signature = signing::sign(&[head.as_bytes(), bytes].concat());
    let bundle = json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {
            "payload": encode_block(bytes), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": signature}],
        },
    });
    let [anywhere, here] = signing::accepted(&Signature::bundle("here", bundle.to_string().into_bytes()));
    assert!(!here);
    if anywhere {
        let statement: Value = serde_json::from_slice(bytes).expect("it was read");
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://sigstore.dev/cosign/sign/v1");
        let subjects = statement["subject"].as_array().expect("it was read");
        assert!(subjects.iter().any(|subject| subject["digest"]["sha256"] == signing::image_hex()));
    }
}
