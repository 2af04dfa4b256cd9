//! Mounts as file descriptors: made, changed and attached without a path in between.
//!
//! Until Linux 6.15 a mount that is attached nowhere cannot carry another mount, nor be cloned, nor be an overlay's
//! layer: attach it first, then open the path again. Files inside it can be opened relative to it at once.

use std::{
    fs, io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
        fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

/// Bytes of one message the kernel leaves in a file system context.
const MESSAGE_BYTES: usize = 1024;
/// Messages read from one context; the kernel keeps eight.
const MESSAGES: usize = 16;

/// Whether a mount may be written through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing may be written.
    ReadOnly,
    /// Whatever the file system allows may be written.
    Writable,
}

impl Access {
    fn attributes(self) -> MountAttrFlags {
        match self {
            Self::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
            Self::Writable => MountAttrFlags::empty(),
        }
    }
}

/// A mount that could not be made, changed or attached.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The file system refused.
    #[error("mounting {source_name} as {fstype}{}", explained(.messages))]
    Filesystem {
        /// The file system's type.
        fstype: String,
        /// The device, or the type again where there is none.
        source_name: String,
        /// What the kernel had to say beside the error number.
        messages: Vec<String>,
        /// The error number.
        source: io::Error,
    },
    /// A mount that is there could not be cloned, changed or attached.
    #[error("{doing} {}", .path.display())]
    Tree {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// The error number.
        source: io::Error,
    },
}

fn explained(messages: &[String]) -> String {
    if messages.is_empty() {
        return String::new();
    }
    format!(" (the kernel says: {})", messages.join("; "))
}

/// One option of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountOption<'a> {
    /// A word, such as `ro`.
    Flag(&'a str),
    /// A word and what it is set to, such as `mode` and `0755`.
    Value(&'a str, &'a str),
}

/// Reads what the kernel left in the context: `e <text>`, `w <text>` or `i <text>`, one message a read.
fn messages(context: &OwnedFd) -> Vec<String> {
    let mut found = Vec::new();
    let mut buffer = [0; MESSAGE_BYTES];
    while found.len() < MESSAGES {
        match rustix::io::read(context, &mut buffer) {
            // ENODATA: no message is left.
            Err(_) | Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let text = text.trim_end();
                let text = text.get(2..).filter(|_| text.as_bytes()[1] == b' ').unwrap_or(text);
                found.push(text.to_owned());
            }
        }
    }
    found
}

fn make(fstype: &str, source: &str, access: Access, options: &[MountOption<'_>]) -> Result<OwnedFd, MountError> {
    let failed = |messages, source_error: Errno| MountError::Filesystem {
        fstype: fstype.to_owned(),
        source_name: source.to_owned(),
        messages,
        source: source_error.into(),
    };
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| failed(Vec::new(), error))?;
    let configure = || -> rustix::io::Result<OwnedFd> {
        fsconfig_set_string(&context, "source", source)?;
        if access == Access::ReadOnly {
            fsconfig_set_flag(&context, "ro")?;
        }
        for option in options {
            match option {
                MountOption::Flag(key) => fsconfig_set_flag(&context, *key)?,
                MountOption::Value(key, value) => fsconfig_set_string(&context, *key, *value)?,
            }
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, access.attributes())
    };
    configure().map_err(|error| failed(messages(&context), error))
}

