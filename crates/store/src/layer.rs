//! Taking a layer's tar stream apart into the store.
//!
//! Files longer than [`INLINE_CONTENT_MAX_V0`] become objects, everything else is kept in a *split stream*, from which
//! the very same tar stream can be put together again (composefs-rs `splitstream_format`).

use std::io::{self, Read};

use composefs::{INLINE_CONTENT_MAX_V0, fsverity::Sha512HashValue, splitstream::SplitStreamWriter};
use composefs_oci::LAYER_CONTENT_TYPE;
use openssl::sha::Sha256;
use rocketos_model::{DiffId, limits};
use tar_core::{
    HEADER_SIZE,
    parse::{Limits, ParseEvent, Parser},
};

use crate::{Store, StoreError, object, open::layer_name};

/// Bytes asked for at once.
const CHUNK: usize = 64 << 10;
/// Longest path in a layer (Linux `PATH_MAX`).
const PATH_BYTES: u32 = 4096;
/// Most bytes of an entry that is not a file, and of what follows the end mark: both are kept in memory.
const INLINE_BYTES: u64 = 1 << 20;

/// What importing a layer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerStats {
    /// Files stored as objects of their own.
    pub objects: u64,
    /// Those of them that the store did not have.
    pub new_objects: u64,
    /// Bytes of the new ones.
    pub new_bytes: u64,
    /// Bytes of the tar stream.
    pub tar_bytes: u64,
}

/// A split stream in the making. What it keeps between two objects is in memory.
struct List {
    writer: SplitStreamWriter<Sha512HashValue>,
    /// Bytes kept.
    inline: u64,
}

impl List {
    /// Keeps bytes in the stream itself.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.inline += bytes.len() as u64;
        if self.inline > limits::LAYER_INLINE_BYTES {
            let limit = limits::LAYER_INLINE_BYTES;
            return Err(StoreError::Limit { what: "bytes of headers and small files", limit });
        }
        self.writer.write_inline(bytes);
        Ok(())
    }
}

