//! The new root: the image, and what is mounted over it.
//!
//! Before Linux 6.15 a mount must be attached somewhere before it can carry another or be an overlay's layer, so the
//! root partition is attached at [`SYSROOT`] and the image at [`NEW_ROOT`] first; everything after goes through their
//! descriptors. What is on the root partition is not trusted: no path on it follows a symbolic link.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use anyhow::{Context, Result};
use rocketos_model::{ComposefsDigest, DeploymentId, layout};
use rocketos_sys::{
    block::Partition,
    mount::{Access, MountOption, Right, attach, clone_tree_at, fd_path, forbid, mount_device, mount_virtual},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2},
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::{config::Mount, console, selinux::Labels};

/// What [`mount_partition`] needs.
pub const PARTITION_MODULES: [&str; 1] = [EXT4];
/// What [`mount_image`] and overlays need. fs-verity stays with the SHA-512 that is there at its first file.
pub const IMAGE_MODULES: [&str; 3] = ["erofs", "overlay", "crypto-sha512"];
/// Where the root partition is while we work.
const SYSROOT: &str = "/sysroot";
/// Where the image is until it becomes the root.
pub const NEW_ROOT: &str = "/newroot";
/// Where memory for an overlay's upper layer is for a moment.
const SCRATCH: &str = "/scratch";
/// The file system of the root partition and of a plain /var.
const EXT4: &str = "ext4";
/// Where ext2, 3 and 4 have their magic number, and which (linux/fs/ext4/ext4.h, `s_magic`).
const EXT4_MAGIC: (u64, [u8; 2]) = (1024 + 0x38, [0x53, 0xef]);
/// Directories are for everybody to read: the overlay takes its mode from the upper layer.
const UPPER_MODE: Mode = Mode::from_raw_mode(0o755);
/// What is stored of settings has secrets in it.
const PRIVATE_MODE: Mode = Mode::from_raw_mode(0o700);
/// The overlay's own.
const WORK_MODE: Mode = Mode::from_raw_mode(0o700);
/// Paths on the root partition.
const UNTRUSTED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Opens the directory `path` below `directory`.
pub fn open_directory(directory: impl AsFd, path: &str, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(directory, path, flags, Mode::empty(), resolve)?)
}

/// Opens the directory `path` on the root partition, making what is missing of it.
pub fn ensure_beneath(sysroot: &OwnedFd, path: &str) -> Result<OwnedFd> {
    let mut made = String::new();
    for part in path.split('/') {
        made = if made.is_empty() { part.to_owned() } else { format!("{made}/{part}") };
        match mkdirat(sysroot, &made, UPPER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("making {made} on the root partition")),
        }
    }
    open_directory(sysroot, path, UNTRUSTED).with_context(|| format!("opening {path} on the root partition"))
}

/// Reads the text file `path` below `directory`, at most `limit` bytes; absent where there is none.
///
/// More than `limit` bytes, or other bytes than text, are [`io::ErrorKind::InvalidData`].
pub fn read_text(directory: &OwnedFd, path: &str, resolve: ResolveFlags, limit: u64) -> io::Result<Option<String>> {
    // A named pipe would otherwise keep us here for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat2(directory, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes")));
    }
    Ok(Some(text))
}

/// [`read_text`] of a path on the root partition.
pub fn read_untrusted(sysroot: &OwnedFd, path: &str, limit: u64) -> io::Result<Option<String>> {
    read_text(sysroot, path, UNTRUSTED, limit)
}

/// Attaches `mount` at `path` in the initramfs and opens it there.
fn attach_here(mount: &OwnedFd, path: &str) -> Result<OwnedFd> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("making {path}"));
        }
        _ => {}
    }
    attach(mount, CWD, Path::new(path))?;
    open_directory(CWD, path, ResolveFlags::empty()).with_context(|| format!("opening {path}"))
}

/// Mounts the root partition; its journal is replayed, nothing else is repaired.
pub fn mount_partition(partition: &Partition) -> Result<OwnedFd> {
    let mount = mount_device(EXT4, &partition.path, Access::Writable, &[])?;
    attach_here(&mount, SYSROOT)
}

/// Lets go of the root partition here; the new root has its own mounts of it.
pub fn close_partition() -> Result<()> {
    unmount(SYSROOT, UnmountFlags::DETACH).with_context(|| format!("unmounting {SYSROOT}"))
}

