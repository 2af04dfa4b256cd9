//! Host containers: which image each runs, and what it runs on.
//!
//! ```text
//! state/rocketos/host-containers/<name>            reference, manifest digest, composefs digest: a root of the store
//! state/deploy/<id>/host-containers/<name>         the same of what came with a deployment, and of what it ran: as long as that may boot
//! /run/rocketos/host-containers/<name>/root        the image, read-only, fs-verity enforced
//! /run/rocketos/host-containers/<name>/memory      what it writes in /run and /tmp
//! /var/lib/rocketos/host-containers/<name>         what outlives it
//! ```
//!
//! Where images come from, and whether they may run, is for others to say, as with deployments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Permissions},
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use rocketos_model::{ComposefsDigest, DeploymentId, ImageReference, ManifestDigest, layout};
use rocketos_store::mount::mount_image;
use rocketos_sys::mount::{Access, MountError, MountOption, Right, attach, forbid, mount_virtual};
use rustix::{
    fs::{CWD, fstatfs},
    io::Errno,
    mount::{UnmountFlags, unmount},
};
use serde::{Deserialize, Serialize};

use crate::{DeployError, Node, files, labels, mounts};

/// Most that a container keeps in memory as files.
const MEMORY: &str = "128M";
/// Folders below the memory of a container, with their permissions.
const FOLDERS: [(&str, u32); 2] = [("run", 0o755), ("tmp", 0o1777)];
/// What an image's mount says that it is (linux/magic.h, OVERLAYFS_SUPER_MAGIC).
const OVERLAY: i64 = 0x794c_7630;
/// Permissions of a persistent folder that is made.
const PERSISTENT_MODE: u32 = 0o755;

/// Which image a host container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostContainer {
    /// As it was named when it came.
    pub image: ImageReference,
    /// What that was.
    pub manifest_digest: ManifestDigest,
    /// What it mounts as.
    pub composefs_digest: ComposefsDigest,
}

impl Node {
    /// Which image a host container runs; absent where none came yet.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn host_container(&self, name: &str) -> Result<Option<HostContainer>, DeployError> {
        read(self.root.join(layout::host_container(name)))
    }

    /// Names of those that run an image, or ran one.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn host_container_names(&self) -> Result<BTreeSet<String>, DeployError> {
        names(&self.root.join(layout::root::HOST_CONTAINERS))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// As [`Node::host_container`].
    pub fn host_containers(&self) -> Result<BTreeMap<String, HostContainer>, DeployError> {
        let with = |name: String| Ok(self.host_container(&name)?.map(|container| (name, container)));
        self.host_container_names()?.into_iter().filter_map(|name| with(name).transpose()).collect()
    }

    /// Remembers which image a host container runs, so that it is kept.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn set_host_container(&self, name: &str, container: &HostContainer) -> Result<(), DeployError> {
        write(&self.root.join(layout::host_container(name)), container)
    }

    /// Forgets it; its image goes with the next prune, where nothing else needs it.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn forget_host_container(&self, name: &str) -> Result<(), DeployError> {
        files::remove(&self.root.join(layout::host_container(name)))
    }

    /// Which images came with a deployment, or were run by it, by the names of containers. What cannot be read any more is left out: it
    /// comes again.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn host_containers_of(&self, id: &DeploymentId) -> Result<BTreeMap<String, HostContainer>, DeployError> {
        readable(&self.root.join(layout::deployment_host_containers(id)))
    }

    /// Every image that belongs to a host container, of what runs or of a deployment, once. What cannot be read any more is left out.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn host_container_images(&self) -> Result<BTreeMap<ManifestDigest, HostContainer>, DeployError> {
        let mut all = readable(&self.root.join(layout::root::HOST_CONTAINERS))?.into_values().collect::<Vec<_>>();
        for id in self.deployments()? {
            all.extend(self.host_containers_of(&id)?.into_values());
        }
        Ok(all.into_iter().map(|container| (container.manifest_digest, container)).collect())
    }

    /// Remembers which image belongs to a deployment, so that it is kept as long as that is; nothing where there is no such deployment.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn set_host_container_of(
        &self,
        id: &DeploymentId,
        name: &str,
        container: &HostContainer,
    ) -> Result<(), DeployError> {
        match self.root.join(layout::deployment_dir(id)).is_dir() {
            true => write(&self.root.join(layout::deployment_host_container(id, name)), container),
            false => Ok(()),
        }
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn forget_host_container_of(&self, id: &DeploymentId, name: &str) -> Result<(), DeployError> {
        files::remove(&self.root.join(layout::deployment_host_container(id, name)))
    }
}

/// Names of containers in a folder.
fn names(folder: &Path) -> Result<BTreeSet<String>, DeployError> {
    // Names have no dots: what has was not finished.
    Ok(files::names(folder)?.into_iter().filter(|name| !name.contains('.')).collect())
}

