//! Release metadata: a client of The Update Framework, specification 1.0.34.
//!
//! Owns the client workflow (specification 5), the documents and their signatures, and the trusted state on the node.
//! Leaves to its caller where the repository is ([`Transport`]), what time it is, and what a target means. Signatures
//! over an image stop neither replay nor freezing; this does. `docs/trust.md` has the rules and the limits.
//!
//! ```text
//! Client::open  ->  trusted root, from the state or the image, whichever is newer
//! refresh(now)  ->  root N+1 … -> timestamp -> snapshot -> targets, each kept on the disk as soon as it is trusted
//! Fresh::find   ->  targets role -> delegations in their order -> what is signed of a target
//! fetch, save   ->  its bytes
//! ```
//!
//! Nothing is carried over from one step to the next but what was verified, and what is on the disk is verified each
//! time it is read. A step that fails leaves the state of the step before.

pub mod author;
mod canonical;
mod client;
mod error;
mod http;
mod key;
pub mod limits;
mod metadata;
mod name;
mod pattern;
mod search;
mod state;
mod targets;
mod time;
mod transport;

pub use client::{Client, Fresh, check_root};
pub use error::TufError;
pub use http::{Http, HttpBody};
pub use metadata::TargetFile;
pub use name::{DelegatedName, Role, TargetName, encode};
pub use state::State;
pub use targets::{Saved, Target};
pub use transport::{Body, Directory, FileBody, Place, Transport, TransportError};
