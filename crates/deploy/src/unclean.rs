//! An ESP that a power cut left mounted.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use crate::{DeployError, files};

/// The boot sector's bytes of the state, where the kernel notes that the file system is mounted, and of the kind
/// (linux/include/uapi/linux/msdos_fs.h): on FAT32, and on the smaller ones.
const STATES: [(usize, usize, &[u8]); 2] = [(0x41, 0x52, b"FAT32"), (0x25, 0x36, b"FAT1")];
/// Set while it is mounted to be written.
const MOUNTED: u8 = 1;
/// Bytes of a boot sector.
const SECTOR: usize = 512;

/// An ESP that is to be mended. Nobody mounts it while this lives.
#[derive(Debug)]
pub struct UncleanEsp {
    path: PathBuf,
    _claim: File,
}

impl UncleanEsp {
    /// Its device.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The ESP that this machine booted from, where it was not unmounted; absent where it was, and where it is mounted now.
///
/// # Errors
/// When the machine was not booted from a deployment, or its ESP cannot be read.
pub fn unclean_esp() -> Result<Option<UncleanEsp>, DeployError> {
    let esp = PathBuf::from(files::booted()?.esp);
    // Opened so, a block device is nobody else's, and cannot be while it is mounted (open(2)).
    let exclusive = File::options().read(true).custom_flags(OFlags::EXCL.bits().cast_signed()).open(&esp);
    let mut claim = match exclusive {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
        other => other.map_err(DeployError::io("opening", &esp))?,
    };
    let mut sector = [0; SECTOR];
    claim.read_exact(&mut sector).map_err(DeployError::io("reading", &esp))?;
    Ok(was_mounted(&sector).then_some(UncleanEsp { path: esp, _claim: claim }))
}

fn was_mounted(sector: &[u8; SECTOR]) -> bool {
    STATES.iter().any(|&(state, kind, name)| sector[kind..].starts_with(name) && sector[state] & MOUNTED != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(kind: usize, name: &[u8], state: usize, value: u8) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[kind..kind + name.len()].copy_from_slice(name);
        sector[state] = value;
        sector
    }

    #[test]
    fn sees_what_was_left_mounted() {
        assert!(was_mounted(&sector(0x52, b"FAT32   ", 0x41, 1)));
        assert!(was_mounted(&sector(0x36, b"FAT16   ", 0x25, 3)));
    }

    #[test]
    fn lets_be_what_was_unmounted_or_is_no_fat() {
        assert!(!was_mounted(&sector(0x52, b"FAT32   ", 0x41, 0)));
        assert!(!was_mounted(&sector(0x52, b"FAT32   ", 0x25, 1)));
        assert!(!was_mounted(&sector(0x36, b"NTFS    ", 0x25, 1)));
        assert!(!was_mounted(&[0xff; SECTOR]));
    }
}