/// Counts and hashes what passes, and buffers it so that headers can be looked at.
struct Input<'a> {
    source: &'a mut dyn Read,
    hash: Sha256,
    bytes: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Input<'_> {
    /// What is buffered and not yet consumed.
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> Result<bool, StoreError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(StoreError::Read)?,
            }
        };
        self.buffer.truncate(filled + read);
        self.account(filled)?;
        Ok(read > 0)
    }

    fn account(&mut self, from: usize) -> Result<(), StoreError> {
        self.hash.update(&self.buffer[from..]);
        self.bytes += (self.buffer.len() - from) as u64;
        match self.bytes > limits::LAYER_TAR_BYTES {
            true => Err(StoreError::Limit { what: "bytes", limit: limits::LAYER_TAR_BYTES }),
            false => Ok(()),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffered().is_empty() && !self.fill().map_err(into_io)? {
            return Ok(0);
        }
        let length = self.buffered().len().min(out.len());
        out[..length].copy_from_slice(&self.buffered()[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn into_io(error: StoreError) -> io::Error {
    match error {
        StoreError::Read(error) => error,
        other => io::Error::other(other),
    }
}

impl Store {
    /// Stores the layer whose uncompressed tar stream `tar` yields, under `layer`.
    ///
    /// The layer gets its name only when the stream has ended without an error, its digest is `layer`, and everything
    /// is on the disk; the caller's reader may so still object at the very end. A layer that is already here is not
    /// read.
    ///
    /// # Errors
    /// When the stream breaks off, is not a tar stream, passes a limit or has another digest; when the disk is full.
    pub fn import_layer(&self, layer: &DiffId, tar: &mut dyn Read) -> Result<LayerStats, StoreError> {
        if self.has_layer(layer)? {
            return Ok(LayerStats::default());
        }
        self.unpack(layer, tar, &|_| true)
    }

    /// The same, whatever is here, storing only the files that `wanted` is true of.
    pub(crate) fn unpack(
        &self,
        layer: &DiffId,
        tar: &mut dyn Read,
        wanted: &object::Wanted<'_>,
    ) -> Result<LayerStats, StoreError> {
        let writer = self
            .repository
            .create_stream(LAYER_CONTENT_TYPE)
            .map_err(StoreError::composefs("starting a layer in the store"))?;
        let mut list = List { writer, inline: 0 };
        let mut input = Input { source: tar, hash: Sha256::new(), bytes: 0, buffer: Vec::new(), start: 0 };
        let mut stats = LayerStats::default();
        let mut parser = Parser::new(Limits { max_path_len: Some(PATH_BYTES), ..Limits::default() });
        let mut need = HEADER_SIZE;
        let mut scratch = Vec::new();
        loop {
            while input.buffered().len() < need {
                if !input.fill()? {
                    return Err(StoreError::Layer("it ends before its end mark".to_owned()));
                }
            }
            let event = parser.parse(input.buffered()).map_err(|error| StoreError::Layer(error.to_string()))?;
            match event {
                ParseEvent::NeedData { min_bytes } => {
                    need = min_bytes;
                    continue;
                }
                ParseEvent::SparseEntry { .. } => {
                    return Err(StoreError::Layer("it has a sparse file, which no image layer may have".to_owned()));
                }
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    list.keep(&input.buffered()[..consumed])?;
                    input.consume(consumed);
                }
                ParseEvent::End { consumed } => {
                    list.keep(&input.buffered()[..consumed])?;
                    input.consume(consumed);
                    break;
                }
                ParseEvent::Entry { consumed, entry } => {
                    let (size, external) =
                        (entry.size, entry.entry_type.is_file() && entry.size > INLINE_CONTENT_MAX_V0 as u64);
                    drop(entry);
                    if size > limits::FILE_BYTES {
                        return Err(StoreError::Limit { what: "bytes in one file", limit: limits::FILE_BYTES });
                    }
                    list.keep(&input.buffered()[..consumed])?;
                    input.consume(consumed);
                    let mut padding = size.next_multiple_of(HEADER_SIZE as u64) - size;
                    if external {
                        let put = object::put(self, &mut input, size, &mut scratch, wanted)?;
                        stats.objects += 1;
                        if put.new {
                            stats.new_objects += 1;
                            stats.new_bytes += size;
                        }
                        list.writer.add_external_size(size);
                        list.writer.write_reference(put.id).map_err(StoreError::composefs("recording a file"))?;
                    } else if size > INLINE_BYTES {
                        return Err(StoreError::Limit {
                            what: "bytes in an entry that is no file",
                            limit: INLINE_BYTES,
                        });
                    } else {
                        padding += size;
                    }
                    inline(&mut input, &mut list, padding)?;
                }
            }
            need = HEADER_SIZE;
        }
        // tar pads to whole records; those bytes belong to the digest.
        let mut trailing = 0;
        loop {
            trailing += input.buffered().len() as u64;
            if trailing > INLINE_BYTES {
                return Err(StoreError::Limit { what: "bytes behind its end mark", limit: INLINE_BYTES });
            }
            list.keep(input.buffered())?;
            input.consume(input.buffered().len());
            if !input.fill()? {
                break;
            }
        }
        stats.tar_bytes = input.bytes;
        let found = DiffId::from_bytes(input.hash.finish());
        if found != *layer {
            return Err(StoreError::DiffId { expected: *layer, found });
        }
        // composefs leaves a bad list where it is; until here it said more than none.
        if let Some(damaged) = self.layer_object(layer)? {
            object::remove_bad(self, &damaged)?;
        }
        self.repository
            .write_stream(list.writer, &layer_name(layer), None)
            .map_err(StoreError::composefs("naming a layer in the store"))?;
        Ok(stats)
    }
}

/// Keeps the next `bytes` bytes in the stream itself.
fn inline(input: &mut Input<'_>, list: &mut List, mut bytes: u64) -> Result<(), StoreError> {
    while bytes > 0 {
        if input.buffered().is_empty() && !input.fill()? {
            return Err(StoreError::Layer("it ends in the middle of an entry".to_owned()));
        }
        let now = input.buffered().len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        list.keep(&input.buffered()[..now])?;
        input.consume(now);
        bytes -= now as u64;
    }
    Ok(())
}
