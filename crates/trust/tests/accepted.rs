//! What cosign signed is accepted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_trust::{Algorithm, Form, Outcome, PublicKey};
use support::{KEYS, blob, policy, signatures, signatures_of, verdict, verdict_on};

#[test]
fn takes_what_cosign_2_and_3_sign_with_every_kind_of_key() {
    for (version, form) in [("cosign2", Form::SimpleSigning), ("cosign3", Form::Bundle)] {
        // What cosign 3.1.1 makes with Ed25519 in a bundle it cannot verify either: see refused.rs.
        for key in KEYS.into_iter().filter(|key| (version, *key) != ("cosign3", "ed25519")) {
            let found = signatures(&format!("{version}/{key}"));
            assert_eq!(found.len(), 1);
            let verdict = verdict(&policy(&[key], 1, ""), &found);
            assert_eq!(verdict.outcome, Outcome::Signed, "{version} {key}: {verdict}");
            assert_eq!(verdict.demands[0].signed_by, [key]);
            assert_eq!(verdict.signatures[0].form, form);
            verdict.require().unwrap();
        }
    }
}

#[test]
fn takes_bundles_over_the_manifest_itself() {
    for version in ["2", "3"] {
        for key in ["ecdsa", "ed25519", "rsa"] {
            let verdict = verdict(&policy(&[key], 1, ""), &[blob(&format!("{version}-{key}"))]);
            assert_eq!(verdict.outcome, Outcome::Signed, "{version} {key}: {verdict}");
        }
    }
}

#[test]
fn takes_cosign_2_signatures_among_the_referrers() {
    let verdict = verdict(&policy(&["ecdsa"], 1, ""), &signatures("cosign2/referrer"));
    assert_eq!(verdict.outcome, Outcome::Signed, "{verdict}");
}

#[test]
fn counts_keys_across_forms_up_to_the_threshold() {
    let policy = policy(&["ecdsa", "ed25519", "rsa"], 3, "");
    let three = signatures("cosign2/all");
    assert_eq!(verdict(&policy, &three).outcome, Outcome::Signed);
    let mut mixed = signatures("cosign2/ed25519");
    mixed.extend(signatures("cosign3/ecdsa"));
    mixed.push(blob("3-rsa"));
    let verdict = verdict(&policy, &mixed);
    assert_eq!(verdict.demands[0].signed_by, ["ed25519", "ecdsa", "rsa"]);
    assert_eq!(verdict.outcome, Outcome::Signed);
}

#[test]
fn a_strangers_signature_beside_a_good_one_does_no_harm() {
    let mut all = signatures("cosign2/ed25519");
    all.push(rocketos_trust::Signature::bundle("junk", b"{".to_vec()));
    all.push(rocketos_trust::Signature::unreadable("referrer", "it is too large"));
    all.extend(signatures("cosign2/ecdsa"));
    let verdict = verdict(&policy(&["ecdsa"], 1, ""), &all);
    assert_eq!(verdict.outcome, Outcome::Signed);
    let flaws: Vec<bool> = verdict.signatures.iter().map(|one| one.flaw.is_some()).collect();
    assert_eq!(flaws, [true, true, true, false]);
    let words = verdict.to_string();
    assert!(words.contains("unreadable at referrer: does not count, it could not be read: it is too large"), "{words}");
}

#[test]
fn holds_the_name_inside_against_the_policy() {
    let found = signatures("cosign2/ecdsa");
    for (more, reference) in [
        ("identity = 'repository'", "docker://registry.example/rocketos/node:7"),
        ("identity = 'registry.example/rocketos'", "docker://registry.example/rocketos/other"),
        ("identity = 'registry.example'", "docker://registry.example/rocketos"),
    ] {
        let verdict = verdict_on(&policy(&["ecdsa"], 1, more), reference, "one", &found);
        assert_eq!(verdict.outcome, Outcome::Signed, "{more} {reference}: {verdict}");
    }
}

#[test]
fn takes_rsa_with_pss_whatever_the_salt() {
    use openssl::{
        hash::MessageDigest,
        pkey::PKey,
        rsa::{Padding, Rsa},
        sign::{RsaPssSaltlen, Signer},
    };
    let private = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let key = PublicKey::from_pem("pss", &private.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(key.algorithm(), Algorithm::Rsa);
    for salt in [RsaPssSaltlen::DIGEST_LENGTH, RsaPssSaltlen::MAXIMUM_LENGTH, RsaPssSaltlen::custom(0)] {
        let mut signer = Signer::new(MessageDigest::sha256(), &private).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(salt).unwrap();
        signer.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
        let signature = signer.sign_oneshot_to_vec(b"payload").unwrap();
        assert!(key.verifies(b"payload", &signature));
        assert!(!key.verifies(b"Payload", &signature));
    }
}

#[test]
fn swapped_images_have_their_own_signatures() {
    let two = signatures_of("cosign2/two", "two");
    let verdict = verdict_on(&policy(&["ecdsa"], 1, ""), support::REFERENCE, "two", &two);
    assert_eq!(verdict.outcome, Outcome::Signed);
}
