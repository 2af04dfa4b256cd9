//! What keeps something from being published.

use std::time::SystemTime;

use super::{Standing, Top};
use crate::{
    sign::SignError,
    tuf::{TufError, time::show},
};

/// Something that is not drafted, signed or published. What was there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// A file that is not what it should be.
    #[error("{what} is not one of ours: {problem}")]
    Malformed {
        /// Which.
        what: String,
        /// Why.
        problem: String,
    },
    /// Nothing was begun here.
    #[error("there is no root yet; 'release init' drafts one")]
    NoRoot,
    /// A key that a role has already.
    #[error("{role} has the key {key} already")]
    KeyTwice {
        /// The role.
        role: Top,
        /// The key.
        key: String,
    },
    /// A key that a role does not have.
    #[error("{role} has no key {key}; it has {found}")]
    NoKey {
        /// The role.
        role: Top,
        /// What was asked for.
        key: String,
        /// The keys it has.
        found: String,
    },
    /// A threshold that cannot be met, or asks for nothing.
    #[error("{role} asks for {threshold} of {keys} keys; from 1 to {keys} can be asked for")]
    Threshold {
        /// The role.
        role: Top,
        /// What it asks for.
        threshold: u64,
        /// The keys it has.
        keys: usize,
    },
    /// A number beyond a limit of what nodes read.
    #[error("{what} would have {found}, and nodes read at most {limit}")]
    Limit {
        /// What.
        what: String,
        /// How many, or how many bytes.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A key that may sign nothing of what is drafted.
    #[error("the key {key} signs nothing here: {wanted}")]
    NotEntitled {
        /// The key.
        key: String,
        /// Whose signatures are wanted.
        wanted: String,
    },
    /// Signatures are missing.
    #[error("not enough keys signed: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsigned(Vec<Standing>),
    /// A role that expired and cannot be renewed by the online keys.
    #[error(
        "{role} version {version} expired at {}; 'release renew --role {role}' drafts another, for its keys to sign",
        show(*.expires)
    )]
    Expired {
        /// The role.
        role: Top,
        /// Its version.
        version: u64,
        /// When.
        expires: SystemTime,
    },
    /// A draft that is not the next version.
    #[error(
        "the draft of {role} has version {found}, and what is published asks for {expected}; \
         'release discard' drops the draft"
    )]
    Stale {
        /// The role.
        role: Top,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A file that a document names is not there.
    #[error("{0} is named by a document and is not there, or is not what the document says")]
    Absent(String),
    /// What is published cannot be read by a node.
    #[error("{what} is not what a node that began with this root could follow")]
    Unfollowed {
        /// Which publication.
        what: &'static str,
        /// Why.
        source: Box<TufError>,
    },
    /// Somebody else published.
    #[error(
        "{what} has {role} version {found}, and this directory published {known}; \
         bring this directory up to date before anything is published over it"
    )]
    Newer {
        /// Which publication.
        what: &'static str,
        /// The role.
        role: Top,
        /// The version there.
        found: u64,
        /// The version here.
        known: u64,
    },
    /// No signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The client's own trouble.
    #[error(transparent)]
    Client(#[from] TufError),
}
