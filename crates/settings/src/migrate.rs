//! What is stored, in another deployment. Each deployment has settings of its own and a model of its own.
//!
//! ```text
//! upgrade   carry(what ran)            -> the copy of the new deployment: what its model refuses is parked
//! rollback  replay(the old copy, what ran) -> the old copy with every change that was made since: what its model refuses is parked
//! upgrade   carry(the old copy)        -> what was parked is back
//! ```
//!
//! Nothing is lost on the way: a key that is parked goes along until a model takes it, an operator sets it anew, or unsets it. There are
//! no migrations backward. Which change is newer is counted ([`Content::revision`]), as one deployment of a node runs at a time.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Key, Tree,
    store::{Content, Override, Parked, UserData},
};

/// Keys, and tables of them, that are the newest in every deployment, whatever else a rollback leaves behind: credentials,
/// certificates, who the machine is.
pub const ALWAYS_NEWEST: [&str; 3] = ["container-registry.credentials", "network.hostname", "pki"];

/// Which changes a deployment takes over that is gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Every change since it was left.
    All,
    /// Those of [`ALWAYS_NEWEST`] alone: the other settings are to be as they were.
    AlwaysNewest,
}

/// The copy for a deployment that comes after: everything, with what its model refuses parked, and what was parked and is not refused
/// back. `refuses` is the model's [`crate::model::refusal`].
pub fn carry(from: &Content, refuses: impl Fn(&Key, &Value) -> Option<String>) -> Content {
    let mut to = Content { overrides: BTreeMap::new(), parked: BTreeMap::new(), ..from.clone() };
    let parked = from.parked.iter().map(|(key, parked)| (key, &parked.item));
    // Of two for one key the one that is parked is newer, and the other counts only where that is refused.
    for (key, set) in from.overrides.iter().chain(parked) {
        put(&mut to, key, set, &refuses);
    }
    to.user_data = from.user_data.iter().map(|data| judged(data, &refuses)).collect();
    to
}

/// The copy of a deployment that is gone back to (`own`, as it was left), with the changes made since in the one that ran.
pub fn replay(own: &Content, ran: &Content, since: Since, refuses: impl Fn(&Key, &Value) -> Option<String>) -> Content {
    let mut to = own.clone();
    let counts = |key: &Key, revision: u64| revision > own.revision && (since == Since::All || is_always_newest(key));
    for (key, revision) in ran.removed.iter().filter(|(key, revision)| counts(key, **revision)) {
        to.overrides.remove(key);
        to.parked.remove(key);
        to.forget(key.clone(), *revision);
    }
    let parked = ran.parked.iter().map(|(key, parked)| (key, &parked.item));
    for (key, set) in ran.overrides.iter().chain(parked).filter(|(key, set)| counts(key, set.revision)) {
        put(&mut to, key, set, &refuses);
    }
    // What a provider hands in no more is gone at the boot that finds that out.
    for data in ran.user_data.iter().filter(|data| since == Since::All && data.revision > own.revision) {
        to.put_user_data(judged(data, &refuses));
    }
    // What was not taken over now was declined: changes count on from the last one.
    to.revision = to.revision.max(ran.revision);
    to
}

fn is_always_newest(key: &Key) -> bool {
    ALWAYS_NEWEST.iter().any(|newest| newest.parse().is_ok_and(|newest| key.is_within(&newest)))
}

/// Sets a key that is newer than what is there, or parks it; what is in force then stays so.
fn put(to: &mut Content, key: &Key, set: &Override, refuses: &impl Fn(&Key, &Value) -> Option<String>) {
    to.removed.remove(key);
    let in_the_way = || {
        let there = key.in_the_way(&to.overrides)?;
        Some(format!("it cannot be there together with {there}: one is a value, one a table"))
    };
    match refuses(key, &set.value).or_else(in_the_way) {
        Some(why) => {
            to.parked.insert(key.clone(), Parked { item: set.clone(), why });
        }
        None => {
            to.parked.remove(key);
            to.overrides.insert(key.clone(), set.clone());
        }
    }
}

/// User data with what the model refuses parked, and what it does not refuse back.
fn judged(data: &UserData, refuses: &impl Fn(&Key, &Value) -> Option<String>) -> UserData {
    let mut to = UserData { tree: Tree::default(), parked: BTreeMap::new(), ..data.clone() };
    let parked = data.parked.iter().map(|(key, parked)| (key.clone(), parked.item.clone()));
    let mut judged = |key: &Key, item: &Value| match refuses(key, item) {
        Some(why) => {
            to.parked.insert(key.clone(), Parked { item: item.clone(), why });
            false
        }
        None => true,
    };
    let all = data.tree.leaves().into_iter().chain(parked);
    // All are of one document: none is in another's way.
    to.tree = Tree::of_leaves(all.filter(|(key, item)| judged(key, item))).0;
    to
}

#[cfg(test)]
mod tests;
