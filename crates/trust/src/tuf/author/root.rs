//! The root as it is written: which keys each role has, and how many of them have to sign.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::SystemTime,
};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{AuthorError, Envelope, Key};
use crate::tuf::{
    Role, limits,
    metadata::{object, positive, texts},
};

/// Where a root has what its keys are called, for people: by key id. Clients pass over fields they do not know.
const NAMES: &str = "x-rocketos-names";

/// The four roles at the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Top {
    /// Says which keys make the other three, and itself.
    Root,
    /// Says what is published.
    Targets,
    /// Says which version of the targets role is current.
    Snapshot,
    /// Says that this is so today.
    Timestamp,
}

impl Top {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];
    /// Those whose keys are best kept off line.
    pub const OFFLINE: [Self; 2] = [Self::Root, Self::Targets];

    /// The name in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    pub(super) fn role(self) -> Role {
        match self {
            Self::Root => Role::Root,
            Self::Targets => Role::Targets,
            Self::Snapshot => Role::Snapshot,
            Self::Timestamp => Role::Timestamp,
        }
    }
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Top {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("'{text}' is no role; there are root, targets, snapshot and timestamp"))
    }
}

impl Serialize for Top {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Who signs for a role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders {
    /// Ids of keys.
    pub keys: BTreeSet<String>,
    /// How many of them have to sign.
    pub threshold: u64,
}

/// A root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDocument {
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: SystemTime,
    keys: BTreeMap<String, Key>,
    roles: BTreeMap<Top, Holders>,
}

impl RootDocument {
    /// One whose roles have no keys yet.
    pub fn new(version: u64, expires: SystemTime) -> Self {
        let roles = Top::ALL.map(|role| (role, Holders { threshold: 1, ..Holders::default() }));
        Self { version, expires, keys: BTreeMap::new(), roles: roles.into() }
    }

    /// Reads a document of ours.
    ///
    /// # Errors
    /// When it is no root, or says more than we would write again.
    pub fn read(envelope: &Envelope) -> Result<Self, AuthorError> {
        Self::take(envelope)
            .map_err(|problem| AuthorError::Malformed { what: "a document of root".to_owned(), problem })
    }

    fn take(envelope: &Envelope) -> Result<Self, String> {
        let signed = envelope.signed();
        let (version, expires) = envelope.header()?;
        if signed.get("consistent_snapshot") != Some(&Value::Bool(true)) {
            return Err("'consistent_snapshot' is not true".to_owned());
        }
        let none = Map::new();
        let names = signed.get(NAMES).and_then(Value::as_object).unwrap_or(&none);
        let listed = object(signed.get("keys"), "keys")?;
        let mut keys = BTreeMap::new();
        for (id, value) in listed {
            let key = Key::read(value, names.get(id).and_then(Value::as_str).unwrap_or("a key without a name"))?;
            if key.id() != id {
                return Err(format!("the key {} stands under another id", key.id()));
            }
            keys.insert(id.clone(), key);
        }
        let of = object(signed.get("roles"), "roles")?;
        let mut roles = BTreeMap::new();
        for role in Top::ALL {
            let value = of.get(role.name()).ok_or_else(|| format!("'roles' has no '{role}'"))?;
            let ids = texts(value.get("keyids").unwrap_or(&Value::Null), "keyids")?;
            if let Some(unknown) = ids.iter().find(|id| !keys.contains_key(*id)) {
                return Err(format!("{role} has a key that is not there: {}", crate::tuf::name::shorten(unknown)));
            }
            let threshold = positive(value.get("threshold"), "threshold")?;
            roles.insert(role, Holders { keys: ids.into_iter().collect(), threshold });
        }
        Ok(Self { version, expires, keys, roles })
    }

    /// The document, which nobody signed yet.
    ///
    /// # Errors
    /// When a role could never be signed for.
    pub fn envelope(&self) -> Result<Envelope, AuthorError> {
        for role in Top::ALL {
            let Holders { keys, threshold } = self.holders(role);
            if *threshold == 0 || *threshold > keys.len() as u64 {
                return Err(AuthorError::Threshold { role, threshold: *threshold, keys: keys.len() });
            }
        }
        let used = || self.keys.iter().filter(|(id, _)| self.roles.values().any(|holders| holders.keys.contains(*id)));
        let count = used().count();
        if count > limits::KEYS {
            let what = "the root's keys".to_owned();
            return Err(AuthorError::Limit { what, found: count as u64, limit: limits::KEYS as u64 });
        }
        let keys: Map<_, _> = used().map(|(id, key)| (id.clone(), key.value())).collect();
        let names: Map<_, _> = used().map(|(id, key)| (id.clone(), key.public().name().into())).collect();
        let role = |(role, holders): (&Top, &Holders)| {
            (role.name().to_owned(), json!({"keyids": holders.keys, "threshold": holders.threshold}))
        };
        let roles: Map<_, _> = self.roles.iter().map(role).collect();
        let rest = json!({"consistent_snapshot": true, "keys": keys, "roles": roles, NAMES: names});
        Ok(Envelope::new(Top::Root, self.version, self.expires, rest))
    }

    /// Who signs for a role.
    pub fn holders(&self, role: Top) -> &Holders {
        self.roles.get(&role).expect("every root has the four roles")
    }

    fn holders_mut(&mut self, role: Top) -> &mut Holders {
        self.roles.entry(role).or_default()
    }

    /// The keys of a role, by name.
    pub fn keys(&self, role: Top) -> impl Iterator<Item = &Key> {
        let mut keys: Vec<_> = self.holders(role).keys.iter().filter_map(|id| self.keys.get(id)).collect();
        keys.sort_by_key(|key| key.name());
        keys.into_iter()
    }

    /// Gives a role a key.
    ///
    /// # Errors
    /// When it has it.
    pub fn add(&mut self, role: Top, key: Key) -> Result<(), AuthorError> {
        if !self.holders_mut(role).keys.insert(key.id().to_owned()) {
            return Err(AuthorError::KeyTwice { role, key: key.to_string() });
        }
        // A key that another role has keeps the name it has there.
        self.keys.entry(key.id().to_owned()).or_insert(key);
        Ok(())
    }

    /// Takes a key from a role, by its name or the beginning of its id.
    ///
    /// # Errors
    /// When the role has no such key, or several.
    pub fn remove(&mut self, role: Top, word: &str) -> Result<Key, AuthorError> {
        let found: Vec<Key> = self.keys(role).filter(|key| key.is(word)).cloned().collect();
        let [key] = found.as_slice() else {
            let all: Vec<_> = self.keys(role).map(ToString::to_string).collect();
            let found = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            return Err(AuthorError::NoKey { role, key: crate::tuf::name::shorten(word), found });
        };
        self.holders_mut(role).keys.remove(key.id());
        Ok(key.clone())
    }

    /// Asks for so many of a role's keys.
    pub fn set_threshold(&mut self, role: Top, threshold: u64) {
        self.holders_mut(role).threshold = threshold;
    }
}
