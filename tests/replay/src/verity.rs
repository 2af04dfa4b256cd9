//! fs-verity's tree and descriptor, computed, and compared with those on the disk (Linux, `Documentation/filesystems/fsverity.rst`).

use openssl::sha::Sha512;

use crate::bytes::le32;
use crate::disk::BLOCK;
use crate::ext4::{Ext4, Inode};
use crate::fault::Fault;

/// Bytes of a digest.
pub const DIGEST: usize = 64;
/// Where the tree begins behind the end of a file.
const TREE_ALIGNMENT: u64 = 65_536;
/// Bytes of the descriptor without its signature.
const DESCRIPTOR: usize = 256;
/// `FS_VERITY_HASH_ALG_SHA512`, and the binary logarithm of a block.
const ALGORITHM: [u8; 4] = [1, 2, 12, 0];

/// A digest of fs-verity's.
pub type Digest = [u8; DIGEST];

fn sha512(bytes: &[u8]) -> Digest {
    let mut hash = Sha512::new();
    hash.update(bytes);
    hash.finish()
}

fn hash_blocks(bytes: &[u8]) -> Vec<u8> {
    let mut hashes = Vec::with_capacity(bytes.len() / BLOCK * DIGEST + DIGEST);
    for block in bytes.chunks(BLOCK) {
        if block.len() == BLOCK {
            hashes.extend_from_slice(&sha512(block));
        } else {
            let mut padded = [0; BLOCK];
            padded[..block.len()].copy_from_slice(block);
            hashes.extend_from_slice(&sha512(&padded));
        }
    }
    hashes
}

/// What the kernel keeps behind a sealed file: its tree, the top level first, and its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    tree: Vec<u8>,
    descriptor: [u8; DESCRIPTOR],
}

impl Seal {
    /// Computes them for a file's content.
    pub fn of(content: &[u8]) -> Self {
        let mut levels: Vec<Vec<u8>> = Vec::new();
        let mut hashes = if content.is_empty() { vec![0; DIGEST] } else { hash_blocks(content) };
        while hashes.len() > DIGEST {
            hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
            let above = hash_blocks(&hashes);
            levels.push(hashes);
            hashes = above;
        }
        let mut descriptor = [0; DESCRIPTOR];
        descriptor[..4].copy_from_slice(&ALGORITHM);
        descriptor[8..16].copy_from_slice(&(content.len() as u64).to_le_bytes());
        descriptor[16..16 + DIGEST].copy_from_slice(&hashes);
        Self { tree: levels.into_iter().rev().flatten().collect(), descriptor }
    }

    /// The file's digest.
    pub fn digest(&self) -> Digest {
        sha512(&self.descriptor)
    }

    /// Compares with what stands behind a file on the disk (Linux, `fs/ext4/verity.c`).
    pub(crate) fn check(&self, fs: &Ext4<'_>, inode: &Inode) -> Result<(), Fault> {
        if !inode.sealed {
            return Err(Fault::disk("it has no fs-verity"));
        }
        let block = BLOCK as u64;
        let tree = inode.size.next_multiple_of(TREE_ALIGNMENT) / block;
        if fs.content_from(inode, tree, self.tree.len() as u64)? != self.tree {
            return Err(Fault::disk("its fs-verity tree is another file's"));
        }
        // The descriptor begins a block; its length stands in the last four bytes of the last block.
        let end = fs.end_of(inode)?;
        let descriptor = tree + self.tree.len() as u64 / block;
        let last = end.checked_sub(1).filter(|last| *last >= descriptor);
        let last = last.ok_or_else(|| Fault::disk("its fs-verity descriptor is missing"))?;
        let length = le32(&fs.content_from(inode, last, block)?, BLOCK - 4) as usize;
        let found = fs.content_from(inode, descriptor, block)?;
        if length < DESCRIPTOR || found[..DESCRIPTOR] != self.descriptor {
            return Err(Fault::disk("its fs-verity descriptor is another file's"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use composefs::fsverity::FsVerityHashValue as _;
    use composefs::fsverity::{FsVerityHasher, Sha512HashValue};

    use super::*;

    #[test]
    fn digests_are_composefs_own() {
        for length in [0, 1, 4096, 4097, 64 * 4096, 64 * 4096 + 1, 64 * 64 * 4096 + 5] {
            let content: Vec<u8> = (0..length).map(|at: usize| (at * 31 % 251) as u8).collect();
            let mut hasher = FsVerityHasher::<Sha512HashValue>::new();
            content.chunks(4096).for_each(|block| hasher.add_block(block));
            assert_eq!(hex::encode(Seal::of(&content).digest()), hasher.digest().to_hex(), "{length} bytes");
        }
    }
}
