//! What differs between two roots, in words: what people read before they sign.

use super::{Key, RootDocument, Top};
use crate::tuf::time::show;

/// What differs; without `before` all is new.
pub fn root_changes(before: Option<&RootDocument>, after: &RootDocument) -> Vec<String> {
    let mut found = Vec::new();
    for role in Top::ALL {
        let holders = after.holders(role);
        let count = holders.keys.len();
        let Some(before) = before else {
            let names: Vec<_> = after.keys(role).map(described).collect();
            found.push(format!("{role} is signed by {} of {count}: {}", holders.threshold, names.join(", ")));
            continue;
        };
        let old = before.holders(role);
        let gained = after.keys(role).filter(|key| !old.keys.contains(key.id()));
        found.extend(gained.map(|key| format!("{role} gains the key {}", described(key))));
        let lost = before.keys(role).filter(|key| !holders.keys.contains(key.id()));
        found.extend(lost.map(|key| format!("{role} loses the key {}", described(key))));
        if (old.threshold, old.keys.len()) != (holders.threshold, count) {
            let (threshold, keys) = (old.threshold, old.keys.len());
            found.push(format!(
                "{role} is signed by {} of {count} keys, not by {threshold} of {keys}",
                holders.threshold
            ));
        }
        let renamed = after.keys(role).filter_map(|key| {
            let old = before.keys(role).find(|old| old.id() == key.id() && old.name() != key.name())?;
            Some(format!("{role} calls the key {} now {}", described(old), key.name()))
        });
        found.extend(renamed);
    }
    found.push(match before {
        Some(before) if show(before.expires) == show(after.expires) => {
            format!("the root holds until {}, as before", show(after.expires))
        }
        Some(before) => format!("the root holds until {}, not {}", show(after.expires), show(before.expires)),
        None => format!("the root holds until {}", show(after.expires)),
    });
    found
}

/// Name and whole id: who compares it with what a custodian says sees it all.
fn described(key: &Key) -> String {
    format!("{} ({})", key.name(), key.id())
}
