//! The documents of the four roles and of delegated ones (specification 4).
//!
//! Each is read out of the value whose canonical form was signed. What is not known is kept in that form and not looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use serde_json::{Map, Value};

use super::{
    TufError,
    canonical::canonical,
    key::{Keyring, RoleKeys},
    limits,
    name::{DelegatedName, Role},
    time,
};
use crate::policy::json::Once;

/// A problem of one document, to be said together with its role.
type Read<T> = Result<T, String>;

/// What every document has.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) version: u64,
    pub(crate) expires: SystemTime,
}

/// A document as it came, not yet believed.
pub(crate) struct Document {
    role: Role,
    /// `signed`, as it is to be read.
    signed: Map<String, Value>,
    /// What the signatures are over.
    pub(crate) message: Vec<u8>,
    /// Key ids and signatures; what is no hexadecimal is kept as no bytes, which no key made.
    pub(crate) signatures: Vec<(String, Vec<u8>)>,
}

impl Document {
    /// Reads the object of specification 4.2.1. Nothing in it is believed yet.
    pub(crate) fn read(role: &Role, bytes: &[u8]) -> Result<Self, TufError> {
        let malformed = |problem| TufError::Malformed { role: role.clone(), problem };
        Self::take(role, bytes).map_err(malformed)
    }

    fn take(role: &Role, bytes: &[u8]) -> Read<Self> {
        let Once(value) = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let Value::Object(mut fields) = value else { return Err("no JSON object".to_owned()) };
        let Some(signed) = fields.remove("signed") else { return Err("it has no 'signed'".to_owned()) };
        let message = canonical(&signed)?;
        let Value::Object(signed) = signed else { return Err("'signed' is no object".to_owned()) };
        let Some(Value::Array(list)) = fields.remove("signatures") else {
            return Err("it has no list of 'signatures'".to_owned());
        };
        at_most(list.len(), limits::SIGNATURES, "signatures")?;
        let mut signatures = Vec::new();
        let mut seen = BTreeSet::new();
        for one in &list {
            let id = text(one, "keyid")?;
            // "multiple signatures with the same keyid are not allowed" (4.2.1).
            if !seen.insert(id) {
                return Err(format!("the key {} signs twice", super::name::shorten(id)));
            }
            signatures.push((id.to_owned(), hex::decode(text(one, "sig")?).unwrap_or_default()));
        }
        Ok(Self { role: role.clone(), signed, message, signatures })
    }

    /// The role it should be of.
    pub(crate) fn role(&self) -> &Role {
        &self.role
    }

    fn finish<T>(&self, read: impl FnOnce(&Map<String, Value>) -> Read<T>) -> Result<(Header, T), TufError> {
        let both = header(&self.signed, &self.role).and_then(|header| Ok((header, read(&self.signed)?)));
        both.map_err(|problem| TufError::Malformed { role: self.role.clone(), problem })
    }
}

fn header(signed: &Map<String, Value>, role: &Role) -> Read<Header> {
    match signed.get("_type") {
        Some(Value::String(kind)) if kind == role.kind() => {}
        _ => return Err(format!("'_type' is not '{}'", role.kind())),
    }
    // 4.3, SPEC_VERSION: the major version has to match.
    match signed.get("spec_version") {
        Some(Value::String(version)) if version == "1" || version.starts_with("1.") => {}
        _ => return Err("'spec_version' is not 1.x".to_owned()),
    }
    let Some(Value::String(expires)) = signed.get("expires") else { return Err("it has no 'expires'".to_owned()) };
    let expires = time::parse(expires).ok_or("'expires' is not of the form YYYY-MM-DDTHH:MM:SSZ")?;
    Ok(Header { version: positive(signed.get("version"), "version")?, expires })
}

/// The root: keys of the four roles.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) header: Header,
    pub(crate) consistent_snapshot: bool,
    keys: Keyring,
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
}

impl Root {
    /// Reads it; who signed it is another question.
    pub(crate) fn read(document: &Document) -> Result<Self, TufError> {
        let (header, rest) = document.finish(|signed| {
            let consistent = match signed.get("consistent_snapshot") {
                None => false,
                Some(Value::Bool(consistent)) => *consistent,
                Some(_) => return Err("'consistent_snapshot' is neither true nor false".to_owned()),
            };
            let keys = Keyring::read(object(signed.get("keys"), "keys")?)?;
            let roles = object(signed.get("roles"), "roles")?;
            let role = |name: &str| RoleKeys::read(roles.get(name), name);
            Ok((consistent, keys, role("root")?, role("timestamp")?, role("snapshot")?, role("targets")?))
        })?;
        let (consistent_snapshot, keys, root, timestamp, snapshot, targets) = rest;
        Ok(Self { header, consistent_snapshot, keys, root, timestamp, snapshot, targets })
    }

