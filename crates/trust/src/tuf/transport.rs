//! Where metadata and targets come from: HTTP(S), a directory, a registry.
//!
//! A transport hands out bodies piece by piece and is not asked for more than a limit allows; the counting is done here,
//! once for all transports. It gives up by itself on a server that stalls.

use std::{
    fs::File,
    future::Future,
    io::{self, Read},
    path::{Path, PathBuf},
};

use openssl::hash::{Hasher, MessageDigest};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::{
    TufError,
    metadata::{Algorithm, Digests},
};

/// What a transport says when it fails.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// A file in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A document: one path segment, percent-encoded where a role's name asks for it, to be used as it is.
    Metadata(&'a str),
    /// A target: a relative path whose components are neither empty nor `.` nor `..`, not encoded.
    Target(&'a str),
}

impl Place<'_> {
    fn name(self) -> String {
        match self {
            Self::Metadata(name) | Self::Target(name) => super::name::shorten(name),
        }
    }
}

/// A repository's files.
pub trait Transport: Sync {
    /// What is read from.
    type Body: Body;

    /// Opens a file; none where the repository does not have it. What could not be found out is an error, not an absence.
    fn open(&self, place: Place<'_>) -> impl Future<Output = Result<Option<Self::Body>, TransportError>> + Send;
}

/// The bytes of one file.
pub trait Body: Send {
    /// The next piece, of moderate size; none, or an empty one, at the end.
    fn piece(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, TransportError>> + Send;
}

/// Hands each piece of a file to `sink`, never more than `limit` bytes in all. False where the repository has no such file.
pub(crate) async fn read<T: Transport>(
    transport: &T,
    place: Place<'_>,
    limit: u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), TufError> + Send,
) -> Result<bool, TufError> {
    let failed = |source| TufError::Transport { file: place.name(), source };
    let Some(mut body) = transport.open(place).await.map_err(failed)? else { return Ok(false) };
    let mut left = limit;
    while let Some(piece) = body.piece().await.map_err(failed)?.filter(|piece| !piece.is_empty()) {
        let Some(rest) = left.checked_sub(piece.len() as u64) else {
            return Err(TufError::TooLarge { file: place.name(), limit });
        };
        left = rest;
        sink(&piece)?;
    }
    Ok(true)
}

/// Reads a document of at most `limit` bytes; none where the repository has no such file.
pub(crate) async fn read_document<T: Transport>(
    transport: &T,
    file: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, TufError> {
    let mut bytes = Vec::new();
    let found = read(transport, Place::Metadata(file), limit, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    Ok(found.await?.then_some(bytes))
}

/// Compares a file with what was signed of it, as it comes.
pub(crate) struct Check<'a> {
    file: &'a str,
    length: Option<u64>,
    found: u64,
    digests: Vec<(Algorithm, &'a [u8], Hasher)>,
}

impl<'a> Check<'a> {
    /// Against this length, where one was signed, and all of these digests.
    pub(crate) fn new(file: &'a str, length: Option<u64>, digests: &'a Digests) -> Self {
        let hasher = |algorithm| {
            let digest = match algorithm {
                Algorithm::Sha256 => MessageDigest::sha256(),
                Algorithm::Sha512 => MessageDigest::sha512(),
            };
            Hasher::new(digest).expect("OpenSSL has SHA-2")
        };
        let digests = digests.iter().map(|(algorithm, digest)| (algorithm, digest, hasher(algorithm))).collect();
        Self { file, length, found: 0, digests }
    }

    /// Takes the next piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.found += piece.len() as u64;
        for (_, _, hasher) in &mut self.digests {
            hasher.update(piece).expect("SHA-2 takes any bytes");
        }
    }

    /// What all of it was.
    pub(crate) fn finish(self) -> Result<(), TufError> {
        if let Some(expected) = self.length.filter(|expected| *expected != self.found) {
            return Err(TufError::Length { file: self.file.to_owned(), expected, found: self.found });
        }
        for (algorithm, expected, mut hasher) in self.digests {
            let found = hasher.finish().expect("SHA-2 ends");
            if *found != *expected {
                return Err(TufError::Digest { file: self.file.to_owned(), algorithm: algorithm.name() });
            }
        }
        Ok(())
    }
}

/// A repository in two directories, such as on a stick. Links that lead out of them are not followed.
#[derive(Debug, Clone)]
pub struct Directory {
    metadata: PathBuf,
    targets: PathBuf,
}

impl Directory {
    /// The directory with `timestamp.json`, and the one with the targets.
    pub fn new(metadata: impl Into<PathBuf>, targets: impl Into<PathBuf>) -> Self {
        Self { metadata: metadata.into(), targets: targets.into() }
    }
}

impl Transport for Directory {
    type Body = FileBody;

    async fn open(&self, place: Place<'_>) -> Result<Option<FileBody>, TransportError> {
        let (folder, name) = match place {
            Place::Metadata(name) => (&self.metadata, name),
            Place::Target(name) => (&self.targets, name),
        };
        Ok(open_beneath(folder, name)?.map(FileBody))
    }
}

fn open_beneath(folder: &Path, name: &str) -> io::Result<Option<File>> {
    // Not waiting: a pipe in place of a document would block for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&folder, name, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match file.metadata()?.is_file() {
        true => Ok(Some(file)),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file"))),
    }
}

/// A file of a [`Directory`].
#[derive(Debug)]
pub struct FileBody(File);

impl Body for FileBody {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        const PIECE: u64 = 64 << 10;
        let mut piece = Vec::new();
        (&self.0).take(PIECE).read_to_end(&mut piece)?;
        Ok((!piece.is_empty()).then_some(piece))
    }
}
