//! Files that give rights away.

use std::path::Path;

use crate::{
    SealError, rules,
    survey::{Kind, Survey},
};

/// In the rules' folder: absolute paths that may be what is refused here, with a reason each.
pub(crate) const ALLOWED: &str = "permissions.allowed";
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const WORLD: u32 = 0o0002;

/// Paths that nobody allowed, and what they are.
pub(crate) fn refused(tree: &Survey, rules: &Path) -> Result<Vec<(String, &'static str)>, SealError> {
    let allowed = rules::paths(&rules.join(ALLOWED))?;
    let found = tree.iter().filter_map(|(path, entry)| {
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
        (!allowed.contains(path)).then(|| (path.clone(), what))
    });
    Ok(found.collect())
}
