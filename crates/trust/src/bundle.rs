//! Sigstore bundles, version 0.3 (sigstore/protobuf-specs, `sigstore_bundle.proto`, in protobuf's JSON form).
//!
//! Entries of transparency logs and timestamps are neither needed nor looked at: the policy's keys decide.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    limits,
    signature::{Flaw, Opened, Says, Subject, decode, limit},
};

/// The version that is read.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What a DSSE envelope has to carry.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// What an in-toto statement is.
pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What cosign's statement of an image's signature says; attestations of the same key say something else.
pub(crate) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// How the manifest is hashed where a bundle signs it directly.
const SHA256: &str = "SHA2_256";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

// `publicKey` bears a hint only, and "a hint is not authenticated": the keys are tried instead.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<Hint>,
    certificate: Option<serde_json::Value>,
    x509_certificate_chain: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Hint {
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    sig: String,
    #[serde(rename = "keyid", default)]
    _keyid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageSignature {
    #[serde(default)]
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageDigest {
    algorithm: Option<String>,
    digest: Option<String>,
}

fn malformed(what: &'static str) -> impl FnOnce(serde_json::Error) -> Flaw {
    move |error| Flaw::Malformed { what, problem: error.to_string() }
}

/// Finds what was signed, with what.
pub(crate) fn open<'a>(bytes: &[u8], subject: &Subject<'a>) -> Result<Opened<'a>, Flaw> {
    limit("the bundle", bytes.len(), limits::BUNDLE_BYTES)?;
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(malformed("the bundle"))?;
    if bundle.media_type != MEDIA_TYPE {
        return Err(Flaw::Unsupported {
            found: format!("a bundle of type '{}'", bundle.media_type),
            advice: "sign with a cosign that writes bundles of version 0.3",
        });
    }
    let material = bundle.verification_material;
    let keyless = material.certificate.is_some() || material.x509_certificate_chain.is_some();
    let Some(Hint { hint }) = material.public_key.filter(|_| !keyless) else {
        return Err(Flaw::Unsupported {
            found: "a bundle without a public key (certificate, keyless)".to_owned(),
            advice: "sign with a key ('cosign sign --key')",
        });
    };
    let opened = match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => open_envelope(envelope)?,
        (None, Some(message)) => open_message(message, subject)?,
        _ => {
            return Err(Flaw::Malformed {
                what: "the bundle",
                problem: "exactly one of dsseEnvelope and messageSignature is expected".to_owned(),
            });
        }
    };
    Ok(Opened { hint, ..opened })
}

fn open_envelope<'a>(envelope: Envelope) -> Result<Opened<'a>, Flaw> {
    let [signature] = envelope.signatures.as_slice() else {
        // "DSSE envelopes in a bundle MUST contain exactly one signature" (sigstore_bundle.proto).
        let problem = format!("{} signatures in a DSSE envelope, not one", envelope.signatures.len());
        return Err(Flaw::Malformed { what: "the bundle", problem });
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Flaw::OtherPurpose { found: envelope.payload_type, expected: PAYLOAD_TYPE });
    }
    let statement = STANDARD
        .decode(&envelope.payload)
        .map_err(|error| Flaw::Malformed { what: "the bundle's payload", problem: error.to_string() })?;
    Ok(Opened {
        message: pre_authentication(&envelope.payload_type, &statement),
        signature: decode(&signature.sig)?,
        hint: None,
        says: Says::Statement(statement),
    })
}

fn open_message<'a>(message: MessageSignature, subject: &Subject<'a>) -> Result<Opened<'a>, Flaw> {
    // "message_digest is only for finding the artifact": absent from cosign's Ed25519 bundles, and never believed.
    let digest = message.message_digest;
    if digest.algorithm.as_deref().is_some_and(|found| found != SHA256) {
        return Err(Flaw::Unsupported {
            found: format!("a digest by '{}'", digest.algorithm.unwrap_or_default()),
            advice: "sign with SHA-256",
        });
    }
    if let Some(text) = digest.digest {
        let found = STANDARD
            .decode(&text)
            .map_err(|error| Flaw::Malformed { what: "the bundle's digest", problem: error.to_string() })?;
        if found != subject.digest().as_bytes() {
            return Err(Flaw::OtherImage { found: format!("with the SHA-256 '{text}' in base64") });
        }
    }
    Ok(Opened {
        message: subject.manifest().to_vec(),
        signature: decode(&message.signature)?,
        hint: None,
        says: Says::Manifest,
    })
}

/// What a DSSE signature signs: `PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body` (DSSE protocol,
/// "Signature Definition").
pub(crate) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<StatementSubject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct StatementSubject {
    digest: StatementDigest,
}

#[derive(Deserialize)]
struct StatementDigest {
    sha256: Option<String>,
}

/// Checks that an in-toto statement is a signature of `subject`.
pub(crate) fn read_statement(bytes: &[u8], subject: &Subject<'_>) -> Result<(), Flaw> {
    let statement: Statement = serde_json::from_slice(bytes).map_err(malformed("the bundle's statement"))?;
    for (found, expected) in [(statement.predicate_type, PREDICATE_TYPE), (statement.statement_type, STATEMENT_TYPE)] {
        if found != expected {
            return Err(Flaw::OtherPurpose { found, expected });
        }
    }
    limit("the list of images", statement.subject.len(), limits::SUBJECTS as u64)?;
    let wanted = subject.digest().to_hex();
    let mut named = statement.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref());
    if named.clone().any(|digest| digest == wanted) {
        return Ok(());
    }
    Err(Flaw::OtherImage {
        found: named.next().map_or_else(|| "without a SHA-256".to_owned(), |d| format!("sha256:{d}")),
    })
}