/// All of a folder that can be read.
fn readable(folder: &Path) -> Result<BTreeMap<String, HostContainer>, DeployError> {
    let mut all = BTreeMap::new();
    for name in names(folder)? {
        match read(folder.join(&name)) {
            Ok(Some(container)) => drop(all.insert(name, container)),
            Ok(None) | Err(DeployError::Format { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn read(path: PathBuf) -> Result<Option<HostContainer>, DeployError> {
    let Some(text) = files::read(&path)? else { return Ok(None) };
    toml::from_str(&text).map(Some).map_err(|error| DeployError::Format { path, source: error.into() })
}

fn write(path: &Path, container: &HostContainer) -> Result<(), DeployError> {
    let text = toml::to_string(container)
        .map_err(|error| DeployError::Format { path: path.to_owned(), source: error.into() })?;
    path.parent().map_or(Ok(()), files::directory)?;
    files::write(path, text.as_bytes())
}

/// What a host container runs on.
#[derive(Debug, Clone)]
pub struct Ground {
    name: String,
    /// Below [`layout::node::HOST_CONTAINERS_RUN`].
    folder: PathBuf,
    persistent: PathBuf,
}

impl Ground {
    /// Of the container `name` of the machine that runs.
    pub fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: Path::new(layout::node::HOST_CONTAINERS_RUN).join(name),
            persistent: Path::new(layout::node::HOST_CONTAINERS_DATA).join(name),
        }
    }

    /// The file that says what is started.
    pub fn process(&self) -> PathBuf {
        self.folder.join(layout::host_container::PROCESS)
    }

    /// Below which it all is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Mounts the image, read-only and with fs-verity, and has made what the container writes to, which bears `label`.
    ///
    /// # Errors
    /// When the image is not the one its digest names, or something cannot be mounted or made.
    pub fn lay(&self, image: &ComposefsDigest, label: &str, persistent: bool) -> Result<(), DeployError> {
        self.clear()?;
        // A layer of an overlay has to be attached: the node's own clone of the root partition is not.
        let sysroot = File::open(layout::node::SYSROOT).map_err(DeployError::io("opening", layout::node::SYSROOT))?;
        let root = mount_image(&sysroot, image)
            .map_err(|error| DeployError::Mount { doing: "mounting the container's image", source: error.into() })?;
        mounts::lay(&self.name, root, label, persistent)
    }

    /// Attaches the image's mount, and makes what the container writes to.
    pub(crate) fn build(&self, root: OwnedFd, label: &str, persistent: bool) -> Result<(), DeployError> {
        let mounting = |error: MountError| DeployError::Mount {
            doing: "mounting what the container runs on",
            source: error.into(),
        };
        let found = fstatfs(&root).map_err(|error| DeployError::io("looking at", &self.folder)(error.into()))?;
        if found.f_type != OVERLAY {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "this is no image");
            return Err(DeployError::io("mounting below", &self.folder)(error));
        }
        let selinux = labels::are_there();
        forbid(&root, &[Right::Device]).map_err(mounting)?;
        let memory = mount_virtual(
            "tmpfs",
            Access::Writable,
            &[MountOption::Value("mode", "0755"), MountOption::Value("size", MEMORY)],
        )
        .map_err(mounting)?;
        forbid(&memory, &[Right::Device, Right::SetUser]).map_err(mounting)?;
        for (mount, name) in [(root, layout::host_container::ROOT), (memory, layout::host_container::MEMORY)] {
            let path = self.folder.join(name);
            files::directory(&path)?;
            attach(mount, CWD, &path).map_err(mounting)?;
        }
        for (name, mode) in FOLDERS {
            let path = self.folder.join(layout::host_container::MEMORY).join(name);
            files::directory(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(DeployError::io("making", &path))?;
            if selinux {
                labels::Folder::open(&path)?.give(label)?;
            }
        }
        if persistent {
            if !self.persistent.exists() {
                files::directory(&self.persistent)?;
                fs::set_permissions(&self.persistent, Permissions::from_mode(PERSISTENT_MODE))
                    .map_err(DeployError::io("making", &self.persistent))?;
            }
            // What was the same container's with other rights is still its own.
            if selinux {
                let folder = labels::Folder::open(&self.persistent)?;
                if !folder.bears(label)? {
                    folder.give_all(label)?;
                }
            }
        }
        Ok(())
    }

    /// Has it all unmounted; what outlives the container stays.
    ///
    /// # Errors
    /// When something does not go.
    pub fn clear(&self) -> Result<(), DeployError> {
        mounts::clear(&self.name)?;
        files::remove(&self.process())
    }

    /// Unmounts it all.
    pub(crate) fn unmount(&self) -> Result<(), DeployError> {
        for name in [layout::host_container::ROOT, layout::host_container::MEMORY] {
            let path = self.folder.join(name);
            match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(DeployError::io("unmounting", path)(error.into())),
            }
        }
        Ok(())
    }
}
