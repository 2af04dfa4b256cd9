//! What the kernel and the loader tell us, and what we tell the rest of the boot.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, symlink},
    },
    path::Path,
};

use anyhow::{Context, Result};
use rocketos_model::{Booted, fat, layout};
use rocketos_sys::{block::Partition, efivar, ext4};
use rustix::{
    fs::{CWD, ResolveFlags, major, minor},
    io::Errno,
    mount::{MountFlags, mount as mount_old},
};

use crate::{console, disk::Ours, root::open_directory};

/// Bytes that nobody can use at the end of a disk or of a partition: what partitions are aligned to, twice, with the second table in it.
const UNUSED: u64 = 2 << 20;

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

/// What systemd would mount by a program each, with the flags and options of its units; a kernel need not have them.
const OFFERED: [Interface; 5] = [
    ("hugetlbfs", "/dev/hugepages", MountFlags::NOSUID.union(MountFlags::NODEV), ""),
    ("mqueue", "/dev/mqueue", NO_PROGRAMS, ""),
    ("debugfs", "/sys/kernel/debug", NO_PROGRAMS, ""),
    ("tracefs", "/sys/kernel/tracing", NO_PROGRAMS, ""),
    ("tmpfs", "/run/lock", NO_PROGRAMS, "mode=1777,size=5242880"),
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
    for interface in OFFERED {
        // Where there is no such folder, or none of the kind, systemd's unit finds that too.
        if fs::create_dir_all(interface.1).is_ok() {
            let _ = mount_one(interface);
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
    /// True where the entry counts tries.
    pub counts: bool,
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
        counts: efivar::read(efivar::LOADER_BOOT_COUNT_PATH).context("asking whether tries are counted")?.is_some(),
    })
}

/// Leaves what may be added to the command line, for `rocketctl kargs` to judge by.
pub fn tell_allowed(allowed: &str) -> Result<()> {
    fs::write(layout::node::ALLOWED, allowed).with_context(|| format!("writing {}", layout::node::ALLOWED))
}

/// Notes that the ESP is to be mended before anybody mounts it, where a power cut left it mounted, and where that cannot be read: who
/// mends looks again.
pub fn tell_unclean(esp: &str) -> Result<()> {
    let mut sector = [0; fat::SECTOR];
    let read = File::open(esp).and_then(|mut esp| esp.read_exact(&mut sector));
    if read.is_ok() && !fat::was_mounted(&sector) {
        return Ok(());
    }
    fs::write(layout::node::UNCLEAN_ESP, "").with_context(|| format!("writing {}", layout::node::UNCLEAN_ESP))
}

/// Notes that a release may be on trial: its boot entry counts tries, or nobody knows which entry it is.
pub fn tell_trial() -> Result<()> {
    fs::write(layout::node::ON_TRIAL, "").with_context(|| format!("writing {}", layout::node::ON_TRIAL))
}

/// Notes that partitions or the root's file system may grow.
pub fn tell_room(disk: &Ours) -> Result<()> {
    // What cannot be read has room: who grows it looks again.
    let blocks = ext4::bytes(&disk.root.path).unwrap_or(0);
    let behind = |partition: &Partition| partition.start + partition.size;
    let end = [Some(&disk.esp), Some(&disk.root), disk.var.as_ref()].into_iter().flatten().map(behind).max();
    let no_room = disk.disk.size.saturating_sub(end.unwrap_or(0)) <= UNUSED
        && disk.root.size - blocks.min(disk.root.size) <= UNUSED;
    if no_room {
        return Ok(());
    }
    fs::write(layout::node::DISK_HAS_ROOM, "").with_context(|| format!("writing {}", layout::node::DISK_HAS_ROOM))
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
