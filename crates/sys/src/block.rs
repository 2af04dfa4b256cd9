//! Block devices as the kernel shows them in sysfs, joined with the partition tables on them.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{major, minor},
    ioctl::{NoArg, Opcode, ioctl},
};

use crate::gpt::{self, GptError, Guid};

/// Where the kernel lists block devices by name.
const CLASS: &str = "/sys/class/block";
/// Where the kernel lists block devices by number.
const NUMBERS: &str = "/sys/dev/block";
/// Where their nodes are.
const DEV: &str = "/dev";
/// Bytes of a sector in sysfs, whatever the device's own are.
const SYSFS_SECTOR: u64 = 512;
/// Bytes of a sysfs attribute we read.
const ATTRIBUTE_BYTES: u64 = 4096;
/// linux/fs.h: `_IO(0x12, 95)`.
const BLKRRPART: Opcode = 0x125f;

/// A block device that cannot be read about.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The kernel or the device did not answer.
    #[error("{doing} {}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An attribute in sysfs is not what it always is.
    #[error("{} does not hold a number", .0.display())]
    Attribute(PathBuf),
    /// The disk's partition table.
    #[error("looking at {}", .disk.display())]
    Table {
        /// The disk.
        disk: PathBuf,
        /// What is wrong with its table.
        source: GptError,
    },
    /// The kernel has other partitions in mind than the disk.
    #[error("the kernel's view of {} differs from its partition table; read it again", .0.display())]
    Stale(PathBuf),
    /// Not a block device, or one the kernel has no name for.
    #[error("{} is not a block device", .0.display())]
    NotABlockDevice(PathBuf),
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlockError {
    let path = path.to_owned();
    move |source| BlockError::Io { doing, path, source }
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, such as `vda`.
    pub name: String,
    /// Its node, such as `/dev/vda`.
    pub path: PathBuf,
    /// Bytes of a logical sector.
    pub sector: u32,
    /// Bytes; 0 where there is no medium.
    pub size: u64,
}

/// A partition that the kernel and the partition table agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The kernel's name, such as `vda2`.
    pub name: String,
    /// Its node, such as `/dev/vda2`.
    pub path: PathBuf,
    /// Its number in the table, from 1.
    pub number: u32,
    /// What it is for.
    pub type_guid: Guid,
    /// Which one it is: PARTUUID.
    pub guid: Guid,
    /// Its label in the table.
    pub label: String,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

/// A name with a slash has `!` in sysfs.
fn node(name: &str) -> PathBuf {
    Path::new(DEV).join(name.replace('!', "/"))
}

/// An attribute's text without the newline; absent where the device has no such attribute.
fn attribute(path: &Path) -> Result<Option<String>, BlockError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(ATTRIBUTE_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text.trim_end().to_owned())),
        // Beside the partitions' directories a disk's has plain attributes.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io_error("reading", path)(error)),
    }
}

fn number(path: &Path) -> Result<Option<u64>, BlockError> {
    let parse = |text: String| text.parse().map_err(|_| BlockError::Attribute(path.to_owned()));
    attribute(path)?.map(parse).transpose()
}

