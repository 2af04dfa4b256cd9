//! Garbage collection.
//!
//! Roots are the named images and every image that is mounted, whoever mounted it. It takes the store's lock alone, so
//! pulls wait for it, and it waits a while for whoever has the store open.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use rocketos_model::ComposefsDigest;
use rustix::{
    fs::{FlockOperation, flock, fstat, major, minor},
    io::Errno,
};

use crate::{Store, StoreError, Verity, in_use};

/// How long others may keep the store open before collecting is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the lock is asked for meanwhile.
const RETRY: Duration = Duration::from_millis(50);

/// What a collection removed, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes every object that no named and no mounted image needs.
    ///
    /// # Errors
    /// When anything that could be a root, or a list of it, cannot be read, or another process keeps the store open for
    /// longer than half a minute; then nothing is removed.
    pub fn collect_garbage(&self, dry_run: bool) -> Result<Collected, StoreError> {
        // composefs passes over a list that is gone, and then over what it listed; so it does where a layer that came again
        // has another list than the image's documents name. Each layer is a root by its name therefore.
        let listed = self.listed_streams()?;
        let mounted = mounted_images(self.verity)?;
        let present: Vec<String> = mounted
            .iter()
            .map(ComposefsDigest::to_hex)
            .filter(|hex| self.path.join("images").join(hex).exists())
            .collect();
        let roots: Vec<&str> = present.iter().chain(&listed).map(String::as_str).collect();
        let doing = "collecting garbage in the store ('rocketctl scrub' mends what is damaged there)";
        let result = match dry_run {
            true => self.repository.gc_dry_run(&roots),
            false => {
                self.lock_alone(PATIENCE)?;
                self.repository.gc(&roots)
            }
        }
        .map_err(StoreError::composefs(doing))?;
        Ok(Collected { objects: result.objects_removed, bytes: result.objects_bytes })
    }

    /// Takes the lock that composefs then finds taken; composefs itself would wait for ever.
    fn lock_alone(&self, patience: Duration) -> Result<(), StoreError> {
        let repository = self.repository.repo_fd();
        let until = Instant::now() + patience;
        loop {
            match flock(repository, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(RETRY),
                Err(Errno::WOULDBLOCK) => {
                    // The kernel gives the shared lock up before it looks for the other (flock(2)).
                    flock(repository, FlockOperation::LockShared).map_err(|error| StoreError::Read(error.into()))?;
                    let stat = fstat(repository).map_err(|error| StoreError::Read(error.into()))?;
                    // Who it is only helps the reader.
                    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
                    let file = format!("{:02x}:{:02x}:{}", major(stat.st_dev), minor(stat.st_dev), stat.st_ino);
                    return Err(StoreError::Busy { path: self.path.clone(), holders: holders(&locks, &file) });
                }
                Err(error) => return Err(StoreError::Read(error.into())),
            }
        }
    }
}

/// Processes other than this one that have a lock on `file`, in the words of proc_locks(5): major, minor and inode.
fn holders(locks: &str, file: &str) -> Vec<u32> {
    let own = std::process::id();
    let mut found: Vec<u32> = locks
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Whoever waits has an arrow behind the number.
            let [_, "FLOCK", _, _, pid, place, ..] = fields[..] else {
                return None;
            };
            (place == file).then(|| pid.parse().ok())?
        })
        .filter(|pid| *pid != own)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Composefs digests of all images mounted now ([`in_use::images`]).
pub(crate) fn mounted_images(verity: Verity) -> Result<BTreeSet<ComposefsDigest>, StoreError> {
    // A store for building images is nobody's root, and its owner may not look into the processes of others.
    in_use::images(verity == Verity::Required).map_err(StoreError::Read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_holds_a_lock() {
        let text = "1: FLOCK  ADVISORY  READ 812 fe:03:2049 0 EOF\n\
                    1: -> FLOCK  ADVISORY  WRITE 813 fe:03:2049 0 EOF\n\
                    2: POSIX  ADVISORY  WRITE 9 fe:03:2049 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 700 fe:03:2050 0 EOF\n";
        assert_eq!(holders(text, "fe:03:2049"), [812]);
    }

    #[test]
    fn does_not_wait_for_ever_for_an_open_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::init(&path, Verity::Optional).unwrap();
        let other = Store::open(&path, Verity::Optional).unwrap();
        let error = store.lock_alone(Duration::from_millis(120)).unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        // Refused, it has its shared lock again: the other may not collect either.
        other.lock_alone(Duration::ZERO).unwrap_err();
        drop(other);
        store.lock_alone(Duration::ZERO).unwrap();
    }
}
