//! The store: a composefs repository of objects, layers and mountable images.
//!
//! Owns everything below `composefs/` on the root partition; nothing outside this crate knows its inside, which is
//! composefs-rs's repository format with SHA-512 over 4 KiB blocks. What may be a root, who keeps an image and where
//! layers come from is for others to say: `oci` fills the store, `deploy` names what stays, the initramfs mounts.
//!
//! A *layer* is in the store when its stream is: [`Store::import_layer`] names it only after every object it needs is
//! on the disk. An *image* is in the store when its manifest is, under the same rule. A crash leaves at most objects
//! that nothing names yet; the next run finds them by their digest.

#[cfg(feature = "images")]
pub mod in_use;
pub mod mount;

#[cfg(feature = "images")]
mod check;
#[cfg(feature = "images")]
mod commit;
#[cfg(feature = "images")]
mod container;
#[cfg(feature = "images")]
mod error;
#[cfg(feature = "images")]
mod garbage;
#[cfg(feature = "images")]
mod layer;
#[cfg(feature = "images")]
mod listing;
#[cfg(feature = "images")]
mod mend;
#[cfg(feature = "images")]
mod needs;
#[cfg(feature = "images")]
mod object;
#[cfg(feature = "images")]
mod open;
#[cfg(feature = "images")]
mod scrub;
#[cfg(feature = "images")]
mod tree;

#[cfg(feature = "images")]
pub use {
    check::Checked,
    commit::{Content, Image, Uki},
    container::{CONTAINER_LABEL, ContainerImage},
    error::StoreError,
    garbage::Collected,
    layer::LayerStats,
    mend::Mender,
    needs::{Contents, Documents},
    open::{Store, Verity},
    scrub::{Damage, FINDINGS, Fault, RATE, Scrubbed, Watch},
    tree::{TreeFacts, digest_of_directory, object_id_of},
};