/// Mounts the one image that may be the root.
pub fn mount_image(sysroot: &OwnedFd, digest: &ComposefsDigest) -> Result<OwnedFd> {
    let mount = rocketos_store::mount::mount_image(sysroot, digest).context("opening the root")?;
    attach_here(&mount, NEW_ROOT)
}

/// An overlay over `lower` whose changes go to `upper` and `work` in `state`.
fn overlay(lower: &OwnedFd, state: &OwnedFd, labels: Labels) -> Result<OwnedFd> {
    for (name, mode) in [("upper", UPPER_MODE), ("work", WORK_MODE)] {
        match mkdirat(state, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("making the overlay's {name} directory")),
        }
    }
    let upper = open_directory(state, "upper", UNTRUSTED).context("opening the overlay's upper directory")?;
    let work = open_directory(state, "work", UNTRUSTED).context("opening the overlay's work directory")?;
    // What both layers have shows the upper one's attributes.
    labels.take_over(lower, &upper)?;
    let path = |fd: &OwnedFd| fd_path(fd).display().to_string();
    let options = [
        MountOption::Value("lowerdir", &path(lower)),
        MountOption::Value("upperdir", &path(&upper)),
        MountOption::Value("workdir", &path(&work)),
    ];
    Ok(mount_virtual("overlay", Access::Writable, &options)?)
}

/// An overlay over `lower` whose changes stay in memory.
fn overlay_in_memory(lower: &OwnedFd, labels: Labels) -> Result<OwnedFd> {
    let memory = mount_virtual("tmpfs", Access::Writable, &[MountOption::Value("mode", "0755")])?;
    let state = attach_here(&memory, SCRATCH)?;
    let overlay = overlay(lower, &state, labels);
    // The overlay keeps the memory; the place is free again.
    unmount(SCRATCH, UnmountFlags::DETACH).with_context(|| format!("unmounting {SCRATCH}"))?;
    overlay
}

/// Lets `/` be changed in memory, where the image wants that.
pub fn overlay_root(new_root: OwnedFd, how: Mount, labels: Labels) -> Result<OwnedFd> {
    if how != Mount::Transient {
        return Ok(new_root);
    }
    let mount = overlay_in_memory(&new_root, labels).context("letting the root be changed in memory")?;
    attach_here(&mount, NEW_ROOT)
}

/// Shows the root partition, read-only, in the new root.
pub fn show_sysroot(new_root: &OwnedFd, sysroot: &OwnedFd) -> Result<()> {
    let mount = clone_tree_at(sysroot, Path::new(""), Access::ReadOnly)?;
    // Whoever runs what is in the store runs it out of an image.
    forbid(&mount, &[Right::Device, Right::SetUser, Right::Execute])?;
    put(new_root, layout::node::SYSROOT, &mount)
}

/// Opens the image's directory at the absolute `path`.
pub fn image_directory(new_root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    open_directory(new_root, path, ResolveFlags::IN_ROOT).with_context(|| format!("opening the image's {path}"))
}

/// Attaches `mount` at the absolute `path` of the new root.
fn put(new_root: &OwnedFd, path: &str, mount: &OwnedFd) -> Result<()> {
    let target = image_directory(new_root, path)?;
    attach(mount, &target, Path::new("")).with_context(|| format!("mounting {path}"))
}

/// A mount for the image's `path`; `state` opens the node's directory for it. None leaves the image's.
fn directory(
    new_root: &OwnedFd,
    path: &str,
    how: Mount,
    labels: Labels,
    state: impl FnOnce() -> Result<OwnedFd>,
) -> Result<Option<OwnedFd>> {
    let lower = || image_directory(new_root, path);
    match how {
        Mount::None => Ok(None),
        Mount::Bind => {
            let state = state()?;
            labels.take_over_all(&lower()?, &state)?;
            Ok(Some(clone_tree_at(state, Path::new(""), Access::Writable)?))
        }
        Mount::Overlay => overlay(&lower()?, &state()?, labels).map(Some),
        Mount::Transient => overlay_in_memory(&lower()?, labels).map(Some),
    }
}

/// Makes /etc.
pub fn mount_etc(
    new_root: &OwnedFd,
    sysroot: &OwnedFd,
    how: Mount,
    labels: Labels,
    deployment: Option<DeploymentId>,
) -> Result<()> {
    let state = || {
        let id =
            deployment.context("the image wants its /etc kept, and the loader did not say which deployment runs")?;
        let name = layout::deployment::ETC;
        ensure_beneath(sysroot, &format!("{}/{name}", layout::deployment_dir(&id)))
    };
    match directory(new_root, "/etc", how, labels, state).context("making /etc")? {
        Some(mount) => put(new_root, "/etc", &mount),
        None => Ok(()),
    }
}

