//! The publisher's side: documents that are drafted, signed by several people, and published.
//!
//! Owns the documents of the four roles as they are written, who still has to sign, and a publication as a set of files.
//! Leaves to its caller where the files lie, what time it is, who signs, and what a target means. It is pure: nothing here
//! reads a disk, but [`check`], which has our own client follow a publication and needs a folder for its state.
//!
//! ```text
//! Repository { published, draft }
//!   draft_root, draft_targets   -> unsigned documents, each one version above what is published
//!   sign                        -> signatures over exactly these bytes; a changed draft has none
//!   publish                     -> refused until enough keys signed; then a new snapshot and timestamp
//! check                         -> what a node would do that follows from the publication before
//! ```

mod change;
mod check;
mod envelope;
mod error;
mod key;
mod publication;
mod repository;
mod root;
mod standing;
mod targets;

pub use change::root_changes;
pub use check::{check, versions};
pub use envelope::Envelope;
pub use error::AuthorError;
pub use key::Key;
pub use publication::{METADATA, Publication, SNAPSHOTS_KEPT, TARGETS};
pub use repository::{Draft, Online, Repository};
pub use root::{Holders, RootDocument, Top};
pub use standing::Standing;
pub use targets::{Entry, TargetsDocument};
