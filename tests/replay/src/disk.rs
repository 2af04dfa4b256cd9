//! What a disk holds after some of the recorded writes: the disk before them, and the blocks that changed.
//!
//! A [`Layer`] maps blocks to where their bytes are, in the log or in memory; a [`View`] lays layers over the base. Each
//! block has a version, by which a reader knows what it has seen before: zero as in the base, else a hash of its bytes.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use crate::log::{Action, Entry, Log, SECTOR};

/// Bytes of a block.
pub const BLOCK: usize = 4096;

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Hashes numbers of blocks, and hashes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A map from numbers of blocks, or from hashes.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Names the content of a block; never zero.
pub fn version(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().max(1)
}

/// Where a block's bytes are.
#[derive(Debug, Clone)]
enum Source {
    Log(u64),
    Memory(Rc<[u8]>),
}

/// A block that is not as in the base.
#[derive(Debug, Clone)]
pub struct Block {
    source: Source,
    /// Names its content.
    pub version: u64,
}

impl Block {
    /// A block with these bytes.
    pub fn of(bytes: Rc<[u8]>) -> Self {
        Self { version: version(&bytes), source: Source::Memory(bytes) }
    }

    /// The same, their version being known.
    pub fn known(bytes: Rc<[u8]>, version: u64) -> Self {
        Self { version, source: Source::Memory(bytes) }
    }
}

/// Blocks that changed.
pub type Layer = Map<u64, Block>;

/// The disk before the recording, and the recording.
#[derive(Debug)]
pub struct Recording {
    base: File,
    /// Bytes of the disk.
    pub size: u64,
    log: File,
    /// The requests.
    pub entries: Vec<Entry>,
    versions: std::cell::RefCell<Map<u64, u64>>,
}

impl Recording {
    /// Puts the raw disk `base` and a log together.
    ///
    /// # Errors
    /// When the base cannot be opened.
    pub fn new(base: &Path, log: Log) -> io::Result<Self> {
        let base = File::open(base)?;
        let size = base.metadata()?.len();
        Ok(Self { base, size, log: log.file, entries: log.entries, versions: Default::default() })
    }

