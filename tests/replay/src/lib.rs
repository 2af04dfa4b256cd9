//! Replays a recorded disk, and judges every state that a power cut may leave.
//!
//! [`log`] reads what QEMU's `blklogwrites` wrote down, [`disk`] lays any part of it over the disk as it was before, [`sample`]
//! says which parts a power cut may leave, [`oracle`] finds in user space what the disk boots, by [`fat`], [`ext4`] and
//! [`verity`], and [`settings`] which settings count there. It owns no machine and starts no program: `tests/crash` records, and
//! has fsck and guests look at some states.
//!
//! Nothing here trusts a disk: every number is checked, every loop bounded, a damaged disk is a [`fault::Fault`].

mod bytes;
pub mod disk;
pub mod ext4;
pub mod fat;
pub mod fault;
pub mod log;
pub mod oracle;
pub mod replay;
pub mod sample;
pub mod settings;
pub mod verity;
