//! The journal (jbd2), replayed as a kernel that mounts the file system does.
//!
//! Three passes over the transactions behind the journal's start: find the last one that was committed, collect what later
//! ones revoked, and lay the rest over the file system. All numbers are big-endian.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::rc::Rc;

use super::inode::{Extent, Kind};
use super::{Ext4, Memory};
use crate::bytes::{be16, be32, be64, crc32c};
use crate::disk::{BLOCK, Block, Layer, Mix, version};
use crate::fault::Fault;

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_2: u32 = 4;
const REVOKE: u32 = 5;
const HEADER: usize = 12;
/// Bytes of the superblock that have a meaning, and a checksum.
const SUPERBLOCK_BYTES: usize = 1024;
/// Bytes of a commit block that have a meaning.
const COMMIT_BYTES: usize = 60;
/// Where a commit block has its checksum.
const COMMIT_SUM: usize = 16;
const BIT64: u32 = 2;
const ASYNC_COMMIT: u32 = 4;
const CSUM_2: u32 = 8;
const CSUM_3: u32 = 16;
const KNOWN: u32 = 1 | BIT64 | CSUM_2 | CSUM_3;
/// What a tag says of its block.
const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Where the journal's blocks are, and how it is written.
struct Journal<'a, 'b> {
    fs: &'b Ext4<'a>,
    blocks: Vec<u64>,
    first: u64,
    incompat: u32,
    seed: u32,
}

/// A block that a transaction wrote: where it belongs, where it is, how it was altered.
struct Tag {
    home: u64,
    flags: u32,
    sum: u32,
}

/// Is shown a block of a transaction: its kind, the transaction, its place in the journal, its bytes.
type Each<'a> = &'a mut dyn FnMut(u32, u32, u64, &[u8]) -> Result<(), Fault>;

/// Blocks that are newer in the journal than at home.
pub(super) fn replay(fs: &Ext4<'_>, inode: u32, memory: &mut Memory) -> Result<Layer, Fault> {
    let inode = fs.inode(inode, memory)?;
    if inode.kind != Kind::File {
        return Err(Fault::disk("ext4 has no journal of its own"));
    }
    let blocks = listed(&fs.extents(&inode)?)?;
    let top = fs.block(*blocks.first().ok_or_else(|| Fault::disk("the journal is empty"))?)?;
    let mut plain = top[..SUPERBLOCK_BYTES].to_vec();
    plain[0xfc..0x100].fill(0);
    let incompat = be32(&top, 0x28);
    if be32(&top, 0) != MAGIC || be32(&top, 4) != SUPERBLOCK_2 || be32(&top, 0xc) as usize != BLOCK {
        return Err(Fault::disk("the journal has no superblock"));
    }
    if incompat & !KNOWN != 0 || incompat & ASYNC_COMMIT != 0 || incompat & (CSUM_2 | CSUM_3) == 0 {
        return Err(Fault::disk(format!("the journal has features that are not ours: {incompat:#x}")));
    }
    if crc32c(!0, &plain) != be32(&top, 0xfc) {
        return Err(Fault::disk("the journal's superblock has a wrong checksum"));
    }
    let most = u64::from(be32(&top, 0x10)).min(blocks.len() as u64);
    let first = u64::from(be32(&top, 0x14));
    let (sequence, start) = (be32(&top, 0x18), u64::from(be32(&top, 0x1c)));
    if start == 0 {
        return Ok(Layer::default());
    }
    if first == 0 || first >= most || start < first || start >= most {
        return Err(Fault::disk("the journal's start lies outside of it"));
    }
    let mut blocks = blocks;
    blocks.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let journal = Journal { fs, blocks, first, incompat, seed: crc32c(!0, &top[0x30..0x40]) };
    let end = journal.scan(sequence, start)?;
    journal.lay(sequence, start, end, memory)
}

fn listed(extents: &[Extent]) -> Result<Vec<u64>, Fault> {
    let mut blocks = Vec::new();
    for extent in extents {
        let physical = extent.physical.filter(|_| extent.logical == blocks.len() as u64);
        let physical = physical.ok_or_else(|| Fault::disk("the journal has a hole"))?;
        blocks.extend(physical..physical + extent.length);
    }
    Ok(blocks)
}

impl Journal<'_, '_> {
    fn place(&self, at: u64) -> Result<u64, Fault> {
        let place = usize::try_from(at).ok().and_then(|at| self.blocks.get(at));
        place.copied().ok_or_else(|| Fault::disk("the journal ends before its transaction"))
    }

    fn read(&self, at: u64) -> Result<Rc<[u8]>, Fault> {
        self.fs.block(self.place(at)?)
    }

    /// The place after `at`, the journal being a ring.
    fn after(&self, at: u64, by: u64) -> u64 {
        let (ring, at) = (self.blocks.len() as u64 - self.first, at + by);
        if at >= self.blocks.len() as u64 { self.first + (at - self.first) % ring } else { at }
    }

    fn kind(&self, block: &[u8], sequence: u32) -> Option<u32> {
        (be32(block, 0) == MAGIC && be32(block, 8) == sequence).then(|| be32(block, 4))
    }

    /// True when a descriptor's or revocation's last four bytes are its checksum.
    fn tail_is_right(&self, block: &[u8]) -> bool {
        crc32c(crc32c(self.seed, &block[..BLOCK - 4]), &[0; 4]) == be32(block, BLOCK - 4)
    }

