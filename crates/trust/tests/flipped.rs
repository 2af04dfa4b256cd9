//! One flipped bit anywhere: the image is refused, except where the bit means nothing (a bundle's hint).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_trust::{Carrier, Outcome, Policy, Signature, Subject, judge};
use support::{blob, bytes, manifest, policy, text, verdict};

/// Every text that differs from `bytes` in one bit, with the place.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit / 8, flipped)
    })
}

/// The payload and signature of a vector.
fn simple(folder: &str) -> (Vec<u8>, String) {
    let manifest: serde_json::Value = serde_json::from_str(&text(&format!("{folder}/manifest.json"))).unwrap();
    let layer = &manifest["layers"][0];
    let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap().to_owned();
    (bytes(&format!("{folder}/{digest}")), signature)
}

fn accepted(policy: &Policy, signature: Signature) -> bool {
    verdict(policy, &[signature]).outcome != Outcome::Refused
}

#[test]
fn refuses_every_flipped_bit_of_payloads_and_their_signatures() {
    for key in ["ecdsa", "ed25519", "rsa"] {
        let policy = policy(&[key], 1, "");
        let (payload, signature) = simple(&format!("cosign2/{key}"));
        assert!(accepted(&policy, Signature::simple("tag", payload.clone(), &signature)));
        for (place, flipped) in flips(&payload) {
            assert!(
                !accepted(&policy, Signature::simple("tag", flipped, &signature)),
                "{key}: byte {place} of the payload"
            );
        }
        for (place, flipped) in flips(signature.as_bytes()) {
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            let signature = Signature::simple("tag", payload.clone(), flipped);
            assert!(!accepted(&policy, signature), "{key}: byte {place} of the signature");
        }
    }
}

#[test]
fn refuses_every_flipped_bit_of_bundles_but_their_hint() {
    let dsse = |name: &str| bytes(&format!("cosign3/{name}"));
    for (key, bundle) in [
        ("ecdsa", dsse("ecdsa/c8deb8dbb37c7d0255b83d236819a902ceb8d970276e26b0ee1ed1ac220e6657")),
        ("rsa", dsse("rsa/4f96dc5e9cf4bdffdde3c2347f67e974969c0f7666c1c06db80474e99051e22b")),
        ("ecdsa", bytes("blob/3-ecdsa.json")),
        ("ed25519", bytes("blob/2-ed25519.json")),
    ] {
        let policy = policy(&[key], 1, "");
        assert!(accepted(&policy, Signature::bundle("referrer", bundle.clone())));
        let words = String::from_utf8(bundle.clone()).unwrap();
        // `"hint":"…"`, quotes included: "not authenticated" (sigstore_common.proto, `PublicKeyIdentifier`).
        let hint = words.find("\"hint\"").unwrap();
        let hint = hint..hint + words[hint..].find('}').unwrap();
        for (place, flipped) in flips(&bundle).filter(|(place, _)| !hint.contains(place)) {
            let found = Signature::bundle("referrer", flipped);
            assert!(!accepted(&policy, found), "{key}: byte {place}, {}", &words[place.saturating_sub(20)..=place]);
        }
    }
}

#[test]
fn refuses_every_flipped_bit_of_the_image() {
    let one = manifest("one");
    let policy = policy(&["ecdsa"], 1, "");
    let reference = support::REFERENCE.parse().unwrap();
    let mut found = support::signatures("cosign2/ecdsa");
    found.extend(support::signatures("cosign3/ecdsa"));
    found.push(blob("3-ecdsa"));
    for (place, flipped) in flips(&one) {
        let verdict = judge(&policy, &reference, &Subject::of(&flipped), &found);
        assert_eq!(verdict.outcome, Outcome::Refused, "byte {place} of the manifest");
    }
}

#[test]
fn takes_no_other_bytes_than_a_flipped_carrier_names() {
    let one = manifest("one");
    for folder in ["cosign2/ecdsa", "cosign2/referrer", "cosign3/ecdsa"] {
        let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(support::data(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| (name.clone(), bytes(&format!("{folder}/{name}"))))
            .collect();
        for (place, flipped) in flips(&bytes(&format!("{folder}/manifest.json"))) {
            let Ok(carrier) = Carrier::read(folder, &flipped, Subject::of(&one).digest()) else { continue };
            for blob in carrier.blobs() {
                let named = blob.digest().to_hex();
                for (name, content) in &files {
                    let taken = blob.with(content.clone()).is_ok();
                    assert_eq!(taken, *name == named, "{folder}: byte {place}");
                }
            }
        }
    }
}
