//! The trusted metadata of a node: a folder with `root.json`, `timestamp.json`, `snapshot.json`, `targets.json` and one
//! file per delegated role, as they came from the repository.
//!
//! A file is written under another name, flushed, renamed, and the folder flushed: after a power cut there is the old
//! file or the new one, and a disk without room keeps the old. What is read here is bytes; [`super::Client`] verifies
//! them each time. `rotated` remembers that a root took keys from the timestamp or the snapshot until both are removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{
    TufError,
    metadata::Snapshot,
    name::{DelegatedName, Role},
};

/// What a file is called while it is written.
const UNFINISHED: &str = ".unfinished";
/// The version of the first root whose rotation of keys is not dealt with yet.
const ROTATED: &str = "rotated";

/// The folder, held by one process at a time.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Holds the lock; what flushes names.
    handle: File,
}

impl State {
    /// Opens the folder, and makes it where it is not there.
    ///
    /// # Errors
    /// When it cannot be made or read, or another process has it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, TufError> {
        let folder = folder.into();
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&folder);
        made.map_err(disk("making", &folder))?;
        let handle = File::open(&folder).map_err(disk("opening", &folder))?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder, handle }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(TufError::Busy { path: folder }),
            Err(error) => Err(disk("locking", &folder)(error.into())),
        }
    }

    /// The file of a role.
    pub fn path(&self, role: &Role) -> PathBuf {
        self.folder.join(role.file_name())
    }

    /// The bytes kept of a role; of a file that is too long, so many that nothing will take it for a document.
    pub(crate) fn read(&self, role: &Role) -> Result<Option<Vec<u8>>, TufError> {
        read(&self.path(role), role.limit())
    }

    /// Puts a document in place of the one that is kept.
    pub(crate) fn write(&self, role: &Role, bytes: &[u8]) -> Result<(), TufError> {
        replace(&self.folder, &self.handle, &role.file_name(), |file| file.write_all(bytes))
    }

    /// Remembers, before the root is kept, that it takes keys from the timestamp or the snapshot.
    pub(crate) fn mark_rotation(&self, version: u64) -> Result<(), TufError> {
        // An older mark is of a root that is kept already, and asks for the same.
        match self.rotation()? {
            Some(_) => Ok(()),
            None => replace(&self.folder, &self.handle, ROTATED, |file| writeln!(file, "{version}")),
        }
    }

    /// Removes the timestamp and the snapshot where a root up to this version took keys from them, once (5.3.11).
    pub(crate) fn recover(&self, trusted: u64) -> Result<(), TufError> {
        let Some(version) = self.rotation()? else { return Ok(()) };
        // Of a root that never came to be kept, otherwise.
        if version <= trusted {
            self.remove(&Role::Timestamp.file_name())?;
            self.remove(&Role::Snapshot.file_name())?;
            self.flush()?;
        }
        self.remove(ROTATED)?;
        self.flush()
    }

    /// The mark; one that says nothing is taken for the first root's.
    fn rotation(&self) -> Result<Option<u64>, TufError> {
        const DIGITS: u64 = 32;
        let bytes = read(&self.folder.join(ROTATED), DIGITS)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0)))
    }

    /// Removes documents of roles that the snapshot does not list, and what was left unfinished.
    pub(crate) fn prune(&self, snapshot: &Snapshot) -> Result<(), TufError> {
        let mut kept: Vec<String> =
            [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets].map(|r| r.file_name()).into();
        let delegated = snapshot.meta.keys().filter_map(|path| path.strip_suffix(".json"));
        kept.extend(delegated.filter_map(|name| Some(Role::Delegated(DelegatedName::new(name).ok()?).file_name())));
        kept.sort_unstable();
        let mut removed = false;
        for entry in fs::read_dir(&self.folder).map_err(disk("listing", &self.folder))? {
            // A name that is no text is none of ours.
            let Ok(name) = entry.map_err(disk("listing", &self.folder))?.file_name().into_string() else { continue };
            let ours = name.ends_with(".json") || (name.starts_with('.') && name.ends_with(UNFINISHED));
            if ours && kept.binary_search(&name).is_err() {
                self.remove(&name)?;
                removed = true;
            }
        }
        if removed { self.flush() } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> Result<(), TufError> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("removing", &path)(error)),
            _ => Ok(()),
        }
    }

    fn flush(&self) -> Result<(), TufError> {
        self.handle.sync_all().map_err(disk("flushing", &self.folder))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread starts at this moment has the handle until it runs.
        let _ = flock(&self.handle, FlockOperation::Unlock);
    }
}

pub(super) fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TufError {
    let path = path.to_owned();
    move |source| TufError::Disk { action, path, source }
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, TufError> {
    let file =
        OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path);
    let mut bytes = Vec::new();
    match file.and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk("reading", path)(error)),
    }
}

/// A file that has its name only when [`Unfinished::finish`] is through.
pub(super) struct Unfinished<'a> {
    folder: &'a Path,
    handle: &'a File,
    name: &'a str,
    file: File,
    path: PathBuf,
    finished: bool,
}

impl<'a> Unfinished<'a> {
    /// Begins `name` in `folder`, whose open directory is `handle`.
    pub(super) fn new(folder: &'a Path, handle: &'a File, name: &'a str) -> Result<Self, TufError> {
        let path = folder.join(format!(".{name}{UNFINISHED}"));
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&path);
        Ok(Self { folder, handle, name, file: open.map_err(disk("writing", &path))?, path, finished: false })
    }

    /// Writes to it.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), TufError> {
        write(&mut self.file).map_err(disk("writing", &self.path))
    }

    /// Flushes it, gives it its name, and flushes that.
    pub(super) fn finish(mut self) -> Result<(), TufError> {
        let target = self.folder.join(self.name);
        self.file.sync_all().map_err(disk("flushing", &self.path))?;
        fs::rename(&self.path, &target).map_err(disk("replacing", &target))?;
        self.finished = true;
        self.handle.sync_all().map_err(disk("flushing", self.folder))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // It would only take room; the next writing begins it anew in any case.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn replace(
    folder: &Path,
    handle: &File,
    name: &str,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), TufError> {
    let mut file = Unfinished::new(folder, handle, name)?;
    file.write(write)?;
    file.finish()
}
