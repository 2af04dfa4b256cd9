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
    ffi::OsStr,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rocketos_model::{ComposefsDigest, DeploymentId, ImageReference, ManifestDigest, layout};
use rocketos_store::mount::mount_image;
use rocketos_sys::mount::{Access, MountError, MountOption, Right, attach, forbid, mount_virtual};
use rustix::{
    fs::{CWD, Mode, fstatfs},
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
/// Begins the labels of what host containers write.
const CONTAINERS_FILES: &str = "system_u:object_r:container_file_t:";
/// The level of what privileged containers of the engine write (base/selinux/40-rules.cil).
const ENGINES: &str = "s0:c1022,c1023";
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

/// Whether a label is one that only a host container's folder has: its type with categories, which are not those that the engine's privileged
/// containers may give.
fn is_a_containers(label: &str) -> bool {
    label.strip_prefix(CONTAINERS_FILES).is_some_and(|level| level.starts_with("s0:c") && level != ENGINES)
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
        let given = selinux.then_some(label);
        // Before it is attached, while nobody else sees it.
        let inside =
            labels::Folder::of(memory.try_clone().map_err(DeployError::io("opening", &self.folder))?, &self.folder);
        for (name, mode) in FOLDERS {
            inside.make(OsStr::new(name), Mode::from(mode), given)?;
        }
        for (mount, name) in [(root, layout::host_container::ROOT), (memory, layout::host_container::MEMORY)] {
            let path = self.folder.join(name);
            files::directory(&path)?;
            attach(mount, CWD, &path).map_err(mounting)?;
        }
        if persistent {
            self.keep(given)?;
        }
        Ok(())
    }

    /// Makes what outlives the container, or has it bear the label that the container has now.
    fn keep(&self, label: Option<&str>) -> Result<(), DeployError> {
        let below = Path::new(layout::node::HOST_CONTAINERS_DATA).strip_prefix(layout::node::VAR);
        let all = labels::Folder::below(Path::new(layout::node::VAR), below.unwrap_or(Path::new("")))?;
        let name = OsStr::new(&self.name);
        if !self.persistent.exists() {
            return all.make(name, Mode::from(PERSISTENT_MODE), label).map(drop);
        }
        let folder = all.enter(name)?;
        let Some(label) = label else { return Ok(()) };
        if folder.bears(label)? {
            return Ok(());
        }
        let borne = folder.label()?;
        // What was the same container's with other rights is still its own; what was nobody's has been put there by somebody else.
        if !is_a_containers(&borne) {
            let why = format!("it bears {borne}, and is no host container's: move it away, or give it {label}");
            return Err(DeployError::io("taking over", &self.persistent)(io::Error::other(why)));
        }
        folder.give_all(label)
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
