//! A denial in words.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::{Denial, Policy};

/// The set of containers' domains.
const CONTAINERS: &str = "container_s";

/// What a denial comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who was refused.
    pub who: String,
    /// What.
    pub what: String,
    /// On what.
    pub object: String,
    /// By what.
    #[serde(flatten)]
    pub reason: Reason,
    /// It was let happen, nothing being enforced.
    pub permissive: bool,
}

/// Why it was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", content = "words", rename_all = "kebab-case")]
pub enum Reason {
    /// It belongs to another container.
    OtherContainer,
    /// What the policy never allows, in its own words.
    Never(String),
    /// No rule says so, and one could: this one.
    NoRule(String),
    /// A type that this release's policy does not know.
    Stranger,
}

/// Says it by the policy.
pub fn explain(policy: &Policy, denial: &Denial) -> Explanation {
    let Denial { permissions, class, source, target, .. } = denial;
    let verbs: BTreeSet<&str> = permissions.iter().flat_map(|permission| policy.verbs(class, permission)).collect();
    let listed = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(", ");
    let mut what = format!("{} ({class})", listed(&mut permissions.iter().map(String::as_str)));
    if !verbs.is_empty() {
        what = format!("{}: {what}", listed(&mut verbs.iter().copied()));
    }
    let others = !target.categories.is_subset(&source.categories) && policy.is_in(&source.type_, CONTAINERS);
    let never = || permissions.iter().find_map(|asked| policy.never(&source.type_, &target.type_, class, asked));
    let reason = if !policy.knows(&source.type_) || !policy.knows(&target.type_) {
        Reason::Stranger
    } else if let Some(words) = never() {
        Reason::Never(words.to_owned())
    } else if others {
        Reason::OtherContainer
    } else {
        let to = if source.type_ == target.type_ { "self" } else { &target.type_ };
        let asked = permissions.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        Reason::NoRule(format!("(allow {} {to} ({class} ({asked})))", source.type_))
    };
    let words = |type_: &str| match policy.words(type_) {
        Some(words) => format!("{type_}: {words}"),
        None => type_.to_owned(),
    };
    let named = |name: &Option<String>, type_: &str| match name {
        Some(name) => format!("{name} ({})", words(type_)),
        None => words(type_),
    };
    Explanation {
        who: named(&denial.program, &source.type_),
        what,
        object: named(&denial.object, &target.type_),
        reason,
        permissive: denial.permissive,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, what, object, reason, permissive } = self;
        writeln!(f, "{who}")?;
        writeln!(f, "  was refused   {what}")?;
        writeln!(f, "  on            {object}")?;
        match reason {
            Reason::OtherContainer => writeln!(f, "  because       it belongs to another container")?,
            Reason::Never(words) => writeln!(f, "  because       no rule may ever allow it: {words}")?,
            Reason::NoRule(rule) => writeln!(f, "  because       no rule allows it; this one would: {rule}")?,
            Reason::Stranger => writeln!(f, "  because       the policy of this release does not know one of the two")?,
        }
        if *permissive {
            writeln!(f, "  but           it was let happen: this image enforces nothing")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str, target: &str, rest: &str) -> Explanation {
        let line = format!(
            "avc:  denied  {{ write }} for  pid=1 comm=\"app\" name=\"x\" scontext=system_u:system_r:{source} \
             tcontext=system_u:object_r:{target} tclass=file {rest}"
        );
        explain(&Policy::of_image().unwrap(), &Denial::parse(&line).unwrap())
    }

    #[test]
    fn a_promise_is_named() {
        let told = told("spc_t:s0", "store_t:s0", "permissive=0");
        let Reason::Never(words) = &told.reason else { panic!("{told:?}") };
        assert!(words.starts_with("Only guardians write store"), "{words}");
        assert_eq!(told.what, "change: write (file)");
        assert!(told.who.starts_with("app (spc_t: a privileged container"), "{}", told.who);
        assert!(told.object.starts_with("x (store_t: the store"), "{}", told.object);
    }

    #[test]
    fn another_containers_file_is_told_from_what_no_rule_allows() {
        let other = told("container_t:s0:c1,c2", "container_file_t:s0:c3,c4", "permissive=0");
        assert_eq!(other.reason, Reason::OtherContainer);
        let layer = told("container_t:s0:c1,c2", "container_ro_file_t:s0", "permissive=1");
        assert_eq!(layer.reason, Reason::NoRule("(allow container_t container_ro_file_t (file (write)))".to_owned()));
        assert!(layer.to_string().contains("was let happen"), "{layer}");
        assert_eq!(told("firefox_t:s0", "store_t:s0", "permissive=0").reason, Reason::Stranger);
    }
}