    /// True where enough of the role's keys signed the document.
    pub(crate) fn verify(&self, document: &Document) -> Result<(), TufError> {
        let role = match document.role() {
            Role::Root => &self.root,
            Role::Timestamp => &self.timestamp,
            Role::Snapshot => &self.snapshot,
            Role::Targets | Role::Delegated(_) => &self.targets,
        };
        self.keys.verify(role, document, &format!("root version {}", self.header.version))
    }

    /// True where a key that could sign timestamps or snapshots under `self` no longer can under `newer` (5.3.11).
    pub(crate) fn rotated_in(&self, newer: &Self) -> bool {
        self.timestamp.loses_keys_in(&newer.timestamp) || self.snapshot.loses_keys_in(&newer.snapshot)
    }
}

/// What is said of another document.
#[derive(Debug, Clone)]
pub(crate) struct MetaFile {
    pub(crate) version: u64,
    pub(crate) length: Option<u64>,
    pub(crate) digests: Digests,
}

impl MetaFile {
    fn read(value: &Value) -> Read<Self> {
        let length = value.get("length").map(|length| length.as_u64().ok_or("'length' is no number")).transpose()?;
        let digests = value.get("hashes").map(Digests::read).transpose()?.unwrap_or_default();
        Ok(Self { version: positive(value.get("version"), "version")?, length, digests })
    }
}

/// The timestamp: the newest snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Timestamp {
    pub(crate) header: Header,
    pub(crate) snapshot: MetaFile,
}

impl Timestamp {
    /// Reads it; who signed it is another question.
    pub(crate) fn read(document: &Document) -> Result<Self, TufError> {
        let (header, snapshot) = document.finish(|signed| {
            let meta = object(signed.get("meta"), "meta")?;
            MetaFile::read(meta.get("snapshot.json").ok_or("'meta' has no 'snapshot.json'")?)
        })?;
        Ok(Self { header, snapshot })
    }
}

/// The snapshot: which versions of the targets roles belong together.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) header: Header,
    /// By METAPATH: `<role>.json`, not encoded.
    pub(crate) meta: BTreeMap<String, MetaFile>,
}

impl Snapshot {
    /// Reads it; who signed it is another question.
    pub(crate) fn read(document: &Document) -> Result<Self, TufError> {
        let (header, meta) = document.finish(|signed| {
            let listed = object(signed.get("meta"), "meta")?;
            at_most(listed.len(), limits::ROLES, "roles")?;
            let one = |(path, value): (&String, &Value)| Ok((path.clone(), MetaFile::read(value)?));
            listed.iter().map(one).collect::<Read<BTreeMap<_, _>>>()
        })?;
        Ok(Self { header, meta })
    }
}

/// A targets role's document, at the top or delegated.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) header: Header,
    pub(crate) targets: BTreeMap<String, TargetFile>,
    pub(crate) delegations: Option<Delegations>,
}

impl Targets {
    /// Reads it; who signed it is another question.
    pub(crate) fn read(document: &Document) -> Result<Self, TufError> {
        let (header, (targets, delegations)) = document.finish(|signed| {
            let listed = object(signed.get("targets"), "targets")?;
            let one = |(name, value): (&String, &Value)| Ok((name.clone(), TargetFile::read(value)?));
            let targets = listed.iter().map(one).collect::<Read<BTreeMap<_, _>>>()?;
            Ok((targets, signed.get("delegations").map(Delegations::read).transpose()?))
        })?;
        Ok(Self { header, targets, delegations })
    }
}

/// What is said of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// Its bytes.
    pub length: u64,
    /// What the owner says of it besides.
    pub custom: Option<Value>,
    pub(crate) digests: Digests,
}

impl TargetFile {
    /// Its SHA-256, where that was signed: of an image's manifest, the manifest digest.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let (_, digest) = self.digests.iter().find(|(algorithm, _)| *algorithm == Algorithm::Sha256)?;
        digest.try_into().ok()
    }

    pub(super) fn read(value: &Value) -> Read<Self> {
        let length = value.get("length").and_then(Value::as_u64).ok_or("a target has no 'length'")?;
        let digests = Digests::read(value.get("hashes").ok_or("a target has no 'hashes'")?)?;
        Ok(Self { length, custom: value.get("custom").cloned(), digests })
    }
}

/// The digests that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// The name in metadata.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// Signed digests of a file: none, or those that can be compared, of which there is one at least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Digests(Vec<(Algorithm, Vec<u8>)>);

