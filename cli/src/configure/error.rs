//! Why settings are not changed or not applied.

use std::{io, path::PathBuf};

use rocketos_deploy::DeployError;
use rocketos_settings::{
    LayerError, Problems, TreeError, bootstrap::MemoryError, render::NoCertificates, store::StoreError,
};

use super::{Locked, Receipt};

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The settings are wrong: change them.
    Invalid,
    /// Somebody else was faster: read again.
    Stale,
    /// There is no such generation.
    NoSuch,
    /// Settings are locked until the next boot.
    Locked,
    /// A service's own checker says no; nothing was touched.
    Refused,
    /// A service did not come up with them; what was there before is in force again.
    Failed,
    /// A disk is full.
    Full,
    /// The system.
    System,
}

/// Settings that are not in force. What was in force is, but for [`ConfigureError::Failed`] whose receipt says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// Wrong by the model.
    #[error("the settings are not sound:\n{0}")]
    Invalid(Problems),
    /// No tree, or no settings that could be together.
    #[error(transparent)]
    Value(#[from] TreeError),
    /// Settings that nobody changes until the next boot.
    #[error("settings are locked until the next boot, by {} since {}", .0.by, .0.at)]
    Locked(Locked),
    /// A checker.
    #[error("{by} refuses what the settings come to: {said}")]
    Refused {
        /// Which.
        by: String,
        /// What it said.
        said: String,
    },
    /// Applied, and put back.
    #[error("{}", .0.in_a_word())]
    Failed(Box<Receipt>),
    /// Nothing can be stored where nobody knows for which deployment.
    #[error("the loader did not say which deployment runs, so that no settings can be stored for it")]
    NoDeployment,
    /// There is nothing to go back to.
    #[error("there is no generation before this one")]
    NothingBefore,
    /// What is stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was done at earlier boots.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The image's own.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The disk.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A file.
    #[error("{doing} {}", path.display())]
    Io {
        /// Such as "writing".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Certificates of the image, of which settings add or take away some.
    #[error("reading the certificates that the image trusts in /{}", path.display())]
    Trust {
        /// The file, below the root.
        path: PathBuf,
        /// What is wrong with it.
        source: NoCertificates,
    },
    /// What was written down of files that are in place, and is no document any more.
    #[error("reading {}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it broke.
        source: serde_json::Error,
    },
}

impl ConfigureError {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::Value(_) => Kind::Invalid,
            Self::Locked(_) => Kind::Locked,
            Self::Refused { .. } => Kind::Refused,
            Self::Failed(receipt) if receipt.full => Kind::Full,
            Self::Failed(_) => Kind::Failed,
            Self::NothingBefore | Self::Store(StoreError::NoSuch(_)) => Kind::NoSuch,
            Self::Store(StoreError::Stale { .. }) => Kind::Stale,
            Self::Store(StoreError::Words | StoreError::TooLarge) => Kind::Invalid,
            Self::Store(StoreError::Io { source, .. }) | Self::Io { source, .. } if is_full(source) => Kind::Full,
            Self::Deploy(error) if error.is_full() => Kind::Full,
            _ => Kind::System,
        }
    }

    /// What was done and taken back.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Failed(receipt) => Some(receipt),
            _ => None,
        }
    }
}

/// True where there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn io_at(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ConfigureError {
    let path = path.into();
    move |source| ConfigureError::Io { doing, path, source }
}
