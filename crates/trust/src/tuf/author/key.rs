//! Public keys as a root names them.

use std::fmt;

use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::{
    key::{Algorithm, PublicKey},
    tuf::{canonical::canonical, key::read_key, metadata::text, name::shorten},
};

/// Digits of an id that people see.
const SHORT: usize = 8;

/// A public key, its id, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    public: PublicKey,
}

impl Key {
    /// Under the public key's own name.
    pub fn new(public: PublicKey) -> Self {
        let id = hex::encode(sha256(&canonical(&value(&public)).expect("a key has no fractions")));
        Self { id, public }
    }

    /// As metadata has it; the name is for people.
    pub(super) fn read(value: &Value, name: &str) -> Result<Self, String> {
        let scheme = (text(value, "keytype")?, text(value, "scheme")?);
        let public = value.get("keyval").and_then(|value| value.get("public")).and_then(Value::as_str);
        let public = public.and_then(|public| read_key(name, scheme, public));
        let key = Self::new(public.ok_or_else(|| format!("the key {} is of no kind we write", shorten(name)))?);
        Ok(key)
    }

    /// SHA-256 of its canonical form (specification 4.2.1, KEYID).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What people call it.
    pub fn name(&self) -> String {
        shorten(self.public.name())
    }

    /// The key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// True where `word` is its name, or the beginning of its id.
    pub fn is(&self, word: &str) -> bool {
        self.public.name() == word || (word.len() >= SHORT && self.id.starts_with(word))
    }

    pub(super) fn value(&self) -> Value {
        value(&self.public)
    }
}

/// Specification 4.2.2.
fn value(public: &PublicKey) -> Value {
    let pem = || String::from_utf8_lossy(&public.to_pem()).into_owned();
    let (kind, scheme, public) = match public.algorithm() {
        Algorithm::Ed25519 => ("ed25519", "ed25519", hex::encode(public.raw())),
        Algorithm::EcdsaP256 => ("ecdsa", "ecdsa-sha2-nistp256", pem()),
        Algorithm::Rsa => ("rsa", "rsassa-pss-sha256", pem()),
    };
    json!({"keytype": kind, "scheme": scheme, "keyval": {"public": public}})
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), &self.id[..SHORT])
    }
}
