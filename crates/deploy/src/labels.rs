//! SELinux labels of folders that containers write to.
//!
//! They are given by descriptors, no link is followed and no mount is crossed: what such a folder holds is a container's, and privileged ones
//! may put something else in its place meanwhile, or mount the node's own files on it.

use std::{
    ffi::{CStr, OsStr, OsString},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rocketos_sys::mount::fd_path;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags, fchmod, fgetxattr, fsetxattr,
        fstat, mkdirat, openat2, renameat_with, setxattr, unlinkat,
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
/// What is in a folder itself: no link, and nothing that is mounted there (openat2(2)).
const HERE: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_XDEV).union(ResolveFlags::BENEATH);
/// Permissions of folders that are made on the way.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o755);
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

    /// One that is open; `path` is for messages.
    pub(crate) fn of(fd: OwnedFd, path: &Path) -> Self {
        Self { fd, path: path.to_owned() }
    }

    /// Opens, or makes, the folder at `path` below `base`, where no part of `path` is a link or a mount. The folders above it are made too.
    ///
    /// # Errors
    /// When it is no folder, or one of another place.
    pub fn below(base: &Path, path: &Path) -> Result<Self, DeployError> {
        let mut folder = Self::open(base)?;
        for name in path {
            let path = folder.path.join(name);
            match mkdirat(&folder.fd, name, FOLDER_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("making", &path)(error)),
            }
            folder = folder.enter(name)?;
        }
        Ok(folder)
    }

    /// Opens a folder that is in this one; nothing is mounted on it.
    ///
    /// # Errors
    /// When it is no folder.
    pub fn enter(&self, name: &OsStr) -> Result<Self, DeployError> {
        let path = self.path.join(name);
        let fd = openat2(&self.fd, name, folder_flags(), Mode::empty(), HERE).map_err(failed("opening", &path))?;
        Ok(Self { fd, path })
    }

    /// Makes a folder in this one that bears a label from the moment it has its name, and is empty then.
    ///
    /// # Errors
    /// When something has the name, or it cannot be made.
    pub fn make(&self, name: &OsStr, mode: Mode, label: Option<&str>) -> Result<Self, DeployError> {
        let path = self.path.join(name);
        let mut new = OsString::from(".new-");
        new.push(name);
        match unlinkat(&self.fd, &new, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("making", &path)(error)),
        }
        mkdirat(&self.fd, &new, FOLDER_MODE).map_err(failed("making", &path))?;
        let folder = self.enter(&new)?;
        if let Some(label) = label {
            folder.give(label)?;
        }
        fchmod(&folder.fd, mode).map_err(failed("making", &path))?;
        // By now nobody else puts anything there.
        if Dir::read_from(&folder.fd)
            .map_err(failed("listing", &path))?
            .flatten()
            .any(|entry| !is_itself(entry.file_name()))
        {
            return Err(failed("making", &path)(Errno::NOTEMPTY));
        }
        renameat_with(&self.fd, &new, &self.fd, name, RenameFlags::NOREPLACE).map_err(failed("making", &path))?;
        Ok(Self { fd: folder.fd, path })
    }

    /// Which label it bears.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn label(&self) -> Result<String, DeployError> {
        let mut buffer = [0; LABEL_BYTES];
        match fgetxattr(&self.fd, LABEL, &mut buffer[..]) {
            Ok(length) => {
                let label = buffer[..length].strip_suffix(b"\0").unwrap_or(&buffer[..length]);
                Ok(String::from_utf8_lossy(label).into_owned())
            }
            Err(Errno::NODATA | Errno::RANGE) => Ok(String::new()),
            Err(error) => Err(failed("reading the label of", &self.path)(error)),
        }
    }

    /// Whether it bears a label.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn bears(&self, label: &str) -> Result<bool, DeployError> {
        Ok(self.label()? == label)
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

/// `.` and `..`, which every folder has.
fn is_itself(name: &CStr) -> bool {
    name == c"." || name == c".."
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
        if is_itself(entry.file_name()) {
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
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (file, is_folder) = match openat2(folder, name, flags, Mode::empty(), HERE) {
        Ok(file) => {
            let stat = fstat(&file).map_err(failed("looking at", path))?;
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            (file, is_folder)
        }
        // What is mounted there is not the container's.
        Err(Errno::XDEV) => return Ok(()),
        Err(error) => return Err(failed("opening", path)(error)),
    };
    if is_folder {
        let below = openat2(&file, ".", folder_flags(), Mode::empty(), HERE).map_err(failed("opening", path))?;
        give_below(below.as_fd(), path, label, depth - 1)?;
    }
    // A descriptor that is a path has no attributes; its name has, and leads to a link itself.
    setxattr(fd_path(&file), LABEL, label.as_bytes(), XattrFlags::empty()).map_err(failed("labelling", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::{
        fs::lgetxattr,
        mount::{UnmountFlags, mount_bind, unmount},
    };

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

    /// Whoever may mount on such a folder would have the node's own files labelled as the container's.
    #[test]
    fn what_is_mounted_there_keeps_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let (own, other) = (top.join("own"), top.join("other"));
        fs::create_dir_all(own.join("a/mounted")).unwrap();
        fs::create_dir(&other).unwrap();
        for file in ["own/mounted", "own/a/file", "other/file"] {
            fs::write(top.join(file), "").unwrap();
        }
        let _mounted =
            [(other.clone(), own.join("a/mounted")), (other.join("file"), own.join("mounted"))].map(Bound::new);
        Folder::open(&own).unwrap().give_all(ONE).unwrap();
        assert_eq!(label(&own.join("a/file")), ONE);
        for path in [&other, &other.join("file")] {
            assert_ne!(label(path), ONE, "{}", path.display());
        }
        let error = Folder::below(&own, Path::new("a/mounted")).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("opening "), "{error}");
    }

    /// Mounted as long as it lives.
    struct Bound(PathBuf);

    impl Bound {
        fn new((what, place): (PathBuf, PathBuf)) -> Self {
            mount_bind(what, &place).unwrap();
            Self(place)
        }
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            unmount(&self.0, UnmountFlags::DETACH).unwrap();
        }
    }

    #[test]
    fn a_folder_is_made_with_its_label() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        // Left by one that was cut off.
        fs::create_dir_all(top.join("a/b/.new-name")).unwrap();
        let above = Folder::below(&top, Path::new("a/b")).unwrap();
        let made = above.make(OsStr::new("name"), Mode::from(0o700), Some(ONE)).unwrap();
        assert!(made.bears(ONE).unwrap());
        assert_eq!(label(&top.join("a/b/name")), ONE);
        assert_eq!(fs::read_dir(top.join("a/b")).unwrap().count(), 1);
        assert!(above.make(OsStr::new("name"), Mode::from(0o700), None).is_err());
        // Somebody has put something there.
        fs::create_dir_all(top.join("a/b/.new-other/x")).unwrap();
        assert!(above.make(OsStr::new("other"), Mode::from(0o700), None).is_err());
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