/// Makes the folder of a deployment's settings, with the label that the policy has for its name. Without it the node has the image's
/// settings, and says so.
pub fn ensure_settings(sysroot: &OwnedFd, deployment: Option<DeploymentId>) {
    let Some(id) = deployment else { return };
    let made = || -> io::Result<()> {
        let deployment = open_directory(sysroot, &layout::deployment_dir(&id), UNTRUSTED)?;
        match mkdirat(&deployment, layout::deployment::SETTINGS, PRIVATE_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    if let Err(error) = made() {
        console::warning(&format!("making {}: {error}", layout::deployment_settings(&id)));
    }
}

/// True where the partition holds ext4 (or its ancestors); an encrypted or empty one does not.
fn is_ext4(partition: &Partition) -> io::Result<bool> {
    let mut magic = [0; 2];
    match File::open(&partition.path)?.read_exact_at(&mut magic, EXT4_MAGIC.0) {
        Ok(()) => Ok(magic == EXT4_MAGIC.1),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes /var: the node's directory, or the partition for it.
///
/// A partition that is not plain ext4 (an encrypted one) is left to the host, which can ask for a key.
pub fn mount_var(
    new_root: &OwnedFd,
    sysroot: &OwnedFd,
    how: Mount,
    labels: Labels,
    partition: Option<&Partition>,
) -> Result<()> {
    let mount = match (how, partition) {
        (Mount::Bind, Some(partition)) => {
            let path = &partition.path;
            if !is_ext4(partition).with_context(|| format!("looking at {}", path.display()))? {
                console::info(&format!("leaving /var on {} to the host", path.display()));
                return Ok(());
            }
            let mount = mount_device(EXT4, path, Access::Writable, &[])?;
            labels.take_over_all(&image_directory(new_root, "/var")?, &mount)?;
            Some(mount)
        }
        _ => directory(new_root, "/var", how, labels, || ensure_beneath(sysroot, layout::root::VAR))
            .context("making /var")?,
    };
    match mount {
        Some(mount) => {
            // Programs do run there: those in volumes of containers.
            forbid(&mount, &[Right::Device, Right::SetUser])?;
            put(new_root, "/var", &mount)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn makes_the_folder_of_settings_once_and_for_root_alone() {
        let disk = tempfile::tempdir().unwrap();
        let top = open(disk.path());
        let id: DeploymentId = "ab".repeat(16).parse().unwrap();
        let folder = disk.path().join(layout::deployment_settings(&id));
        // Nothing is made of a deployment that is not there.
        ensure_settings(&top, None);
        ensure_settings(&top, Some(id));
        assert!(fs::read_dir(disk.path()).unwrap().next().is_none());
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        ensure_settings(&top, Some(id));
        fs::write(folder.join("0000000001.json"), "").unwrap();
        ensure_settings(&top, Some(id));
        assert!(folder.join("0000000001.json").exists());
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&folder).unwrap());
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn follows_no_link_on_the_root_partition() {
        let disk = tempfile::tempdir().unwrap();
        let top = open(disk.path());
        fs::write(disk.path().join("real"), "x").unwrap();
        symlink("real", disk.path().join("link")).unwrap();
        symlink("/etc", disk.path().join("away")).unwrap();
        assert_eq!(read_untrusted(&top, "real", 8).unwrap().as_deref(), Some("x"));
        assert_eq!(read_untrusted(&top, "none", 8).unwrap(), None);
        for path in ["link", "away/passwd", "../x", "/etc/passwd"] {
            assert!(read_untrusted(&top, path, 8).is_err(), "{path}");
        }
        assert!(ensure_beneath(&top, "away").is_err());
    }

    #[test]
    fn reads_no_more_than_allowed() {
        let disk = tempfile::tempdir().unwrap();
        fs::write(disk.path().join("long"), "123456789").unwrap();
        let error = read_untrusted(&open(disk.path()), "long", 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn makes_missing_directories() {
        let disk = tempfile::tempdir().unwrap();
        let top = open(disk.path());
        ensure_beneath(&top, "state/os/default/var").unwrap();
        ensure_beneath(&top, "state/os/default/var").unwrap();
        assert!(disk.path().join("state/os/default/var").is_dir());
    }
}
