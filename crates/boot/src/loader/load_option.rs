//! `EFI_LOAD_OPTION` (UEFI 2.10, 3.1.3): what a boot variable says.

use std::path::Path;

use rocketos_sys::{
    block::{BlockError, disk_of, partitions},
    gpt::Guid,
};

/// `LOAD_OPTION_ACTIVE`.
const ACTIVE: u32 = 1;
/// Type and subtype of a hard drive's node (10.3.5.1), and its length.
const HARD_DRIVE: ([u8; 2], u16) = ([4, 1], 42);
/// Type and subtype of a file's node (10.3.5.4).
const FILE: [u8; 2] = [4, 4];
/// The node that ends a path (10.3.1).
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// The partition table is a GUID partition table, and the signature a GUID.
const GPT: [u8; 2] = [2, 2];

/// Where a partition lies, as firmware wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspPartition {
    /// Its number in the table, from 1.
    pub number: u32,
    /// First logical sector.
    pub start: u64,
    /// Logical sectors.
    pub sectors: u64,
    /// Which one it is.
    pub guid: Guid,
}

impl EspPartition {
    /// Where the partition with the node `device` lies.
    pub(super) fn of_device(device: &Path) -> Result<Self, BlockError> {
        let disk = disk_of(device)?;
        let found = partitions(&disk)?.into_iter().find(|partition| partition.path == device);
        let found = found.ok_or(BlockError::Stale(disk.path))?;
        let sector = u64::from(disk.sector);
        Ok(Self { number: found.number, start: found.start / sector, sectors: found.size / sector, guid: found.guid })
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The path of a file on a partition as firmware writes it, from one relative to its top.
fn firmware_path(relative: &str) -> String {
    format!("\\{}", relative.replace('/', "\\"))
}

/// An option named `description` that starts the program `relative` on `partition`. Programs' paths are ours, so a node's
/// 16-bit length holds them.
pub(super) fn load_option(description: &str, partition: &EspPartition, relative: &str) -> Vec<u8> {
    let path = utf16(&firmware_path(relative));
    let mut nodes = Vec::new();
    nodes.extend(HARD_DRIVE.0);
    nodes.extend(HARD_DRIVE.1.to_le_bytes());
    nodes.extend(partition.number.to_le_bytes());
    nodes.extend(partition.start.to_le_bytes());
    nodes.extend(partition.sectors.to_le_bytes());
    nodes.extend(partition.guid.to_bytes());
    nodes.extend(GPT);
    nodes.extend(FILE);
    nodes.extend(short(path.len() + 4).to_le_bytes());
    nodes.extend(path);
    nodes.extend(END);
    [&ACTIVE.to_le_bytes()[..], &short(nodes.len()).to_le_bytes(), &utf16(description), &nodes].concat()
}

/// True for an option of any name that starts a program in the directory `relative` of `partition`.
pub(super) fn starts_below(option: &[u8], partition: &EspPartition, relative: &str) -> bool {
    let mut path = utf16(&format!("{}\\", firmware_path(relative)));
    path.truncate(path.len() - 2);
    let has = |wanted: &[u8]| option.windows(wanted.len()).any(|window| window == wanted);
    has(&partition.guid.to_bytes()) && has(&path)
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_specification_says() {
        let guid = Guid::parse("f586c90a-35a3-a8f2-4943-3ef0837cdce3").unwrap();
        let partition = EspPartition { number: 1, start: 10240, sectors: 991_232, guid };
        let option = load_option("AB", &partition, "EFI/x.efi");
        let expected: &[u8] = &[
            1, 0, 0, 0, 72, 0, b'A', 0, b'B', 0, 0, 0, // active, length of the path, description
            4, 1, 42, 0, 1, 0, 0, 0, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x0f, 0, 0, 0, 0, 0, // where
            0x0a, 0xc9, 0x86, 0xf5, 0xa3, 0x35, 0xf2, 0xa8, 0x49, 0x43, 0x3e, 0xf0, 0x83, 0x7c, 0xdc, 0xe3, 2,
            2, // which
            4, 4, 26, 0, b'\\', 0, b'E', 0, b'F', 0, b'I', 0, b'\\', 0, b'x', 0, b'.', 0, b'e', 0, b'f', 0, b'i', 0, 0,
            0, 0x7f, 0xff, 4, 0,
        ];
        assert_eq!(option, expected);
        assert_eq!(option.len() - 12, 72);
        assert!(starts_below(&option, &partition, "EFI") && !starts_below(&option, &partition, "EFI/x"));
        let other = EspPartition { guid: Guid::parse("00000000-35a3-a8f2-4943-3ef0837cdce3").unwrap(), ..partition };
        assert!(!starts_below(&option, &other, "EFI"));
    }
}
