//! What is wrong with a disk, apart from what kept us from looking.

use std::io;

/// Why a state could not be found whole.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Firmware, loader or initramfs would stop at this.
    #[error("{0}")]
    Disk(String),
    /// There is nothing to boot: no partition table, no ESP, no entry. An install that is not done leaves that.
    #[error("{0}")]
    Nothing(String),
    /// The checksum of ext4's superblock is wrong: no kernel mounts that.
    #[error("the ext4 superblock's checksum is wrong")]
    Superblock,
    /// The recording itself cannot be read; says nothing of the disk.
    #[error("reading the recording")]
    Host(#[from] io::Error),
}

impl Fault {
    pub(crate) fn disk(what: impl Into<String>) -> Self {
        Self::Disk(what.into())
    }

    pub(crate) fn nothing(what: impl Into<String>) -> Self {
        Self::Nothing(what.into())
    }

    /// Nothing, where that cannot be found whole on the disk.
    pub(crate) fn absent<T: Default>(self) -> Result<T, Self> {
        match self {
            Self::Disk(_) | Self::Nothing(_) => Ok(T::default()),
            other => Err(other),
        }
    }

    /// The same, of a file.
    pub(crate) fn of(self, path: &str) -> Self {
        match self {
            Self::Disk(what) => Self::Disk(format!("{path}: {what}")),
            host => host,
        }
    }
}
