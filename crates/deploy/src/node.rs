//! The disk a command works on: root partition, ESP, store.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rocketos_boot::Esp;
use rocketos_model::{Booted, DeploymentId, Origin, layout};
use rocketos_store::{Store, StoreError, Verity};
use rocketos_sys::mount::{Access, MountOption, clone_tree, fd_path, mount_device, set_access};

use crate::{DeployError, Lock, files};

/// An installed disk, open for work.
#[derive(Debug)]
pub struct Node {
    /// Top of the root partition, writable where this process needs it to be.
    pub root: PathBuf,
    /// The ESP.
    pub esp: Esp,
    /// The store.
    pub store: Store,
    /// What runs, where this is the machine's own disk.
    pub booted: Option<Booted>,
    // Mounts that nobody else sees; they end with these.
    pub(crate) mounts: Vec<OwnedFd>,
}

/// The disk this machine booted from, its store still shut.
struct Opened {
    booted: Booted,
    sysroot: OwnedFd,
    esp: OwnedFd,
}

/// The ESP that the machine booted from, attached nowhere.
pub(crate) fn mount_esp(booted: &Booted, access: Access) -> Result<OwnedFd, DeployError> {
    // One file system cannot be mounted read-only here and writable there; the mount is what differs.
    mount_device("vfat", Path::new(&booted.esp), Access::Writable, &[MountOption::Value("umask", "0077")])
        .and_then(|esp| set_access(&esp, access).map(|()| esp))
        .map_err(|error| DeployError::Mount { doing: "mounting the ESP", source: error.into() })
}

impl Opened {
    fn new(access: Access) -> Result<Self, DeployError> {
        let booted = files::booted()?;
        let sysroot = clone_tree(Path::new(layout::node::SYSROOT), access)
            .map_err(|error| DeployError::Mount { doing: "mounting the root partition", source: error.into() })?;
        let opened = Self { esp: mount_esp(&booted, access)?, booted, sysroot };
        if access == Access::Writable {
            // The kernel has written its mark that the ESP is mounted. Were that lost where a change is not, the next boot
            // would not look for what the change left behind.
            opened.esp().flush()?;
        }
        Ok(opened)
    }

    fn esp(&self) -> Esp {
        Esp::at(&fd_path(&self.esp))
    }

    fn root(&self) -> PathBuf {
        fd_path(&self.sysroot)
    }

    fn node(self) -> Result<Node, DeployError> {
        let (root, esp) = (self.root(), self.esp());
        let store = Store::open(&root.join(layout::root::STORE), Verity::Required)?;
        Ok(Node { root, esp, store, booted: Some(self.booted), mounts: vec![self.sysroot, self.esp] })
    }
}

impl Node {
    /// The disk this machine booted from, to look at.
    ///
    /// The root partition stands read-only at `/sysroot` for everybody else; here it is mounted once more, attached
    /// nowhere, and so is the ESP.
    ///
    /// # Errors
    /// When the machine was not booted from a deployment, or its disk cannot be mounted.
    pub fn running() -> Result<Self, DeployError> {
        Opened::new(Access::ReadOnly)?.node()
    }

    /// The same disk, to change, with the lock that keeps others away.
    ///
    /// The lock comes before the store is opened: an open store keeps garbage collection waiting, so who waits for the
    /// lock must not have one.
    ///
    /// # Errors
    /// As [`Node::running`], and [`DeployError::Locked`].
    pub fn locked(verb: &str) -> Result<(Self, Lock), DeployError> {
        let opened = Opened::new(Access::Writable)?;
        let lock = Lock::take(&opened.root(), verb)?;
        Ok((opened.node()?, lock))
    }

    /// The same disk, to mend its store, with the lock that keeps other scrubs away and nobody else: an upgrade goes on
    /// meanwhile. A store that does not say what it is any more is told.
    ///
    /// # Errors
    /// As [`Node::locked`].
    pub fn to_scrub() -> Result<(Self, Lock), DeployError> {
        let opened = Opened::new(Access::Writable)?;
        let lock = Lock::take_to_scrub(&opened.root())?;
        let store = opened.root().join(layout::root::STORE);
        if let Err(StoreError::Open { .. } | StoreError::Insecure { .. }) = Store::open(&store, Verity::Required) {
            Store::renew_metadata(&store, Verity::Required)?;
        }
        Ok((opened.node()?, lock))
    }

    /// A disk whose file systems the caller has mounted.
    ///
    /// # Errors
    /// When there is no store on it.
    pub fn at(root: &Path, esp: &Path, verity: Verity, booted: Option<Booted>) -> Result<Self, DeployError> {
        let store = Store::open(&root.join(layout::root::STORE), verity)?;
        Ok(Self { root: root.to_owned(), esp: Esp::at(esp), store, booted, mounts: Vec::new() })
    }

    /// The deployment that runs.
    pub fn booted_deployment(&self) -> Option<DeploymentId> {
        self.booted.as_ref().and_then(|booted| booted.deployment)
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// When the disk says that it is not.
    pub fn flush(&self) -> Result<(), DeployError> {
        let directory = std::fs::File::open(&self.root).map_err(DeployError::io("opening", &self.root))?;
        rustix::fs::syncfs(&directory).map_err(|error| DeployError::io("flushing", &self.root)(error.into()))?;
        Ok(self.esp.flush()?)
    }

    /// What a deployment is and follows; absent where it is not installed.
    ///
    /// # Errors
    /// When its origin file cannot be read.
    pub fn origin(&self, deployment: &DeploymentId) -> Result<Option<Origin>, DeployError> {
        let path = self.root.join(layout::deployment_dir(deployment)).join(layout::deployment::ORIGIN);
        let Some(text) = files::read(&path)? else {
            return Ok(None);
        };
        toml::from_str(&text).map(Some).map_err(|error| DeployError::Format { path, source: error.into() })
    }

    /// Keeps the signatures by which a deployment was accepted, for whoever asks later and has no network.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn keep_signatures(&self, deployment: &DeploymentId, text: &str) -> Result<(), DeployError> {
        let directory = self.root.join(layout::deployment_dir(deployment));
        files::write(&directory.join(layout::deployment::SIGNATURES), text.as_bytes())
    }

    /// What [`Node::keep_signatures`] kept.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn signatures(&self, deployment: &DeploymentId) -> Result<Option<String>, DeployError> {
        files::read(&self.root.join(layout::deployment_dir(deployment)).join(layout::deployment::SIGNATURES))
    }

    /// Every deployment with a state directory.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn deployments(&self) -> Result<Vec<DeploymentId>, DeployError> {
        let names = files::names(&self.root.join(layout::root::DEPLOY))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The one deployment whose id begins with `prefix`.
    ///
    /// # Errors
    /// When none or several do.
    pub fn find(&self, prefix: &str) -> Result<DeploymentId, DeployError> {
        let wanted = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        let wanted = &wanted[..wanted.len().min(DeploymentId::HEX_LEN)];
        let found: Vec<_> = self.deployments()?.into_iter().filter(|id| id.starts_with(wanted)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            others => Err(DeployError::Unknown { wanted: prefix.to_owned(), found: others.len() }),
        }
    }
}