    fn commit_is_right(&self, block: &[u8]) -> bool {
        let found = be32(block, COMMIT_SUM);
        let mut plain = block.to_vec();
        plain[COMMIT_SUM..COMMIT_SUM + 4].fill(0);
        let whole = crc32c(self.seed, &plain) == found;
        // Of a commit block that was torn, what has a meaning may be there: the rest is always zero.
        plain[COMMIT_BYTES..].fill(0);
        whole || crc32c(self.seed, &plain) == found
    }

    /// Finds the first transaction that was not committed.
    fn scan(&self, first: u32, mut at: u64) -> Result<u32, Fault> {
        let (mut sequence, mut doubtful, mut newest) = (first, false, (0, 0));
        // A ring can be walked once.
        let mut left = self.blocks.len() as u64;
        while left > 0 {
            let block = self.read(at)?;
            let step = match self.kind(&block, sequence) {
                Some(DESCRIPTOR) => {
                    // A stale block of a journal that was not wiped; what its time says decides.
                    doubtful |= !self.tail_is_right(&block);
                    1 + self.tags(&block).len() as u64
                }
                Some(REVOKE) => {
                    doubtful |= !self.tail_is_right(&block);
                    1
                }
                Some(COMMIT) => {
                    let time = (be64(&block, 48), be32(&block, 56));
                    if doubtful || !self.commit_is_right(&block) {
                        if time < newest {
                            break;
                        }
                        return Err(Fault::disk(format!("transaction {sequence} of the journal is corrupt")));
                    }
                    newest = time;
                    sequence = sequence.wrapping_add(1);
                    1
                }
                _ => break,
            };
            at = self.after(at, step);
            left = left.saturating_sub(step);
        }
        Ok(sequence)
    }

    fn tags(&self, block: &[u8]) -> Vec<Tag> {
        let (v3, wide) = (self.incompat & CSUM_3 != 0, self.incompat & BIT64 != 0);
        let bytes = match (v3, wide) {
            (true, _) => 16,
            (false, true) => 14,
            (false, false) => 10,
        };
        let (mut tags, mut at) = (Vec::new(), HEADER);
        while at + bytes <= BLOCK - 4 {
            let tag = &block[at..at + bytes];
            let flags = if v3 { be32(tag, 4) } else { u32::from(be16(tag, 6)) };
            let high = if wide { u64::from(be32(tag, 8)) << 32 } else { 0 };
            let sum = if v3 { be32(tag, 12) } else { u32::from(be16(tag, 4)) };
            tags.push(Tag { home: high | u64::from(be32(tag, 0)), flags, sum });
            at += bytes + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        tags
    }

    /// Calls `each` with the blocks of all committed transactions that are not data.
    fn every(&self, first: u32, mut at: u64, end: u32, each: Each<'_>) -> Result<(), Fault> {
        let mut sequence = first;
        while sequence != end {
            let block = self.read(at)?;
            let Some(kind) = self.kind(&block, sequence) else { break };
            each(kind, sequence, at, &block)?;
            let step = if kind == DESCRIPTOR { 1 + self.tags(&block).len() as u64 } else { 1 };
            at = self.after(at, step);
            if kind == COMMIT {
                sequence = sequence.wrapping_add(1);
            }
        }
        Ok(())
    }

    fn lay(&self, first: u32, start: u64, end: u32, memory: &mut Memory) -> Result<Layer, Fault> {
        // By how many transactions behind the first one a block was revoked last.
        let mut revoked: HashMap<u64, u32> = HashMap::new();
        self.every(first, start, end, &mut |kind, sequence, _, block| {
            if kind == REVOKE {
                let bytes = if self.incompat & BIT64 != 0 { 8 } else { 4 };
                let used = (be32(block, HEADER) as usize).min(BLOCK - 4);
                for at in (16..).step_by(bytes).take_while(|at| at + bytes <= used) {
                    let home = if bytes == 8 { be64(block, at) } else { u64::from(be32(block, at)) };
                    let since = sequence.wrapping_sub(first);
                    let last = revoked.entry(home).or_default();
                    *last = since.max(*last);
                }
            }
            Ok(())
        })?;
        let mut laid = Layer::default();
        self.every(first, start, end, &mut |kind, sequence, at, block| {
            if kind != DESCRIPTOR {
                return Ok(());
            }
            for (tag, offset) in self.tags(block).iter().zip(1..) {
                if revoked.get(&tag.home).is_some_and(|last| *last >= sequence.wrapping_sub(first)) {
                    continue;
                }
                let from = self.place(self.after(at, offset))?;
                let copy = self.copy(from, tag, sequence, memory)?;
                laid.insert(self.fs.place(tag.home)?, copy);
            }
            Ok(())
        })?;
        Ok(laid)
    }

    /// A block's copy in the journal, as it belongs at home.
    fn copy(&self, from: u64, tag: &Tag, sequence: u32, memory: &mut Memory) -> Result<Block, Fault> {
        let bytes = self.fs.block(from)?;
        let mut hasher = Mix::default();
        hasher.write_u64(self.fs.key(from, u64::from(sequence) | 1 << 41));
        let sum = *memory
            .sums
            .entry(hasher.finish())
            .or_insert_with(|| crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &bytes));
        let mask = if self.incompat & CSUM_3 != 0 { u32::MAX } else { 0xffff };
        if sum & mask != tag.sum {
            return Err(Fault::disk(format!("a block in the journal's transaction {sequence} has a wrong checksum")));
        }
        if tag.flags & ESCAPED == 0 {
            let known = self.fs.version(from);
            return Ok(match known {
                0 => Block::of(bytes),
                known => Block::known(bytes, known),
            });
        }
        let mut own = bytes.to_vec();
        own[..4].copy_from_slice(&MAGIC.to_be_bytes());
        Ok(Block::known(own.clone().into(), version(&own)))
    }
}
