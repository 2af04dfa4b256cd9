//! Signing an image, in the two forms that cosign verifies: what to push is returned as bytes.
//!
//! A [`Signer`] may be a key in a file ([`PrivateKey`]), or anything that holds one: a token, a command, a service.
//! What it returns is checked with its public key before anybody sees it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Padding,
    sha::sha256,
    sign::RsaPssSaltlen,
};
use rocketos_model::{BlobDigest, ImageReference};
use serde_json::{Value, json};

use crate::{
    bundle::{self, pre_authentication},
    carrier::{PAYLOAD_TYPE, SIGNATURE_ANNOTATION},
    identity::Name,
    key::{Algorithm, KeyError, PublicKey},
    limits,
    signature::{Signature, Subject},
    simple,
};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A signature that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// No PEM of a private key.
    #[error("{name} is not a private key in PEM: one block '-----BEGIN PRIVATE KEY-----' (PKCS#8) is expected")]
    NotPem {
        /// The file, or what else people call it.
        name: String,
        /// What OpenSSL says.
        source: openssl::error::ErrorStack,
    },
    /// A key under a password.
    #[error(
        "{name} is encrypted ('{found}'); give the PKCS#8 key as it was before ('cosign import-key-pair' takes it too), \
         or let a command sign that holds the key"
    )]
    Encrypted {
        /// The file, or what else people call it.
        name: String,
        /// What its PEM block says.
        found: &'static str,
    },
    /// A kind or size that no node takes.
    #[error("the key {name} is not one to sign with")]
    Key {
        /// The file, or what else people call it.
        name: String,
        /// Why.
        source: KeyError,
    },
    /// The signer failed.
    #[error("signing with {name}")]
    Signer {
        /// The key's name.
        name: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The signer signed with another key, or something else.
    #[error(
        "what {name} returned is not a signature by its public key over what it was given; which key does it hold?"
    )]
    Mismatch {
        /// The key's name.
        name: String,
    },
    /// An image without a repository.
    #[error("{0} names no repository that a signature could be for; name the one it will be pulled from")]
    NoRepository(String),
    /// What lies under the signatures' tag is not what belongs there.
    #[error(
        "the manifest under the signatures' tag cannot be added to: {problem}; remove it, or sign into another place"
    )]
    Existing {
        /// What is wrong with it.
        problem: String,
    },
}

/// Whoever holds a private key.
pub trait Signer {
    /// The key that verifies what it signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` as the key's [`Algorithm`] has it: ECDSA in DER and RSA over its SHA-256, Ed25519 over itself.
    ///
    /// # Errors
    /// When no signature comes.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The same as release metadata has it (TUF 4.2.2): RSA is PSS there, its salt as long as the digest.
    ///
    /// # Errors
    /// When no signature comes.
    fn sign_metadata(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign(message)
    }
}

/// A private key in memory.
pub struct PrivateKey {
    public: PublicKey,
    key: PKey<Private>,
}

impl PrivateKey {
    /// Reads an unencrypted key: PKCS#8, or OpenSSL's older forms.
    ///
    /// # Errors
    /// When it is no such key, or of a kind that no node takes.
    pub fn from_pem(name: &str, pem: &[u8]) -> Result<Self, SignError> {
        let text = String::from_utf8_lossy(pem);
        // OpenSSL would ask for a password on the terminal.
        for found in ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED"] {
            if text.contains(found) {
                return Err(SignError::Encrypted { name: name.to_owned(), found });
            }
        }
        let failed = |source| SignError::NotPem { name: name.to_owned(), source };
        let key = PKey::private_key_from_pem(pem).map_err(failed)?;
        let public = PublicKey::from_pem(name, &key.public_key_to_pem().map_err(failed)?)
            .map_err(|source| SignError::Key { name: name.to_owned(), source })?;
        Ok(Self { public, key })
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signed = match self.public.algorithm() {
            Algorithm::Ed25519 => openssl::sign::Signer::new_without_digest(&self.key),
            Algorithm::EcdsaP256 | Algorithm::Rsa => openssl::sign::Signer::new(MessageDigest::sha256(), &self.key),
        }
        .and_then(|mut signer| signer.sign_oneshot_to_vec(message));
        signed.map_err(|source| SignError::Signer { name: self.public.name().to_owned(), source: source.into() })
    }

    fn sign_metadata(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.public.algorithm() != Algorithm::Rsa {
            return self.sign(message);
        }
        let signed = openssl::sign::Signer::new(MessageDigest::sha256(), &self.key).and_then(|mut signer| {
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
            signer.sign_oneshot_to_vec(message)
        });
        signed.map_err(|source| SignError::Signer { name: self.public.name().to_owned(), source: source.into() })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public.name())
    }
}

/// A payload and the signature over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPayload {
    /// What was signed: a blob of its own.
    pub payload: Vec<u8>,
    /// The signature in base64.
    pub signature: String,
}

