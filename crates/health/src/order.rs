//! Which checks wait for which.

use std::collections::BTreeMap;

use crate::Check;

/// Why a check cannot be ordered: its `after` names nobody, or leads back to it. By the index of the check.
pub(crate) fn faults(checks: &[Check]) -> BTreeMap<usize, String> {
    let index: BTreeMap<&str, usize> = checks.iter().enumerate().map(|(at, check)| (check.name.as_str(), at)).collect();
    let mut found = BTreeMap::new();
    for (at, check) in checks.iter().enumerate() {
        if let Some(stranger) = check.after.iter().find(|name| !index.contains_key(name.as_str())) {
            found.insert(at, format!("it comes after '{stranger}', and there is no such check"));
        } else if leads_back(at, checks, &index) {
            found.insert(at, "it comes after itself, by way of others".to_owned());
        }
    }
    found
}

/// True where somebody may get from a check to itself by `after`.
fn leads_back(from: usize, checks: &[Check], index: &BTreeMap<&str, usize>) -> bool {
    let before = |at: usize| checks[at].after.iter().filter_map(|name| index.get(name.as_str()).copied());
    let (mut seen, mut open) = (vec![false; checks.len()], before(from).collect::<Vec<_>>());
    while let Some(at) = open.pop() {
        if at == from {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(before(at));
        }
    }
    false
}
