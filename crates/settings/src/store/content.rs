//! What is stored: user data and overrides, sparse, each key with who set it.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Key, Layers, Schema, SetBy, Tree, TreeError, provider, userdata::Document};

/// Keys of which it is remembered that they were unset.
pub const REMOVED: usize = 1024;

/// User data that counts: the document of one provider.
#[derive(Debug, Clone, PartialEq)]
pub struct UserData {
    /// Who handed it in, such as `nocloud`.
    pub provider: String,
    /// The SHA-256 of its bytes as they came, in lower-case hexadecimal; of several documents, with `+` between.
    pub sha256: String,
    /// Its settings.
    pub tree: Tree,
    /// The line of each.
    pub lines: BTreeMap<Key, usize>,
    /// What this system's model does not take.
    pub parked: BTreeMap<Key, Parked<Value>>,
    /// In which order it came: [`Content::revision`] after it.
    pub revision: u64,
}

/// A key that an operator set.
#[derive(Clone, PartialEq)]
pub struct Override {
    /// Its value.
    pub value: Value,
    /// Who set it.
    pub by: String,
    /// When, by the node's clock.
    pub at: DateTime<Utc>,
    /// In which order: [`Content::revision`] after it. Clocks are set back, this is not.
    pub revision: u64,
}

/// What is kept for a system that takes it.
#[derive(Clone, PartialEq)]
pub struct Parked<T> {
    /// What it is.
    pub item: T,
    /// Why this system's model refuses it.
    pub why: String,
}

/// Everything that is stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// How many changes there were on this node, whichever deployment was booted.
    pub revision: u64,
    /// The user data that counts, a document of each provider, in the providers' order: a later one over an earlier one.
    pub user_data: Vec<UserData>,
    /// What operators set.
    pub overrides: BTreeMap<Key, Override>,
    /// What operators set and this system's model refuses.
    pub parked: BTreeMap<Key, Parked<Override>>,
    /// Keys that operators unset, and the revision after it; the newest [`REMOVED`].
    pub removed: BTreeMap<Key, u64>,
}

impl Content {
    /// Takes user data in the place of what this provider handed in before; false where it is the same.
    pub fn set_user_data(&mut self, provider: &str, sha256: &str, document: Document) -> bool {
        if self.user_data_of(provider).is_some_and(|data| data.sha256 == sha256) {
            return false;
        }
        self.revision += 1;
        let revision = self.revision;
        let (provider, sha256) = (provider.to_owned(), sha256.to_owned());
        let Document { tree, lines, .. } = document;
        self.put_user_data(UserData { provider, sha256, tree, lines, parked: BTreeMap::new(), revision });
        true
    }

    /// Forgets what a provider handed in; false where that was nothing.
    pub fn unset_user_data(&mut self, provider: &str) -> bool {
        let before = self.user_data.len();
        self.user_data.retain(|data| data.provider != provider);
        let gone = self.user_data.len() < before;
        self.revision += u64::from(gone);
        gone
    }

    /// What a provider handed in.
    pub fn user_data_of(&self, provider: &str) -> Option<&UserData> {
        self.user_data.iter().find(|data| data.provider == provider)
    }

    /// Puts a document where its provider has its place.
    pub(crate) fn put_user_data(&mut self, data: UserData) {
        self.user_data.retain(|there| there.provider != data.provider);
        self.user_data.push(data);
        self.user_data.sort_by(|a, b| provider::place(&a.provider).cmp(&provider::place(&b.provider)));
    }

    /// Every text that is stored and shown to nobody, parked ones too.
    pub fn hidden(&self) -> Vec<String> {
        let schema = Schema::get();
        let overrides = self.overrides.iter().map(|(key, set)| (key, &set.value));
        let overrides = overrides.chain(self.parked.iter().map(|(key, parked)| (key, &parked.item.value)));
        let mut found: Vec<String> = overrides.flat_map(|(key, value)| schema.hidden_at(key, value)).collect();
        for data in &self.user_data {
            found.extend(data.parked.iter().flat_map(|(key, parked)| schema.hidden_at(key, &parked.item)));
            found.extend(data.tree.leaves().iter().flat_map(|(key, value)| schema.hidden_at(key, value)));
        }
        found
    }

    /// Sets a key; of a table each value in it.
    ///
    /// # Errors
    /// When another override is a value where this needs a table, or the other way round; when a limit is exceeded.
    pub fn set(&mut self, key: &Key, value: Value, by: &str, at: DateTime<Utc>) -> Result<(), TreeError> {
        let mut tree = Tree::default();
        tree.set(key, value)?;
        self.overrides()?.merge(&tree)?;
        self.revision += 1;
        for (key, value) in tree.leaves() {
            self.removed.remove(&key);
            self.parked.remove(&key);
            let set = Override { value, by: by.to_owned(), at, revision: self.revision };
            self.overrides.insert(key, set);
        }
        Ok(())
    }

    /// Unsets a key and all below it, parked ones too; false where nothing was.
    pub fn unset(&mut self, key: &Key) -> bool {
        let keys: Vec<Key> =
            self.overrides.keys().chain(self.parked.keys()).filter(|there| there.is_within(key)).cloned().collect();
        if keys.is_empty() {
            return false;
        }
        self.revision += 1;
        for key in keys {
            self.overrides.remove(&key);
            self.parked.remove(&key);
            self.forget(key, self.revision);
        }
        true
    }

    /// Remembers that a key was unset.
    pub(crate) fn forget(&mut self, key: Key, revision: u64) {
        self.removed.insert(key, revision);
        while self.removed.len() > REMOVED {
            let oldest = self.removed.iter().min_by_key(|(_, revision)| **revision).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.removed.remove(&key));
        }
    }

    /// What operators set, as a tree.
    ///
    /// # Errors
    /// When two overrides are in each other's way.
    pub fn overrides(&self) -> Result<Tree, TreeError> {
        let leaves = self.overrides.iter().map(|(key, set)| (key.clone(), set.value.clone()));
        match Tree::of_leaves(leaves) {
            (tree, refused) if refused.is_empty() => tree.bounded(),
            (_, mut refused) => Err(refused.remove(0).1),
        }
    }

    /// Puts what is stored on top of layers.
    pub fn add_to(&self, layers: &mut Layers) {
        for data in &self.user_data {
            layers.add(&data.tree, |key| SetBy::UserData {
                provider: data.provider.clone(),
                line: data.lines.get(key).copied(),
            });
        }
        for (key, set) in &self.overrides {
            let mut tree = Tree::default();
            // One key in an empty tree is in nobody's way.
            if tree.set(key, set.value.clone()).is_ok() {
                layers.add(&tree, |_| SetBy::Operator { by: set.by.clone(), at: set.at });
            }
        }
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its value, which may be a secret.
        write!(f, "Override(by {} at {}, revision {})", self.by, self.at, self.revision)
    }
}

impl<T> fmt::Debug for Parked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parked({})", self.why)
    }
}
