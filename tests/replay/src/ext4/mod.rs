//! Reading ext4 as a kernel that mounts it does: journal first, then files, every checksum honoured.
//!
//! What was read once of a block is kept by the block's version, so that a state costs what it changed. That, and the
//! journal, are why no crate reads here: ext4-view 1.0 keeps blocks to itself, takes the journal for a straight line, and
//! revokes within one transaction only. The tests hold this reader against e2fsprogs.
//!
//! Sources: Linux 6.12, `fs/ext4/ext4.h`, `fs/jbd2/recovery.c`.

mod files;
mod inode;
mod journal;
#[cfg(test)]
mod tests;

use std::hash::Hasher as _;
use std::rc::Rc;

use crate::bytes::{crc32c, le16, le32};
use crate::disk::{BLOCK, Block, Layer, Map, Mix, View};
use crate::fault::Fault;

pub use inode::{Inode, Kind};

/// Byte of the superblock.
const SUPERBLOCK: usize = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xef53;
/// Inode of the top directory.
const ROOT: u32 = 2;
/// Most groups that are read: 2 TiB.
const GROUPS: u64 = 16_384;
/// Features without which nothing we make is made.
const CSUM: u32 = 0x400;
const BIT64: u32 = 0x80;
const META_BG: u32 = 0x10;
const SEED: u32 = 0x2000;
const EXTENTS: u32 = 0x40;
const RECOVER: u32 = 0x4;
/// Features that a reader must know: file types, recovery, extents, 64 bit, flexible groups, seed, large directories.
const KNOWN: u32 = 0x2 | RECOVER | EXTENTS | BIT64 | 0x200 | SEED | 0x4000;

/// What is remembered between states.
#[derive(Debug, Default)]
pub struct Memory {
    groups: Map<u64, Rc<[u64]>>,
    inodes: Map<u64, Rc<Inode>>,
    directories: Map<u64, Rc<files::Directory>>,
    sums: Map<u64, u32>,
}

/// Most things that are remembered of a kind; then all are forgotten.
const REMEMBERED: usize = 400_000;

impl Memory {
    fn tidy(&mut self) {
        if self.inodes.len() > REMEMBERED {
            self.inodes.clear();
        }
        if self.directories.len() > REMEMBERED / 16 {
            self.directories.clear();
        }
        if self.sums.len() > REMEMBERED {
            self.sums.clear();
        }
    }
}

/// A root file system, its journal replayed.
#[derive(Debug)]
pub struct Ext4<'a> {
    view: View<'a>,
    /// Block of the disk where it begins.
    first: u64,
    blocks: u64,
    replayed: Layer,
    seed: u32,
    inodes_per_group: u32,
    inodes: u32,
    inode_bytes: usize,
    tables: Rc<[u64]>,
}

impl<'a> Ext4<'a> {
    /// Mounts what begins at byte `start` and has `length` bytes.
    ///
    /// # Errors
    /// When a kernel would not mount it.
    pub fn mount(view: View<'a>, start: u64, length: u64, memory: &mut Memory) -> Result<Self, Fault> {
        memory.tidy();
        let mut fs = Self {
            view,
            first: start / BLOCK as u64,
            blocks: length / BLOCK as u64,
            replayed: Layer::default(),
            seed: 0,
            inodes_per_group: 1,
            inodes: 0,
            inode_bytes: 0,
            tables: Rc::from([]),
        };
        let top = fs.read_superblock(memory)?;
        if le32(&top, 0x60) & RECOVER != 0 {
            fs.replayed = journal::replay(&fs, le32(&top, 0xe0), memory)?;
            fs.read_superblock(memory)?;
        }
        Ok(fs)
    }

    /// Reads a block of the file system as it is after recovery.
    fn block(&self, number: u64) -> Result<Rc<[u8]>, Fault> {
        let disk = self.place(number)?;
        Ok(match self.replayed.get(&disk) {
            Some(block) => self.view.bytes_of(block)?,
            None => self.view.block(disk)?,
        })
    }

