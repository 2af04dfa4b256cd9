//! Accounts and folders that the node's own state must have.

use std::collections::BTreeSet;

use super::{Image, TEXT_BYTES, Verdict, items};
use crate::{SealError, error::read_text, survey::Kind};

/// Folders every service counts on.
const VAR: [&str; 6] = ["var/cache", "var/lib", "var/log", "var/spool", "var/tmp", "var/roothome"];

/// The lines of all `*.conf` in a folder, split into words.
fn lines(image: &Image<'_>, folder: &str) -> Result<Vec<Vec<String>>, SealError> {
    let mut out = Vec::new();
    let prefix = format!("{folder}/");
    let files = image
        .tree
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .filter(|(path, entry)| path.ends_with(".conf") && entry.kind == Kind::File);
    for (path, _) in files {
        let text = read_text(image.root, path, TEXT_BYTES)?.unwrap_or_default();
        out.extend(
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|line| line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect()),
        );
    }
    Ok(out)
}

/// First fields of a colon-separated file.
fn names(image: &Image<'_>, path: &str) -> Result<Vec<String>, SealError> {
    let text = read_text(image.root, path, TEXT_BYTES)?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect())
}

pub(super) fn sysusers(image: &Image<'_>) -> Verdict {
    let declared = lines(image, "usr/lib/sysusers.d")?;
    let mut users = BTreeSet::new();
    let mut groups = BTreeSet::new();
    for line in &declared {
        match line.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["u" | "u!", name, ..] => {
                users.insert(name);
                groups.insert(name);
            }
            ["g", name, ..] => {
                groups.insert(name);
            }
            ["m", user, group, ..] => {
                users.insert(user);
                groups.insert(group);
            }
            _ => {}
        }
    }
    let missing_users = names(image, "etc/passwd")?
        .into_iter()
        .filter(|name| !users.contains(name.as_str()))
        .map(|name| format!("user {name}"));
    let missing_groups = names(image, "etc/group")?
        .into_iter()
        .filter(|name| !groups.contains(name.as_str()))
        .map(|name| format!("group {name}"));
    Ok(items("no file of sysusers.d declares", missing_users.chain(missing_groups)))
}

/// passwd(5): `x` leads to shadow(5), where `!` and `*` are no password's hash.
pub(super) fn passwords(image: &Image<'_>) -> Verdict {
    let mut open = Vec::new();
    for (path, locked) in [("etc/passwd", &["x", "!", "*"][..]), ("etc/shadow", &["!", "*"])] {
        let text = read_text(image.root, path, TEXT_BYTES)?.unwrap_or_default();
        let accounts = text.lines().filter_map(|line| line.split_once(':'));
        let unlocked = accounts.filter(|(_, rest)| !locked.iter().any(|mark| rest.starts_with(mark)));
        open.extend(unlocked.map(|(name, _)| format!("{name} in /{path}")));
    }
    Ok(items("accounts that a password opens, or none does; put '*' in its place", open))
}

pub(super) fn tmpfiles(image: &Image<'_>) -> Verdict {
    let mut made = lines(image, "usr/lib/tmpfiles.d")?;
    made.extend(lines(image, "etc/tmpfiles.d")?);
    let made: BTreeSet<String> = made
        .into_iter()
        .filter_map(|line| {
            let kind = line.first()?.chars().next()?;
            "dDqQvLCf".contains(kind).then(|| line.get(1).map(|path| path.trim_matches('/').to_owned()))?
        })
        .collect();
    let linked = image.tree.iter().filter_map(|(path, entry)| match &entry.kind {
        Kind::Symlink(target) if !path.contains('/') => {
            let target = target.trim_matches('/');
            target.starts_with("var/").then(|| target.to_owned())
        }
        _ => None,
    });
    let wanted: BTreeSet<String> = VAR.iter().map(|path| (*path).to_owned()).chain(linked).collect();
    Ok(items(
        "no file of tmpfiles.d makes",
        wanted
            .into_iter()
            .filter(|path| !made.contains(path) && !made.iter().any(|one| one.starts_with(&format!("{path}/"))))
            .map(|path| format!("/{path}")),
    ))
}
