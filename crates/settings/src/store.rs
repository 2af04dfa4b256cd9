//! Generations: a folder in which every change of what is stored is a whole document under a new name.
//!
//! ```text
//! <folder>/0000000007.json    mode 0600; the newest whole one counts, the newest 32 are kept
//! commit: lock the folder -> is it still the generation that was changed? -> new name, flush, rename, flush the folder -> the oldest go
//! prepare: the same up to the flush; commit of what is prepared: from the rename on
//! ```
//!
//! Whenever power goes, what counts is a whole generation: the one before or the new one. Nothing that is there is written again.

mod content;
mod diff;
mod format;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

pub use content::{Content, Override, Parked, REMOVED, UserData};
pub use diff::{Change, diff};
pub use format::{FORMAT, GENERATION_BYTES};

/// Generations that are kept.
pub const KEPT: usize = 32;
/// Characters of who and why.
pub const WORDS_CHARS: usize = 200;
/// Digits of a number in a name.
const DIGITS: usize = 10;
/// The last number there can be.
const LAST: u64 = 9_999_999_999;
/// What a name ends with.
const SUFFIX: &str = ".json";
/// What a name ends with that is not whole yet.
const UNFINISHED: &str = ".unfinished";

/// Why something is not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else was faster.
    #[error(
        "settings are at generation {found}, and the change was made to {expected}: read them anew and change them again"
    )]
    Stale {
        /// What was changed.
        expected: u64,
        /// What counts now.
        found: u64,
    },
    /// More than is kept.
    #[error("settings would have more than {GENERATION_BYTES} bytes as they are stored")]
    TooLarge,
    /// Who or why cannot be told.
    #[error("who changes settings, and why, is one line of at most {WORDS_CHARS} characters")]
    Words,
    /// No such generation.
    #[error("there is no generation {0}: it was never there, or is older than the {KEPT} that are kept")]
    NoSuch(u64),
    /// A file that is no generation.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No number is left.
    #[error("generation {LAST} was the last")]
    Last,
}

/// A generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Its number; 0 where nothing was stored yet.
    pub number: u64,
    /// When it was written, by the node's clock.
    pub written: DateTime<Utc>,
    /// Who changed something.
    pub by: String,
    /// Why.
    pub why: String,
    /// What is stored.
    pub content: Content,
}

/// What counts, and what should.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// The newest whole generation; number 0, with nothing in it, where there is none.
    pub generation: Generation,
    /// Newer files that are damaged, the newest first, and why.
    pub damaged: Vec<(PathBuf, String)>,
}

/// A folder of generations.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// The lock of a folder; nobody else commits while it is there.
#[derive(Debug)]
struct Lock(File);

/// A generation that is on the disk and does not count yet. Dropped, it is gone; cut off, the next one who opens the folder removes it.
#[derive(Debug)]
pub struct Prepared<'a> {
    store: &'a Store,
    lock: Lock,
    unfinished: PathBuf,
    path: PathBuf,
    generation: Generation,
}

impl Prepared<'_> {
    /// The generation.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Lets it count.
    ///
    /// # Errors
    /// When it cannot be renamed, or that is not on the disk for sure: then the one before still counts.
    pub fn commit(self) -> Result<Generation, StoreError> {
        let rename = || {
            renameat_with(CWD, &self.unfinished, CWD, &self.path, RenameFlags::NOREPLACE)?;
            // Not on the disk for sure: who was told that it failed must not find it later.
            self.lock.0.sync_all().inspect_err(|_| _ = fs::remove_file(&self.path))
        };
        rename().map_err(io_at("writing", &self.path))?;
        self.store.remove_oldest();
        Ok(self.generation.clone())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        // One that counts has another name.
        let _ = fs::remove_file(&self.unfinished);
    }
}

