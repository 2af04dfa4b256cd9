//! What is no signature of this image by enough of these keys is refused, and the verdict says why.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_trust::{Carrier, Outcome, PublicKey, Signature, Subject, Verdict, limits};
use support::{blob, bytes, manifest, policy, signatures, signatures_of, verdict, verdict_on};

/// The reason of a refusal.
fn refusal(verdict: &Verdict) -> String {
    assert_eq!(verdict.outcome, Outcome::Refused, "{verdict}");
    let error = verdict.require().unwrap_err().to_string();
    assert!(error.contains("is refused: "), "{error}");
    error
}

#[test]
fn refuses_what_nobody_signed() {
    let reason = refusal(&verdict(&policy(&["ecdsa"], 1, ""), &[]));
    assert_eq!(
        reason,
        format!(
            "docker://registry.example/rocketos/node:1 (sha256:{}) is refused: [repository.\"registry.example/rocketos\"] \
             of policy.toml wants a signature by ecdsa, and no signature was found; have it signed, or take an image that is",
            "832b4002884654db1add0de012501673d020610d8a71a72212bb7d8c2d99f81f"
        )
    );
}

#[test]
fn refuses_swapped_signatures() {
    let policy = policy(&["ecdsa"], 1, "");
    for folder in ["cosign2/two", "cosign3/two"] {
        let mut swapped = signatures_of(folder, "two");
        let reason = refusal(&verdict(&policy, &swapped));
        assert!(reason.contains("it is for another image, sha256:16d72cd7"), "{reason}");
        swapped.extend(signatures("cosign2/rsa"));
        assert!(refusal(&verdict(&policy, &swapped)).contains("for another image"));
    }
    for name in ["2-ecdsa", "3-ecdsa"] {
        let reason = refusal(&verdict_on(&policy, support::REFERENCE, "two", &[blob(name)]));
        assert!(reason.contains("another image"), "{reason}");
    }
    // Where the bundle names no digest, the signature alone decides.
    let ed25519 = support::policy(&["ed25519"], 1, "");
    refusal(&verdict_on(&ed25519, support::REFERENCE, "two", &[blob("3-ed25519")]));
}

#[test]
fn refuses_to_read_signatures_attached_to_another_image() {
    let two = manifest("two");
    let attached = bytes("cosign3/ecdsa/manifest.json");
    let error = Carrier::read("referrer", &attached, Subject::of(&two).digest()).unwrap_err().to_string();
    assert!(error.contains("is attached to sha256:832b4002") && error.contains("not to sha256:16d72cd7"), "{error}");
}

#[test]
fn refuses_every_key_but_the_policys() {
    for (folder, key) in [
        ("cosign2/ecdsa", "stranger"),
        ("cosign2/ecdsa", "rsa"),
        ("cosign2/ed25519", "ecdsa"),
        ("cosign2/rsa", "rsa4096"),
        ("cosign3/ecdsa", "stranger"),
        ("cosign3/ecdsa", "ed25519"),
        ("cosign3/rsa4096", "rsa"),
        ("cosign2/all", "stranger"),
    ] {
        let reason = refusal(&verdict(&policy(&[key], 1, ""), &signatures(folder)));
        assert!(reason.contains("no key of the policy made it"), "{folder} {key}: {reason}");
    }
}

#[test]
fn refuses_fewer_keys_than_the_threshold() {
    let reason = refusal(&verdict(&policy(&["ecdsa", "ed25519"], 2, ""), &signatures("cosign2/ecdsa")));
    assert!(reason.contains("wants signatures by 2 of ecdsa, ed25519, and found only ecdsa"), "{reason}");
    refusal(&verdict(&policy(&["ecdsa", "ed25519", "rsa", "rsa4096"], 4, ""), &signatures("cosign2/all")));
}