/// Names in a directory, sorted; a device that vanishes meanwhile is no longer in it.
fn names(directory: &Path) -> Result<Vec<String>, BlockError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("listing", directory))? {
        let entry = entry.map_err(io_error("listing", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Absent for a partition, and for what the kernel hides (paths below a multipath NVMe disk).
fn disk_in(class: &Path, name: &str) -> Result<Option<Disk>, BlockError> {
    let directory = class.join(name);
    if directory.join("partition").exists() || number(&directory.join("hidden"))? == Some(1) {
        return Ok(None);
    }
    let Some(sectors) = number(&directory.join("size"))? else {
        return Ok(None);
    };
    let sector = number(&directory.join("queue/logical_block_size"))?;
    Ok(Some(Disk {
        name: name.to_owned(),
        path: node(name),
        sector: sector.and_then(|bytes| bytes.try_into().ok()).unwrap_or(512),
        size: sectors.saturating_mul(SYSFS_SECTOR),
    }))
}

/// Every whole disk, loop device and the like, sorted by name.
///
/// # Errors
/// When sysfs cannot be read.
pub fn disks() -> Result<Vec<Disk>, BlockError> {
    let class = Path::new(CLASS);
    let mut disks = Vec::new();
    for name in names(class)? {
        disks.extend(disk_in(class, &name)?);
    }
    Ok(disks)
}

/// The kernel's name of the device with this number, such as `vda2`.
fn name_of_number(device: u64) -> Result<String, BlockError> {
    let path = Path::new(NUMBERS).join(format!("{}:{}", major(device), minor(device)));
    let target = fs::canonicalize(&path).map_err(io_error("looking up", &path))?;
    let name = target.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or(BlockError::NotABlockDevice(path))
}

/// The node of the device with this number, such as `st_dev` of a file on it.
///
/// # Errors
/// When the kernel has no such block device; file systems without one have such numbers too.
pub fn path_of_number(device: u64) -> Result<PathBuf, BlockError> {
    name_of_number(device).map(|name| node(&name))
}

/// The whole disk that `device`, a node of a partition or of a disk, is or belongs to.
///
/// # Errors
/// When `device` is no block device.
pub fn disk_of(device: &Path) -> Result<Disk, BlockError> {
    let status = fs::metadata(device).map_err(io_error("looking at", device))?;
    if status.mode() & libc::S_IFMT != libc::S_IFBLK {
        return Err(BlockError::NotABlockDevice(device.to_owned()));
    }
    let mut name = name_of_number(status.rdev())?;
    let class = Path::new(CLASS);
    if class.join(&name).join("partition").exists() {
        // A partition's directory lies in its disk's.
        let path = class.join(&name);
        let real = fs::canonicalize(&path).map_err(io_error("looking up", &path))?;
        let parent = real.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        name = parent.ok_or_else(|| BlockError::NotABlockDevice(device.to_owned()))?.to_owned();
    }
    disk_in(class, &name)?.ok_or_else(|| BlockError::NotABlockDevice(device.to_owned()))
}

/// Number, first byte and name of each partition the kernel shows in a disk's directory.
fn shown(directory: &Path) -> Result<Vec<(u64, u64, String)>, BlockError> {
    let mut shown = Vec::new();
    for name in names(directory)? {
        let part = directory.join(&name);
        if let Some(partition) = number(&part.join("partition"))? {
            let start = number(&part.join("start"))?.unwrap_or(0).saturating_mul(SYSFS_SECTOR);
            shown.push((partition, start, name));
        }
    }
    Ok(shown)
}

/// The partitions of `disk` that the kernel shows, with what the table says of them, in order of their numbers.
///
/// None where the disk has no GUID partition table.
///
/// # Errors
/// When the disk does not answer, its table is damaged, or the kernel has not read it since it was written.
pub fn partitions(disk: &Disk) -> Result<Vec<Partition>, BlockError> {
    let shown = shown(&Path::new(CLASS).join(&disk.name))?;
    // Without partitions in the kernel's view nothing is read: an empty drive or a floppy would take seconds to say so.
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let mut device = File::open(&disk.path).map_err(io_error("opening", &disk.path))?;
    let entries =
        gpt::read(&mut device, disk.sector).map_err(|source| BlockError::Table { disk: disk.path.clone(), source })?;
    let mut partitions = Vec::new();
    for entry in entries.unwrap_or_default() {
        let matching = shown.iter().find(|(number, ..)| *number == u64::from(entry.number));
        match matching {
            Some((_, start, name)) if *start == entry.start => partitions.push(Partition {
                path: node(name),
                name: name.clone(),
                number: entry.number,
                type_guid: entry.type_guid,
                guid: entry.guid,
                label: entry.label,
                start: entry.start,
                size: entry.size,
            }),
            _ => return Err(BlockError::Stale(disk.path.clone())),
        }
    }
    Ok(partitions)
}

/// The nodes of the partitions of `disk` that the kernel shows, whatever table they are from.
///
/// # Errors
/// When sysfs cannot be read.
pub fn partition_nodes(disk: &Disk) -> Result<Vec<PathBuf>, BlockError> {
    let shown = shown(&Path::new(CLASS).join(&disk.name))?;
    Ok(shown.into_iter().map(|(_, _, name)| node(&name)).collect())
}

/// Bytes of the block device (or file) `device`; its read position moves to the end.
///
/// # Errors
/// When the device does not answer.
pub fn size(mut device: &File) -> io::Result<u64> {
    device.seek(SeekFrom::End(0))
}

/// Has the kernel read the partition table of the whole disk `disk` again.
///
/// # Errors
/// When a partition of it is in use (EBUSY), or the disk does not answer.
pub fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and returns nothing but a result (linux/fs.h).
    Ok(unsafe { ioctl(disk, NoArg::<BLKRRPART>::new()) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn tells_disks_from_partitions_and_hidden_paths() {
        let class = tempfile::tempdir().unwrap();
        write(&class.path().join("vda/size"), "2048\n");
        write(&class.path().join("vda/queue/logical_block_size"), "4096\n");
        write(&class.path().join("vda1/partition"), "1\n");
        write(&class.path().join("vda1/size"), "8\n");
        write(&class.path().join("nvme0c0n1/hidden"), "1\n");
        write(&class.path().join("nvme0c0n1/size"), "8\n");
        let disk = disk_in(class.path(), "vda").unwrap().unwrap();
        assert_eq!((disk.sector, disk.size), (4096, 1 << 20));
        assert_eq!(disk.path, Path::new("/dev/vda"));
        assert_eq!(disk_in(class.path(), "vda1").unwrap(), None);
        assert_eq!(disk_in(class.path(), "nvme0c0n1").unwrap(), None);
        assert_eq!(disk_in(class.path(), "gone").unwrap(), None);
    }

    #[test]
    fn finds_partitions_among_attributes() {
        let disk = tempfile::tempdir().unwrap();
        write(&disk.path().join("alignment_offset"), "0\n");
        write(&disk.path().join("queue/logical_block_size"), "512\n");
        write(&disk.path().join("vda2/partition"), "2\n");
        write(&disk.path().join("vda2/start"), "2048\n");
        assert_eq!(shown(disk.path()).unwrap(), [(2, 1 << 20, "vda2".to_owned())]);
    }

    #[test]
    fn reports_an_attribute_that_is_no_number() {
        let class = tempfile::tempdir().unwrap();
        write(&class.path().join("vda/size"), "many\n");
        let error = disk_in(class.path(), "vda").unwrap_err().to_string();
        assert!(error.ends_with("vda/size does not hold a number"), "{error}");
    }

    #[test]
    fn measures_a_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(12345).unwrap();
        assert_eq!(size(&file).unwrap(), 12345);
    }

    #[test]
    fn refuses_what_is_no_block_device() {
        assert!(matches!(disk_of(Path::new("/dev/null")), Err(BlockError::NotABlockDevice(_))));
        assert!(reread_partitions(File::open("/dev/null").unwrap()).is_err());
    }
}
