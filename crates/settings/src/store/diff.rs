//! What differs between two generations, as people may see it; and going back.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{Content, Override};
use crate::{Key, Schema};

/// A key whose value differs. A secret shows that it does, not what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// The key.
    pub key: Key,
    /// True where user data has it, false where operators have.
    pub user_data: bool,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// What differs, user data first, by key.
pub fn diff(before: &Content, after: &Content) -> Vec<Change> {
    // Of several documents the last one's value.
    let user_data = |content: &Content| -> BTreeMap<Key, Value> {
        content.user_data.iter().flat_map(|data| data.tree.leaves()).collect()
    };
    let overrides = |content: &Content| -> BTreeMap<Key, Value> {
        content.overrides.iter().map(|(key, set)| (key.clone(), set.value.clone())).collect()
    };
    let mut changes = Vec::new();
    for (of_user_data, before, after) in
        [(true, user_data(before), user_data(after)), (false, overrides(before), overrides(after))]
    {
        let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
        for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
            let shown = |all: &BTreeMap<Key, Value>| all.get(key).map(|value| Schema::get().shown_at(key, value));
            let (before, after) = (shown(&before), shown(&after));
            changes.push(Change { key: key.clone(), user_data: of_user_data, before, after });
        }
    }
    changes
}

impl Content {
    /// What an older content had, as one change more of this one: what differs has a revision of now.
    pub(super) fn back_to(&self, old: &Self) -> Self {
        let revision = self.revision + 1;
        let mut back = Self { revision, removed: self.removed.clone(), ..old.clone() };
        for data in &mut back.user_data {
            let same = self.user_data_of(&data.provider).filter(|now| now.sha256 == data.sha256);
            data.revision = same.map_or(revision, |now| now.revision);
        }
        let count = |now: Option<&Override>, set: &mut Override| {
            set.revision = now.filter(|now| now.value == set.value).map_or(revision, |now| now.revision);
        };
        for (key, set) in &mut back.overrides {
            count(self.overrides.get(key), set);
            back.removed.remove(key);
        }
        for (key, parked) in &mut back.parked {
            count(self.parked.get(key).map(|parked| &parked.item), &mut parked.item);
            back.removed.remove(key);
        }
        let mine = self.overrides.keys().chain(self.parked.keys());
        let gone: Vec<Key> =
            mine.filter(|key| !back.overrides.contains_key(*key) && !back.parked.contains_key(*key)).cloned().collect();
        for key in gone {
            back.forget(key, revision);
        }
        back
    }
}