    /// Names a block's content.
    fn version(&self, number: u64) -> u64 {
        let disk = self.first.saturating_add(number);
        self.replayed.get(&disk).map_or_else(|| self.view.version(disk), |block: &Block| block.version)
    }

    fn place(&self, number: u64) -> Result<u64, Fault> {
        if number >= self.blocks {
            return Err(Fault::disk(format!("ext4 names block {number}, which is not there")));
        }
        Ok(self.first + number)
    }

    fn key(&self, number: u64, what: u64) -> u64 {
        let mut hasher = Mix::default();
        hasher.write_u64(number);
        hasher.write_u64(what);
        hasher.write_u64(self.version(number));
        hasher.finish()
    }

    fn read_superblock(&mut self, memory: &mut Memory) -> Result<Vec<u8>, Fault> {
        let block = self.block(0)?;
        let top = &block[SUPERBLOCK..SUPERBLOCK + SUPERBLOCK_BYTES];
        let (incompat, read_only) = (le32(top, 0x60), le32(top, 0x64));
        if le16(top, 0x38) != MAGIC {
            return Err(Fault::disk("there is no ext4 superblock"));
        }
        if crc32c(!0, &top[..0x3fc]) != le32(top, 0x3fc) {
            return Err(Fault::Superblock);
        }
        let desc = usize::from(le16(top, 0xfe));
        let plain = read_only & CSUM != 0 && incompat & !KNOWN == 0 && incompat & (BIT64 | EXTENTS) == BIT64 | EXTENTS;
        if !plain || incompat & META_BG != 0 || le32(top, 0x18) != 2 || !(64..=1024).contains(&desc) {
            return Err(Fault::disk(format!("ext4 has features that are not ours: {incompat:#x}, {read_only:#x}")));
        }
        self.seed = if incompat & SEED != 0 { le32(top, 0x270) } else { crc32c(!0, &top[0x68..0x78]) };
        self.inodes_per_group = le32(top, 0x28).max(1);
        self.inodes = le32(top, 0);
        self.inode_bytes = usize::from(le16(top, 0x58));
        if !matches!(self.inode_bytes, 128 | 256 | 512 | 1024) {
            return Err(Fault::disk("ext4 has inodes of an odd size"));
        }
        self.tables = self.groups(u64::from(self.inodes.div_ceil(self.inodes_per_group)), desc, memory)?;
        Ok(top.to_vec())
    }

    /// The block of each group's inode table.
    fn groups(&self, count: u64, desc: usize, memory: &mut Memory) -> Result<Rc<[u64]>, Fault> {
        if count > GROUPS {
            return Err(Fault::disk("ext4 has more groups than are read"));
        }
        let each = (BLOCK / desc) as u64;
        let mut hasher = Mix::default();
        for number in 1..=count.div_ceil(each) {
            hasher.write_u64(self.version(number));
        }
        let key = hasher.finish();
        if let Some(known) = memory.groups.get(&key) {
            return Ok(known.clone());
        }
        let mut tables = Vec::new();
        for group in 0..count {
            let block = self.block(1 + group / each)?;
            let at = usize::try_from(group % each).unwrap_or(0) * desc;
            let mut bytes = block[at..at + desc].to_vec();
            let found = le16(&bytes, 0x1e);
            bytes[0x1e..0x20].fill(0);
            let number = u32::try_from(group).unwrap_or(0);
            if crc32c(crc32c(self.seed, &number.to_le_bytes()), &bytes) & 0xffff != u32::from(found) {
                return Err(Fault::disk(format!("the descriptor of ext4's group {group} has a wrong checksum")));
            }
            tables.push(u64::from(le32(&bytes, 8)) | u64::from(le32(&bytes, 0x28)) << 32);
        }
        let tables: Rc<[u64]> = tables.into();
        memory.groups.insert(key, tables.clone());
        Ok(tables)
    }
}
