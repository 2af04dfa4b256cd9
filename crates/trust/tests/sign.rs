//! What we sign, we verify; what cosign says of it is in docs/trust.md.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use openssl::{
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    symm::Cipher,
};
use rocketos_model::ImageReference;
use rocketos_trust::{
    Carrier, Outcome, PrivateKey, PublicKey, SignError, Signature, Signer, Subject, Verdict, sign_bundle, sign_payload,
    signature_manifest, signature_tag,
};
use support::{bytes, manifest, verdict};

fn keys() -> Vec<PKey<Private>> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    vec![
        PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap(),
        PKey::generate_ed25519().unwrap(),
        PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    ]
}

fn private(key: &PKey<Private>) -> PrivateKey {
    PrivateKey::from_pem("release.pem", &key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

fn reference() -> ImageReference {
    support::REFERENCE.parse().unwrap()
}

/// What a policy says that wants a signature by `key` for the very repository, or by any name.
fn judged(key: &PublicKey, identity: &str, found: &[Signature]) -> Verdict {
    let pem = String::from_utf8(key.to_pem()).unwrap();
    let text = format!(
        "[key.release]\npem = '''\n{pem}'''\n[repository.'registry.example/rocketos/node']\n\
         accept = 'signed'\nkeys = ['release']\n{identity}\n"
    );
    verdict(&rocketos_trust::Policy::parse("policy.toml".as_ref(), &text).unwrap(), found)
}

#[test]
fn verifies_both_forms_of_every_kind_of_key() {
    let one = manifest("one");
    let subject = Subject::of(&one);
    for key in keys() {
        let signer = private(&key);
        let payload = sign_payload(&subject, &reference(), &signer).unwrap();
        let made = signature_manifest(None, &payload).unwrap();
        let carrier = Carrier::read(&signature_tag(subject.digest()), &made.manifest, subject.digest()).unwrap();
        let [blob] = carrier.blobs() else { panic!("one blob") };
        let found = [blob.with(payload.payload.clone()).unwrap()];
        let verdict = judged(signer.public_key(), "identity = 'repository'", &found);
        assert_eq!(verdict.outcome, Outcome::Signed, "{verdict}");
        let bundle = Signature::bundle("referrer", sign_bundle(&subject, &signer).unwrap());
        let verdict = judged(signer.public_key(), "", &[bundle]);
        assert_eq!(verdict.outcome, Outcome::Signed, "{verdict}");
    }
}

#[test]
fn writes_the_payload_that_cosign_writes() {
    let one = manifest("one");
    let key = private(&keys()[0]);
    let payload = sign_payload(&Subject::of(&one), &reference(), &key).unwrap().payload;
    let cosign = bytes("cosign2/ecdsa/87f894b519bfdd269799e74218489a66a5cc8af80145e451db00860ee6929573");
    assert_eq!(String::from_utf8(payload).unwrap(), String::from_utf8(cosign).unwrap());
}

#[test]
fn adds_to_what_cosign_signed_and_adds_nothing_twice() {
    let one = manifest("one");
    let subject = Subject::of(&one);
    let key = private(&keys()[1]);
    let payload = sign_payload(&subject, &reference(), &key).unwrap();
    let made = signature_manifest(Some(&bytes("cosign2/all/manifest.json")), &payload).unwrap();
    let carrier = Carrier::read("tag", &made.manifest, subject.digest()).unwrap();
    assert_eq!(carrier.blobs().len(), 4);
    assert_eq!(signature_manifest(Some(&made.manifest), &payload).unwrap(), made);
    for (existing, expected) in [
        (bytes("cosign3/ecdsa/manifest.json"), "a layer of type \"application/vnd.dev.sigstore.bundle.v0.3+json\""),
        (b"{}".to_vec(), "it has no layers"),
        (b"<".to_vec(), "expected value"),
        (vec![b' '; (1 << 20) + 1], "it has 1048577 bytes"),
    ] {
        let error = signature_manifest(Some(&existing), &payload).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("remove it, or sign into another place"), "{error}");
    }
}

#[test]
fn an_outside_signer_is_checked() {
    struct Outside(PrivateKey, fn(&PrivateKey, &[u8]) -> Result<Vec<u8>, SignError>);
    impl Signer for Outside {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            (self.1)(&self.0, message)
        }
    }
    let one = manifest("one");
    let subject = Subject::of(&one);
    let key = || private(&keys()[0]);
    assert!(sign_bundle(&subject, &Outside(key(), |key, message| key.sign(message))).is_ok());
    let error = sign_bundle(&subject, &Outside(key(), |key, _| key.sign(b"other"))).unwrap_err();
    assert!(error.to_string().contains("is not a signature by its public key"), "{error}");
    let failing = Outside(key(), |_, _| Err(SignError::Signer { name: "token".to_owned(), source: "no card".into() }));
    let error = sign_payload(&subject, &reference(), &failing).unwrap_err();
    assert_eq!(error.to_string(), "signing with token");
}

#[test]
fn refuses_keys_it_cannot_or_must_not_use() {
    let rsa = &keys()[2];
    let encrypted = rsa.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"x").unwrap();
    let sigstore =
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neA==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    let weak = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    for (pem, expected) in [
        (encrypted, "k is encrypted ('ENCRYPTED')"),
        (sigstore.to_vec(), "k is encrypted ('ENCRYPTED SIGSTORE PRIVATE KEY')"),
        (rsa.public_key_to_pem().unwrap(), "k is not a private key in PEM"),
        (weak.private_key_to_pem_pkcs8().unwrap(), "the key k is not one to sign with"),
    ] {
        let error = PrivateKey::from_pem("k", &pem).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let one = manifest("one");
    let layout: ImageReference = "oci:/media/usb".parse().unwrap();
    let error = sign_payload(&Subject::of(&one), &layout, &private(rsa)).unwrap_err().to_string();
    assert!(error.contains("oci:/media/usb names no repository"), "{error}");
}
