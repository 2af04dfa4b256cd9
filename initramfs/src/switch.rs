//! Leaving the initramfs for the new root.

use std::{
    convert::Infallible,
    env,
    ffi::CStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, fstatfs, open, openat, statat, unlinkat},
    io::Errno,
    mount::mount_move,
    process::{chdir, chroot, fchdir},
};

use crate::{console, root::NEW_ROOT};

/// What becomes of this program, the first that is there.
const INIT: [&str; 2] = ["/usr/lib/systemd/systemd", "/sbin/init"];
/// The mounts that go along.
const MOVED: [&str; 4] = ["dev", "proc", "sys", "run"];
/// What the first services have the kernel ask for: where a panic's last words go, and what is on the ESP.
pub const MODULES: [&str; 4] = ["efi_pstore", "vfat", "nls_cp437", "nls_ascii"];
/// linux/magic.h: the two kinds of file system an initramfs is unpacked to.
const RAMFS_MAGIC: u32 = 0x8584_58f6;
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// Deletes everything below `directory` on the file system `device`; what is mounted there is left alone.
fn empty(directory: &OwnedFd, device: u64) -> rustix::io::Result<()> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    for name in names {
        remove(directory, &name, device)?;
    }
    Ok(())
}

fn remove(parent: &OwnedFd, name: &CStr, device: u64) -> rustix::io::Result<()> {
    let status = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if status.st_dev != device {
        return Ok(());
    }
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
        return unlinkat(parent, name, AtFlags::empty());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    empty(&openat(parent, name, flags, Mode::empty())?, device)?;
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // A mount is on it, or below it.
        Ok(()) | Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives the initramfs' memory back.
fn free(old_root: &OwnedFd) -> Result<()> {
    let kind = fstatfs(old_root)?.f_type as u32;
    if kind != RAMFS_MAGIC && kind != TMPFS_MAGIC {
        bail!("the initramfs is on a file system that is not in memory");
    }
    Ok(empty(old_root, fstat(old_root)?.st_dev)?)
}

/// Makes `new_root` the root and becomes its first program.
pub fn enter(new_root: &OwnedFd) -> Result<Infallible> {
    for name in MOVED {
        mount_move(format!("/{name}"), format!("{NEW_ROOT}/{name}"))
            .with_context(|| format!("moving /{name} into the new root"))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old_root = open("/", flags, Mode::empty()).context("opening the initramfs")?;
    let switch = || -> rustix::io::Result<()> {
        fchdir(new_root.as_fd())?;
        mount_move(".", "/")?;
        chroot(".")?;
        chdir("/")
    };
    switch().context("switching to the new root")?;
    // Memory that stays in use is no reason to fail.
    if let Err(error) = free(&old_root) {
        console::warning(&format!("freeing the initramfs: {error:#}"));
    }
    drop(old_root);
    console::attach_stdio();
    for program in INIT {
        let error = Command::new(program).args(env::args_os().skip(1)).exec();
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error).with_context(|| format!("starting {program}"));
        }
    }
    bail!("the image has neither {} nor {}", INIT[0], INIT[1])
}
