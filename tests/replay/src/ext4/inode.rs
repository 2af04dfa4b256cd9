//! Inodes and where their blocks are.

use std::hash::Hasher as _;
use std::rc::Rc;

use super::{Ext4, Memory};
use crate::bytes::{crc32c, le16, le32};
use crate::disk::{BLOCK, Mix};
use crate::fault::Fault;

/// Bytes of an inode that every version has.
const CLASSIC: usize = 128;
const EXTENT_MAGIC: u16 = 0xf30a;
/// Levels a tree of extents may have (`EXT4_MAX_EXTENT_DEPTH`).
const DEPTH: u16 = 5;
/// Extents longer than this are not written yet, and read as zero.
const WRITTEN: u16 = 32_768;
/// Most extents of one file, and most nodes of their tree.
const EXTENTS: usize = 65_536;
const USES_EXTENTS: u32 = 0x8_0000;
const SEALED: u32 = 0x10_0000;
const INDEXED: u32 = 0x1000;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// Blocks that lie together: of the file, of the file system, how many; a hole where not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub logical: u64,
    pub physical: Option<u64>,
    pub length: u64,
}

/// What was found of a tree of extents so far.
struct Tree {
    found: Vec<Extent>,
    nodes: usize,
}

/// An inode, its checksum right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    pub(super) number: u32,
    pub(super) seed: u32,
    /// What it is.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// True when the kernel checks it with fs-verity.
    pub sealed: bool,
    pub(super) indexed: bool,
    uses_extents: bool,
    pub(super) map: [u8; 60],
}

impl Ext4<'_> {
    pub(super) fn inode(&self, number: u32, memory: &mut Memory) -> Result<Rc<Inode>, Fault> {
        let absent = || Fault::disk(format!("ext4 names inode {number}, which is not there"));
        let index = number.checked_sub(1).filter(|_| number <= self.inodes).ok_or_else(absent)?;
        let group = usize::try_from(index / self.inodes_per_group).map_err(|_| absent())?;
        let table = *self.tables.get(group).ok_or_else(absent)?;
        let byte = u64::from(index % self.inodes_per_group) * self.inode_bytes as u64;
        let block = table.saturating_add(byte / BLOCK as u64);
        let key = self.key(block, u64::from(number) | 1 << 40);
        if let Some(known) = memory.inodes.get(&key) {
            return Ok(known.clone());
        }
        let content = self.block(block)?;
        let within = usize::try_from(byte % BLOCK as u64).map_err(|_| absent())?;
        let inode = Rc::new(self.parse_inode(number, &content[within..within + self.inode_bytes])?);
        memory.inodes.insert(key, inode.clone());
        Ok(inode)
    }

    fn parse_inode(&self, number: u32, bytes: &[u8]) -> Result<Inode, Fault> {
        let seed = crc32c(crc32c(self.seed, &number.to_le_bytes()), &bytes[0x64..0x68]);
        let mut plain = bytes.to_vec();
        plain[0x7c..0x7e].fill(0);
        let high = bytes.len() > CLASSIC && le16(bytes, 0x80) >= 4;
        if high {
            plain[0x82..0x84].fill(0);
        }
        let found = u32::from(le16(bytes, 0x7c)) | if high { u32::from(le16(bytes, 0x82)) << 16 } else { 0 };
        let mask = if high { u32::MAX } else { 0xffff };
        if crc32c(seed, &plain) & mask != found {
            return Err(Fault::disk(format!("inode {number} has a wrong checksum")));
        }
        let kind = match le16(bytes, 0) >> 12 {
            8 => Kind::File,
            4 => Kind::Directory,
            10 => Kind::Link,
            _ => Kind::Other,
        };
        let flags = le32(bytes, 0x20);
        let mut map = [0; 60];
        map.copy_from_slice(&bytes[0x28..0x64]);
        Ok(Inode {
            number,
            seed,
            kind,
            size: u64::from(le32(bytes, 4)) | u64::from(le32(bytes, 0x6c)) << 32,
            sealed: flags & SEALED != 0,
            indexed: flags & INDEXED != 0,
            uses_extents: flags & USES_EXTENTS != 0,
            map,
        })
    }

    /// Where an inode's blocks are, in order.
    pub(super) fn extents(&self, inode: &Inode) -> Result<Vec<Extent>, Fault> {
        if !inode.uses_extents {
            return Err(Fault::disk(format!("inode {} has no extents", inode.number)));
        }
        let mut tree = Tree { found: Vec::new(), nodes: 0 };
        self.walk(inode, &inode.map, DEPTH + 1, &mut tree)?;
        Ok(tree.found)
    }

    fn walk(&self, inode: &Inode, node: &[u8], above: u16, tree: &mut Tree) -> Result<(), Fault> {
        let wrong = |what: &str| Fault::disk(format!("the extents of inode {}: {what}", inode.number));
        let (entries, most, depth) = (le16(node, 2), le16(node, 4), le16(node, 6));
        let room = usize::from(most) * 12 + 12;
        tree.nodes += 1;
        if tree.nodes > EXTENTS
            || le16(node, 0) != EXTENT_MAGIC
            || entries > most
            || room > node.len()
            || depth >= above
        {
            return Err(wrong("no such node"));
        }
        if node.len() == BLOCK && crc32c(inode.seed, &node[..room]) != le32(node, room) {
            return Err(wrong("a wrong checksum"));
        }
        for at in (0..usize::from(entries)).map(|index| 12 + index * 12) {
            let logical = u64::from(le32(node, at));
            if depth > 0 {
                let child = u64::from(le32(node, at + 4)) | u64::from(le16(node, at + 8)) << 32;
                self.walk(inode, &self.block(child)?, depth, tree)?;
                continue;
            }
            let (length, physical) =
                (le16(node, at + 4), u64::from(le16(node, at + 6)) << 32 | u64::from(le32(node, at + 8)));
            let written = length <= WRITTEN;
            let length = u64::from(if written { length } else { length - WRITTEN });
            let found = &mut tree.found;
            let behind = found.last().is_none_or(|last| last.logical + last.length <= logical);
            if !behind || found.len() >= EXTENTS || physical + length > self.blocks {
                return Err(wrong("they lie where none can"));
            }
            found.push(Extent { logical, physical: written.then_some(physical), length });
        }
        Ok(())
    }

    /// Names an inode's content, of `size` bytes from `from` on.
    pub(super) fn stamp(&self, extents: &[Extent], size: u64, hasher: &mut Mix) {
        hasher.write_u64(size);
        for extent in extents {
            hasher.write_u64(extent.logical);
            hasher.write_u64(extent.length);
            match extent.physical {
                None => hasher.write_u64(u64::MAX),
                Some(physical) => {
                    hasher.write_u64(physical);
                    for number in physical..physical + extent.length {
                        hasher.write_u64(self.version(number));
                    }
                }
            }
        }
    }
}
