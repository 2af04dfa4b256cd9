//! Writes trees whose bytes and metadata depend on the root alone: one per group, and all of them merged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags, utimensat};

use crate::{
    Progress, SealError, Step,
    plan::{Plan, folder},
    survey::{CAPABILITY, Entry, Kind, Survey, parent},
};

/// When folders were changed last, in seconds since 1970: adding a file to one must not alter another layer.
pub(crate) const FOLDER_MTIME: i64 = 1;

/// Puts a file of this content at a path of the image, whatever the root has there, and the folders that lead to it.
pub(crate) fn place(plan: &mut Plan, path: &str, content: Vec<u8>) {
    for (at, _) in path.match_indices('/') {
        plan.kept.entry(path[..at].to_owned()).or_insert_with(|| folder(0o755));
    }
    let size = content.len() as u64;
    let file = Entry { kind: Kind::File, mtime: FOLDER_MTIME, size, ..folder(0o644) };
    plan.kept.insert(path.to_owned(), file);
    plan.replaced.insert(path.to_owned(), content);
}

/// Where a root's files go.
pub(crate) struct Copy<'a> {
    pub(crate) root: &'a Path,
    pub(crate) plan: &'a Plan,
    /// No file is newer than this, in seconds since 1970.
    pub(crate) newest: Option<i64>,
}

/// Sets owner, mode and time of `path`; in that order, for changing the owner takes set-user-id and capabilities away.
fn dress(path: &Path, entry: &Entry, mtime: i64) -> Result<(), SealError> {
    let failed = || SealError::write(path);
    if matches!(entry.kind, Kind::Symlink(_)) {
        lchown(path, Some(entry.uid), Some(entry.gid)).map_err(failed())?;
    } else {
        chown(path, Some(entry.uid), Some(entry.gid)).map_err(failed())?;
        rustix::fs::chmod(path, Mode::from_raw_mode(entry.mode)).map_err(|error| failed()(error.into()))?;
    }
    if let Some(capability) = &entry.capability {
        rustix::fs::lsetxattr(path, CAPABILITY, capability, XattrFlags::empty())
            .map_err(|error| failed()(error.into()))?;
    }
    stamp(path, mtime)
}

/// Sets the modification time of `path` itself.
pub(crate) fn stamp(path: &Path, mtime: i64) -> Result<(), SealError> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| SealError::write(path)(error.into()))
}

