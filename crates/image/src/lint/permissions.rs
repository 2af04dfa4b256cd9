//! Files that give rights away.

use super::{Image, Verdict, items};
use crate::{rules, survey::Kind};

/// In the rules' folder: absolute paths that may be what this check refuses, with a reason each.
const ALLOWED: &str = "permissions.allowed";
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const WORLD: u32 = 0o0002;

pub(super) fn check(image: &Image<'_>) -> Verdict {
    let allowed = rules::paths(&image.options.rules.join(ALLOWED))?;
    let found = image.tree.iter().filter_map(|(path, entry)| {
        let what = match &entry.kind {
            Kind::Symlink(_) => return None,
            Kind::Other(what) => what,
            Kind::File if entry.mode & SET_USER != 0 => "set-user-id",
            Kind::File if entry.mode & SET_GROUP != 0 => "set-group-id",
            Kind::File if entry.capability.is_some() => "with capabilities",
            Kind::File if entry.mode & WORLD != 0 => "world-writable",
            Kind::Directory if entry.mode & WORLD != 0 && entry.mode & STICKY == 0 => "world-writable",
            _ => return None,
        };
        (!allowed.contains(path)).then(|| format!("/{path} ({what})"))
    });
    Ok(items(&format!("leave out, or name in {ALLOWED} with a reason"), found))
}
