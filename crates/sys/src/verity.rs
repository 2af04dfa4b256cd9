//! Whether a directory's file system can seal files with fs-verity, by doing it once.

use std::{io, os::fd::AsFd};

use composefs_ioctls::fsverity::{EnableVerityError, fs_ioc_enable_verity};
use rustix::{
    fs::{Mode, OFlags, open, openat},
    io::Errno,
};

use crate::mount::fd_path;

/// fs-verity's number of SHA-512 (`FS_VERITY_HASH_ALG_SHA512`).
const SHA512: u8 = 2;
/// The block size of every file of the store.
const BLOCK: u32 = 4096;

/// What the probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// A file was sealed.
    Yes,
    /// Kernel or file system has no fs-verity.
    No,
}

/// A probe that could not run: nothing is known.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct ProbeError {
    doing: &'static str,
    source: io::Error,
}

fn doing<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> ProbeError {
    move |error| ProbeError { doing, source: error.into() }
}

/// Seals a nameless file in `directory`, SHA-512 over blocks of 4 KiB; nothing of it remains.
///
/// # Errors
/// When the directory cannot be written or the kernel fails for a reason other than lacking fs-verity.
pub fn verity_supported(directory: impl AsFd) -> Result<Support, ProbeError> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match openat(directory, ".", flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        // Every file system with fs-verity (ext4, btrfs, f2fs) has nameless files.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => return Ok(Support::No),
        Err(error) => return Err(doing("making a nameless file to probe fs-verity")(error)),
    };
    rustix::io::write(&file, b"probe").map_err(doing("writing a nameless file to probe fs-verity"))?;
    let sealed = open(fd_path(&file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(doing("opening the nameless file again"))?;
    // A file that is open for writing cannot be sealed.
    drop(file);
    match fs_ioc_enable_verity(sealed.as_fd(), SHA512, BLOCK) {
        Ok(()) | Err(EnableVerityError::AlreadyEnabled) => Ok(Support::Yes),
        Err(EnableVerityError::FilesystemNotSupported) => Ok(Support::No),
        Err(EnableVerityError::Io(error)) if not_there(&error) => Ok(Support::No),
        Err(EnableVerityError::Io(error)) => Err(doing("enabling fs-verity on a nameless file")(error)),
        Err(other) => Err(doing("enabling fs-verity on a nameless file")(io::Error::other(other))),
    }
}

fn not_there(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_no_where_files_cannot_be_sealed() {
        let directory = std::fs::File::open("/dev/shm").unwrap();
        assert_eq!(verity_supported(directory).unwrap(), Support::No);
    }

    #[test]
    fn fails_where_it_may_not_write() {
        let directory = std::fs::File::open("/proc/self/fd").unwrap();
        // procfs knows neither nameless files nor fs-verity.
        assert!(!matches!(verity_supported(directory), Ok(Support::Yes)));
    }
}
