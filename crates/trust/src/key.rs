//! Public keys: what they are, and whether one made a signature.

use std::fmt;

use openssl::{
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::Padding,
    sha::sha256,
    sign::{RsaPssSaltlen, Verifier},
};
use serde::{Serialize, Serializer};

use crate::limits;

/// How a PEM block of a public key begins (RFC 7468, 13).
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";

/// A key that cannot be one of a policy's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM, or another kind of it.
    #[error("key {name} is not a public key in PEM: one block '{BEGIN}' is expected, found {found}")]
    NotPem {
        /// The key's name in the policy.
        name: String,
        /// What stands there.
        found: String,
    },
    /// A secret where a public key belongs.
    #[error(
        "key {name} is a private key; keep it off the image and put the public one here \
         ('openssl pkey -pubout', 'cosign public-key')"
    )]
    Private {
        /// The key's name in the policy.
        name: String,
    },
    /// PEM that OpenSSL does not read.
    #[error("reading key {name}")]
    Malformed {
        /// The key's name in the policy.
        name: String,
        /// What OpenSSL says.
        source: openssl::error::ErrorStack,
    },
    /// A kind or size that is not taken.
    #[error("key {name} is {found}; taken are ECDSA P-256, Ed25519 and RSA from {} bits on", limits::RSA_BITS)]
    Algorithm {
        /// The key's name in the policy.
        name: String,
        /// What it is.
        found: String,
    },
    /// A file that is no key.
    #[error("key {name} has {found} bytes, more than {}", limits::KEY_BYTES)]
    TooLarge {
        /// The key's name in the policy.
        name: String,
        /// Its size.
        found: u64,
    },
}

/// The kinds of keys that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// ECDSA over P-256, the message hashed by SHA-256, the signature in DER.
    EcdsaP256,
    /// Ed25519 over the message itself (RFC 8032, PureEdDSA).
    Ed25519,
    /// RSA with SHA-256, PKCS#1 v1.5 or PSS.
    Rsa,
}

/// A public key under the name the policy gives it.
#[derive(Clone)]
pub struct PublicKey {
    name: String,
    key: PKey<Public>,
    algorithm: Algorithm,
    fingerprint: [u8; 32],
}

impl PublicKey {
    /// Reads one PEM block with a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When it is anything else, or a key of a kind or size that is not taken.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, KeyError> {
        let name = name.to_owned();
        if pem.len() as u64 > limits::KEY_BYTES {
            return Err(KeyError::TooLarge { name, found: pem.len() as u64 });
        }
        let text = String::from_utf8_lossy(pem);
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private { name });
        }
        let blocks: Vec<&str> =
            text.lines().map(str::trim_end).filter(|line| line.starts_with("-----BEGIN ")).collect();
        if blocks != [BEGIN] {
            let found = if blocks.is_empty() { "none".to_owned() } else { format!("'{}'", blocks.join("', '")) };
            return Err(KeyError::NotPem { name, found });
        }
        let malformed = |source| KeyError::Malformed { name: name.clone(), source };
        let key = PKey::public_key_from_pem(pem).map_err(malformed)?;
        let algorithm = algorithm(&key).map_err(|found| KeyError::Algorithm { name: name.clone(), found })?;
        let fingerprint = sha256(&key.public_key_to_der().map_err(malformed)?);
        Ok(Self { name, key, algorithm, fingerprint })
    }

    /// Takes the 32 bytes of an Ed25519 key; none where they are no key.
    pub(crate) fn from_ed25519(name: &str, raw: &[u8]) -> Option<Self> {
        let key = PKey::public_key_from_raw_bytes(raw, Id::ED25519).ok()?;
        let fingerprint = sha256(&key.public_key_to_der().ok()?);
        Some(Self { name: name.to_owned(), key, algorithm: Algorithm::Ed25519, fingerprint })
    }

    /// The 32 bytes of an Ed25519 key; nothing of another.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.key.raw_public_key().unwrap_or_default()
    }

    /// The name in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 of its SubjectPublicKeyInfo in DER: what makes two keys one.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The key in PEM.
    pub fn to_pem(&self) -> Vec<u8> {
        self.key.public_key_to_pem().expect("a key that was read from PEM is written as PEM")
    }

    /// True where this key made `signature` over `message`. What is no signature at all was not made by it.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let made = match self.algorithm {
            Algorithm::Ed25519 => {
                Verifier::new_without_digest(&self.key).and_then(|mut v| v.verify_oneshot(signature, message))
            }
            Algorithm::EcdsaP256 => self.hashed(message, signature, None),
            Algorithm::Rsa => match self.hashed(message, signature, Some(Padding::PKCS1)) {
                Ok(true) => Ok(true),
                _ => self.hashed(message, signature, Some(Padding::PKCS1_PSS)),
            },
        };
        made.unwrap_or(false)
    }

    /// [`PublicKey::verifies`] by the schemes of TUF (specification 4.2.2), where RSA is PSS alone.
    pub(crate) fn verifies_tuf(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Rsa => self.hashed(message, signature, Some(Padding::PKCS1_PSS)).unwrap_or(false),
            Algorithm::Ed25519 | Algorithm::EcdsaP256 => self.verifies(message, signature),
        }
    }

    fn hashed(
        &self,
        message: &[u8],
        signature: &[u8],
        padding: Option<Padding>,
    ) -> Result<bool, openssl::error::ErrorStack> {
        /// RSA_PSS_SALTLEN_AUTO: signers differ, sigstore's takes the longest that fits.
        const ANY_SALT: i32 = -2;
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key)?;
        if let Some(padding) = padding {
            verifier.set_rsa_padding(padding)?;
            if padding == Padding::PKCS1_PSS {
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(ANY_SALT))?;
                verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
            }
        }
        verifier.verify_oneshot(signature, message)
    }
}

/// The kind of a key, or what it is instead.
fn algorithm(key: &PKey<Public>) -> Result<Algorithm, String> {
    let unreadable = |_| "a key that OpenSSL does not explain".to_owned();
    match key.id() {
        Id::ED25519 => Ok(Algorithm::Ed25519),
        Id::EC => match key.ec_key().map_err(unreadable)?.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1) => Ok(Algorithm::EcdsaP256),
            Some(curve) => Err(format!("ECDSA on {}", curve.long_name().unwrap_or("another curve"))),
            None => Err("ECDSA on a curve without a name".to_owned()),
        },
        Id::RSA => {
            let rsa = key.rsa().map_err(unreadable)?;
            let bits = rsa.n().num_bits() as u32;
            let smallest = openssl::bn::BigNum::from_u32(limits::RSA_EXPONENT).map_err(unreadable)?;
            match (limits::RSA_BITS..=limits::RSA_BITS_MAX).contains(&bits) {
                true if *rsa.e() >= *smallest => Ok(Algorithm::Rsa),
                true => Err(format!("RSA with the exponent {}, below {}", rsa.e(), limits::RSA_EXPONENT)),
                false => Err(format!("RSA of {bits} bits")),
            }
        }
        other => Err(format!("of OpenSSL's type {}", other.as_raw())),
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {:?})", self.name, self.algorithm)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for PublicKey {}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}
