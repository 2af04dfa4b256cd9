//! What the policy's sources say: types with their words, sets, verbs, and what is never allowed.

use std::collections::BTreeMap;

use crate::cil::{self, CilError, Expr, Statement};

/// The sources that say what can be explained, as they stand in the checkout.
const SOURCES: [(&str, &str); 4] = [
    ("11-verbs.cil", include_str!("../../../base/selinux/11-verbs.cil")),
    ("30-subjects.cil", include_str!("../../../base/selinux/30-subjects.cil")),
    ("31-objects.cil", include_str!("../../../base/selinux/31-objects.cil")),
    ("60-never.cil", include_str!("../../../base/selinux/60-never.cil")),
];
/// Sets within sets that are followed.
const DEPTH: usize = 32;

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {error}")]
pub struct PolicyError {
    /// Which.
    pub file: &'static str,
    /// What.
    pub error: CilError,
}

/// The policy, as far as it is needed to explain.
#[derive(Debug, Default)]
pub struct Policy {
    /// Each type with what its comment says.
    types: BTreeMap<String, String>,
    aliases: BTreeMap<String, String>,
    sets: BTreeMap<String, Vec<Expr>>,
    /// By verb: class and permissions.
    verbs: BTreeMap<(String, String), Vec<(String, Expr)>>,
    nevers: Vec<Never>,
}

/// What no rule may allow.
#[derive(Debug)]
struct Never {
    source: Expr,
    target: Expr,
    class: String,
    permissions: Expr,
    words: String,
}

impl Policy {
    /// That of this release.
    ///
    /// # Errors
    /// A source is no CIL.
    pub fn of_image() -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        for (file, text) in SOURCES {
            let statements = cil::parse(text).map_err(|error| PolicyError { file, error })?;
            statements.iter().for_each(|statement| policy.take(statement));
        }
        Ok(policy)
    }

    fn take(&mut self, statement: &Statement) {
        let words: Vec<Option<&str>> = statement.list.iter().map(Expr::word).collect();
        let comment = &statement.comment;
        match (&words[..], &statement.list[..]) {
            ([Some("type"), Some(name)], _) => drop(self.types.insert((*name).to_owned(), comment.clone())),
            ([Some("typealiasactual"), Some(alias), Some(name)], _) => {
                self.aliases.insert((*alias).to_owned(), (*name).to_owned());
            }
            ([Some("typeattributeset"), Some(name), None], [.., members]) => {
                self.sets.entry((*name).to_owned()).or_default().push(members.clone());
            }
            ([Some("classmapping"), Some(map), Some(verb), None], [.., permissions]) => {
                if let Some([Expr::Word(class), permissions]) = permissions.list() {
                    let key = ((*map).to_owned(), (*verb).to_owned());
                    self.verbs.entry(key).or_default().push((class.clone(), permissions.clone()));
                }
            }
            ([Some("neverallow"), _, _, None], [_, source, target, what]) => {
                if let Some([Expr::Word(class), permissions]) = what.list() {
                    let (source, target, class) = (source.clone(), target.clone(), class.clone());
                    let permissions = permissions.clone();
                    self.nevers.push(Never { source, target, class, permissions, words: comment.clone() });
                }
            }
            _ => {}
        }
    }

    /// What a type is, by the comment beside it; nothing where the policy has no such type, or says nothing of it.
    pub fn words(&self, type_: &str) -> Option<&str> {
        self.types.get(self.actual(type_)).map(String::as_str).filter(|words| !words.is_empty())
    }

    /// Whether this policy knows a type.
    pub fn knows(&self, type_: &str) -> bool {
        self.types.contains_key(self.actual(type_))
    }

    /// Whether a type is in a set.
    pub fn is_in(&self, type_: &str, set: &str) -> bool {
        self.has(&Expr::Word(set.to_owned()), self.actual(type_), DEPTH)
    }

    fn actual<'a>(&'a self, type_: &'a str) -> &'a str {
        self.aliases.get(type_).map_or(type_, String::as_str)
    }

    /// The verbs that a permission on a class belongs to, as `map verb`.
    pub fn verbs(&self, class: &str, permission: &str) -> impl Iterator<Item = &str> {
        let of = move |(_, meant): &(&(String, String), &Vec<(String, Expr)>)| {
            meant.iter().any(|(known, permissions)| known == class && covers(permissions, permission))
        };
        self.verbs.iter().filter(of).map(|((_, verb), _)| verb.as_str())
    }

    /// What the policy says where no rule may ever allow this.
    pub fn never(&self, source: &str, target: &str, class: &str, permission: &str) -> Option<&str> {
        let (source, target) = (self.actual(source), self.actual(target));
        let forbids = |never: &&Never| {
            let itself = never.target.word() == Some("self");
            self.has(&never.source, source, DEPTH)
                && (if itself { source == target } else { self.has(&never.target, target, DEPTH) })
                && self.means(never, class, permission)
        };
        self.nevers.iter().find(forbids).map(|never| never.words.as_str())
    }

    fn means(&self, never: &Never, class: &str, permission: &str) -> bool {
        if never.class == class {
            return covers(&never.permissions, permission);
        }
        let verbs =
            self.verbs.iter().filter(|((map, verb), _)| *map == never.class && covers(&never.permissions, verb));
        verbs.flat_map(|(_, meant)| meant).any(|(known, permissions)| known == class && covers(permissions, permission))
    }

    /// Whether a set, given as CIL does, has a type.
    fn has(&self, set: &Expr, type_: &str, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        let has = |set: &Expr| self.has(set, type_, depth);
        match set {
            Expr::Word(name) => name == type_ || self.sets.get(name).is_some_and(|sets| sets.iter().any(has)),
            Expr::List(list) => match (list.first().and_then(Expr::word), &list[..]) {
                (Some("and"), [_, one, two]) => has(one) && has(two),
                (Some("or"), [_, one, two]) => has(one) || has(two),
                (Some("not"), [_, one]) => !has(one),
                _ => list.iter().any(has),
            },
        }
    }
}

