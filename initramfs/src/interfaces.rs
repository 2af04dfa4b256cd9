//! What the kernel and the loader tell us, and what we tell the rest of the boot.

use std::{
    fs,
    io::ErrorKind,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, symlink},
    },
    path::Path,
};

use anyhow::{Context, Result};
use rocketos_model::{Booted, layout};
use rocketos_sys::efivar;
use rustix::{
    fs::{CWD, ResolveFlags, major, minor},
    io::Errno,
    mount::{MountFlags, mount as mount_old},
};

use crate::{console, root::open_directory};

/// A kernel file system as systemd expects to find it: type, path, flags, options.
type Interface = (&'static str, &'static str, MountFlags, &'static str);

const NO_PROGRAMS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// systemd keeps what is mounted already, so flags and options are its own (systemd 257, src/shared/mount-setup.c), but that
/// nothing runs out of memory that programs share.
const INTERFACES: [Interface; 5] = [
    ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755,size=4m,nr_inodes=1m"),
    ("proc", "/proc", NO_PROGRAMS, ""),
    ("sysfs", "/sys", NO_PROGRAMS, ""),
    ("tmpfs", "/dev/shm", NO_PROGRAMS.union(MountFlags::STRICTATIME), "mode=1777"),
    ("tmpfs", "/run", NO_PROGRAMS, "mode=0755,size=20%,nr_inodes=800k"),
];

/// What [`loader`] needs.
pub const MODULES: [&str; 1] = ["efivarfs"];
/// Where systemd looks for the partition below a root that is not one (systemd#35017).
const VOLATILE_ROOT: &str = "/run/systemd/volatile-root";
/// Links to block devices by number, as udev makes them.
const BY_NUMBER: &str = "/dev/block";

fn mount_one((fstype, path, flags, options): Interface) -> rustix::io::Result<()> {
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    mount_old(fstype, path, fstype, flags, options.as_c_str())
}

/// Mounts /dev, /dev/shm, /proc, /sys and /run, and makes the directories we work in.
pub fn mount() -> Result<()> {
    // /tmp: composefs attaches the image there for a moment.
    let make = |directory| fs::create_dir_all(directory).with_context(|| format!("making {directory}"));
    make("/tmp")?;
    for interface in INTERFACES {
        make(interface.1)?;
        match mount_one(interface) {
            // The kernel may have mounted /dev.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("mounting {}", interface.1)),
        }
    }
    Ok(())
}

/// /run, whose content goes along to systemd.
pub fn run() -> Result<OwnedFd> {
    open_directory(CWD, "/run", ResolveFlags::empty()).context("opening /run")
}

/// What the loader said of this boot.
pub struct Loader {
    /// The boot entry that runs; absent where the loader is another.
    pub entry: Option<String>,
    /// PARTUUID of the partition the loader was started from; absent where the loader is another.
    pub partition: Option<String>,
}

/// Asks the firmware for what the loader left; a machine without firmware variables has none.
pub fn loader() -> Result<Loader> {
    if Path::new(efivar::EFIVARS).exists() {
        match mount_one(("efivarfs", efivar::EFIVARS, NO_PROGRAMS, "")) {
            Ok(()) | Err(Errno::BUSY) => {}
            // Firmware without variables at run time.
            Err(Errno::NODEV | Errno::OPNOTSUPP) => console::warning("the kernel offers no firmware variables"),
            Err(error) => return Err(error).context("mounting the firmware's variables"),
        }
    }
    Ok(Loader {
        entry: efivar::read(efivar::LOADER_ENTRY_SELECTED).context("asking which entry the loader chose")?,
        partition: efivar::read(efivar::LOADER_DEVICE_PART_UUID).context("asking where the loader came from")?,
    })
}

/// Leaves what may be added to the command line, for `rocketctl kargs` to judge by.
pub fn tell_allowed(allowed: &str) -> Result<()> {
    fs::write(layout::node::ALLOWED, allowed).with_context(|| format!("writing {}", layout::node::ALLOWED))
}

/// Leaves what we found for the rest of the boot.
pub fn tell(booted: &Booted) -> Result<()> {
    let write = || {
        let path = Path::new(layout::node::BOOTED);
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, booted.to_toml())
    };
    write().with_context(|| format!("writing {}", layout::node::BOOTED))?;
    let link = || {
        let device = fs::metadata(&booted.root)?.rdev();
        let by_number = format!("{BY_NUMBER}/{}:{}", major(device), minor(device));
        // udev makes these links too, but only after systemd-repart has asked for this one.
        fs::create_dir_all(BY_NUMBER)?;
        match symlink(&booted.root, &by_number) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::create_dir_all("/run/systemd")?;
        symlink(by_number, VOLATILE_ROOT)
    };
    link().with_context(|| format!("making {VOLATILE_ROOT}"))
}