impl Store {
    /// Opens a folder, made where there is none, and removes what a power cut left unfinished.
    ///
    /// # Errors
    /// When it cannot be made, locked or listed.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self(folder.to_owned());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_at("making", folder))?;
        let _lock = store.lock()?;
        for name in store.names()?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(io_at("removing", &path))?;
        }
        Ok(store)
    }

    /// A folder that is only read, such as another deployment's: nothing is made and nothing removed. One that is not there has no
    /// generation.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The newest whole generation.
    ///
    /// # Errors
    /// When the folder cannot be listed, or a file in it cannot be read; one that is damaged is named beside what counts.
    pub fn current(&self) -> Result<Current, StoreError> {
        let mut damaged = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            match self.read(number) {
                Ok(generation) => return Ok(Current { generation, damaged }),
                Err(StoreError::Damaged { path, problem }) => damaged.push((path, problem)),
                // Another committed, and the oldest went.
                Err(StoreError::NoSuch(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let (by, why) = (String::new(), String::new());
        let generation = Generation { number: 0, written: DateTime::UNIX_EPOCH, by, why, content: Content::default() };
        Ok(Current { generation, damaged })
    }

    /// A generation by its number.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is damaged.
    pub fn read(&self, number: u64) -> Result<Generation, StoreError> {
        let path = self.path(number);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::NoSuch(number)),
            other => other.map_err(io_at("reading", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(GENERATION_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io_at("reading", &path))?;
        parse(number, &bytes).map_err(|problem| StoreError::Damaged { path, problem })
    }

    /// Stores what was made of generation `base`, as a new one.
    ///
    /// # Errors
    /// When another generation counts by now ([`StoreError::Stale`]), or it cannot be written: then `base` still counts.
    pub fn commit(
        &self,
        base: u64,
        content: Content,
        by: &str,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<Generation, StoreError> {
        self.prepare(base, content, by, why, now)?.commit()
    }

    /// Writes what was made of generation `base` to the disk, whole, and does not let it count yet. Until then nobody else commits.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn prepare(
        &self,
        base: u64,
        content: Content,
        by: &str,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<Prepared<'_>, StoreError> {
        let line = |text: &str| text.chars().count() <= WORDS_CHARS && !text.chars().any(char::is_control);
        if !line(by) || !line(why) {
            return Err(StoreError::Words);
        }
        let lock = self.lock()?;
        let found = self.current()?.generation.number;
        if found != base {
            return Err(StoreError::Stale { expected: base, found });
        }
        // A damaged one keeps its number: what it was can be told.
        let number = self.numbers()?.last().copied().unwrap_or(0) + 1;
        if number > LAST {
            return Err(StoreError::Last);
        }
        let (by, why) = (by.to_owned(), why.to_owned());
        let generation = Generation { number, written: now, by, why, content };
        let bytes = format::write(&generation).ok_or(StoreError::TooLarge)?;
        let path = self.path(number);
        let prepared =
            Prepared { store: self, lock, unfinished: path.with_extension(&UNFINISHED[1..]), path, generation };
        // Where a step fails, nothing is left: what was prepared and is dropped takes its file along.
        prepared.write(&bytes).map_err(io_at("writing", &prepared.path))?;
        Ok(prepared)
    }

    /// What an older generation had, as one change more of `base`: nothing is lost by going back. Changes count on from `base`, so
    /// that going back is a change as any other.
    ///
    /// # Errors
    /// As [`Store::read`]; when another generation counts by now.
    pub fn back(&self, base: u64, to: u64) -> Result<Content, StoreError> {
        let current = self.current()?.generation;
        if current.number != base {
            return Err(StoreError::Stale { expected: base, found: current.number });
        }
        let old = if to == 0 { Content::default() } else { self.read(to)?.content };
        Ok(current.content.back_to(&old))
    }

    /// Stores what an older generation had, as a new one ([`Store::back`]).
    ///
    /// # Errors
    /// As [`Store::back`] and [`Store::commit`].
    pub fn undo(&self, base: u64, to: u64, by: &str, now: DateTime<Utc>) -> Result<Generation, StoreError> {
        self.commit(base, self.back(base, to)?, by, &format!("back to generation {to}"), now)
    }

    /// Every whole generation that is kept, the newest first.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn history(&self) -> Result<Vec<Generation>, StoreError> {
        let read = |number: u64| match self.read(number) {
            Err(StoreError::Damaged { .. } | StoreError::NoSuch(_)) => None,
            other => Some(other),
        };
        self.numbers()?.into_iter().rev().filter_map(read).collect()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:0width$}{SUFFIX}", width = DIGITS))
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let folder = File::open(&self.0).map_err(io_at("opening", &self.0))?;
        flock(&folder, FlockOperation::LockExclusive).map_err(|error| io_at("locking", &self.0)(error.into()))?;
        Ok(Lock(folder))
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let listing = || io_at("listing", &self.0);
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(listing())?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        Ok(names.collect::<Result<Vec<_>, _>>().map_err(listing())?.into_iter().flatten().collect())
    }

    /// Numbers of all files, the lowest first.
    fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let mut numbers: Vec<u64> = self.names()?.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Removes all but the newest [`KEPT`]. What cannot be removed goes with the next one.
    fn remove_oldest(&self) {
        let numbers = self.numbers().unwrap_or_default();
        for number in &numbers[..numbers.len().saturating_sub(KEPT)] {
            let _ = fs::remove_file(self.path(*number));
        }
    }
}

/// Which generation a file with this name holds; absent where it holds none.
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let sound = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| sound && *number > 0)
}

/// A generation from the bytes of the file that has its number.
///
/// # Errors
/// When it is not whole, or another; the words repeat nothing of it.
pub fn parse(number: u64, bytes: &[u8]) -> Result<Generation, String> {
    match format::read(bytes)? {
        generation if generation.number == number => Ok(generation),
        other => Err(format!("it is generation {}", other.number)),
    }
}

fn io_at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