/// Mounts the file system of type `fstype` on the block device `device`, attached nowhere.
///
/// [`Access::ReadOnly`] makes both the file system and the mount read-only.
///
/// # Errors
/// When the kernel refuses; its own explanation is part of the error.
pub fn mount_device(
    fstype: &str,
    device: &Path,
    access: Access,
    options: &[MountOption<'_>],
) -> Result<OwnedFd, MountError> {
    make(fstype, &device.to_string_lossy(), access, options)
}

/// Mounts a file system that lives on no device (`tmpfs`, `proc`, `overlay` …), attached nowhere.
///
/// # Errors
/// When the kernel refuses; its own explanation is part of the error.
pub fn mount_virtual(fstype: &str, access: Access, options: &[MountOption<'_>]) -> Result<OwnedFd, MountError> {
    make(fstype, fstype, access, options)
}

/// Clones the one mount at `path` (not what is mounted below it), attached nowhere and open to this process alone.
///
/// With [`Access::Writable`] the clone may be written through even where the mount it was cloned from may not.
///
/// # Errors
/// When there is no such path, or the kernel refuses.
pub fn clone_tree(path: &Path, access: Access) -> Result<OwnedFd, MountError> {
    clone_tree_at(CWD, path, access)
}

/// [`clone_tree`] of a path relative to a directory; an empty path is the directory itself.
///
/// # Errors
/// When there is no such path, or the kernel refuses.
pub fn clone_tree_at(directory: impl AsFd, path: &Path, access: Access) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(directory, path, flags).map_err(tree("cloning the mount at", path))?;
    set_access(&tree, access)?;
    Ok(tree)
}

/// The kernel's `struct mount_attr`, version 0 (mount_setattr(2)).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Lets `mount` be written through, or not; the file system and other mounts of it stay as they are.
///
/// # Errors
/// When `mount` is not the top of a mount, or the kernel refuses.
pub fn set_access(mount: impl AsFd, access: Access) -> Result<(), MountError> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    match access {
        Access::ReadOnly => change(mount, read_only, MountAttrFlags::empty()),
        Access::Writable => change(mount, MountAttrFlags::empty(), read_only),
    }
}

/// What lies on a mount may do unless it is forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Lead to a device.
    Device,
    /// Give a program that is started another user or capabilities.
    SetUser,
    /// Be started, or mapped as code.
    Execute,
}

/// Takes rights from everything on `mount`; other mounts of the file system stay as they are.
///
/// # Errors
/// When `mount` is not the top of a mount, or the kernel refuses.
pub fn forbid(mount: impl AsFd, rights: &[Right]) -> Result<(), MountError> {
    let flag = |right: &Right| match right {
        Right::Device => MountAttrFlags::MOUNT_ATTR_NODEV,
        Right::SetUser => MountAttrFlags::MOUNT_ATTR_NOSUID,
        Right::Execute => MountAttrFlags::MOUNT_ATTR_NOEXEC,
    };
    change(mount, rights.iter().map(flag).collect(), MountAttrFlags::empty())
}

fn change(mount: impl AsFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<(), MountError> {
    let (attr_set, attr_clr) = (u64::from(set.bits()), u64::from(clear.bits()));
    let attributes = MountAttr { attr_set, attr_clr, propagation: 0, userns_fd: 0 };
    // SAFETY: the arguments are those of mount_setattr(2). The path is a C string and `attributes` a live structure of the
    // size given; the kernel reads both during the call and writes to neither. The descriptor is borrowed and open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    Err(MountError::Tree { doing: "changing what may be done on the mount at", path: fd_target(mount), source })
}

/// Attaches `mount` at `path`, relative to `directory`.
///
/// # Errors
/// When there is no such path, or the kernel refuses.
pub fn attach(mount: impl AsFd, directory: impl AsFd, path: &Path) -> Result<(), MountError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", directory, path, flags).map_err(tree("attaching a mount at", path))
}

fn tree(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> MountError {
    let path = path.to_owned();
    move |error| MountError::Tree { doing, path, source: error.into() }
}

/// The path by which this process, and only it, reaches what `fd` names: `/proc/self/fd/<n>`.
///
/// It means something else once `fd` is closed.
pub fn fd_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Where `fd` leads, for messages.
fn fd_target(fd: impl AsFd) -> PathBuf {
    let path = fd_path(fd);
    fs::read_link(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn names_type_source_and_the_kernels_words() {
        let error = MountError::Filesystem {
            fstype: "ext4".into(),
            source_name: "/dev/vda2".into(),
            messages: vec!["ext4: Unknown parameter 'x'".into()],
            source: Errno::INVAL.into(),
        };
        assert_eq!(error.to_string(), "mounting /dev/vda2 as ext4 (the kernel says: ext4: Unknown parameter 'x')");
        assert!(error.source().is_some());
    }

    #[test]
    fn reaches_a_descriptors_file() {
        let file = fs::File::open("/proc/self/status").unwrap();
        assert!(fs::read_to_string(fd_path(&file)).unwrap().contains("Name:"));
    }

    #[test]
    fn names_the_path_that_cannot_be_cloned() {
        let error = clone_tree(Path::new("/no/such/path"), Access::ReadOnly).unwrap_err();
        assert_eq!(error.to_string(), "cloning the mount at /no/such/path");
    }
}