#[test]
fn counts_a_key_once_however_often_it_signed() {
    let mut twice = signatures("cosign2/ecdsa");
    twice.extend(signatures("cosign2/ecdsa"));
    twice.extend(signatures("cosign3/ecdsa"));
    twice.push(blob("3-ecdsa"));
    let verdict = verdict(&policy(&["ecdsa", "ed25519"], 2, ""), &twice);
    refusal(&verdict);
    assert_eq!(verdict.demands[0].signed_by, ["ecdsa"]);
    let duplicates = verdict.signatures.iter().filter(|one| one.flaw == Some(rocketos_trust::Flaw::Duplicate)).count();
    assert_eq!(duplicates, 3);
}

#[test]
fn refuses_attestations() {
    let reason = refusal(&verdict(&policy(&["ecdsa"], 1, ""), &signatures("cosign3/attestation")));
    assert!(reason.contains("it says 'https://example.com/x', which is no signature of an image"), "{reason}");
}

#[test]
fn refuses_ed25519ph_with_a_hint_at_what_it_may_be() {
    let reason = refusal(&verdict(&policy(&["ed25519"], 1, ""), &signatures("cosign3/ed25519")));
    assert!(reason.contains("it is no Ed25519 signature by ed25519") && reason.contains("Ed25519ph"), "{reason}");
}

#[test]
fn refuses_a_name_the_policy_does_not_want() {
    let simple = signatures("cosign2/ecdsa");
    for (more, reference, wanted) in [
        ("identity = 'repository'", "docker://registry.example/rocketos/nodes:1", "the repository it is pulled from"),
        ("identity = 'repository'", "docker://registry.example/rocketos:1", "the repository it is pulled from"),
        (
            "identity = 'registry.example/rocketos/nod'",
            support::REFERENCE,
            "at or below 'registry.example/rocketos/nod'",
        ),
        ("identity = 'registry.exampl'", support::REFERENCE, "at or below 'registry.exampl'"),
    ] {
        let policy = policy(&["ecdsa"], 1, more);
        let reason = refusal(&verdict_on(&policy, reference, "one", &simple));
        assert!(reason.contains("it was made for 'registry.example/rocketos/node'"), "{reason}");
        assert!(reason.contains(wanted), "{reason}");
    }
    let reason = refusal(&verdict(&policy(&["ecdsa"], 1, "identity = 'repository'"), &signatures("cosign3/ecdsa")));
    assert!(reason.contains("it names no repository") && reason.contains("leave 'identity' out"), "{reason}");
}

#[test]
fn refuses_names_that_only_begin_like_an_entry() {
    let policy = policy(&["ecdsa"], 1, "");
    let found = signatures("cosign2/ecdsa");
    for (reference, accepted) in [
        ("docker://registry.example/rocketos", true),
        ("docker://registry.example/rocketos/node", true),
        (
            "docker://registry.example/rocketos/node/deeper@sha256:832b4002884654db1add0de012501673d020610d8a71a72212bb7d8c2d99f81f",
            true,
        ),
        ("docker://registry.example/rocketos-evil", false),
        ("docker://registry.example/rocketosevil/node", false),
        ("docker://registry.example/rocket", false),
        ("docker://registry.example/other/rocketos", false),
        ("docker://registry.example:5000/rocketos", false),
        ("docker://registry.example.evil.test/rocketos", false),
        ("docker://evil.test/registry.example/rocketos", false),
        ("containers-storage:registry.example/rocketos:1", false),
        ("oci:/registry.example/rocketos", false),
        ("oci-archive:registry.example/rocketos", false),
    ] {
        let verdict = verdict_on(&policy, reference, "one", &found);
        assert_eq!(verdict.outcome == Outcome::Signed, accepted, "{reference}: {verdict}");
        if !accepted {
            assert!(refusal(&verdict).contains("the policy has no entry for"), "{verdict}");
            assert_eq!(verdict.rule, None);
        }
    }
}

#[test]
fn refuses_everything_without_a_policy() {
    let reason = refusal(&verdict(&rocketos_trust::Policy::default(), &signatures("cosign2/ecdsa")));
    assert!(reason.contains("there is no policy, so nothing is accepted"), "{reason}");
}

