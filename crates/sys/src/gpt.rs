//! Reading a GUID partition table (UEFI 2.10, chapter 5.3), whoever wrote it.
//!
//! Only the primary table counts, as in Linux: a disk whose primary table is damaged has no partitions. The bytes are
//! those of any disk that happens to be plugged in, so every number is checked before it is used and a damaged table is
//! an error, never a panic.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

/// Most entries a table may have; writers make 128, Linux uses 256.
pub const ENTRIES: u32 = 1024;
/// Most bytes an entry may have; writers make 128.
pub const ENTRY_BYTES: u32 = 4096;
/// Bytes of an entry that have a meaning, and the least it may have.
const ENTRY_MIN: usize = 128;
/// Bytes of the header that have a meaning, and the least it may have.
const HEADER_MIN: u32 = 92;
/// Largest logical sector in use.
const SECTOR_MAX: u32 = 65536;
/// Smallest logical sector.
const SECTOR_MIN: u32 = 512;

/// Characters of a GUID's text form.
const TEXT_LEN: usize = 36;

/// A GUID in its text form, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guid(String);

impl Guid {
    /// The text, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the text form, in any case of letters; absent where it is another form.
    pub fn parse(text: &str) -> Option<Self> {
        let dashes = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        (text.len() == TEXT_LEN && text.bytes().enumerate().all(dashes)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// True for the same GUID in any case of letters.
    pub fn is(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }

    /// As it lies on disks and in device paths: the first three groups little-endian (UEFI 2.10, appendix A).
    pub fn to_bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let digits = self.0.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16).unwrap_or(0));
        for (at, digit) in digits.enumerate() {
            let byte = &mut bytes[at / 2];
            *byte = *byte << 4 | u8::try_from(digit).unwrap_or(0);
        }
        for group in [0..4, 4..6, 6..8] {
            bytes[group].reverse();
        }
        bytes
    }

    /// The first three groups are little-endian (UEFI 2.10, appendix A).
    fn from_bytes(b: [u8; 16]) -> Self {
        let first = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let second = u16::from_le_bytes([b[4], b[5]]);
        let third = u16::from_le_bytes([b[6], b[7]]);
        let fourth = u16::from_be_bytes([b[8], b[9]]);
        let rest: String = b[10..].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{rest}"))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One used entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the table, from 1: the partition's number.
    pub number: u32,
    /// What it is for (Discoverable Partitions Specification).
    pub type_guid: Guid,
    /// Which one it is: PARTUUID.
    pub guid: Guid,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// The partition's label.
    pub label: String,
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk did not answer.
    #[error("reading the partition table")]
    Io(#[from] io::Error),
    /// The table is there and wrong.
    #[error("the partition table is damaged: {0}")]
    Damaged(&'static str),
}

/// CRC-32 as ISO 3309 and UEFI have it.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// `N` bytes at `at`; the callers have checked the length.
fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N], GptError> {
    from.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(GptError::Damaged("it is cut short"))
}

fn u32_at(from: &[u8], at: usize) -> Result<u32, GptError> {
    Ok(u32::from_le_bytes(bytes(from, at)?))
}

fn u64_at(from: &[u8], at: usize) -> Result<u64, GptError> {
    Ok(u64::from_le_bytes(bytes(from, at)?))
}

/// Where the header says the entries are.
struct Header {
    entries_lba: u64,
    entries: u32,
    entry_bytes: u32,
    entries_crc: u32,
    first_usable: u64,
    last_usable: u64,
}

/// UEFI 2.10, table 5.5.
fn header(sector: &[u8]) -> Result<Header, GptError> {
    let size = u32_at(sector, 12)?;
    let whole = sector
        .get(..size as usize)
        .filter(|_| size >= HEADER_MIN)
        .ok_or(GptError::Damaged("its header has an impossible length"))?;
    // The checksum is made with its own field zero.
    if crc32(&[&whole[..16], &[0; 4], &whole[20..]]) != u32_at(sector, 16)? {
        return Err(GptError::Damaged("its header's checksum is wrong"));
    }
    if u64_at(sector, 24)? != 1 {
        return Err(GptError::Damaged("its header belongs elsewhere"));
    }
    let header = Header {
        first_usable: u64_at(sector, 40)?,
        last_usable: u64_at(sector, 48)?,
        entries_lba: u64_at(sector, 72)?,
        entries: u32_at(sector, 80)?,
        entry_bytes: u32_at(sector, 84)?,
        entries_crc: u32_at(sector, 88)?,
    };
    if header.entries > ENTRIES {
        return Err(GptError::Damaged("it has too many entries"));
    }
    // "This value shall be set to 128 x 2^n".
    if header.entry_bytes > ENTRY_BYTES
        || header.entry_bytes < ENTRY_MIN as u32
        || !header.entry_bytes.is_power_of_two()
    {
        return Err(GptError::Damaged("its entries have an impossible length"));
    }
    Ok(header)
}

/// UEFI 2.10, table 5.6; absent where the entry is unused.
fn entry(raw: &[u8], number: u32, sector: u64, header: &Header) -> Result<Option<Entry>, GptError> {
    let type_bytes = bytes(raw, 0)?;
    if type_bytes == [0; 16] {
        return Ok(None);
    }
    let (first, last) = (u64_at(raw, 32)?, u64_at(raw, 40)?);
    if first < header.first_usable || last > header.last_usable || last < first {
        return Err(GptError::Damaged("a partition lies outside of the disk"));
    }
    let span = || Some((first.checked_mul(sector)?, (last - first).checked_add(1)?.checked_mul(sector)?));
    let (start, size) = span().ok_or(GptError::Damaged("a partition lies outside of the disk"))?;
    let units = raw[56..ENTRY_MIN]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0);
    Ok(Some(Entry {
        number,
        type_guid: Guid::from_bytes(type_bytes),
        guid: Guid::from_bytes(bytes(raw, 16)?),
        start,
        size,
        label: char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
    }))
}

