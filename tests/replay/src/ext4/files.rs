//! Directories, links and content.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::rc::Rc;

use super::inode::Extent;
use super::{Ext4, Inode, Kind, Memory, ROOT};
use crate::bytes::{crc32c, le16, le32};
use crate::disk::{BLOCK, Mix};
use crate::fault::Fault;

/// Names and inodes.
pub type Directory = HashMap<Vec<u8>, u32>;

/// Most bytes of a directory.
const DIRECTORY_BYTES: u64 = 64 << 20;
/// Most bytes of a file that is read whole.
const FILE_BYTES: u64 = 1 << 30;
/// Bytes of a link that lies in its inode.
const SHORT_LINK: u64 = 60;
/// Type of the entry that holds a block's checksum.
const TAIL: u8 = 0xde;
const TAIL_BYTES: usize = 12;

impl Ext4<'_> {
    /// Finds what a path names, from the top, links not followed; absent where a part is missing.
    ///
    /// # Errors
    /// When something on the way is damaged.
    pub fn find(&self, path: &str, memory: &mut Memory) -> Result<Option<Rc<Inode>>, Fault> {
        let mut inode = self.inode(ROOT, memory)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if inode.kind != Kind::Directory {
                return Ok(None);
            }
            let names = self.directory(&inode, memory).map_err(|fault| fault.of(path))?;
            let Some(number) = names.get(part.as_bytes()) else { return Ok(None) };
            inode = self.inode(*number, memory).map_err(|fault| fault.of(path))?;
        }
        Ok(Some(inode))
    }

    /// Reads a directory.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn directory(&self, inode: &Inode, memory: &mut Memory) -> Result<Rc<Directory>, Fault> {
        let extents = self.extents(inode)?;
        let mut hasher = Mix::default();
        hasher.write_u32(inode.number);
        hasher.write_u32(inode.seed);
        self.stamp(&extents, inode.size, &mut hasher);
        let key = hasher.finish();
        if let Some(known) = memory.directories.get(&key) {
            return Ok(known.clone());
        }
        if inode.size > DIRECTORY_BYTES {
            return Err(Fault::disk("a directory is longer than any"));
        }
        let mut names = Directory::new();
        for number in 0..inode.size / BLOCK as u64 {
            let physical = physical(&extents, number).ok_or_else(|| Fault::disk("a directory has a hole"))?;
            entries(inode, &self.block(physical)?, &mut names)?;
        }
        let names = Rc::new(names);
        memory.directories.insert(key, names.clone());
        Ok(names)
    }

    /// Where a link leads.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn link(&self, inode: &Inode) -> Result<Vec<u8>, Fault> {
        if inode.size < SHORT_LINK {
            return Ok(inode.map.iter().copied().take(usize::try_from(inode.size).unwrap_or(0)).collect());
        }
        self.content(inode)
    }

    /// Reads a file whole.
    ///
    /// # Errors
    /// When it is damaged or longer than any.
    pub fn content(&self, inode: &Inode) -> Result<Vec<u8>, Fault> {
        self.content_from(inode, 0, inode.size)
    }

    /// Reads `length` bytes from block `first` of a file on, whatever its size says.
    pub(crate) fn content_from(&self, inode: &Inode, first: u64, length: u64) -> Result<Vec<u8>, Fault> {
        if length > FILE_BYTES {
            return Err(Fault::disk("a file is longer than any"));
        }
        let extents = self.extents(inode)?;
        let mut content = Vec::new();
        let blocks = length.div_ceil(BLOCK as u64);
        for number in first..first + blocks {
            match physical(&extents, number) {
                Some(physical) => content.extend_from_slice(&self.block(physical)?),
                None => content.resize(content.len() + BLOCK, 0),
            }
        }
        content.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(content)
    }

    /// First block of a file behind its last one, and all there are.
    pub(crate) fn end_of(&self, inode: &Inode) -> Result<u64, Fault> {
        Ok(self.extents(inode)?.last().map_or(0, |last| last.logical + last.length))
    }

    /// Names everything an inode holds, what lies behind its end too.
    ///
    /// # Errors
    /// When its extents are damaged.
    pub fn name_of(&self, inode: &Inode) -> Result<u64, Fault> {
        let mut hasher = Mix::default();
        self.stamp(&self.extents(inode)?, inode.size, &mut hasher);
        hasher.write_u32(u32::from(inode.sealed));
        Ok(hasher.finish())
    }
}

fn physical(extents: &[Extent], number: u64) -> Option<u64> {
    let after = extents.partition_point(|extent| extent.logical <= number);
    let extent = extents.get(after.checked_sub(1)?)?;
    (number < extent.logical + extent.length).then(|| extent.physical.map(|at| at + number - extent.logical))?
}

fn entries(inode: &Inode, block: &[u8], names: &mut Directory) -> Result<(), Fault> {
    let wrong = |what: &str| Fault::disk(format!("directory {}: {what}", inode.number));
    if !sum_is_right(inode, block) {
        return Err(wrong("a block has a wrong checksum"));
    }
    let mut at = 0;
    while at + 8 <= BLOCK {
        let (number, length) = (le32(block, at), usize::from(le16(block, at + 4)));
        let name = usize::from(block[at + 6]);
        if length < 8 || at + length > BLOCK || name + 8 > length {
            return Err(wrong("an entry has an odd length"));
        }
        if number != 0 {
            names.insert(block[at + 8..at + 8 + name].to_vec(), number);
        }
        at += length;
    }
    Ok(())
}

/// Checks a leaf by its last entry, a node of the index behind its last place (`ext4_dx_csum`).
fn sum_is_right(inode: &Inode, block: &[u8]) -> bool {
    let tail = BLOCK - TAIL_BYTES;
    if le32(block, tail) == 0 && le16(block, tail + 4) == 12 && block[tail + 6] == 0 && block[tail + 7] == TAIL {
        return crc32c(inode.seed, &block[..tail]) == le32(block, tail + 8);
    }
    let whole = |at: usize, behind: usize| usize::from(le16(block, at + 4)) == BLOCK - behind;
    let counts = match () {
        () if !inode.indexed => return false,
        () if whole(0, 0) => 8,
        () if le16(block, 4) == 12 && whole(12, 12) => 32,
        () => return false,
    };
    let (limit, count) = (usize::from(le16(block, counts)), usize::from(le16(block, counts + 2)));
    let place = counts + limit * 8;
    if count > limit || place + 8 > BLOCK {
        return false;
    }
    let sum = crc32c(inode.seed, &block[..counts + count * 8]);
    crc32c(crc32c(sum, &block[place..place + 4]), &[0; 4]) == le32(block, place + 4)
}
