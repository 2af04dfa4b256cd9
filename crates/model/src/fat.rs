//! What a FAT file system says of itself in its boot sector.

/// The boot sector's bytes of the state, where the kernel notes that the file system is mounted, and of the kind
/// (linux/include/uapi/linux/msdos_fs.h): on FAT32, and on the smaller ones.
const STATES: [(usize, usize, &[u8]); 2] = [(0x41, 0x52, b"FAT32"), (0x25, 0x36, b"FAT1")];
/// Set while it is mounted to be written.
const MOUNTED: u8 = 1;
/// Bytes of a boot sector.
pub const SECTOR: usize = 512;

/// Whether it was mounted to be written when the power went; false of what is no FAT.
pub fn was_mounted(sector: &[u8; SECTOR]) -> bool {
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
