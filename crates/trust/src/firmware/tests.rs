use openssl::{pkey::PKey, rsa::Rsa, sha::sha256};

use super::*;
use crate::{PrivateKey, Signer as _};

const VALIDITY: Validity = Validity { from: 1_700_000_000, until: 2_700_000_000 };

fn key(name: &str) -> PrivateKey {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    PrivateKey::from_pem(name, &key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

fn pair(name: &str) -> (PrivateKey, Certificate) {
    let key = key(name);
    let certificate = Certificate::self_signed(name, &key, VALIDITY).unwrap();
    (key, certificate)
}

#[test]
fn openssl_reads_and_verifies_the_certificate() {
    let (key, certificate) = pair("Example db 1");
    let theirs = openssl::x509::X509::from_der(certificate.to_der()).unwrap();
    assert!(theirs.verify(&theirs.public_key().unwrap()).unwrap());
    let name = theirs.subject_name().entries().next().unwrap().data().to_string().unwrap();
    assert_eq!((name.as_str(), certificate.name()), ("Example db 1", "Example db 1"));
    let again = Certificate::read(certificate.to_pem().as_bytes()).unwrap();
    assert_eq!(again.to_der(), certificate.to_der());
    assert_eq!(again.key(), key.public_key());
}

#[test]
fn refuses_names_and_keys_that_firmware_does_not_take() {
    let rsa = key("k");
    for name in ["", " a", "a,O=b", "a=b", "ä", "a\0", &"a".repeat(61)] {
        assert!(matches!(Certificate::self_signed(name, &rsa, VALIDITY), Err(FirmwareError::Name(_))), "{name}");
    }
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
    let ec = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
    let ec = PrivateKey::from_pem("ec", &ec.private_key_to_pem_pkcs8().unwrap()).unwrap();
    assert!(matches!(Certificate::self_signed("a", &ec, VALIDITY), Err(FirmwareError::NotRsa { .. })));
    let other = pair("other").1;
    assert!(matches!(sign_program(&[0; 32], &rsa, &other), Err(FirmwareError::Mismatch { .. })));
    for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----\n", &[0x30; 40], &vec![0; 1 << 20]] {
        assert!(matches!(Certificate::read(bytes), Err(FirmwareError::Certificate(_))));
    }
}

#[test]
fn a_programs_signature_is_of_one_digest_by_one_key() {
    let ((key, certificate), (_, stranger)) = (pair("db"), pair("db"));
    let digest = sha256(b"program");
    let signature = sign_program(&digest, &key, &certificate).unwrap();
    verify_program(&signature, &digest, &certificate).unwrap();
    assert!(matches!(verify_program(&signature, &sha256(b"other"), &certificate), Err(FirmwareError::Changed)));
    assert!(matches!(verify_program(&signature, &digest, &stranger), Err(FirmwareError::Stranger(_))));
    // The digest inside, exchanged: the attribute does not fit any more.
    let mut changed = signature.clone();
    let at = changed.windows(32).position(|window| window == digest).unwrap();
    changed[at] ^= 1;
    let mut other = digest;
    other[0] ^= 1;
    assert!(matches!(verify_program(&changed, &other, &certificate), Err(FirmwareError::Changed)));
    for length in [0, 10, signature.len() - 1] {
        assert!(verify_program(&signature[..length], &digest, &certificate).is_err());
    }
    // Deterministic: sealing the same root twice gives the same bytes.
    assert_eq!(sign_program(&digest, &key, &certificate).unwrap(), signature);
}

#[test]
fn an_update_says_by_its_signature_what_it_is_of() {
    let (key, certificate) = pair("KEK");
    let value = revoked(&[[7; 32], [9; 32]]);
    // List header, and two entries of owner and digest.
    assert_eq!(value.len(), 28 + 2 * 48);
    for (variable, mode) in
        [(Variable::Dbx, Mode::Append), (Variable::Db, Mode::Replace), (Variable::Pk, Mode::Replace)]
    {
        let update = Update::sign(variable, mode, &value, 1_763_800_000, (&key, &certificate)).unwrap();
        assert_eq!(Update::read(&update.bytes).unwrap(), update);
        assert_eq!(update.bytes[..7], [0xe9, 7, 11, 22, 8, 26, 40]);
        let mut changed = update.bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(matches!(Update::read(&changed), Err(FirmwareError::Changed)));
        let mut later = update.bytes.clone();
        later[6] += 1;
        assert!(matches!(Update::read(&later), Err(FirmwareError::Changed)));
        for length in [0, 15, 39, 60, update.bytes.len() - value.len() - 1] {
            assert!(Update::read(&update.bytes[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn guids_are_written_as_firmware_reads_them() {
    let list = certificates(&[&pair("x").1]);
    assert_eq!(list[..4], [0xa1, 0x59, 0xc0, 0xa5]);
    assert_eq!(u32::from_le_bytes(list[16..20].try_into().unwrap()) as usize, list.len());
}
