//! One image, a key that signs whatever a target wants signed, and a policy that asks for that key.

use std::{cell::LazyCell, path::Path};

use openssl::{
    base64::encode_block,
    pkey::{Id, PKey, Private},
    sha::sha256,
    sign::Signer,
};
use rocketos_model::ImageReference;
use rocketos_trust::{Outcome, Policy, Signature, Subject, Verdict, judge};

/// The image that is judged.
pub(crate) const IMAGE: &[u8] = include_bytes!("../../../crates/trust/tests/data/image/one.json");
/// Public keys of the vectors that seeds are made of.
const KEYS: [(&str, &str); 3] = [
    ("ecdsa", include_str!("../../../crates/trust/tests/data/keys/ecdsa.pub")),
    ("ed25519", include_str!("../../../crates/trust/tests/data/keys/ed25519.pub")),
    ("rsa", include_str!("../../../crates/trust/tests/data/keys/rsa.pub")),
];
/// The name that seeds are signed for.
const REFERENCE: &str = "docker://registry.example/rocketos/node:1";
/// The raw key that signs here.
const SECRET: [u8; 32] = [1; 32];

thread_local! {
    static KEY: LazyCell<PKey<Private>> = LazyCell::new(|| {
        PKey::private_key_from_raw_bytes(&SECRET, Id::ED25519).expect("any 32 bytes are a key")
    });
    static POLICIES: LazyCell<[Policy; 2]> = LazyCell::new(|| [policy(""), policy("identity = \"repository\"")]);
}

fn policy(more: &str) -> Policy {
    let own = KEY.with(|key| key.public_key_to_pem().expect("a key has a public half"));
    let own = String::from_utf8(own).expect("PEM is text");
    let keys = [("own", own.as_str())].into_iter().chain(KEYS);
    let tables: String = keys.map(|(name, pem)| format!("[key.{name}]\npem = '''\n{pem}'''\n")).collect();
    let names = ["own", "ecdsa", "ed25519", "rsa"];
    let text = format!("{tables}[default]\naccept = \"signed\"\nkeys = {names:?}\nthreshold = 1\n{more}\n");
    Policy::parse(Path::new("policy.toml"), &text).expect("the policy is sound")
}

/// Signs, in base64.
pub(crate) fn sign(message: &[u8]) -> String {
    KEY.with(|key| {
        let signed = Signer::new_without_digest(key).and_then(|mut signer| signer.sign_oneshot_to_vec(message));
        encode_block(&signed.expect("the key signs"))
    })
}

/// True where the signature makes the image acceptable, under whatever name or under the right one.
pub(crate) fn accepted(signature: &Signature) -> [bool; 2] {
    let reference: ImageReference = REFERENCE.parse().expect("a name");
    POLICIES.with(|policies| {
        [0, 1].map(|at| {
            let verdict: Verdict =
                judge(&policies[at], &reference, &Subject::of(IMAGE), std::slice::from_ref(signature));
            assert_eq!(verdict.require().is_ok(), verdict.outcome == Outcome::Signed);
            // Every flaw has words.
            let _ = serde_json::to_string(&verdict).expect("a verdict is written");
            verdict.outcome == Outcome::Signed
        })
    })
}

/// The image's digest in hexadecimal.
pub(crate) fn image_hex() -> String {
    hex::encode(sha256(IMAGE))
}
