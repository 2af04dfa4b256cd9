//! A document and its signatures, as they are written (specification 4.2.1).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{AuthorError, Key, Top};
use crate::{
    policy::json::Once,
    sign::{SignError, Signer},
    tuf::{canonical::canonical, limits, metadata::text, time},
};

/// The specification that our documents follow.
const SPEC_VERSION: &str = "1.0.34";

/// A document; its signatures are over exactly this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    role: Top,
    signed: Map<String, Value>,
    /// By key id, in hexadecimal.
    signatures: BTreeMap<String, String>,
}

impl Envelope {
    /// A document that nobody signed: what all roles have, and `rest`.
    pub(super) fn new(role: Top, version: u64, expires: std::time::SystemTime, rest: Value) -> Self {
        let mut signed = Map::new();
        signed.insert("_type".to_owned(), json!(role.name()));
        signed.insert("spec_version".to_owned(), json!(SPEC_VERSION));
        signed.insert("version".to_owned(), json!(version));
        signed.insert("expires".to_owned(), json!(time::show(expires)));
        if let Value::Object(rest) = rest {
            signed.extend(rest);
        }
        Self { role, signed, signatures: BTreeMap::new() }
    }

    /// Reads what [`Envelope::bytes`] wrote.
    ///
    /// # Errors
    /// When it is not a document of this role.
    pub fn parse(role: Top, bytes: &[u8]) -> Result<Self, AuthorError> {
        Self::read(role, bytes)
            .map_err(|problem| AuthorError::Malformed { what: format!("a document of {role}"), problem })
    }

    fn read(role: Top, bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > role.role().limit() {
            return Err(format!("it has {} bytes, more than {}", bytes.len(), role.role().limit()));
        }
        let Once(value) = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let signed = value.get("signed").and_then(Value::as_object).ok_or("it has no 'signed'")?.clone();
        if signed.get("_type").and_then(Value::as_str) != Some(role.name()) {
            return Err(format!("'_type' is not '{role}'"));
        }
        let list = value.get("signatures").and_then(Value::as_array).ok_or("it has no 'signatures'")?;
        if list.len() > limits::SIGNATURES {
            return Err(format!("it has {} signatures, more than {}", list.len(), limits::SIGNATURES));
        }
        let mut signatures = BTreeMap::new();
        for one in list {
            signatures.insert(text(one, "keyid")?.to_owned(), text(one, "sig")?.to_owned());
        }
        let read = Self { role, signed, signatures };
        // No fraction, so that it has a canonical form.
        canonical(&Value::Object(read.signed.clone()))?;
        Ok(read)
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let signatures: Vec<_> =
            self.signatures.iter().map(|(id, signature)| json!({"keyid": id, "sig": signature})).collect();
        let mut text = format!("{:#}", json!({"signatures": signatures, "signed": self.signed}));
        text.push('\n');
        text.into_bytes()
    }

    /// Whose document it is.
    pub fn role(&self) -> Top {
        self.role
    }

    pub(super) fn signed(&self) -> &Map<String, Value> {
        &self.signed
    }

    /// What is signed.
    pub fn message(&self) -> Vec<u8> {
        canonical(&Value::Object(self.signed.clone())).expect("it was checked to have a canonical form")
    }

    /// Its version, and when it expires.
    pub(super) fn header(&self) -> Result<(u64, std::time::SystemTime), String> {
        let version = crate::tuf::metadata::positive(self.signed.get("version"), "version")?;
        let expires = self.signed.get("expires").and_then(Value::as_str).and_then(time::parse);
        Ok((version, expires.ok_or("'expires' is no date")?))
    }

    /// True where this key signed exactly this document.
    pub fn is_signed_by(&self, key: &Key) -> bool {
        let signature = self.signatures.get(key.id()).and_then(|signature| hex::decode(signature).ok());
        signature.is_some_and(|signature| key.public().verifies_tuf(&self.message(), &signature))
    }

    /// How many signatures it has, whoever made them.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// Adds the signer's signature, once it was checked with its public key.
    ///
    /// # Errors
    /// When none comes, or one by another key.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<(), SignError> {
        let message = self.message();
        let signature = signer.sign_metadata(&message)?;
        if !signer.public_key().verifies_tuf(&message, &signature) {
            return Err(SignError::Mismatch { name: signer.public_key().name().to_owned() });
        }
        self.signatures.insert(Key::new(signer.public_key().clone()).id().to_owned(), hex::encode(signature));
        Ok(())
    }

    /// Takes another copy's signatures of the same document; none where that is of another one.
    pub fn collect(&mut self, other: &Self) -> Option<usize> {
        if self.signed != other.signed {
            return None;
        }
        let before = self.signatures.len();
        for (id, signature) in &other.signatures {
            self.signatures.entry(id.clone()).or_insert_with(|| signature.clone());
        }
        Some(self.signatures.len() - before)
    }
}
