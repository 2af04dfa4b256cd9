//! What can go wrong on the ESP.

use std::{io, path::PathBuf};

use rocketos_sys::{block::BlockError, efivar::EfivarError};

/// An operation on the ESP that failed. What booted before still boots.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Reading or writing.
    #[error("{doing} {path} on the ESP")]
    Io {
        /// Such as "writing".
        doing: &'static str,
        /// Relative to the ESP.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No room.
    #[error("the ESP is full: {needed} bytes are needed for {what}, {free} are free; 'rocketctl prune' may make room")]
    Full {
        /// For what.
        what: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// A file of ours that is longer than any we write.
    #[error("{path} on the ESP is longer than {limit} bytes")]
    Limit {
        /// Relative to the ESP.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
    /// A firmware variable.
    #[error(transparent)]
    Variable(#[from] EfivarError),
    /// The ESP's place on its disk.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The firmware has as many boot options as there can be.
    #[error("the firmware has no free boot option")]
    NoOption,
    /// A name that no addon can have.
    #[error("'{0}' is no name for an addon: letters, digits, '-', '_' and '.', at most 64 of them")]
    AddonName(String),
    /// An addon of that name is there, and says something else.
    #[error("an addon '{0}' is there already, and says something else; remove it first ('rocketctl kargs remove')")]
    AddonTaken(String),
    /// The entry to bless or remove is not there.
    #[error("the ESP has no boot entry '{0}'")]
    NoEntry(String),
    /// No entry can boot before one that is there; none of ours ever comes so far.
    #[error("{0} on the ESP has the highest sequence there is, so none can be put before it; remove that file")]
    LastSequence(String),
}

impl BootError {
    /// True where the ESP is full, seen before writing or while.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
