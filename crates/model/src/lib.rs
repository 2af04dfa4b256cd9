//! The nouns of Rocket OS.
//!
//! Owns the types that every other crate speaks in and every path on the disk. It reads no file and starts
//! nothing. Everybody above calls it.

pub mod boot_failure;
pub mod booted;
pub mod cmdline;
pub mod digest;
pub mod entry;
pub mod fat;
pub mod gpt;
pub mod labels;
pub mod layout;
pub mod limits;
pub mod network;
pub mod origin;
pub mod place;
pub mod placed;
pub mod process;
pub mod reference;

pub use boot_failure::BootFailure;
pub use booted::Booted;
pub use digest::{BlobDigest, ComposefsDigest, DeploymentId, DiffId, DigestError, ManifestDigest, ObjectId};
pub use entry::{EntryName, Tries};
pub use network::{Network, Ports};
pub use origin::{Follow, Origin};
pub use place::{Followed, Place, PlaceError};
pub use placed::PlacedImage;
pub use process::Process;
pub use reference::{ImageReference, ReferenceError};
