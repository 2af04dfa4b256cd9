//! What can go wrong with deployments.

use std::{io, path::PathBuf};

use rocketos_boot::{BootError, uki::UkiError};
use rocketos_model::{ComposefsDigest, DeploymentId};
use rocketos_store::StoreError;

use crate::Holder;

/// A deployment operation that failed. What booted before still boots.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// This machine was not booted from a deployment.
    #[error(
        "this machine was not booted from Rocket OS: {path} is not there; 'rocketctl install' makes a disk that is"
    )]
    NotBooted {
        /// The file the initramfs writes.
        path: PathBuf,
    },
    /// Somebody else works.
    #[error("another rocketctl is at work: {0}")]
    Locked(Holder),
    /// A file of the node's own.
    #[error("{doing} {path}")]
    Io {
        /// Such as "reading".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the node's own that does not parse.
    #[error("reading {path}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel's command line names another image than the rest of the image comes to.
    #[error("the image is sealed for composefs digest {sealed}, but its files come to {found}")]
    SealBroken {
        /// On the kernel's command line.
        sealed: Box<ComposefsDigest>,
        /// Computed.
        found: Box<ComposefsDigest>,
    },
    /// The kernel in the image is not a sealed one.
    #[error("the image's kernel is not sealed")]
    Uki(#[source] UkiError),
    /// The kernel's command line.
    #[error("the image's kernel is not sealed")]
    Cmdline(#[source] rocketos_model::cmdline::CmdlineError),
    /// Nothing to go back to.
    #[error("there is no deployment to roll back to")]
    NoRollback,
    /// No such deployment, or more than one.
    #[error("'{wanted}' names {found} deployments; 'rocketctl status' lists them")]
    Unknown {
        /// What was typed.
        wanted: String,
        /// How many match.
        found: usize,
    },
    /// A deployment that cannot boot.
    #[error("deployment {0} has no kernel on the ESP and cannot boot")]
    NotBootable(DeploymentId),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ESP.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The disk to install to.
    #[error(transparent)]
    Disk(#[from] crate::DiskError),
    /// Disks that cannot be told from one another.
    #[error("several disks are labelled {label}, and only one of them can count: {}", .devices.iter().map(|device| device.display().to_string()).collect::<Vec<_>>().join(", "))]
    Several {
        /// Their label.
        label: String,
        /// Each of them.
        devices: Vec<PathBuf>,
    },
    /// Looking for a disk.
    #[error("looking at the disks of this machine")]
    Disks(#[source] Box<rocketos_sys::block::BlockError>),
    /// Mounting.
    #[error("{doing}")]
    Mount {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DeployError {
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// True where a disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Store(error) => error.is_full(),
            Self::Boot(error) => error.is_full(),
            _ => false,
        }
    }
}
