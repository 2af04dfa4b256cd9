//! SELinux labels of folders that containers write to.
//!
//! They are given by descriptors, and no link is followed: what such a folder holds is a container's, and privileged ones may put something
//! else in its place meanwhile.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rocketos_sys::mount::fd_path;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fgetxattr, fsetxattr, lsetxattr, openat,
        openat2, statat,
    },
    io::Errno,
};

use crate::DeployError;

/// Where a file's label stands.
const LABEL: &str = "security.selinux";
/// Bytes of a label.
const LABEL_BYTES: usize = 256;
/// There where the kernel has SELinux.
const SELINUX: &str = "/sys/fs/selinux/enforce";
/// Folders within each other that are labelled; more is somebody's mischief.
const DEPTH: usize = 128;

/// Whether the kernel has labels.
pub fn are_there() -> bool {
    Path::new(SELINUX).exists()
}

/// A folder that is open.
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens it where no part of its path is a link.
    ///
    /// # Errors
    /// When it is no folder, or one of another place.
    pub fn open(path: &Path) -> Result<Self, DeployError> {
        let fd = openat2(CWD, path, folder_flags(), Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(failed("opening", path))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Whether it bears a label.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn bears(&self, label: &str) -> Result<bool, DeployError> {
        let mut buffer = [0; LABEL_BYTES];
        match fgetxattr(&self.fd, LABEL, &mut buffer[..]) {
            Ok(length) => Ok(buffer[..length].strip_suffix(b"\0").unwrap_or(&buffer[..length]) == label.as_bytes()),
            Err(Errno::NODATA | Errno::RANGE) => Ok(false),
            Err(error) => Err(failed("reading the label of", &self.path)(error)),
        }
    }

    /// Gives it a label.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn give(&self, label: &str) -> Result<(), DeployError> {
        set(self.fd.as_fd(), label).map_err(failed("labelling", &self.path))
    }

    /// Gives it and everything in it a label. The folder itself comes last: cut off, it is done again.
    ///
    /// # Errors
    /// As [`Folder::give`]; and where folders lie within each other without end.
    pub fn give_all(&self, label: &str) -> Result<(), DeployError> {
        give_below(self.fd.as_fd(), &self.path, label, DEPTH)?;
        self.give(label)
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> DeployError {
    move |error| DeployError::io(doing, path)(error.into())
}

fn set(fd: BorrowedFd<'_>, label: &str) -> Result<(), Errno> {
    fsetxattr(fd, LABEL, label.as_bytes(), XattrFlags::empty())
}

/// Everything in a folder; `path` is for messages.
fn give_below(folder: BorrowedFd<'_>, path: &Path, label: &str, depth: usize) -> Result<(), DeployError> {
    if depth == 0 {
        return Err(failed("labelling", path)(Errno::LOOP));
    }
    for entry in Dir::read_from(folder).map_err(failed("listing", path))? {
        let entry = entry.map_err(failed("listing", path))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let at = path.join(name);
        match give_one(folder, name, &at, label, depth) {
            // What goes away meanwhile needs no label.
            Err(DeployError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn give_one(folder: BorrowedFd<'_>, name: &OsStr, path: &Path, label: &str, depth: usize) -> Result<(), DeployError> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("looking at", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        // The folder is the one that is open, wherever its path leads by now.
        let file = fd_path(folder).join(name);
        return lsetxattr(file, LABEL, label.as_bytes(), XattrFlags::empty()).map_err(failed("labelling", path));
    }
    let below = openat(folder, name, folder_flags(), Mode::empty()).map_err(failed("opening", path))?;
    give_below(below.as_fd(), path, label, depth - 1)?;
    set(below.as_fd(), label).map_err(failed("labelling", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::lgetxattr;

    use super::*;

    const ONE: &str = "system_u:object_r:container_file_t:s0:c1,c2";

    fn label(path: &Path) -> String {
        let mut buffer = [0; LABEL_BYTES];
        let length = lgetxattr(path, LABEL, &mut buffer[..]).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn what_lies_elsewhere_keeps_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let (own, other) = (top.join("own"), top.join("other"));
        fs::create_dir_all(own.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        for file in ["own/file", "own/a/b/file", "other/file"] {
            fs::write(top.join(file), "").unwrap();
        }
        symlink(&other, own.join("link")).unwrap();
        let opened = Folder::open(&own).unwrap();
        assert!(!opened.bears(ONE).unwrap());
        opened.give_all(ONE).unwrap();
        assert!(opened.bears(ONE).unwrap());
        for path in ["own", "own/file", "own/a", "own/a/b", "own/a/b/file", "own/link"] {
            assert_eq!(label(&top.join(path)), ONE, "{path}");
        }
        for path in [&other, &other.join("file")] {
            assert_ne!(label(path), ONE, "{}", path.display());
        }
    }

    #[test]
    fn a_link_is_not_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("other/name")).unwrap();
        symlink(top.join("other"), top.join("own")).unwrap();
        for path in ["own", "own/name"] {
            let error = Folder::open(&top.join(path)).map(|_| ()).unwrap_err();
            assert!(error.to_string().starts_with("opening "), "{error}");
        }
    }

    #[test]
    fn folders_without_end_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let deep: PathBuf = std::iter::repeat_n("a", DEPTH + 1).collect();
        fs::create_dir_all(top.join(deep)).unwrap();
        assert!(Folder::open(&top).unwrap().give_all(ONE).is_err());
    }
}
