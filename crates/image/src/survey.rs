//! What a root holds: every entry with the metadata that reaches the image.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use rustix::io::Errno;
use walkdir::WalkDir;

use crate::{Progress, SealError, Step};

/// Top-level folders whose content never reaches an image: mount points, and what the node makes itself.
pub(crate) const EMPTIED: [&str; 8] = ["boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var"];
/// The one extended attribute that containers and composefs carry over (composefs 0.9, `CONTAINER_XATTR_ALLOWLIST`).
pub(crate) const CAPABILITY: &str = "security.capability";
/// Bytes of a capability attribute (linux/capability.h, `XATTR_CAPS_SZ_3` is 24).
const CAPABILITY_BYTES: usize = 64;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink(String),
    /// A device, a socket or a pipe: described for people.
    Other(&'static str),
}

/// One entry of the root.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whole seconds.
    pub(crate) mtime: i64,
    pub(crate) size: u64,
    /// Device and inode where there are hard links.
    pub(crate) link: Option<(u64, u64)>,
    pub(crate) capability: Option<Vec<u8>>,
}

/// Entries by their path below the root, without a leading `/`.
pub(crate) type Survey = BTreeMap<String, Entry>;

/// Reads the tree of `root`, but nothing below [`EMPTIED`].
pub(crate) fn survey(root: &Path, progress: &dyn Progress) -> Result<Survey, SealError> {
    progress.begin(Step::Survey, None);
    let mut found = Survey::new();
    let walk = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter().filter_entry(|entry| {
        entry.depth() != 2
            || entry
                .path()
                .parent()
                .and_then(|parent| parent.file_name())
                .is_none_or(|name| !EMPTIED.iter().any(|emptied| *emptied == name))
    });
    for entry in walk {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            SealError::read(path)(error.into())
        })?;
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(path) = below.to_str().filter(|path| !path.contains('\n')) else {
            return Err(SealError::malformed(below.to_string_lossy(), "its name is not UTF-8 text on one line"));
        };
        found.insert(path.to_owned(), describe(entry.path(), path)?);
        progress.advance(1);
    }
    progress.end();
    Ok(found)
}

fn describe(full: &Path, path: &str) -> Result<Entry, SealError> {
    let meta = fs::symlink_metadata(full).map_err(SealError::read(full))?;
    let file_type = meta.file_type();
    let kind = if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_file() {
        Kind::File
    } else if file_type.is_symlink() {
        let target = fs::read_link(full).map_err(SealError::read(full))?;
        let target =
            target.to_str().ok_or_else(|| SealError::malformed(path, "the link's target is not UTF-8 text"))?;
        Kind::Symlink(target.to_owned())
    } else if file_type.is_socket() {
        Kind::Other("a socket")
    } else if file_type.is_fifo() {
        Kind::Other("a named pipe")
    } else {
        Kind::Other("a device node")
    };
    let linked = !file_type.is_dir() && meta.nlink() > 1;
    Ok(Entry {
        capability: match kind {
            Kind::File => capability(full)?,
            _ => None,
        },
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: meta.mtime(),
        size: meta.size(),
        link: linked.then(|| (meta.dev(), meta.ino())),
    })
}

/// Reads the file capabilities of `full`.
pub(crate) fn capability(full: &Path) -> Result<Option<Vec<u8>>, SealError> {
    let mut buffer = vec![0; CAPABILITY_BYTES];
    match rustix::fs::lgetxattr(full, CAPABILITY, &mut buffer[..]) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(SealError::read(full)(error.into())),
    }
}

/// Where a link leads, below the root, as far as `..` and links along the way can be followed in `survey`.
pub(crate) fn resolve(survey: &Survey, from: &str, target: &str) -> Option<String> {
    /// As Linux (`MAXSYMLINKS`).
    const LINKS: usize = 40;
    let mut links = 0;
    let mut done: Vec<String> = match target.starts_with('/') {
        true => Vec::new(),
        false => from.split('/').map(str::to_owned).collect::<Vec<_>>(),
    };
    if !target.starts_with('/') {
        done.pop();
    }
    let mut todo: Vec<String> = target.split('/').rev().map(str::to_owned).collect();
    while let Some(name) = todo.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        done.push(name);
        let here = done.join("/");
        if let Some(Kind::Symlink(next)) = survey.get(&here).map(|entry| &entry.kind) {
            links += 1;
            if links > LINKS {
                return None;
            }
            done.pop();
            if next.starts_with('/') {
                done.clear();
            }
            todo.extend(next.split('/').rev().map(str::to_owned));
        }
    }
    Some(done.join("/"))
}

/// The folder that holds `path`; absent at the top.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}
