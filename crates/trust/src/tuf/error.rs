//! What may be wrong with release metadata: the role, the rule, and what to do.

use std::{io, path::PathBuf, time::SystemTime};

use super::{name::Role, time::show, transport::TransportError};

/// Metadata that is not trusted, or could not be had. The trusted state is as it was before the step that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TufError {
    /// The repository could not be asked.
    #[error("fetching {file}")]
    Transport {
        /// The file in the repository.
        file: String,
        /// Why.
        source: TransportError,
    },
    /// The repository does not have what its own metadata names.
    #[error("the repository has no {file}; it may be in the middle of being published: try again, or tell its owner")]
    Missing {
        /// The file in the repository.
        file: String,
    },
    /// More bytes than the limit, or than the metadata says.
    #[error("{file} has more than {limit} bytes; nothing beyond was read")]
    TooLarge {
        /// The file in the repository.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// Fewer bytes than the metadata says.
    #[error(
        "{file} has {found} bytes, and its metadata says {expected}; the repository, or its mirror, is not consistent"
    )]
    Length {
        /// The file in the repository.
        file: String,
        /// What was signed.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Other bytes than the metadata says.
    #[error(
        "{file} does not have the {algorithm} digest its metadata says; the repository, or its mirror, is not consistent"
    )]
    Digest {
        /// The file in the repository.
        file: String,
        /// The digest that differs.
        algorithm: &'static str,
    },
    /// No document of its role.
    #[error("the document of {role} is malformed: {problem}; its owner has to publish another one")]
    Malformed {
        /// The role.
        role: Role,
        /// What is wrong.
        problem: String,
    },
    /// A name that would be used as a path and must not.
    #[error("the {what} name '{name}' is refused: {problem}")]
    Name {
        /// Of what.
        what: &'static str,
        /// The name, shortened.
        name: String,
        /// Why.
        problem: &'static str,
    },
    /// A document that too few of the role's keys signed.
    #[error(
        "the document of {role} is signed by {found} of its keys, and {signer} asks for {threshold}; \
         the repository serves something its owner did not sign, or the keys changed without their root"
    )]
    Threshold {
        /// The role.
        role: Role,
        /// Whose document names the keys.
        signer: String,
        /// How many are asked for.
        threshold: u64,
        /// How many signed.
        found: u64,
    },
    /// A version other than the one that was announced.
    #[error(
        "the document of {role} has version {found}, and {announced_by} says {expected}; the repository is not consistent"
    )]
    Version {
        /// The role.
        role: Role,
        /// Who says which version it is.
        announced_by: &'static str,
        /// That version.
        expected: u64,
        /// The document's.
        found: u64,
    },
    /// A version below the trusted one: old metadata, played again.
    #[error(
        "{announced_by} offers version {found} of {role}, and {trusted} was trusted already: rolled back; \
         take another mirror, or ask its owner"
    )]
    Rollback {
        /// The role.
        role: Role,
        /// Whose document offers it.
        announced_by: &'static str,
        /// The version trusted so far.
        trusted: u64,
        /// The one offered.
        found: u64,
    },
    /// A targets role that the trusted snapshot lists and the new one does not.
    #[error("the new snapshot no longer lists '{role}', which the trusted one does; ask the repository's owner")]
    Removed {
        /// The role, as the snapshot lists it.
        role: String,
    },
    /// Metadata after its time: a frozen repository, or a wrong clock.
    #[error(
        "the document of {role}, version {version}, expired at {}, and this machine's clock says {}; \
         if the clock is right, the repository is frozen or no longer kept", show(*.expires), show(*.now)
    )]
    Expired {
        /// The role.
        role: Role,
        /// Its version.
        version: u64,
        /// When it expired.
        expires: SystemTime,
        /// When the update began.
        now: SystemTime,
    },
    /// A role that the snapshot does not list.
    #[error("the snapshot does not list {role}; the repository's owner has to")]
    NotListed {
        /// The role.
        role: Role,
    },
    /// No such target.
    #[error("no role names a target '{name}' ({visited} asked); is it spelled right, and published?")]
    NoTarget {
        /// The target.
        name: String,
        /// Roles that were visited.
        visited: usize,
    },
    /// A search that would have gone on.
    #[error("no target '{name}' was found in {limit} roles, and no more are visited; the delegations are too many")]
    SearchTooLong {
        /// The target.
        name: String,
        /// Roles that were visited.
        limit: usize,
    },
    /// No trusted root to begin with.
    #[error(
        "{path} is not there, and without a trusted root nothing can be; begin with the root that came with the image"
    )]
    NoRoot {
        /// Where it is kept.
        path: PathBuf,
    },
    /// The trusted root on the disk is not one.
    #[error("{path} is no root that can be trusted; begin again with the root that came with the image")]
    BadRoot {
        /// Where it is kept.
        path: PathBuf,
        /// Why.
        source: Box<TufError>,
    },
    /// Another process has the state.
    #[error("{path} is in use by another update; wait until it is done")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A disk that does not do its work. What was there is still there.
    #[error("{action} {path}")]
    Disk {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