/// Whether permissions, given as CIL does, have one.
fn covers(permissions: &Expr, permission: &str) -> bool {
    match permissions {
        Expr::Word(word) => word == permission || word == "all",
        Expr::List(list) => match (list.first().and_then(Expr::word), &list[..]) {
            (Some("not"), [_, others]) => !covers(others, permission),
            _ => list.iter().any(|inner| covers(inner, permission)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_policy_has_words() {
        let policy = Policy::of_image().unwrap();
        let silent: Vec<_> = policy.types.iter().filter(|(_, words)| words.is_empty()).map(|(name, _)| name).collect();
        assert!(silent.is_empty(), "these types say nothing of themselves: {silent:?}");
        assert!(
            policy.types.len() > 30 && policy.nevers.len() > 40,
            "{} and {}",
            policy.types.len(),
            policy.nevers.len()
        );
        assert!(policy.nevers.iter().all(|never| !never.words.is_empty()), "a neverallow says nothing of itself");
    }

    #[test]
    fn sets_and_verbs_are_followed() {
        let policy = Policy::of_image().unwrap();
        assert!(policy.is_in("svirt_lxc_net_t", "container_s") && !policy.is_in("init_t", "container_s"));
        assert!(policy.is_in("service_t", "not_guardian_s") && !policy.is_in("updater_t", "not_guardian_s"));
        assert_eq!(policy.verbs("file", "write").collect::<Vec<_>>(), ["change"]);
        assert_eq!(
            policy.never("container_t", "esp_t", "file", "write"),
            policy.never("service_t", "store_t", "dir", "add_name")
        );
        assert!(policy.never("container_t", "esp_t", "file", "write").is_some());
        assert_eq!(policy.never("updater_t", "esp_t", "file", "write"), None);
        assert!(policy.never("shell_t", "updater_t", "process", "transition").is_some());
        assert!(policy.never("init_t", "security_t", "security", "setenforce").is_some());
    }
}
