//! A log of writes as QEMU's `blklogwrites` and Linux' dm-log-writes make it.
//!
//! ```text
//! sector 0   magic u64, version u64, entries u64, bytes of a sector u32; little-endian
//! then       entry: sector u64, sectors u64, flags u64, bytes of a mark u64, in a sector of its own; its data follows
//! ```
//!
//! An entry is written when its request is done, so whatever the guest had been told of before a flush stands before it.
//! The count at the top lags behind; the log ends where no entry stands.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::bytes::{le32, le64};

/// Bytes of a sector of the disk.
pub const SECTOR: u64 = 512;
/// Most entries that are read.
pub const ENTRIES: usize = 4_000_000;
/// Most bytes that one write may have: a guest that asks for zeros asks for 2 GiB of them at once.
pub const WRITE_BYTES: u64 = 1 << 31;
/// Largest disk.
pub const DISK_BYTES: u64 = 1 << 44;
/// "jsfwshr", as dm-log-writes has it.
const MAGIC: u64 = 0x6a_7366_7773_6872;
/// The format's version.
const VERSION: u64 = 1;
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// All flags there are; dm-log-writes' METADATA is only a hint.
const FLAGS: u64 = 31;

/// A log that is none.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Reading it.
    #[error("reading {path}")]
    Io {
        /// The log.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its beginning says so.
    #[error("{path} is no log of writes with sectors of {SECTOR} bytes")]
    Format {
        /// The log.
        path: PathBuf,
    },
    /// An entry that cannot be.
    #[error("entry {number} of {path}: {what}")]
    Entry {
        /// The log.
        path: PathBuf,
        /// From 0.
        number: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Wrote what lies at this byte of the log.
    Write(u64),
    /// Wrote these bytes: for tests of the oracle, that put into a log what should not be.
    Bytes(std::rc::Rc<[u8]>),
    /// Gave sectors back; afterwards they read as zero.
    Discard,
    /// Nothing but its flush.
    Nothing,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// What was done with them.
    pub action: Action,
    /// All that was done before is on the medium.
    pub flush: bool,
    /// This is on the medium when it is done.
    pub fua: bool,
}

/// A log, its entries in memory, their data in its file.
#[derive(Debug)]
pub struct Log {
    pub(crate) file: File,
    /// In the order in which they were done.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads the entries.
    ///
    /// # Errors
    /// When it is no such log, or an entry cannot be. What is still being written at the end is left out.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let io = |source| LogError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut entries = Vec::new();
        let mut head = [0; 32];
        if size < SECTOR {
            return Err(LogError::Format { path: path.to_owned() });
        }
        file.read_exact_at(&mut head, 0).map_err(io)?;
        if (le64(&head, 0), le64(&head, 8), u64::from(le32(&head, 24))) != (MAGIC, VERSION, SECTOR) {
            return Err(LogError::Format { path: path.to_owned() });
        }
        let mut at = SECTOR;
        while at + SECTOR <= size {
            file.read_exact_at(&mut head, at).map_err(io)?;
            at += SECTOR;
            let wrong = |what| LogError::Entry { path: path.to_owned(), number: entries.len(), what };
            let Some(entry) = entry(&head, at).map_err(wrong)? else { break };
            if let Action::Write(_) = entry.action {
                at += entry.length;
            }
            if at > size {
                break;
            }
            if entries.len() == ENTRIES {
                return Err(wrong("is one more than are read"));
            }
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// Counts the entries so far of a log that is being written; one that is not begun has none.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn count(path: &Path) -> Result<usize, LogError> {
        match Self::open(path) {
            Ok(log) => Ok(log.entries.len()),
            Err(LogError::Format { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The first sector of a log of `count` entries.
fn top(count: usize) -> Vec<u8> {
    sector(&[MAGIC, VERSION, count as u64, SECTOR])
}

fn sector(numbers: &[u64]) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.resize(SECTOR as usize, 0);
    bytes
}

/// Writes entries as a log of their own; `data` reads what lies at a byte of the log they are from.
pub(crate) fn write(path: &Path, entries: &[Entry], data: impl Fn(u64, &mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let mut to = io::BufWriter::new(File::create(path)?);
    to.write_all(&top(entries.len()))?;
    let mut buffer = vec![0; CHUNK];
    for entry in entries {
        let mut flags = if entry.flush { FLUSH } else { 0 } | if entry.fua { FUA } else { 0 };
        if entry.action == Action::Discard {
            flags |= DISCARD;
        }
        to.write_all(&sector(&[entry.start / SECTOR, entry.length / SECTOR, flags, 0]))?;
        match &entry.action {
            Action::Discard | Action::Nothing => {}
            Action::Bytes(bytes) => to.write_all(bytes)?,
            Action::Write(from) => {
                let mut done = 0;
                while done < entry.length {
                    let now = usize::try_from(entry.length - done).map_or(CHUNK, |left| left.min(CHUNK));
                    data(from + done, &mut buffer[..now])?;
                    to.write_all(&buffer[..now])?;
                    done += now as u64;
                }
            }
        }
    }
    to.flush()
}

/// Reads an entry whose data lies at `data`; absent behind the last one.
fn entry(head: &[u8; 32], data: u64) -> Result<Option<Entry>, &'static str> {
    let [sector, sectors, flags, mark] = [0, 8, 16, 24].map(|at| le64(head, at));
    if head == &[0; 32] {
        return Ok(None);
    }
    if flags & !FLAGS != 0 || flags & MARK != 0 || mark != 0 {
        return Err("has flags that no request has");
    }
    if sector > DISK_BYTES / SECTOR || sectors > (DISK_BYTES / SECTOR).saturating_sub(sector) {
        return Err("lies outside of any disk");
    }
    let (start, length) = (sector * SECTOR, sectors * SECTOR);
    let action = match (flags & DISCARD != 0, length) {
        (_, 0) => Action::Nothing,
        (true, _) => Action::Discard,
        (false, 1..=WRITE_BYTES) => Action::Write(data),
        (false, _) => return Err("is longer than any write"),
    };
    Ok(Some(Entry { start, length, action, flush: flags & FLUSH != 0, fua: flags & FUA != 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(parts: &[Vec<u8>]) -> Result<Log, LogError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), parts.concat()).unwrap();
        Log::open(file.path())
    }

    #[test]
    fn reads_writes_flushes_and_discards_up_to_the_first_gap() {
        let log = open(&[
            top(1),
            sector(&[8, 2, 0, 0]),
            vec![7; 1024],
            sector(&[0, 0, FLUSH, 0]),
            sector(&[16, 8, DISCARD, 0]),
            sector(&[1, 1, FUA, 0]),
            vec![9; 512],
            sector(&[]),
            sector(&[8, 2, 0, 0]),
        ])
        .unwrap();
        let write = Entry { start: 4096, length: 1024, action: Action::Write(1024), flush: false, fua: false };
        assert_eq!(log.entries.len(), 4);
        assert_eq!(log.entries[0], write);
        assert!(log.entries[1].flush && log.entries[1].action == Action::Nothing);
        assert_eq!(log.entries[2].action, Action::Discard);
        assert!(log.entries[3].fua);
    }

    #[test]
    fn an_entry_whose_data_is_still_coming_is_left_out() {
        assert_eq!(open(&[top(1), sector(&[8, 2, 0, 0]), vec![7; 512]]).unwrap().entries.len(), 0);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let data = vec![7; 1024];
        let entries = [
            Entry { start: 4096, length: 1024, action: Action::Write(512), flush: false, fua: true },
            Entry { start: 0, length: 0, action: Action::Nothing, flush: true, fua: false },
            Entry { start: 512, length: 512, action: Action::Discard, flush: false, fua: false },
        ];
        write(file.path(), &entries, |at, buffer| {
            assert_eq!(at, 512);
            buffer.copy_from_slice(&data);
            Ok(())
        })
        .unwrap();
        let again = Log::open(file.path()).unwrap();
        assert_eq!(again.entries[0], Entry { action: Action::Write(1024), ..entries[0].clone() });
        assert_eq!(again.entries[1..], entries[1..]);
    }

    #[test]
    fn refuses_what_no_disk_does() {
        assert!(matches!(open(&[sector(&[MAGIC, 2, 1, 512])]), Err(LogError::Format { .. })));
        assert!(matches!(open(&[sector(&[MAGIC, VERSION, 1, 4096])]), Err(LogError::Format { .. })));
        assert!(matches!(open(&[vec![0; 100]]), Err(LogError::Format { .. })));
        for numbers in [
            [u64::MAX, 1, 0, 0],
            [1, u64::MAX, 0, 0],
            [0, WRITE_BYTES / SECTOR + 1, 0, 0],
            [0, 1, 32, 0],
            [0, 1, MARK, 0],
            [0, 1, 0, 9],
        ] {
            assert!(matches!(open(&[top(1), sector(&numbers)]), Err(LogError::Entry { number: 0, .. })), "{numbers:?}");
        }
    }
}