impl Digests {
    fn read(value: &Value) -> Read<Self> {
        let Value::Object(listed) = value else { return Err("'hashes' is no object".to_owned()) };
        let mut digests = Vec::new();
        for (algorithm, bytes) in [(Algorithm::Sha256, 32), (Algorithm::Sha512, 64)] {
            let Some(value) = listed.get(algorithm.name()) else { continue };
            let digest = value.as_str().and_then(|digest| hex::decode(digest).ok()).filter(|d| d.len() == bytes);
            digests.push((algorithm, digest.ok_or_else(|| format!("a {} digest is none", algorithm.name()))?));
        }
        // A digest that nobody can compute here is no digest: what it is of could be anything.
        match digests.is_empty() {
            true => Err("'hashes' has neither sha256 nor sha512".to_owned()),
            false => Ok(Self(digests)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        self.0.iter().map(|(algorithm, digest)| (*algorithm, digest.as_slice()))
    }

    /// The one that stands in a consistent file's name: any of them may.
    pub(crate) fn first_hex(&self) -> Option<String> {
        self.0.first().map(|(_, digest)| hex::encode(digest))
    }
}

/// Whom a targets role trusts for which targets, in the order of trust.
#[derive(Debug, Clone)]
pub(crate) struct Delegations {
    pub(crate) keys: Keyring,
    pub(crate) roles: Vec<Delegation>,
}

/// One delegated role.
#[derive(Debug, Clone)]
pub(crate) struct Delegation {
    pub(crate) name: DelegatedName,
    pub(crate) keys: RoleKeys,
    pub(crate) terminating: bool,
    covers: Covers,
}

#[derive(Debug, Clone)]
enum Covers {
    Paths(Vec<String>),
    /// Lower-case hexadecimal beginnings of SHA-256.
    HashPrefixes(Vec<String>),
    /// Neither was given: no target is.
    Nothing,
}

impl Delegations {
    fn read(value: &Value) -> Read<Self> {
        if value.get("succinct_roles").is_some() {
            return Err("'succinct_roles' (TAP 15) is no part of the specification".to_owned());
        }
        let keys = Keyring::read(object(value.get("keys"), "keys")?)?;
        let listed = value.get("roles").and_then(Value::as_array).ok_or("'delegations' has no list of 'roles'")?;
        at_most(listed.len(), limits::DELEGATIONS, "delegations")?;
        let roles = listed.iter().map(Delegation::read).collect::<Read<Vec<_>>>()?;
        let mut seen = BTreeSet::new();
        // "multiple roles with the same rolename are not allowed within a DELEGATIONS" (4.5).
        match roles.iter().find(|role| !seen.insert(&role.name)) {
            Some(twice) => Err(format!("{} is delegated to twice", Role::Delegated(twice.name.clone()))),
            None => Ok(Self { keys, roles }),
        }
    }
}

impl Delegation {
    fn read(value: &Value) -> Read<Self> {
        let name = text(value, "name")?;
        let name = DelegatedName::new(name).map_err(|error| error.to_string())?;
        // Optional in old documents; what is absent ends no search.
        let terminating = match value.get("terminating") {
            None => false,
            Some(Value::Bool(terminating)) => *terminating,
            Some(_) => return Err("'terminating' is neither true nor false".to_owned()),
        };
        let list =
            |field: &str| value.get(field).filter(|list| !list.is_null()).map(|list| texts(list, field)).transpose();
        let covers = match (list("paths")?, list("path_hash_prefixes")?) {
            (Some(paths), None) => match paths.iter().any(|path| path.len() > limits::PATTERN_BYTES) {
                true => return Err(format!("a pattern has more than {} bytes", limits::PATTERN_BYTES)),
                false => Covers::Paths(paths),
            },
            (None, Some(prefixes)) => Covers::HashPrefixes(prefixes),
            (None, None) => Covers::Nothing,
            (Some(_), Some(_)) => return Err("a delegation has both 'paths' and 'path_hash_prefixes'".to_owned()),
        };
        Ok(Self { keys: RoleKeys::read(Some(value), "a delegation")?, name, terminating, covers })
    }

    /// True where the role is trusted for this target.
    pub(crate) fn covers(&self, target: &str) -> bool {
        match &self.covers {
            Covers::Paths(patterns) => patterns.iter().any(|pattern| super::pattern::matches(pattern, target)),
            Covers::HashPrefixes(prefixes) => {
                let digest = hex::encode(openssl::sha::sha256(target.as_bytes()));
                prefixes.iter().any(|prefix| digest.starts_with(prefix))
            }
            Covers::Nothing => false,
        }
    }
}

pub(super) fn object<'a>(value: Option<&'a Value>, field: &str) -> Read<&'a Map<String, Value>> {
    value.and_then(Value::as_object).ok_or_else(|| format!("'{field}' is no object"))
}

pub(super) fn positive(value: Option<&Value>, field: &str) -> Read<u64> {
    value.and_then(Value::as_u64).filter(|number| *number > 0).ok_or_else(|| format!("'{field}' is no number above 0"))
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Read<&'a str> {
    value.get(field).and_then(Value::as_str).ok_or_else(|| format!("'{field}' is no text"))
}

pub(super) fn texts(value: &Value, field: &str) -> Read<Vec<String>> {
    let one = |item: &Value| item.as_str().map(str::to_owned);
    let list = value.as_array().and_then(|items| items.iter().map(one).collect());
    list.ok_or_else(|| format!("'{field}' is no list of texts"))
}

pub(super) fn at_most(found: usize, limit: usize, what: &str) -> Read<()> {
    match found > limit {
        true => Err(format!("{found} {what}, more than {limit}")),
        false => Ok(()),
    }
}