#[test]
fn refuses_what_is_too_large() {
    let policy = policy(&["ecdsa"], 1, "");
    let payload = vec![b' '; limits::PAYLOAD_BYTES as usize + 1];
    let reason = refusal(&verdict(&policy, &[Signature::simple("tag", payload, "AAAA")]));
    assert!(reason.contains("the payload has 65537 bytes or entries, more than 65536"), "{reason}");
    let bundle = vec![b' '; limits::BUNDLE_BYTES as usize + 1];
    let reason = refusal(&verdict(&policy, &[Signature::bundle("referrer", bundle)]));
    assert!(reason.contains("the bundle has 262145 bytes or entries, more than 262144"), "{reason}");
    let long = "A".repeat(limits::SIGNATURE_BYTES * 2 + 4);
    let reason = refusal(&verdict(&policy, &[Signature::simple("tag", b"{}".to_vec(), long)]));
    assert!(reason.contains("the signature has 2052 bytes"), "{reason}");
    let one = signatures("cosign2/ecdsa").remove(0);
    let many = vec![one; limits::SIGNATURES + 1];
    let reason = refusal(&verdict(&policy, &many));
    assert!(reason.contains("129 signatures were found, more than 128; remove some"), "{reason}");
}

#[test]
fn refuses_carriers_that_are_too_large_or_lie() {
    let one = manifest("one");
    let digest = Subject::of(&one).digest();
    let text = support::text("cosign2/ecdsa/manifest.json");
    for (altered, expected) in [
        (text.replace("\"size\":246", "\"size\":65537"), "a signature's content of here has 65537"),
        (text.replace("\"size\":246", "\"size\":-1"), "reading the signature manifest here"),
        (" ".repeat(limits::CARRIER_BYTES as usize + 1), "the manifest of here has 1048577"),
        (text.replace("sha256:87f894", "sha512:87f894"), "reading the signature manifest here"),
        ("[]".to_owned(), "reading the signature manifest here"),
    ] {
        let error = Carrier::read("here", altered.as_bytes(), digest).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let layer = "{\"mediaType\":\"application/vnd.dev.cosign.simplesigning.v1+json\",\"size\":1,\"digest\":\"sha256:";
    let layers = vec![format!("{layer}{}\"}}", "ab".repeat(32)); limits::SIGNATURES + 1].join(",");
    let error = Carrier::read("here", format!("{{\"layers\":[{layers}]}}").as_bytes(), digest).unwrap_err();
    assert!(error.to_string().contains("the list of signatures of here has 129"), "{error}");
    let carrier = Carrier::read("here", text.as_bytes(), digest).unwrap();
    let error = carrier.blobs()[0].with(b"other".to_vec()).unwrap_err().to_string();
    assert!(error.contains("a signature's content at here has digest sha256:"), "{error}");
    let bill = "{\"layers\":[{\"mediaType\":\"application/vnd.cyclonedx+json\",\"size\":9000000,\"digest\":\"sha256:";
    let bill = format!("{bill}{}\"}}]}}", "ab".repeat(32));
    assert!(Carrier::read("here", bill.as_bytes(), digest).unwrap().blobs().is_empty());
}

#[test]
fn refuses_keys_that_are_none_or_weak() {
    use openssl::{
        ec::{EcGroup, EcKey},
        nid::Nid,
        pkey::PKey,
        rsa::Rsa,
    };
    let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    let curve = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let p384 = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let good = support::text("keys/ecdsa.pub");
    let three = Rsa::generate_with_e(2048, &openssl::bn::BigNum::from_u32(3).unwrap()).unwrap();
    for (pem, expected) in [
        (rsa(1024).public_key_to_pem().unwrap(), "key k is RSA of 1024 bits; taken are ECDSA P-256, Ed25519"),
        (PKey::from_rsa(three).unwrap().public_key_to_pem().unwrap(), "key k is RSA with the exponent 3, below 65537"),
        (p384.public_key_to_pem().unwrap(), "key k is ECDSA on secp384r1"),
        (PKey::generate_x25519().unwrap().public_key_to_pem().unwrap(), "key k is of OpenSSL's type"),
        (rsa(2048).private_key_to_pem_pkcs8().unwrap(), "key k is a private key; keep it off the image"),
        (rsa(2048).rsa().unwrap().public_key_to_pem_pkcs1().unwrap(), "found '-----BEGIN RSA PUBLIC KEY-----'"),
        (format!("{good}{good}").into_bytes(), "one block"),
        (Vec::new(), "found none"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_vec(), "reading key k"),
        (vec![b'\n'; limits::KEY_BYTES as usize + 1], "key k has 65537 bytes, more than 65536"),
    ] {
        let error = PublicKey::from_pem("k", &pem).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn refuses_bundles_of_other_kinds() {
    let policy = policy(&["ecdsa"], 1, "");
    let text = support::text("blob/3-ecdsa.json");
    let dsse =
        String::from_utf8(bytes("cosign3/ecdsa/c8deb8dbb37c7d0255b83d236819a902ceb8d970276e26b0ee1ed1ac220e6657"));
    let dsse = dsse.unwrap();
    let signatures = dsse.split_once("\"signatures\":[").unwrap().1.split_once(']').unwrap().0.to_owned();
    for (bundle, expected) in [
        (text.replace("v0.3+json", "v0.2+json"), "a bundle of type 'application/vnd.dev.sigstore.bundle.v0.2+json'"),
        (text.replace("\"publicKey\":{", "\"certificate\":{"), "a bundle without a public key (certificate, keyless)"),
        (text.replace("\"publicKey\":{", "\"certificate\":{},\"publicKey\":{"), "a bundle without a public key"),
        (text.replace("SHA2_256", "SHA2_512"), "a digest by 'SHA2_512' is not taken; sign with SHA-256"),
        (text.replace("\"messageSignature\"", "\"other\""), "exactly one of dsseEnvelope and messageSignature"),
        (text.replacen('{', "{\"mediaType\":\"x\",", 1), "duplicate field `mediaType`"),
        (dsse.replace(&signatures, &format!("{signatures},{signatures}")), "2 signatures in a DSSE envelope, not one"),
        (dsse.replace(&signatures, ""), "0 signatures in a DSSE envelope, not one"),
        (dsse.replace("vnd.in-toto+json", "x"), "it says 'application/x'"),
        (text[..text.len() / 2].to_owned(), "the bundle is malformed: EOF"),
        ("[".repeat(limits::BUNDLE_BYTES as usize), "the bundle is malformed"),
    ] {
        let reason = refusal(&verdict(&policy, &[Signature::bundle("referrer", bundle.into_bytes())]));
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[test]
fn explains_itself_in_words_and_json() {
    let mut found = signatures("cosign2/ecdsa");
    found.extend(signatures("cosign3/rsa"));
    let verdict = verdict(&policy(&["ecdsa", "ed25519"], 2, ""), &found);
    let words = verdict.to_string();
    for line in [
        "policy: [repository.\"registry.example/rocketos\"] in policy.toml",
        "wanted: 2 of ecdsa, ed25519, made for any name; found: ecdsa",
        "signature: simple signing at cosign2/ecdsa by ecdsa: counts",
        "signature: bundle at cosign3/rsa: does not count, no key of the policy made it",
    ] {
        assert!(words.contains(line), "{words}");
    }
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["outcome"], "refused");
    assert_eq!(json["rule"]["path"], "policy.toml");
    assert_eq!(json["demands"][0]["signed-by"][0], "ecdsa");
    assert_eq!(json["signatures"][0]["flaw"], serde_json::Value::Null);
    assert_eq!(json["signatures"][1]["form"], "bundle");
}
