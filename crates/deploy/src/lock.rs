//! One `rocketctl` at a time.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use rocketos_model::layout;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::DeployError;

/// Bytes of the lock file we read.
const HOLDER_BYTES: u64 = 4096;

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// What it does, such as `upgrade`.
    pub verb: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.verb)
    }
}

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the root partition at `root` for `verb`.
    ///
    /// # Errors
    /// [`DeployError::Locked`] where somebody has it; it is not waited for.
    pub fn take(root: &Path, verb: &str) -> Result<Self, DeployError> {
        Self::take_at(root.join(layout::root::LOCK), verb)
    }

    /// Takes the lock of whoever scrubs: others go on meanwhile.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn take_to_scrub(root: &Path) -> Result<Self, DeployError> {
        Self::take_at(root.join(layout::root::SCRUB_LOCK), "scrub")
    }

    fn take_at(path: PathBuf, verb: &str) -> Result<Self, DeployError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(DeployError::io("making", parent))?;
        }
        let failed = |error| DeployError::io("locking", &path)(error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Who it is only helps the reader; the lock itself is the kernel's.
                let _ = (&file).take(HOLDER_BYTES).read_to_string(&mut text);
                let holder = toml::from_str(&text).unwrap_or(Holder { pid: 0, verb: "unknown".to_owned() });
                return Err(DeployError::Locked(holder));
            }
            Err(error) => return Err(failed(error.into())),
        }
        let holder = Holder { pid: std::process::id(), verb: verb.to_owned() };
        let text = toml::to_string(&holder).unwrap_or_default();
        let bytes = text.as_bytes();
        // Over what stands there, whose block a full disk would not give again. Where it cannot be written nobody is named; the
        // lock is held all the same, and on a full disk it is needed to go back, and to make room.
        if file.rewind().and_then(|()| file.write_all(bytes)).and_then(|()| file.set_len(bytes.len() as u64)).is_err() {
            let _ = file.set_len(0);
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let lock = Lock::take(root.path(), "upgrade").unwrap();
        let error = Lock::take(root.path(), "prune").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("upgrade") && message.contains(&std::process::id().to_string()), "{message}");
        drop(lock);
        Lock::take(root.path(), "prune").unwrap();
    }

    #[test]
    fn is_held_on_a_full_disk_too() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(layout::root::LOCK);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let _lock = Lock::take(root.path(), "upgrade").unwrap();
        assert!(matches!(Lock::take(root.path(), "prune"), Err(DeployError::Locked(_))));
    }
}