impl SignedPayload {
    /// As a node would find it.
    pub fn to_signature(&self, found_at: &str) -> Signature {
        Signature::simple(found_at, self.payload.clone(), &self.signature)
    }
}

/// The manifest that carries payloads, and the configuration it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureManifest {
    /// The configuration: a blob.
    pub config: Vec<u8>,
    /// The manifest, to be put under [`crate::signature_tag`].
    pub manifest: Vec<u8>,
}

fn signed(signer: &dyn Signer, message: &[u8]) -> Result<String, SignError> {
    let signature = signer.sign(message)?;
    match signer.public_key().verifies(message, &signature) {
        true => Ok(STANDARD.encode(signature)),
        false => Err(SignError::Mismatch { name: signer.public_key().name().to_owned() }),
    }
}

/// Signs an image in the simple-signing form, for the repository of `reference`.
///
/// # Errors
/// When `reference` has no repository, or the signer fails.
pub fn sign_payload(
    subject: &Subject<'_>,
    reference: &ImageReference,
    signer: &dyn Signer,
) -> Result<SignedPayload, SignError> {
    let name = Name::of(reference).ok_or_else(|| SignError::NoRepository(reference.to_string()))?;
    let payload = simple::Payload {
        critical: simple::Critical {
            identity: simple::Identity { docker_reference: name.repository },
            image: simple::Image { docker_manifest_digest: subject.digest().to_string() },
            r#type: simple::TYPE.to_owned(),
        },
        optional: None,
    };
    let payload = serde_json::to_vec(&payload).expect("strings are written as JSON");
    let signature = signed(signer, &payload)?;
    Ok(SignedPayload { payload, signature })
}

/// Signs an image as a sigstore bundle, to be attached to it under [`crate::BUNDLE_TYPE`].
///
/// # Errors
/// When the signer fails.
pub fn sign_bundle(subject: &Subject<'_>, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    let statement = json!({
        "_type": bundle::STATEMENT_TYPE,
        "subject": [{"digest": {"sha256": subject.digest().to_hex()}}],
        "predicateType": bundle::PREDICATE_TYPE,
        "predicate": {},
    })
    .to_string();
    let signature = signed(signer, &pre_authentication(bundle::PAYLOAD_TYPE, statement.as_bytes()))?;
    let bundle = json!({
        "mediaType": bundle::MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(signer.public_key().fingerprint())}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": bundle::PAYLOAD_TYPE,
            "signatures": [{"sig": signature}],
        },
    });
    Ok(bundle.to_string().into_bytes())
}

/// Makes the manifest for the signatures' tag: `existing`, which lies there now, and `payload` besides. What is there
/// already is not added again.
///
/// # Errors
/// When `existing` is no manifest of signatures, or full.
pub fn signature_manifest(existing: Option<&[u8]>, payload: &SignedPayload) -> Result<SignatureManifest, SignError> {
    let wrong = |problem: String| SignError::Existing { problem };
    let mut layers = match existing {
        Some(manifest) => layers(manifest).map_err(wrong)?,
        None => Vec::new(),
    };
    let digest = BlobDigest::from_bytes(sha256(&payload.payload)).to_string();
    let layer = json!({
        "mediaType": PAYLOAD_TYPE,
        "size": payload.payload.len(),
        "digest": digest,
        "annotations": {SIGNATURE_ANNOTATION: payload.signature},
    });
    let same = |other: &Value| ["digest", "annotations"].iter().all(|field| other[*field] == layer[*field]);
    if !layers.iter().any(same) {
        layers.push(layer);
    }
    if layers.len() > limits::SIGNATURES {
        return Err(wrong(format!("it has {} signatures, more than {}", layers.len(), limits::SIGNATURES)));
    }
    // As cosign writes it: payloads are layers that nothing compresses, so their digests are diff_ids.
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": OCI_CONFIG,
            "size": config.len(),
            "digest": BlobDigest::from_bytes(sha256(&config)),
        },
        "layers": layers,
    });
    Ok(SignatureManifest { config, manifest: manifest.to_string().into_bytes() })
}

/// The layers of a manifest of signatures, or what it is instead.
fn layers(manifest: &[u8]) -> Result<Vec<Value>, String> {
    if manifest.len() as u64 > limits::CARRIER_BYTES {
        return Err(format!("it has {} bytes, more than {}", manifest.len(), limits::CARRIER_BYTES));
    }
    let manifest: Value = serde_json::from_slice(manifest).map_err(|error| error.to_string())?;
    let layers = manifest["layers"].as_array().ok_or("it has no layers")?;
    match layers.iter().find(|layer| layer["mediaType"] != PAYLOAD_TYPE) {
        Some(other) => Err(format!("it has a layer of type {}", other["mediaType"])),
        None => Ok(layers.clone()),
    }
}
