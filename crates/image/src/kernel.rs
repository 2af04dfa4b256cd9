//! The one kernel of a root: where it is, and whether its configuration has what is required.

use std::{collections::BTreeMap, path::Path};

use crate::{
    SealError,
    error::read_text,
    rules::ConfigRule,
    survey::{Kind, Survey},
};

/// Where kernels are.
pub(crate) const MODULES: &str = "usr/lib/modules";
/// Bytes of a kernel's configuration.
const CONFIG_BYTES: u64 = 4 << 20;

/// The release of the one kernel, such as `6.12.48+deb13-amd64`.
pub(crate) fn release(tree: &Survey) -> Result<String, SealError> {
    let prefix = format!("{MODULES}/");
    let found: Vec<String> = tree
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .filter(|(path, entry)| entry.kind == Kind::Directory && !path[prefix.len()..].contains('/'))
        .map(|(path, _)| path[prefix.len()..].to_owned())
        .collect();
    match found.as_slice() {
        [] => {
            Err(SealError::Missing { what: format!("kernel in /{MODULES}"), advice: "install a linux-image package" })
        }
        [one] => Ok(one.clone()),
        _ => Err(SealError::Kernels(found)),
    }
}

/// Reads `/usr/lib/modules/<release>/config`.
pub(crate) fn config(root: &Path, release: &str) -> Result<BTreeMap<String, String>, SealError> {
    let path = format!("{MODULES}/{release}/config");
    let text = read_text(root, &path, CONFIG_BYTES)?.ok_or_else(|| SealError::Missing {
        what: format!("/{path}"),
        advice: "move the kernel's configuration there from /boot",
    })?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.split_once('='))
        .map(|(option, value)| (option.to_owned(), value.trim().to_owned()))
        .collect())
}

/// What of `rules` a configuration does not satisfy: the rule, and what is there instead.
pub(crate) fn unmet<'a>(config: &BTreeMap<String, String>, rules: &'a [ConfigRule]) -> Vec<(&'a ConfigRule, String)> {
    rules
        .iter()
        .filter_map(|rule| {
            let found = config.get(&rule.option).map(String::as_str).filter(|value| *value != "n");
            let met = match (rule.value.as_deref(), found) {
                (None | Some("n"), None) => true,
                (Some("m"), Some("m" | "y")) => true,
                (Some(wanted), Some(found)) => wanted == found,
                _ => false,
            };
            (!met)
                .then(|| (rule, found.map_or_else(|| "nothing".to_owned(), |value| format!("{}={value}", rule.option))))
        })
        .collect()
}

/// Refuses a kernel whose configuration lacks something.
pub(crate) fn check_config(root: &Path, release: &str, rules: &[ConfigRule]) -> Result<(), SealError> {
    if rules.is_empty() {
        return Ok(());
    }
    let config = config(root, release)?;
    match unmet(&config, rules).into_iter().next() {
        None => Ok(()),
        Some((rule, found)) => Err(SealError::KernelConfig {
            path: rule.line.path.clone(),
            line: rule.line.number,
            expected: expected(rule),
            found,
        }),
    }
}

/// A rule in words.
pub(crate) fn expected(rule: &ConfigRule) -> String {
    match rule.value.as_deref() {
        Some(value) => format!("{}={value}", rule.option),
        None => format!("{} unset", rule.option),
    }
}
