//! Which mended files what runs still has as they were.
//!
//! A mount remembers the file that it found under a name until nobody uses it. The kernel is asked to forget what nobody
//! does; what then still gives an error, or is open or mapped, waits for a reboot.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rocketos_deploy::Node;
use rocketos_model::ObjectId;
use rocketos_store::in_use;
use rustix::fs::{Advice, fadvise};

/// Of `mended`, which a mounted image needs, those that are still in use as they were; all of them where nobody can tell.
pub fn still_in_use(node: &Node, mended: BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
    let Some(booted) = &node.booted else { return mended };
    let Ok(listing) = node.store.list_files(&booted.composefs_digest) else { return mended };
    let paths = paths_of(&listing, &mended);
    let Ok(open) = in_use::files() else { return mended };
    let gone = |id: &ObjectId| {
        let paths = paths.get(id).filter(|paths| !paths.is_empty());
        paths.is_some_and(|paths| paths.iter().all(|path| !open.contains(path) && reads(path)))
    };
    mended.into_iter().filter(|id| !gone(id)).collect()
}

/// Where objects are in an image, by its listing (composefs-dump(5): path first, digest eleventh). One whose name is escaped
/// is not looked for.
fn paths_of(listing: &str, ids: &BTreeSet<ObjectId>) -> BTreeMap<ObjectId, Vec<PathBuf>> {
    let mut found: BTreeMap<ObjectId, Vec<PathBuf>> = BTreeMap::new();
    let mut escaped = BTreeSet::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(Ok(id)) = fields.get(10).map(|digest| digest.parse::<ObjectId>()) else { continue };
        if !ids.contains(&id) {
            continue;
        }
        if fields[0].contains('\\') {
            escaped.insert(id);
        }
        found.entry(id).or_default().push(PathBuf::from(fields[0]));
    }
    found.retain(|id, _| !escaped.contains(id));
    found
}

/// True where the file can be read to its end, from the disk.
fn reads(path: &Path) -> bool {
    let read = || -> io::Result<u64> {
        let mut file = File::open(path)?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        io::copy(&mut file, &mut io::sink())
    };
    read().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_an_object_is() {
        let (one, other) = ("ab".repeat(64), "cd".repeat(64));
        let line = |path: &str, digest: &str| format!("{path} 5 100644 1 0 0 0 0.0 ab/cd - {digest}\n");
        let text = line("/usr/bin/a", &one) + &line("/usr/bin/b", &one) + &line("/c\\x20", &other);
        let ids: BTreeSet<ObjectId> = [one.parse().unwrap(), other.parse().unwrap()].into();
        let found = paths_of(&text, &ids);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&one.parse().unwrap()], [PathBuf::from("/usr/bin/a"), "/usr/bin/b".into()]);
    }

    #[test]
    fn knows_what_can_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(reads(file.path()) && !reads(Path::new("/proc/nothing")));
    }
}
