//! Signed rightly by the right key, and still no signature of the image: what was signed says something else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::pkey::PKey;
use rocketos_trust::{Flaw, Outcome, Policy, PrivateKey, Signature, Signer};
use serde_json::{Value, json};
use support::verdict;

const DIGEST: &str = "832b4002884654db1add0de012501673d020610d8a71a72212bb7d8c2d99f81f";

struct Publisher {
    key: PrivateKey,
    policy: Policy,
}

impl Publisher {
    fn new() -> Self {
        let key = PKey::generate_ed25519().unwrap();
        let pem = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
        let text = format!(
            "[key.release]\npem = '''\n{pem}'''\n[repository.'registry.example']\naccept = 'signed'\nkeys = ['release']\n"
        );
        Self {
            key: PrivateKey::from_pem("release", &key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
            policy: Policy::parse("policy.toml".as_ref(), &text).unwrap(),
        }
    }

    /// The flaw of a simple-signing payload with these bytes.
    fn payload(&self, payload: &str) -> Option<Flaw> {
        let signature = STANDARD.encode(self.key.sign(payload.as_bytes()).unwrap());
        self.flaw(Signature::simple("tag", payload.as_bytes().to_vec(), signature))
    }

    /// The flaw of a bundle with this statement.
    fn statement(&self, statement: &str) -> Option<Flaw> {
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {}},
            "dsseEnvelope": {
                "payload": STANDARD.encode(statement),
                "payloadType": kind,
                "signatures": [{"sig": STANDARD.encode(self.key.sign(message.as_bytes()).unwrap())}],
            },
        });
        self.flaw(Signature::bundle("referrer", bundle.to_string().into_bytes()))
    }

    fn flaw(&self, signature: Signature) -> Option<Flaw> {
        let verdict = verdict(&self.policy, &[signature]);
        let flaw = verdict.signatures[0].flaw.clone();
        assert_eq!(verdict.signatures[0].key.as_deref(), Some("release"), "{verdict}");
        assert_eq!(verdict.outcome == Outcome::Signed, flaw.is_none(), "{verdict}");
        flaw
    }
}

/// `base` with the value at `pointer` replaced; removed where it is null.
fn with(base: &Value, pointer: &str, value: Value) -> String {
    let mut altered = base.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = altered.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => parent.remove(name),
        value => parent.insert(name.to_owned(), value),
    };
    altered.to_string()
}

#[test]
fn refuses_payloads_that_say_something_else() {
    let publisher = Publisher::new();
    let good = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/rocketos/node"},
            "image": {"docker-manifest-digest": format!("sha256:{DIGEST}")},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "anybody", "more": [1, 2]},
    });
    assert_eq!(publisher.payload(&good.to_string()), None);
    assert_eq!(publisher.payload(&with(&good, "/optional", Value::Null)), None);
    let digest = "/critical/image/docker-manifest-digest";
    for (payload, expected) in [
        (with(&good, "/critical/type", "atomic container signature".into()), "it says 'atomic container signature'"),
        (with(&good, "/critical/type", Value::Null), "missing field `type`"),
        (with(&good, "/critical/expires", "never".into()), "unknown field `expires`"),
        (with(&good, "/critical/identity/other", "x".into()), "unknown field `other`"),
        (with(&good, "/critical/image/other", "x".into()), "unknown field `other`"),
        (with(&good, "/other", "x".into()), "unknown field `other`"),
        (with(&good, "/critical/identity/docker-reference", Value::Null), "missing field `docker-reference`"),
        (with(&good, digest, Value::Null), "missing field `docker-manifest-digest`"),
        (with(&good, digest, DIGEST.into()), "it is for another image"),
        (with(&good, digest, format!("sha256:{}", DIGEST.to_uppercase()).into()), "it is for another image"),
        (with(&good, digest, format!("sha256:{DIGEST} ").into()), "it is for another image"),
        (with(&good, digest, format!("sha256:{}", "0".repeat(64)).into()), "it is for another image"),
        (good.to_string().replacen("{\"crit", "{\"optional\":1,\"crit", 1), "duplicate field `optional`"),
        (format!("{good}{good}"), "trailing characters"),
        (String::new(), "EOF"),
    ] {
        let flaw = publisher.payload(&payload).unwrap().to_string();
        assert!(flaw.contains(expected), "{payload}\n{flaw}");
    }
}

#[test]
fn refuses_statements_that_say_something_else() {
    let publisher = Publisher::new();
    let good = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": DIGEST}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    assert_eq!(publisher.statement(&good.to_string()), None);
    let subjects = |count: usize| Value::from(vec![json!({"digest": {"sha256": DIGEST}}); count]);
    assert_eq!(publisher.statement(&with(&good, "/subject", subjects(64))), None);
    for (statement, expected) in [
        (
            with(&good, "/_type", "https://in-toto.io/Statement/v0.1".into()),
            "it says 'https://in-toto.io/Statement/v0.1'",
        ),
        (
            with(&good, "/predicateType", "https://slsa.dev/provenance/v1".into()),
            "it says 'https://slsa.dev/provenance",
        ),
        (with(&good, "/predicateType", Value::Null), "missing field `predicateType`"),
        (with(&good, "/subject", json!([])), "it is for another image, without a SHA-256"),
        (with(&good, "/subject", json!([{"digest": {"sha512": DIGEST}}])), "without a SHA-256"),
        (with(&good, "/subject", json!([{"digest": {"sha256": DIGEST.to_uppercase()}}])), "it is for another image"),
        (with(&good, "/subject", json!([{"digest": {"sha256": "00"}}])), "it is for another image, sha256:00"),
        (with(&good, "/subject", subjects(65)), "the list of images has 65 bytes or entries, more than 64"),
        (good.to_string().replacen('{', "{\"subject\":[],", 1), "duplicate field `subject`"),
    ] {
        let flaw = publisher.statement(&statement).unwrap().to_string();
        assert!(flaw.contains(expected), "{statement}\n{flaw}");
    }
}