/// Reads the used entries of the table on `disk`, whose logical sectors have `sector` bytes; absent where there is none.
///
/// # Errors
/// When the disk does not answer, or its table is damaged.
pub fn read(disk: &mut (impl Read + Seek), sector: u32) -> Result<Option<Vec<Entry>>, GptError> {
    if !(SECTOR_MIN..=SECTOR_MAX).contains(&sector) {
        return Err(GptError::Damaged("the disk's sectors have an impossible length"));
    }
    let mut first = vec![0; sector as usize];
    disk.seek(SeekFrom::Start(sector.into()))?;
    match disk.read_exact(&mut first) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    if !first.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let header = header(&first)?;
    let mut table = vec![0; header.entries as usize * header.entry_bytes as usize];
    let start = header.entries_lba.checked_mul(sector.into());
    disk.seek(SeekFrom::Start(start.ok_or(GptError::Damaged("its entries lie outside of the disk"))?))?;
    disk.read_exact(&mut table)?;
    if crc32(&[&table]) != header.entries_crc {
        return Err(GptError::Damaged("its entries' checksum is wrong"));
    }
    let mut entries = Vec::new();
    for (number, raw) in (1..).zip(table.chunks_exact(header.entry_bytes as usize)) {
        entries.extend(entry(raw, number, sector.into(), &header)?);
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const SECTOR: usize = 512;

    #[test]
    fn a_guid_has_one_form_in_bytes() {
        let bytes = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        let guid = Guid::from_bytes(bytes);
        assert_eq!(guid.as_str(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(guid.to_bytes(), bytes);
    }

    /// A disk with one partition, number 2, of sectors 64 to 127.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 256 * SECTOR];
        let table = 2 * SECTOR;
        let at = table + 128;
        disk[at..at + 16].copy_from_slice(&[
            0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
        ]);
        disk[at + 16] = 7;
        disk[at + 32] = 64;
        disk[at + 40] = 127;
        disk[at + 56..at + 62].copy_from_slice(b"e\0s\0p\0");
        let header = &mut disk[SECTOR..2 * SECTOR];
        header[..8].copy_from_slice(b"EFI PART");
        header[10] = 1;
        header[12] = 92;
        header[24] = 1;
        header[40] = 34;
        header[48] = 200;
        header[72] = 2;
        header[80] = 128;
        header[84] = 128;
        disk
    }

    fn sealed(mut disk: Vec<u8>) -> Cursor<Vec<u8>> {
        let entries = crc32(&[&disk[2 * SECTOR..34 * SECTOR]]).to_le_bytes();
        disk[SECTOR + 88..SECTOR + 92].copy_from_slice(&entries);
        disk[SECTOR + 16..SECTOR + 20].fill(0);
        let header = crc32(&[&disk[SECTOR..SECTOR + 92]]).to_le_bytes();
        disk[SECTOR + 16..SECTOR + 20].copy_from_slice(&header);
        Cursor::new(disk)
    }

    #[test]
    fn computes_the_standards_checksum() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
    }

    #[test]
    fn reads_a_partition() {
        let entries = read(&mut sealed(disk()), 512).unwrap().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].number, 2);
        assert!(entries[0].type_guid.is("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        assert_eq!(entries[0].guid.as_str(), "00000007-0000-0000-0000-000000000000");
        assert_eq!((entries[0].start, entries[0].size), (64 * 512, 64 * 512));
        assert_eq!(entries[0].label, "esp");
    }

    #[test]
    fn reads_the_text_form_only() {
        let text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        assert_eq!(Guid::parse(text).unwrap().as_str(), text.to_lowercase());
        for text in ["", &text[1..], "c12a7328xf81f-11d2-ba4b-00a0c93ec93b", "g12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn finds_no_table_on_an_empty_disk() {
        assert_eq!(read(&mut Cursor::new(vec![0; 4096]), 512).unwrap(), None);
        assert_eq!(read(&mut Cursor::new(Vec::new()), 512).unwrap(), None);
    }

    #[test]
    fn refuses_a_damaged_table() {
        let change = |at: usize, value: u8| {
            let mut disk = disk();
            disk[at] = value;
            sealed(disk)
        };
        let late = |at: usize| {
            let mut disk = sealed(disk()).into_inner();
            disk[at] ^= 1;
            Cursor::new(disk)
        };
        for (mut disk, what) in [
            (late(SECTOR + 56), "header's checksum"),
            (late(2 * SECTOR + 200), "entries' checksum"),
            (change(SECTOR + 12, 12), "impossible length"),
            (change(SECTOR + 13, 0xff), "impossible length"),
            (change(SECTOR + 24, 2), "belongs elsewhere"),
            (change(SECTOR + 79, 0xff), "outside"),
            (change(SECTOR + 82, 1), "too many"),
            (change(SECTOR + 84, 64), "impossible length"),
            (change(SECTOR + 84, 129), "impossible length"),
            (change(2 * SECTOR + 128 + 32, 1), "outside"),
            (change(2 * SECTOR + 128 + 32, 128), "outside"),
            (change(2 * SECTOR + 128 + 40, 255), "outside"),
        ] {
            let message = read(&mut disk, 512).unwrap_err().to_string();
            assert!(message.contains(what), "{message} lacks {what}");
        }
        assert!(read(&mut sealed(disk()), 0).is_err());
    }

    #[test]
    fn reports_a_table_that_the_disk_cuts_short() {
        let mut short = sealed(disk());
        short.get_mut().truncate(10 * SECTOR);
        assert!(matches!(read(&mut short, 512), Err(GptError::Io(_))));
    }
}
