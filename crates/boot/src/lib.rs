//! The EFI system partition: unified kernel images, boot entries, the loader.
//!
//! Owns what the firmware and systemd-boot read. Boot order is append-only: an entry is added under a new name and a
//! higher sequence, or removed; nothing that boots today is edited. Which deployment deserves an entry is `deploy`'s
//! to say.
//!
//! The file system is FAT, which knows neither links nor an atomic rename of two things. Every file is therefore
//! written under a name that nobody reads, flushed, renamed once, and flushed again.

mod addons;
mod entries;
mod error;
mod esp;
mod files;
pub mod loader;
pub mod secure_boot;
pub mod uki;

pub use addons::Addon;
pub use entries::{Entry, loader_order, new_tries};
pub use error::BootError;
pub use esp::Esp;
