//! The image's SELinux policy, loaded before anything is mounted over the image, and the labels of what is.
//!
//! Whether violations are refused is the kernel command line's to say (`enforcing=1`, measured with the image); nothing
//! here turns it on or off. What covers a directory of the image takes that directory's label: no type is named here.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rocketos_sys::mount::fd_path;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, XattrFlags, lgetxattr, lsetxattr, openat2},
    io::Errno,
    mount::{MountFlags, mount as mount_old},
};

use crate::console;

/// The compiled policy in the image; not where libselinux looks, for nobody loads it again.
const POLICY: &str = "usr/lib/rocketos/selinux/policy";
/// Bytes of it.
const POLICY_BYTES: u64 = 16 << 20;
/// The kernel's interface.
const SELINUXFS: &str = "/sys/fs/selinux";
/// Where a policy is written to, whole and at once.
const LOAD: &str = "/sys/fs/selinux/load";
/// Says that what the policy does not allow is refused.
const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// The extended attribute a label is kept in.
const LABEL: &str = "security.selinux";
/// Bytes of a label (linux/limits.h, a path's; labels are far shorter).
const LABEL_BYTES: usize = 4096;

/// Whether labels count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// A policy is loaded.
    Kept,
    /// There is none.
    None,
}

/// The image's policy.
fn read_policy(image: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match openat2(image, POLICY, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut policy = Vec::new();
    file.take(POLICY_BYTES + 1).read_to_end(&mut policy)?;
    if policy.len() as u64 > POLICY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {POLICY_BYTES} bytes")));
    }
    Ok(Some(policy))
}

/// Loads the policy of the verified image.
///
/// An image without one, or a kernel that was started without SELinux, goes on without; a kernel that was told to enforce
/// does not.
pub fn load(image: &OwnedFd) -> Result<Labels> {
    let policy = read_policy(image).with_context(|| format!("reading the image's /{POLICY}"))?;
    if !Path::new(SELINUXFS).exists() {
        if policy.is_some() {
            console::warning("the kernel was started without SELinux: the image's policy is not in force");
        }
        return Ok(Labels::None);
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    match mount_old("selinuxfs", SELINUXFS, "selinuxfs", flags, c"") {
        Ok(()) | Err(Errno::BUSY) => {}
        Err(error) => return Err(error).with_context(|| format!("mounting {SELINUXFS}")),
    }
    let Some(policy) = policy else {
        if fs::read_to_string(ENFORCE).with_context(|| format!("reading {ENFORCE}"))?.trim() == "1" {
            bail!("the kernel is to enforce a policy, and the image has no /{POLICY}");
        }
        return Ok(Labels::None);
    };
    let write = || -> io::Result<()> {
        let written = File::options().write(true).open(LOAD)?.write(&policy)?;
        if written == policy.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    };
    write().context("loading the image's SELinux policy")?;
    Ok(Labels::Kept)
}

impl Labels {
    /// Gives the directory `covering` the label of `covered`, which it will be mounted over.
    pub fn take_over(self, covered: &OwnedFd, covering: &OwnedFd) -> Result<()> {
        match (self, self.of(&fd_path(covered))?) {
            (Self::Kept, Some(label)) => set(&fd_path(covering), &label),
            _ => Ok(()),
        }
    }

    /// [`Labels::take_over`], and everything below `covering` where its own label was another.
    ///
    /// A directory on a disk that was filled before there were labels is gone through once.
    pub fn take_over_all(self, covered: &OwnedFd, covering: &OwnedFd) -> Result<()> {
        let path = fd_path(covering);
        match (self, self.of(&fd_path(covered))?) {
            (Self::Kept, Some(label)) if self.of(&path)?.as_ref() != Some(&label) => {
                // The top comes last: an interrupted walk begins anew.
                walk(&path, &label)?;
                set(&path, &label)
            }
            _ => Ok(()),
        }
    }

    /// The label of `path`.
    fn of(self, path: &Path) -> Result<Option<Vec<u8>>> {
        if self == Self::None {
            return Ok(None);
        }
        let mut label = vec![0; LABEL_BYTES];
        match lgetxattr(through(path).as_path(), LABEL, &mut label[..]) {
            Ok(length) => {
                label.truncate(length);
                Ok(Some(label))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading the label of {}", path.display())),
        }
    }
}

/// A path that leads through a descriptor's link to what it is of.
fn through(path: &Path) -> std::path::PathBuf {
    path.join(".")
}

fn set(path: &Path, label: &[u8]) -> Result<()> {
    lsetxattr(through(path).as_path(), LABEL, label, XattrFlags::empty())
        .with_context(|| format!("labelling {}", path.display()))
}

/// Labels everything below `directory` on its file system; links are labelled and not followed.
fn walk(directory: &Path, label: &[u8]) -> Result<()> {
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| std::os::unix::fs::MetadataExt::dev(&found));
    let top = device(&through(directory)).with_context(|| format!("looking at {}", directory.display()))?;
    let mut waiting = vec![through(directory)];
    while let Some(next) = waiting.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("listing {}", next.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", next.display()))?;
            let path = entry.path();
            if device(&path).with_context(|| format!("looking at {}", path.display()))? != top {
                continue;
            }
            match lsetxattr(path.as_path(), LABEL, label, XattrFlags::empty()) {
                Ok(()) => {}
                // A file under fs-verity keeps its content, not its attributes; an immutable one keeps both.
                Err(Errno::PERM) => continue,
                Err(error) => {
                    let name = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
                    return Err(error).with_context(|| format!("labelling {name}"));
                }
            }
            if entry.file_type().with_context(|| format!("looking at {}", path.display()))?.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_policy_no_larger_than_allowed() {
        let image = tempfile::tempdir().unwrap();
        let top: OwnedFd = File::open(image.path()).unwrap().into();
        assert!(read_policy(&top).unwrap().is_none());
        let path = image.path().join(POLICY);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "policy").unwrap();
        assert_eq!(read_policy(&top).unwrap().as_deref(), Some(&b"policy"[..]));
        File::options().write(true).open(&path).unwrap().set_len(POLICY_BYTES + 1).unwrap();
        assert_eq!(read_policy(&top).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn labels_what_covers_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["covered", "covering", "covering/below", "covering/below/deep"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc", folder.path().join("covering/away")).unwrap();
        let open = |name: &str| OwnedFd::from(File::open(folder.path().join(name)).unwrap());
        let (covered, covering) = (open("covered"), open("covering"));
        let label = b"system_u:object_r:var_t:s0";
        if set(&fd_path(&covered), label).is_err() {
            // Only root gives labels.
            return;
        }
        Labels::None.take_over_all(&covered, &covering).unwrap();
        assert_eq!(Labels::Kept.of(&fd_path(&covering)).unwrap(), None);
        Labels::Kept.take_over_all(&covered, &covering).unwrap();
        for name in ["covering", "covering/below", "covering/below/deep"] {
            let found = Labels::Kept.of(&folder.path().join(name)).unwrap();
            assert_eq!(found.as_deref(), Some(&label[..]), "{name}");
        }
    }
}
