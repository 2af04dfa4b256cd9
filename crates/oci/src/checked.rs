//! Bytes that are what their descriptor says, or an error.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use openssl::sha::Sha256;
use rocketos_model::BlobDigest;
use tokio::sync::mpsc;

use crate::{OciError, layers::Layer};

/// Bytes read from a file at once.
const FILE_CHUNK: usize = 128 << 10;

/// What a blob has to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    /// What messages call it.
    pub(crate) what: String,
    pub(crate) kind: Kind,
}

/// Which error a wrong digest is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// The configuration of this image.
    Config(String),
    Layer,
}

impl Expected {
    pub(crate) fn layer(layer: &Layer) -> Self {
        Self { digest: layer.digest, size: layer.size, what: format!("layer {}", layer.digest), kind: Kind::Layer }
    }

    pub(crate) fn truncated(&self, found: u64) -> OciError {
        OciError::Truncated { what: self.what.clone(), expected: self.size, found }
    }

    pub(crate) fn oversized(&self) -> OciError {
        OciError::Oversized { what: self.what.clone(), expected: self.size }
    }

    /// Checks bytes in memory.
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<(), OciError> {
        let mut hash = Sha256::new();
        hash.update(bytes);
        self.check(bytes.len() as u64, hash)
    }

    /// Checks a finished hash over `seen` bytes.
    fn check(&self, seen: u64, hash: Sha256) -> Result<(), OciError> {
        if seen < self.size {
            return Err(self.truncated(seen));
        }
        let found = BlobDigest::from_bytes(hash.finish());
        match (&self.kind, found == self.digest) {
            (_, true) => Ok(()),
            (Kind::Layer, false) => Err(OciError::LayerDigestMismatch { layer: self.digest, found }),
            (Kind::Config(image), false) => {
                Err(OciError::ConfigDigestMismatch { image: image.clone(), expected: self.digest, found })
            }
        }
    }
}

/// What travels from a network to the thread that unpacks.
#[derive(Debug)]
pub(crate) enum Message {
    Data(Bytes),
    /// The source has no more. A channel that closes without it was abandoned.
    End,
    Failed(OciError),
}

/// Where the bytes come from.
pub(crate) enum Input {
    Channel(mpsc::Receiver<Message>),
    /// A file, from an offset on, for at most so many bytes.
    File {
        file: File,
        path: std::path::PathBuf,
        offset: u64,
        left: u64,
    },
}

/// Seen from outside while a blob is read on another thread.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Bytes that passed.
    pub(crate) bytes: AtomicU64,
    /// Set when nobody wants them any more.
    pub(crate) cancelled: AtomicBool,
}

/// Reads a blob once, counting and hashing; at its end it is checked, or the read fails.
///
/// The typed error stays in [`Checked::failure`]; readers above see an `io::Error` that stands for it.
pub(crate) struct Checked {
    input: Input,
    /// `None`: only bounded, as skopeo's uncompressed layers are.
    expected: Option<Expected>,
    watch: Arc<Watch>,
    hash: Sha256,
    seen: u64,
    current: Bytes,
    buffer: Vec<u8>,
    /// Consumed bytes of `current`, or of `buffer`.
    at: usize,
    ended: bool,
    failure: Option<OciError>,
}

impl Checked {
    pub(crate) fn new(input: Input, expected: Option<Expected>, watch: Arc<Watch>) -> Self {
        Self {
            input,
            expected,
            watch,
            hash: Sha256::new(),
            seen: 0,
            current: Bytes::new(),
            buffer: Vec::new(),
            at: 0,
            ended: false,
            failure: None,
        }
    }

    /// Reads whatever is left, so that the digest is known.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }

    /// Why reading failed, if it did.
    pub(crate) fn failure(&mut self) -> Option<OciError> {
        self.failure.take()
    }

    fn pending(&self) -> &[u8] {
        match &self.input {
            Input::Channel(_) => &self.current[self.at..],
            Input::File { .. } => &self.buffer[self.at..],
        }
    }

    fn fail(&mut self, error: OciError) -> io::Error {
        self.ended = true;
        self.at = 0;
        self.current = Bytes::new();
        self.buffer.clear();
        let stands_for = io::Error::other(error.to_string());
        self.failure = Some(error);
        stands_for
    }

    /// Gets the next bytes; false at the end.
    fn advance(&mut self) -> Result<bool, OciError> {
        if self.watch.cancelled.load(Ordering::Relaxed) {
            return Err(OciError::Cancelled);
        }
        self.at = 0;
        match &mut self.input {
            Input::Channel(receiver) => match receiver.blocking_recv() {
                Some(Message::Data(bytes)) => self.current = bytes,
                Some(Message::End) => self.current = Bytes::new(),
                Some(Message::Failed(error)) => return Err(error),
                None => return Err(OciError::Cancelled),
            },
            Input::File { file, path, offset, left } => {
                self.buffer.resize(FILE_CHUNK, 0);
                let want = usize::try_from(*left).map_or(FILE_CHUNK, |left| left.min(FILE_CHUNK));
                let read = file.read_at(&mut self.buffer[..want], *offset);
                let read = read.map_err(|source| OciError::Read { path: path.clone(), source })?;
                self.buffer.truncate(read);
                *offset += read as u64;
                *left -= read as u64;
            }
        }
        Ok(!self.pending().is_empty())
    }

    /// Counts and hashes what [`Checked::advance`] brought, or checks the whole at the end.
    fn account(&mut self, more: bool) -> Result<(), OciError> {
        if !more {
            self.ended = true;
            let hash = std::mem::take(&mut self.hash);
            return match &self.expected {
                Some(expected) => expected.check(self.seen, hash),
                None => Ok(()),
            };
        }
        let pending = match &self.input {
            Input::Channel(_) => &self.current[..],
            Input::File { .. } => &self.buffer[..],
        };
        self.seen += pending.len() as u64;
        self.watch.bytes.store(self.seen, Ordering::Relaxed);
        if let Some(expected) = &self.expected {
            if self.seen > expected.size {
                return Err(expected.oversized());
            }
            self.hash.update(pending);
        }
        Ok(())
    }
}

impl BufRead for Checked {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.failure.is_some() {
            return Err(io::Error::other("reading on after a failure"));
        }
        if self.pending().is_empty() && !self.ended {
            let accounted = self.advance().and_then(|more| self.account(more));
            if let Err(error) = accounted {
                return Err(self.fail(error));
            }
        }
        Ok(self.pending())
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let pending = self.fill_buf()?;
        let length = pending.len().min(out.len());
        out[..length].copy_from_slice(&pending[..length]);
        self.consume(length);
        Ok(length)
    }
}
