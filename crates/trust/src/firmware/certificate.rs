//! X.509 certificates, signed by their own key: what PK, KEK and db hold.

use std::time::Duration;

use openssl::{rand::rand_bytes, sha::sha256};
use x509_cert::{
    Certificate as X509, TbsCertificate, Version,
    der::{
        Decode as _, DecodePem as _, Encode as _, EncodePem as _,
        asn1::{BitString, GeneralizedTime, OctetString, UtcTime},
        oid::AssociatedOid as _,
    },
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages},
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, ObjectIdentifier, SubjectPublicKeyInfoOwned},
    time::{Time, Validity as Period},
};

use super::FirmwareError;
use crate::{Algorithm, PublicKey, Signer, limits};

/// sha256WithRSAEncryption (RFC 4055, 5).
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
/// Characters of a name (RFC 5280, ub-common-name is 64).
const NAME_CHARACTERS: usize = 60;
/// Bytes of a serial number (RFC 5280, 4.1.2.2 allows 20).
const SERIAL_BYTES: usize = 16;
/// First year that is written as GeneralizedTime (RFC 5280, 4.1.2.5).
const GENERALIZED_FROM: u16 = 2050;

/// From when until when, in seconds since 1970. Firmware does not look at it; people and other tools do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub until: u64,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(super) parsed: X509,
    der: Vec<u8>,
    key: PublicKey,
}

/// RSA's algorithm identifiers carry a NULL (RFC 4055).
pub(super) fn with_null(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(x509_cert::der::Any::null()) }
}

fn time(seconds: u64) -> Result<Time, FirmwareError> {
    let time = GeneralizedTime::from_unix_duration(Duration::from_secs(seconds))?;
    Ok(match time.to_date_time().year() < GENERALIZED_FROM {
        true => Time::UtcTime(UtcTime::from_date_time(time.to_date_time())?),
        false => Time::GeneralTime(time),
    })
}

fn named(name: &str) -> Result<Name, FirmwareError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_.".contains(c);
    let wrong = || FirmwareError::Name(name.to_owned());
    if name.is_empty() || name.trim() != name || name.len() > NAME_CHARACTERS || !name.chars().all(plain) {
        return Err(wrong());
    }
    format!("CN={name}").parse().map_err(|_| wrong())
}

/// Refuses keys that firmware does not verify.
pub(super) fn require_rsa(key: &PublicKey) -> Result<(), FirmwareError> {
    match key.algorithm() {
        Algorithm::Rsa => Ok(()),
        Algorithm::EcdsaP256 | Algorithm::Ed25519 => Err(FirmwareError::NotRsa { name: key.name().to_owned() }),
    }
}

/// Signs as firmware verifies, RSA with PKCS#1 v1.5 over SHA-256, and checks what came.
pub(super) fn sign(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, FirmwareError> {
    require_rsa(signer.public_key())?;
    let signature = signer.sign(message)?;
    match signer.public_key().verifies(message, &signature) {
        true => Ok(signature),
        false => Err(crate::SignError::Mismatch { name: signer.public_key().name().to_owned() }.into()),
    }
}

impl Certificate {
    /// Makes one for the signer's key, signed by that key.
    ///
    /// # Errors
    /// When the name or the key is none that firmware takes, or the signer fails.
    pub fn self_signed(name: &str, signer: &dyn Signer, validity: Validity) -> Result<Self, FirmwareError> {
        let subject = named(name)?;
        require_rsa(signer.public_key())?;
        let mut serial = [0; SERIAL_BYTES];
        rand_bytes(&mut serial).map_err(|error| FirmwareError::Malformed(error.to_string()))?;
        // Positive, and as long as it says (RFC 5280, 4.1.2.2).
        serial[0] = serial[0] & 0x3f | 0x40;
        let extension = |oid, value: Vec<u8>| -> Result<Extension, FirmwareError> {
            Ok(Extension { extn_id: oid, critical: true, extn_value: OctetString::new(value)? })
        };
        let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
        let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyCertSign);
        let spki = pem_to_der(&signer.public_key().to_pem())?;
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&serial)?,
            signature: with_null(SHA256_WITH_RSA),
            issuer: subject.clone(),
            validity: Period { not_before: time(validity.from)?, not_after: time(validity.until)? },
            subject,
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(&spki)?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(vec![
                extension(BasicConstraints::OID, constraints.to_der()?)?,
                extension(KeyUsage::OID, usage.to_der()?)?,
            ]),
        };
        let signature = sign(signer, &tbs.to_der()?)?;
        let whole = X509 {
            tbs_certificate: tbs,
            signature_algorithm: with_null(SHA256_WITH_RSA),
            signature: BitString::from_bytes(&signature)?,
        };
        Self::of(whole)
    }

    /// Reads one, in PEM or DER.
    ///
    /// # Errors
    /// When it is anything else, or of a key that firmware does not verify.
    pub fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        let wrong = |problem: String| FirmwareError::Certificate(problem);
        if bytes.len() as u64 > limits::CERTIFICATE_BYTES {
            return Err(wrong(format!("it has {} bytes, more than {}", bytes.len(), limits::CERTIFICATE_BYTES)));
        }
        let parsed = match bytes.starts_with(b"-----BEGIN") {
            true => X509::from_pem(bytes),
            false => X509::from_der(bytes),
        };
        Self::of(parsed.map_err(|error| wrong(error.to_string()))?)
    }

    pub(super) fn of(parsed: X509) -> Result<Self, FirmwareError> {
        let der = parsed.to_der()?;
        let spki = parsed.tbs_certificate.subject_public_key_info.to_der()?;
        let name = parsed.tbs_certificate.subject.to_string();
        let name = name.strip_prefix("CN=").unwrap_or(&name).to_owned();
        let pem = openssl::pkey::PKey::public_key_from_der(&spki).and_then(|key| key.public_key_to_pem());
        let pem = pem.map_err(|error| FirmwareError::Certificate(error.to_string()))?;
        let key = PublicKey::from_pem(&name, &pem).map_err(|error| FirmwareError::Certificate(error.to_string()))?;
        require_rsa(&key)?;
        Ok(Self { parsed, der, key })
    }

    /// Its subject's common name.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Its key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The certificate in DER.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER, as other tools show it.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.der)
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        self.parsed.to_pem(x509_cert::der::pem::LineEnding::LF).expect("what was parsed is written")
    }

    /// Refuses another key's signer.
    ///
    /// # Errors
    /// When the certificate is not of the signer's key.
    pub fn require(&self, signer: &dyn Signer) -> Result<(), FirmwareError> {
        match self.key == *signer.public_key() {
            true => Ok(()),
            false => Err(FirmwareError::Mismatch {
                certificate: self.name().to_owned(),
                key: signer.public_key().name().to_owned(),
            }),
        }
    }
}

fn pem_to_der(pem: &[u8]) -> Result<Vec<u8>, FirmwareError> {
    let key = openssl::pkey::PKey::public_key_from_pem(pem).and_then(|key| key.public_key_to_der());
    key.map_err(|error| FirmwareError::Certificate(error.to_string()))
}
