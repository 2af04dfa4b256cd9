//! What we ask of the kernel and no other crate asks for us.
//!
//! Owns mounting by file descriptor, block devices, their partition tables and labels, the fs-verity probe, firmware variables,
//! the hardware watchdog and the C library's heap.
//! It decides nothing: which partition is ours, what may be a root and what is written where is for those who call.
//! It is the only crate with `unsafe`, and promises that no safe call of it can break memory or touch a file
//! descriptor it was not given. Callers: `store`, `boot`, `deploy` and the initramfs.

pub mod block;
pub mod efivar;
pub mod ext4;
pub mod gpt;
pub mod label;
pub mod memory;
pub mod mount;
pub mod verity;
pub mod watchdog;
