//! Looking at a disk before it is overwritten, and finding what was made on it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rocketos_model::gpt;
use rocketos_sys::block::{self, BlockError};
use rustix::fs::{FlockOperation, flock};

/// A disk that is not to be installed to; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Not a disk at all.
    #[error("{0} is not a block device; 'lsblk --nodeps' lists the disks")]
    NotADisk(PathBuf),
    /// Nothing of that name.
    #[error("there is no {0}; 'lsblk --nodeps' lists the disks")]
    Absent(PathBuf),
    /// A part of a disk.
    #[error("{device} is a partition; an installation takes the whole disk, {disk}")]
    Partition {
        /// The partition.
        device: PathBuf,
        /// What it is part of.
        disk: PathBuf,
    },
    /// Mounted, or claimed by something else.
    #[error("{0} is in use: something on it is mounted or claimed; 'lsblk {0}' shows what")]
    InUse(PathBuf),
    /// Too small for the ESP and the smallest root.
    #[error("{device} is too small: it has {size} bytes, an installation needs {SMALLEST}")]
    TooSmall {
        /// The disk.
        device: PathBuf,
        /// Its bytes.
        size: u64,
    },
    /// Not blank.
    #[error("{0} holds data; --wipe destroys it")]
    HoldsData(PathBuf),
    /// A kernel without fs-verity.
    #[error(
        "this kernel's ext4 has no fs-verity ({EXT4_VERITY} is absent), so it cannot install a verified root; boot one \
         with CONFIG_FS_VERITY and the ext4 module loaded"
    )]
    NoVerity,
    /// The new partitions did not come up.
    #[error("the kernel does not show the new partitions of {0}")]
    NoPartitions(PathBuf),
    /// Looking at it failed.
    #[error("reading {device}")]
    Io {
        /// The disk.
        device: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Looking at its partitions failed.
    #[error("reading the partitions of {device}")]
    Block {
        /// The disk.
        device: PathBuf,
        /// What was wrong.
        source: Box<BlockError>,
    },
}

/// The ESP, the smallest root and what the table needs.
pub const SMALLEST: u64 = 5 << 30;
/// Bytes at either end of a disk where tables and file systems leave their marks.
const EDGE: usize = 1 << 20;
/// How long the kernel may take to show new partitions.
const SETTLE: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Present where the kernel's ext4 knows fs-verity.
const EXT4_VERITY: &str = "/sys/fs/ext4/features/verity";

/// Refuses a disk that is no disk, in use, too small, or holds data that nobody said may go.
///
/// # Errors
/// Each reason has its variant.
pub fn check_disk(device: &Path, wipe: bool) -> Result<(), DiskError> {
    let io_error = |source| DiskError::Io { device: device.to_owned(), source };
    let node = match device.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::Absent(device.to_owned())),
        other => other.map_err(io_error)?,
    };
    if !node.file_type().is_block_device() {
        return Err(DiskError::NotADisk(device.to_owned()));
    }
    let block = |source| DiskError::Block { device: device.to_owned(), source: Box::new(source) };
    let disk = block::disk_of(device).map_err(block)?.path;
    if disk.metadata().map_err(io_error)?.rdev() != node.rdev() {
        return Err(DiskError::Partition { device: device.to_owned(), disk });
    }
    let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
    let mut disk = match OpenOptions::new().read(true).custom_flags(exclusive).open(device) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
            return Err(DiskError::InUse(device.to_owned()));
        }
        other => other.map_err(io_error)?,
    };
    let size = block::size(&disk).map_err(io_error)?;
    if size < SMALLEST {
        return Err(DiskError::TooSmall { device: device.to_owned(), size });
    }
    match wipe || blank(&mut disk, size).map_err(io_error)? {
        true => Ok(()),
        false => Err(DiskError::HoldsData(device.to_owned())),
    }
}

/// True when both ends of the disk hold only zeros.
fn blank(disk: &mut File, size: u64) -> std::io::Result<bool> {
    let mut edge = vec![0; EDGE];
    for start in [0, size - EDGE as u64] {
        disk.seek(SeekFrom::Start(start))?;
        disk.read_exact(&mut edge)?;
        if edge.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a kernel whose ext4 has no fs-verity.
///
/// # Errors
/// [`DiskError::NoVerity`].
pub fn check_kernel() -> Result<(), DiskError> {
    Path::new(EXT4_VERITY).exists().then_some(()).ok_or(DiskError::NoVerity)
}

/// Keeps udev from having the kernel read the disk's table again, which it does whenever somebody has written to the disk:
/// for that moment the partitions would be gone (systemd, "Locking Block Device Access").
///
/// # Errors
/// When the disk cannot be opened. Whoever keeps the lock longer than we wait keeps udev away as well.
pub(crate) fn keep_udev_away(device: &Path) -> Result<File, DiskError> {
    let disk = File::open(device).map_err(|source| DiskError::Io { device: device.to_owned(), source })?;
    let deadline = Instant::now() + SETTLE;
    while flock(&disk, FlockOperation::NonBlockingLockExclusive).is_err() && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
    Ok(disk)
}

/// The partitions of a disk that has just been partitioned: ESP, root. No look at them fails for good before they had
/// time to come up.
pub(crate) fn partitions(device: &Path) -> Result<(PathBuf, PathBuf), DiskError> {
    let io = |source| DiskError::Io { device: device.to_owned(), source };
    let node = device.canonicalize().map_err(io)?;
    let deadline = Instant::now() + SETTLE;
    loop {
        let found = block::disk_of(&node).and_then(|disk| block::partitions(&disk));
        let error = match found {
            Ok(parts) => {
                let of = |kind: &str| parts.iter().find(|part| part.type_guid.is(kind)).map(|part| part.path.clone());
                if let (Some(esp), Some(root)) = (of(gpt::ESP), of(gpt::ROOT))
                    && esp.exists()
                    && root.exists()
                {
                    return Ok((esp, root));
                }
                DiskError::NoPartitions(device.to_owned())
            }
            Err(source) => DiskError::Block { device: device.to_owned(), source: Box::new(source) },
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
}
