//! ext4: how large a file system is, and growing a mounted one.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsFd,
    path::Path,
};

use rustix::ioctl::{Opcode, Setter, ioctl};

/// ext4.h: `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: Opcode = 0x4008_6610;

/// Where the superblock is, and its bytes up to the last that is read (Documentation/filesystems/ext4/super.rst).
const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 0x154;
/// Fields of it: blocks by their lower and upper half, the size of a block as a power of two above 1024, the magic number, and features that
/// whoever reads has to know.
const BLOCKS: [usize; 2] = [0x04, 0x150];
const LOG_BLOCK_SIZE: usize = 0x18;
const MAGIC: (usize, [u8; 2]) = (0x38, [0x53, 0xef]);
const FEATURES: usize = 0x60;
/// Numbers of blocks have an upper half.
const HAS_UPPER_HALF: u32 = 0x80;
/// The largest block as that power: 64 KiB.
const LARGEST: u32 = 6;

/// Bytes of the file system on a device, by its superblock.
///
/// # Errors
/// When it cannot be read, or is no ext4.
pub fn bytes(device: &Path) -> io::Result<u64> {
    let mut device = File::open(device)?;
    let mut superblock = [0; SUPERBLOCK_BYTES];
    device.seek(SeekFrom::Start(SUPERBLOCK))?;
    device.read_exact(&mut superblock)?;
    size(&superblock).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "there is no ext4 file system"))
}

fn size(superblock: &[u8; SUPERBLOCK_BYTES]) -> Option<u64> {
    let word = |at: usize| Some(u32::from_le_bytes(superblock.get(at..at + 4)?.try_into().ok()?));
    let power = word(LOG_BLOCK_SIZE)?;
    if !superblock[MAGIC.0..].starts_with(&MAGIC.1) || power > LARGEST {
        return None;
    }
    let upper = if word(FEATURES)? & HAS_UPPER_HALF == 0 { 0 } else { word(BLOCKS[1])? };
    (u64::from(upper) << 32 | u64::from(word(BLOCKS[0])?)).checked_mul(1024 << power)
}

/// Grows the mounted file system that `directory` is on to `blocks` of its own blocks; it never shrinks here.
///
/// # Errors
/// When the file system is not ext4, is smaller than it already is, or is not writable through `directory`.
pub fn grow(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64 and writes nothing (ext4.h, ext4_ioctl).
    Ok(unsafe { ioctl(directory, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_size() {
        let mut superblock = [0; SUPERBLOCK_BYTES];
        assert_eq!(size(&superblock), None);
        superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        superblock[0x04..0x08].copy_from_slice(&5_u32.to_le_bytes());
        superblock[0x18] = 2;
        superblock[0x150] = 1;
        assert_eq!(size(&superblock), Some(5 * 4096));
        superblock[0x60] = 0x80;
        assert_eq!(size(&superblock), Some((5 + (1 << 32)) * 4096));
        superblock[0x18] = 7;
        assert_eq!(size(&superblock), None);
    }
}
