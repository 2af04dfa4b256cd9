//! GUID partition tables. Checksums are set right first, or nothing would be read behind them.

use std::io::Cursor;

use rocketos_sys::gpt::{ENTRIES, ENTRY_BYTES, Guid, read};

const SECTOR: usize = 512;
/// The header's fields (UEFI 2.10, table 5.5).
const SIZE: usize = 12;
const OWN_CHECKSUM: usize = 16;
const ENTRIES_AT: usize = 72;
const COUNT: usize = 80;
const ENTRY: usize = 84;
const CHECKSUM: usize = 88;

pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = read(&mut Cursor::new(bytes), SECTOR as u32);
    let _ = read(&mut Cursor::new(bytes), 4096);
    let mut disk = bytes.to_vec();
    let _ = seal(&mut disk);
    let Ok(Some(entries)) = read(&mut Cursor::new(&disk), SECTOR as u32) else { return };
    assert!(entries.len() <= ENTRIES as usize);
    for entry in entries {
        assert!(entry.number >= 1 && entry.number <= ENTRIES);
        assert!(entry.size > 0 && entry.start.checked_add(entry.size).is_some());
        assert_eq!(Guid::parse(entry.guid.as_str()), Some(entry.guid));
        assert_eq!(Guid::parse(entry.type_guid.as_str()), Some(entry.type_guid));
    }
}

/// Writes both checksums, where there is room for them.
fn seal(disk: &mut [u8]) -> Option<()> {
    let field = |at: usize| disk.get(SECTOR + at..SECTOR + at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (size, count, entry, first) = (field(SIZE)?, field(COUNT)?, field(ENTRY)?, field(ENTRIES_AT)?);
    if count <= ENTRIES && entry <= ENTRY_BYTES {
        let start = (first as usize).checked_mul(SECTOR)?;
        let table = disk.get(start..start.checked_add(count as usize * entry as usize)?)?;
        let checksum = crc32(table).to_le_bytes();
        disk.get_mut(SECTOR + CHECKSUM..SECTOR + CHECKSUM + 4)?.copy_from_slice(&checksum);
    }
    disk.get_mut(SECTOR + OWN_CHECKSUM..SECTOR + OWN_CHECKSUM + 4)?.fill(0);
    let checksum = crc32(disk.get(SECTOR..SECTOR.checked_add(size as usize)?)?).to_le_bytes();
    disk.get_mut(SECTOR + OWN_CHECKSUM..SECTOR + OWN_CHECKSUM + 4)?.copy_from_slice(&checksum);
    Some(())
}

/// CRC-32 as ISO 3309 and UEFI have it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