    /// A disk to which nothing was done.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn without_requests(base: &Path) -> io::Result<Self> {
        Self::new(base, Log { file: File::open(base)?, entries: Vec::new() })
    }

    /// The disk with nothing but these layers, the last on top.
    pub fn view<'a>(&'a self, layers: &'a [&'a Layer]) -> View<'a> {
        View { recording: self, layers }
    }

    /// Does the requests before `to` on a disk in a file, from nothing; what is the same already is not written, so that holes
    /// stay.
    ///
    /// # Errors
    /// When the log cannot be read, or the disk not written.
    pub fn lay(&self, to: usize, disk: &File) -> io::Result<()> {
        let (mut new, mut old) = (vec![0; CHUNK], vec![0; CHUNK]);
        for entry in self.entries.iter().take(to) {
            let mut done = 0;
            while done < entry.length {
                let now = usize::try_from(entry.length - done).map_or(CHUNK, |left| left.min(CHUNK));
                match &entry.action {
                    Action::Write(data) => self.read_log(data + done, &mut new[..now])?,
                    Action::Discard => new[..now].fill(0),
                    Action::Bytes(bytes) => {
                        let from = usize::try_from(done).unwrap_or(usize::MAX);
                        let part = bytes.get(from..from.saturating_add(now)).ok_or(io::ErrorKind::UnexpectedEof)?;
                        new[..now].copy_from_slice(part);
                    }
                    Action::Nothing => break,
                }
                disk.read_exact_at(&mut old[..now], entry.start + done)?;
                if new[..now] != old[..now] {
                    disk.write_all_at(&new[..now], entry.start + done)?;
                }
                done += now as u64;
            }
        }
        Ok(())
    }

    /// Writes the requests from `first` on as a log of their own.
    ///
    /// # Errors
    /// When the log cannot be read, or the new one not written.
    pub fn write_log(&self, first: usize, path: &Path) -> io::Result<()> {
        let entries = self.entries.get(first..).unwrap_or_default();
        crate::log::write(path, entries, |at, buffer| self.read_log(at, buffer))
    }

    /// Where on the disk a request wrote a block that begins so; the first of them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn block_like(&self, entry: &Entry, beginning: &[u8]) -> io::Result<Option<u64>> {
        let Action::Write(data) = entry.action else { return Ok(None) };
        let mut found = vec![0; beginning.len()];
        for offset in (0..entry.length).step_by(BLOCK) {
            if entry.length - offset >= beginning.len() as u64 {
                self.read_log(data + offset, &mut found)?;
                if found == beginning {
                    return Ok(Some(entry.start + offset));
                }
            }
        }
        Ok(None)
    }

    fn read_log(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.log.read_exact_at(buffer, at)
    }

    fn version_in_log(&self, at: u64) -> io::Result<u64> {
        if let Some(known) = self.versions.borrow().get(&at) {
            return Ok(*known);
        }
        let mut bytes = [0; BLOCK];
        self.read_log(at, &mut bytes)?;
        let found = version(&bytes);
        self.versions.borrow_mut().insert(at, found);
        Ok(found)
    }

    /// Does a request, or its first `sectors` alone, on top of `below`.
    ///
    /// # Errors
    /// When base or log cannot be read.
    pub fn apply(&self, entry: &Entry, sectors: Option<u64>, below: &[&Layer], top: &mut Layer) -> io::Result<()> {
        let length = sectors.map_or(entry.length, |sectors| entry.length.min(sectors * SECTOR));
        let end = entry.start + length;
        let mut at = entry.start;
        while at < end {
            let number = at / BLOCK as u64;
            let within = usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let now = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK)).min(BLOCK - within);
            let offset = at - entry.start;
            let block = match &entry.action {
                Action::Nothing => break,
                Action::Write(data) if now == BLOCK => {
                    let source = data + offset;
                    Block { version: self.version_in_log(source)?, source: Source::Log(source) }
                }
                action => {
                    let mut bytes = match top.get(&number) {
                        Some(block) => self.bytes_of(block)?,
                        None => self.view(below).block(number)?,
                    }
                    .to_vec();
                    let part = &mut bytes[within..within + now];
                    match action {
                        Action::Write(data) => self.read_log(data + offset, part)?,
                        Action::Bytes(new) => {
                            let from = usize::try_from(offset).unwrap_or(usize::MAX);
                            let new = new.get(from..from.saturating_add(now));
                            part.copy_from_slice(new.ok_or(io::ErrorKind::UnexpectedEof)?);
                        }
                        Action::Discard | Action::Nothing => part.fill(0),
                    }
                    Block::of(bytes.into())
                }
            };
            top.insert(number, block);
            at += now as u64;
        }
        Ok(())
    }

    fn bytes_of(&self, block: &Block) -> io::Result<Rc<[u8]>> {
        match &block.source {
            Source::Memory(bytes) => Ok(bytes.clone()),
            Source::Log(at) => {
                let mut bytes = [0; BLOCK];
                self.read_log(*at, &mut bytes)?;
                Ok(Rc::from(bytes))
            }
        }
    }
}

/// The disk in one state.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    recording: &'a Recording,
    layers: &'a [&'a Layer],
}

