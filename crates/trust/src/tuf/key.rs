//! Keys as metadata has them, and whether enough of them signed (specification 4.2.2 and the thresholds of 5).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use openssl::sha::sha256;
use serde_json::{Map, Value};

use super::{
    TufError,
    canonical::canonical,
    limits,
    metadata::{Document, at_most, object, positive, text, texts},
};
use crate::key::{Algorithm, PublicKey};

/// The keys of one document, by key id. One whose kind or scheme is not known is there and signs nothing.
#[derive(Clone)]
pub(crate) struct Keyring(BTreeMap<String, Option<PublicKey>>);

impl Keyring {
    /// Reads `keys`. A key under an id that is not its own spoils the document.
    pub(crate) fn read(listed: &Map<String, Value>) -> Result<Self, String> {
        at_most(listed.len(), limits::KEYS, "keys")?;
        let mut keys = BTreeMap::new();
        for (id, value) in listed {
            // "Clients MUST calculate each KEYID to verify this is correct for the associated key" (4.3).
            let own = hex::encode(sha256(&canonical(value)?));
            if *id != own {
                return Err(format!("the key {own} stands under the id {}", super::name::shorten(id)));
            }
            let scheme = (text(value, "keytype")?, text(value, "scheme")?);
            let public = object(value.get("keyval"), "keyval")?.get("public").and_then(Value::as_str);
            keys.insert(own, public.and_then(|public| read_key(id, scheme, public)));
        }
        Ok(Self(keys))
    }

    /// Counts the role's keys that signed the document; `signer` says whose keys they are.
    pub(crate) fn verify(&self, role: &RoleKeys, document: &Document, signer: &str) -> Result<(), TufError> {
        // One key under two ids (an added field makes another id) still is one key.
        let mut signed_by = BTreeSet::new();
        for (id, signature) in &document.signatures {
            if let Some(Some(key)) = role.ids.contains(id).then(|| self.0.get(id)).flatten()
                && key.verifies_tuf(&document.message, signature)
            {
                signed_by.insert(*key.fingerprint());
            }
        }
        let found = signed_by.len() as u64;
        match found >= role.threshold {
            true => Ok(()),
            false => Err(TufError::Threshold {
                role: document.role().clone(),
                signer: signer.to_owned(),
                threshold: role.threshold,
                found,
            }),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The three schemes that the specification defines; `ecdsa-sha2-nistp256` is what older writers call ECDSA's key type.
pub(super) fn read_key(id: &str, scheme: (&str, &str), public: &str) -> Option<PublicKey> {
    let key = match scheme {
        ("ed25519", "ed25519") => return PublicKey::from_ed25519(id, &hex::decode(public).ok()?),
        ("rsa", "rsassa-pss-sha256") => (PublicKey::from_pem(id, public.as_bytes()).ok()?, Algorithm::Rsa),
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
            (PublicKey::from_pem(id, public.as_bytes()).ok()?, Algorithm::EcdsaP256)
        }
        _ => return None,
    };
    (key.0.algorithm() == key.1).then_some(key.0)
}

/// Which keys a role has, and how many of them have to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleKeys {
    ids: BTreeSet<String>,
    threshold: u64,
}

impl RoleKeys {
    /// Reads `keyids` and `threshold`.
    pub(crate) fn read(value: Option<&Value>, what: &str) -> Result<Self, String> {
        let value = value.ok_or_else(|| format!("'roles' has no '{what}'"))?;
        let ids = texts(value.get("keyids").unwrap_or(&Value::Null), "keyids")?;
        at_most(ids.len(), limits::KEYS, "keys of a role")?;
        Ok(Self { ids: ids.into_iter().collect(), threshold: positive(value.get("threshold"), "threshold")? })
    }

    /// True where a key of the role is no longer one.
    pub(crate) fn loses_keys_in(&self, newer: &Self) -> bool {
        !self.ids.is_subset(&newer.ids)
    }
}