impl Copy<'_> {
    /// Writes one tree per group below `output`, each with the folders its files are in.
    pub(crate) fn groups(
        &self,
        groups: &BTreeMap<String, usize>,
        output: &[PathBuf],
        progress: &dyn Progress,
    ) -> Result<(), SealError> {
        let kept = &self.plan.kept;
        let occupied: BTreeSet<&str> = kept.keys().filter_map(|path| parent(path)).collect();
        let mut folders: Vec<BTreeSet<&str>> = output.iter().map(|_| BTreeSet::from(["usr"])).collect();
        let mut files: Vec<(usize, &String, &Entry)> = Vec::new();
        for (path, entry) in kept {
            let group = groups.get(path).copied().unwrap_or_default();
            if entry.kind != Kind::Directory {
                files.push((group, path, entry));
            } else if !occupied.contains(path.as_str()) {
                folders[group].insert(path);
            }
            let mut above = parent(path);
            while let Some(folder) = above {
                if entry.kind == Kind::Directory && occupied.contains(path.as_str()) {
                    break;
                }
                folders[group].insert(folder);
                above = parent(folder);
            }
        }
        for (output, folders) in output.iter().zip(&folders) {
            make_folders(output, folders)?;
        }
        progress.begin(Step::Copy, Some(files.iter().map(|(_, _, entry)| entry.size).sum()));
        let links = self.copy_all(&files, output, progress)?;
        for (group, path, first) in links {
            let full = output[group].join(path);
            fs::hard_link(output[group].join(first), &full).map_err(SealError::write(full))?;
        }
        for (output, folders) in output.iter().zip(&folders) {
            self.dress_folders(output, folders)?;
        }
        progress.end();
        Ok(())
    }

    /// Copies on every core; returns the hard links that remain to be made: group, path, first path.
    fn copy_all<'a>(
        &self,
        files: &[(usize, &'a String, &'a Entry)],
        output: &[PathBuf],
        progress: &dyn Progress,
    ) -> Result<Vec<(usize, &'a String, &'a String)>, SealError> {
        let mut first: BTreeMap<(u64, u64), &String> = BTreeMap::new();
        let mut links = Vec::new();
        let mut work = Vec::new();
        for (group, path, entry) in files {
            match entry.link.map(|link| (link, first.get(&link).copied())) {
                Some((_, Some(first))) => links.push((*group, *path, first)),
                Some((link, None)) => {
                    first.insert(link, path);
                    work.push((*group, *path, *entry));
                }
                None => work.push((*group, *path, *entry)),
            }
        }
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<SealError>> = Mutex::new(None);
        let fail = |error| {
            // The others stop at their next file.
            next.store(work.len(), Ordering::Relaxed);
            if let Ok(mut failure) = failure.lock() {
                failure.get_or_insert(error);
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some((group, path, entry)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.file(path, entry, &output[*group].join(path)) {
                            Ok(()) => progress.advance(entry.size),
                            Err(error) => fail(error),
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(None) => Ok(links),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(SealError::write(&output[0])(io::Error::other("a thread that copied ended early"))),
        }
    }

    fn file(&self, path: &str, entry: &Entry, to: &Path) -> Result<(), SealError> {
        let from = self.root.join(path);
        if let Kind::Symlink(target) = &entry.kind {
            symlink(target, to).map_err(SealError::write(to))?;
        } else {
            let mut out =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(SealError::write(to))?;
            match self.plan.replaced.get(path) {
                Some(content) => io::Write::write_all(&mut out, content).map_err(SealError::write(to))?,
                None => {
                    let mut source = File::open(&from).map_err(SealError::read(&from))?;
                    // The kernel copies, or shares the blocks where the file system can.
                    let copied = io::copy(&mut source, &mut out).map_err(SealError::write(to))?;
                    if copied != entry.size {
                        return Err(SealError::malformed(path, "it changed while it was copied"));
                    }
                }
            }
        }
        dress(to, entry, self.newest.map_or(entry.mtime, |newest| entry.mtime.min(newest)))
    }

    fn dress_folders(&self, output: &Path, folders: &BTreeSet<&str>) -> Result<(), SealError> {
        dress_folders(output, &self.plan.kept, folders)
    }
}

/// Makes folders, outermost first.
fn make_folders(output: &Path, folders: &BTreeSet<&str>) -> Result<(), SealError> {
    fs::create_dir_all(output).map_err(SealError::write(output))?;
    for folder in folders {
        let full = output.join(folder);
        fs::create_dir(&full).map_err(SealError::write(full))?;
    }
    Ok(())
}

/// Gives folders their metadata, innermost first.
fn dress_folders(output: &Path, kept: &Survey, folders: &BTreeSet<&str>) -> Result<(), SealError> {
    let plain = folder(0o755);
    for path in folders.iter().rev() {
        dress(&output.join(path), kept.get(*path).unwrap_or(&plain), FOLDER_MTIME)?;
    }
    let top = kept.get("usr").unwrap_or(&plain);
    dress(output, top, FOLDER_MTIME)
}

/// Puts all groups into one tree of hard links, as the image's layers will be put one upon the other.
pub(crate) fn merge(groups: &[PathBuf], kept: &Survey, merged: &Path) -> Result<(), SealError> {
    let folders: BTreeSet<&str> =
        kept.iter().filter(|(_, entry)| entry.kind == Kind::Directory).map(|(path, _)| path.as_str()).collect();
    make_folders(merged, &folders)?;
    for group in groups {
        for entry in walkdir::WalkDir::new(group).min_depth(1) {
            let entry = entry.map_err(|error| SealError::read(group)(error.into()))?;
            if !entry.file_type().is_dir() {
                let below = entry.path().strip_prefix(group).unwrap_or(entry.path());
                let to = merged.join(below);
                fs::hard_link(entry.path(), &to).map_err(SealError::write(to))?;
            }
        }
    }
    dress_folders(merged, kept, &folders)
}