impl<'a> View<'a> {
    fn changed(&self, number: u64) -> Option<&'a Block> {
        self.layers.iter().rev().find_map(|layer| layer.get(&number))
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.recording.size
    }

    /// Names a block's content.
    pub fn version(&self, number: u64) -> u64 {
        self.changed(number).map_or(0, |block| block.version)
    }

    /// Reads a block; beyond the end is zero.
    ///
    /// # Errors
    /// When base or log cannot be read.
    pub fn block(&self, number: u64) -> io::Result<Rc<[u8]>> {
        if let Some(block) = self.changed(number) {
            return self.recording.bytes_of(block);
        }
        let mut bytes = [0; BLOCK];
        let at = number.saturating_mul(BLOCK as u64);
        let here = usize::try_from(self.size().saturating_sub(at)).map_or(BLOCK, |left| left.min(BLOCK));
        self.recording.base.read_exact_at(&mut bytes[..here], at)?;
        Ok(Rc::from(bytes))
    }

    /// A block's bytes.
    ///
    /// # Errors
    /// When base or log cannot be read.
    pub fn bytes_of(&self, block: &Block) -> io::Result<Rc<[u8]>> {
        self.recording.bytes_of(block)
    }

    /// Reads bytes from anywhere.
    ///
    /// # Errors
    /// When base or log cannot be read.
    pub fn read(&self, mut at: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let within = usize::try_from(at % BLOCK as u64).unwrap_or(0);
            let now = buffer.len().min(BLOCK - within);
            let block = self.block(at / BLOCK as u64)?;
            let (head, tail) = buffer.split_at_mut(now);
            head.copy_from_slice(&block[within..within + now]);
            buffer = tail;
            at += now as u64;
        }
        Ok(())
    }

    /// Adds what names the content of some bytes to a hash.
    pub fn stamp(&self, at: u64, length: u64, hasher: &mut Mix) {
        let last = at.saturating_add(length.max(1)) - 1;
        for number in at / BLOCK as u64..=last / BLOCK as u64 {
            hasher.write_u64(number);
            hasher.write_u64(self.version(number));
        }
    }

    /// Blocks that are not as in the base.
    pub fn changes(&self) -> impl Iterator<Item = u64> {
        let mut all: Vec<u64> = self.layers.iter().flat_map(|layer| layer.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// Names the whole state: equal for equal disks.
    pub fn fingerprint(&self) -> u64 {
        let mut sum = 0_u64;
        let mut seen = std::collections::HashSet::<u64, BuildHasherDefault<Mix>>::default();
        for layer in self.layers.iter().rev() {
            for (number, block) in layer.iter() {
                if self.layers.len() == 1 || seen.insert(*number) {
                    let mut hasher = Mix::default();
                    hasher.write_u64(*number);
                    hasher.write_u64(block.version);
                    sum = sum.wrapping_add(hasher.finish());
                }
            }
        }
        sum
    }

    /// Writes the state's changes into a copy of the base.
    ///
    /// # Errors
    /// When base or log cannot be read, or the copy not written.
    pub fn write_changes(&self, copy: &File) -> io::Result<()> {
        for number in self.changes() {
            copy.write_all_at(&self.block(number)?, number * BLOCK as u64)?;
        }
        Ok(())
    }
}

/// A view read from one end to the other.
#[derive(Debug)]
pub struct Reader<'a> {
    view: View<'a>,
    at: u64,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(view: View<'a>) -> Self {
        Self { view, at: 0 }
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.view.size().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let now = buffer.len().min(left);
        self.view.read(self.at, &mut buffer[..now])?;
        self.at += now as u64;
        Ok(now)
    }
}

impl io::Seek for Reader<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            io::SeekFrom::Start(at) => (at, 0),
            io::SeekFrom::End(by) => (self.view.size(), by),
            io::SeekFrom::Current(by) => (self.at, by),
        };
        self.at = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(start: u64, bytes: &[u8]) -> Entry {
        let (length, action) = (bytes.len() as u64, Action::Bytes(Rc::from(bytes)));
        Entry { start, length, action, flush: false, fua: false }
    }

    #[test]
    fn writes_are_laid_over_the_base_whole_or_torn() {
        let (base, copy) = (tempfile::NamedTempFile::new().unwrap(), tempfile::tempfile().unwrap());
        std::fs::write(base.path(), [1; 16384]).unwrap();
        let mut recording = Recording::without_requests(base.path()).unwrap();
        let discard = Entry { action: Action::Discard, ..write(8192, &[0; 512]) };
        recording.entries = vec![write(3584, &[2; 1024]), write(4096, &[3; 4096]), discard];

        let (mut durable, mut top) = (Layer::default(), Layer::default());
        recording.apply(&recording.entries[0], None, &[], &mut durable).unwrap();
        recording.apply(&recording.entries[1], Some(3), &[&durable], &mut top).unwrap();
        let layers = [&durable, &top];
        let view = recording.view(&layers);
        let mut found = [0; 8192];
        view.read(0, &mut found).unwrap();
        let expected = [vec![1; 3584], vec![2; 512], vec![3; 1536], vec![1; 2560]].concat();
        assert_eq!(found[..], expected);
        assert_eq!((view.version(0), view.version(2)), (durable[&0].version, 0));
        assert_eq!(view.changes().collect::<Vec<_>>(), [0, 1]);

        copy.set_len(16384).unwrap();
        recording.lay(3, &copy).unwrap();
        let mut laid = vec![0; 16384];
        copy.read_exact_at(&mut laid, 0).unwrap();
        assert_eq!(laid, [vec![0; 3584], vec![2; 512], vec![3; 4096], vec![0; 8192]].concat());
    }

    #[test]
    fn equal_disks_have_equal_names() {
        let base = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(base.path(), [1; 16384]).unwrap();
        let recording = Recording::without_requests(base.path()).unwrap();
        let layer = |bytes: &[u8]| {
            let mut layer = Layer::default();
            recording.apply(&write(4096, bytes), None, &[], &mut layer).unwrap();
            layer
        };
        let (one, other) = (layer(&[2; 4096]), layer(&[3; 4096]));
        let name = |layers: &[&Layer]| recording.view(layers).fingerprint();
        assert_eq!(name(&[&other]), name(&[&one, &other]));
        assert_ne!(name(&[&one]), name(&[&other]));
    }
}
