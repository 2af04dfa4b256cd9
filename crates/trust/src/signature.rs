//! Signatures as they were found, and what one may lack.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::sha::sha256;
use rocketos_model::ManifestDigest;
use serde::Serialize;

use crate::{bundle, limits, simple};

/// The image that is asked about: the bytes of its manifest, whose digest is what people sign.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    bytes: &'a [u8],
    digest: ManifestDigest,
}

impl<'a> Subject<'a> {
    /// The image that these bytes are the manifest of.
    pub fn of(manifest: &'a [u8]) -> Self {
        Self { bytes: manifest, digest: ManifestDigest::from_bytes(sha256(manifest)) }
    }

    /// The manifest digest.
    pub fn digest(&self) -> ManifestDigest {
        self.digest
    }

    /// The manifest.
    pub fn manifest(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The forms a signature comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A simple-signing payload and a signature over it (containers-signature(5), as cosign 2 writes it).
    SimpleSigning,
    /// A sigstore bundle, version 0.3, as cosign 3 writes it.
    Bundle,
    /// Something that should have been either and could not be read.
    Unreadable,
}

/// One signature as it was found, not yet looked at.
#[derive(Debug, Clone)]
pub struct Signature {
    found_at: String,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Simple { payload: Vec<u8>, signature: String },
    Bundle(Vec<u8>),
    Unreadable(String),
}

impl Signature {
    /// A payload and the base64 that stood in the annotation `dev.cosignproject.cosign/signature` beside it.
    /// `found_at` says to people where that was.
    pub fn simple(found_at: impl Into<String>, payload: Vec<u8>, signature: impl Into<String>) -> Self {
        Self { found_at: found_at.into(), content: Content::Simple { payload, signature: signature.into() } }
    }

    /// A sigstore bundle. `found_at` says to people where it was.
    pub fn bundle(found_at: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { found_at: found_at.into(), content: Content::Bundle(bytes) }
    }

    /// What should have been a signature and could not be fetched or read ([`crate::CarrierError`]): it does not count,
    /// and keeps no other from counting.
    pub fn unreadable(found_at: impl Into<String>, problem: impl ToString) -> Self {
        Self { found_at: found_at.into(), content: Content::Unreadable(problem.to_string()) }
    }

    /// Where it was found.
    pub fn found_at(&self) -> &str {
        &self.found_at
    }

    /// Its form.
    pub fn form(&self) -> Form {
        match self.content {
            Content::Simple { .. } => Form::SimpleSigning,
            Content::Bundle(_) => Form::Bundle,
            Content::Unreadable(_) => Form::Unreadable,
        }
    }

    /// Finds what was signed, with what; believes nothing of it.
    pub(crate) fn open<'a>(&'a self, subject: &Subject<'a>) -> Result<Opened<'a>, Flaw> {
        match &self.content {
            Content::Simple { payload, signature } => {
                limit("the payload", payload.len(), limits::PAYLOAD_BYTES)?;
                Ok(Opened {
                    message: payload.clone(),
                    signature: decode(signature)?,
                    hint: None,
                    says: Says::Simple(payload),
                })
            }
            Content::Bundle(bytes) => bundle::open(bytes, subject),
            Content::Unreadable(problem) => Err(Flaw::Unreadable(problem.clone())),
        }
    }
}

/// What a key has to have signed, and where it says of which image.
pub(crate) struct Opened<'a> {
    /// The bytes that were signed.
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// Which key a bundle claims; used for messages alone.
    pub(crate) hint: Option<String>,
    pub(crate) says: Says<'a>,
}

/// Where it stands of which image a signature speaks. Read only when the signature is a known key's.
pub(crate) enum Says<'a> {
    Simple(&'a [u8]),
    Statement(Vec<u8>),
    /// The manifest itself is what was signed.
    Manifest,
}

impl Says<'_> {
    /// Checks that the image is `subject`, and returns the reference it was signed under, where there is one.
    pub(crate) fn of(&self, subject: &Subject<'_>) -> Result<Option<String>, Flaw> {
        match self {
            Self::Simple(payload) => simple::read(payload, subject).map(Some),
            Self::Statement(statement) => bundle::read_statement(statement, subject).map(|()| None),
            Self::Manifest => Ok(None),
        }
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A bound was passed.
    #[error("{what} has {found} bytes or entries, more than {limit}")]
    TooLarge {
        /// Payload, bundle or signature.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Bytes that are not what their form says.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// Payload, bundle or signature.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A sound form that is not taken here.
    #[error("{found} is not taken; {advice}")]
    Unsupported {
        /// What it is.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// Made by nobody the policy names, or altered.
    #[error("no key of the policy made it, or it was altered since")]
    OtherKey,
    /// As `OtherKey`, of a bundle whose hint names an Ed25519 key of the policy.
    #[error(
        "it is no Ed25519 signature by {key}, which its hint names: altered, or Ed25519ph, which cosign 3 up to 3.1.1 \
         makes in bundles and cannot verify either; sign in cosign's older form \
         ('cosign sign --new-bundle-format=false --use-signing-config=false')"
    )]
    Prehashed {
        /// The key's name in the policy.
        key: String,
    },
    /// A right signature of something else.
    #[error("it is for another image, {found}")]
    OtherImage {
        /// What it names.
        found: String,
    },
    /// A right signature that does not mean "run this".
    #[error("it says '{found}', which is no signature of an image: '{expected}' would be")]
    OtherPurpose {
        /// What it says it is.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Signed under a name that the policy does not allow here.
    #[error("it was made for '{found}', and the policy wants {expected}")]
    OtherIdentity {
        /// The reference inside.
        found: String,
        /// What the policy says.
        expected: String,
    },
    /// The policy wants a name, the form has none.
    #[error(
        "it names no repository, and the policy wants {expected}; sign in cosign's older form \
         ('cosign sign --new-bundle-format=false --use-signing-config=false'), or leave 'identity' out of the policy"
    )]
    NoIdentity {
        /// What the policy says.
        expected: String,
    },
    /// Not read at all.
    #[error("it could not be read: {0}")]
    Unreadable(String),
    /// A second one by the same key.
    #[error("the same key's signature was counted already")]
    Duplicate,
}

/// Checks a bound.
pub(crate) fn limit(what: &'static str, found: usize, limit: u64) -> Result<(), Flaw> {
    match found as u64 > limit {
        true => Err(Flaw::TooLarge { what, found: found as u64, limit }),
        false => Ok(()),
    }
}

/// Decodes a signature. Padding and unused bits must be as RFC 4648 says, so that one signature has one text.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Flaw> {
    limit("the signature", text.len(), limits::SIGNATURE_BYTES as u64 * 2)?;
    let bytes =
        STANDARD.decode(text).map_err(|error| Flaw::Malformed { what: "the signature", problem: error.to_string() })?;
    limit("the signature", bytes.len(), limits::SIGNATURE_BYTES as u64)?;
    Ok(bytes)
}
