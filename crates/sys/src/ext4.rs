//! Growing a mounted ext4 file system.

use std::{io, os::fd::AsFd};

use rustix::ioctl::{Opcode, Setter, ioctl};

/// ext4.h: `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: Opcode = 0x4008_6610;

/// Grows the mounted file system that `directory` is on to `blocks` of its own blocks; it never shrinks here.
///
/// # Errors
/// When the file system is not ext4, is smaller than it already is, or is not writable through `directory`.
pub fn grow(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64 and writes nothing (ext4.h, ext4_ioctl).
    Ok(unsafe { ioctl(directory, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }?)
}
