//! Writing files so that a power cut leaves the old state or the new one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, fadvise};
use sha2::{Digest as _, Sha256};

use crate::BootError;

/// Marks a file that is still being written; no loader reads a name that ends so.
pub(crate) const UNFINISHED: &str = ".unfinished";
/// Bytes copied at once.
const CHUNK: usize = 256 << 10;

fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(UNFINISHED);
    name.into()
}

/// Flushes the whole file system that `directory` is on: FAT keeps its allocation table outside of any file.
///
/// Linux' syncfs brings what was written to FAT as far as the disk's cache and leaves it there; only an fsync of a file or a
/// directory has the disk empty it. So both, in this order.
pub(crate) fn flush(directory: &Path) -> io::Result<()> {
    let directory = File::open(directory)?;
    rustix::fs::syncfs(&directory)?;
    directory.sync_all()
}

/// Writes `content` to `relative` below `top`: under another name, flushed, read back, renamed, flushed.
pub(crate) fn write(top: &Path, relative: &str, content: &mut dyn Read) -> Result<(), BootError> {
    let path = top.join(relative);
    let temporary = unfinished(&path);
    let result = write_then_rename(top, &path, &temporary, content);
    if result.is_err() {
        // Whatever broke, the half-written file is not worth keeping; its own failure to go away is not the news.
        let _ = remove_path(top, &temporary);
    }
    result.map_err(BootError::io("writing", relative))
}

fn write_then_rename(top: &Path, path: &Path, temporary: &Path, content: &mut dyn Read) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(temporary)?;
    let written = each(content, |chunk| file.write_all(chunk))?;
    file.sync_all()?;
    flush(top)?;
    if read_back(&mut file)? != written {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the disk does not give back what was written"));
    }
    drop(file);
    let replaced = hold(path);
    fs::rename(temporary, path)?;
    flush(top)?;
    drop(replaced);
    Ok(())
}

/// Holds what is at `path`, with all below it, so that removing it frees nothing yet.
///
/// FAT keeps names and the table of what is free apart, and a disk may write either first. A name that outlives its blocks
/// shows whatever comes there next: removed later, it would take the blocks of a kernel that boots. So names go first, flushed;
/// the kernel frees the blocks when they are let go. A power cut between leaves blocks that nobody has, until the ESP is
/// checked. What cannot be opened is not held.
fn hold(path: &Path) -> Vec<File> {
    let mut held = Vec::new();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        held.extend(File::open(&path));
        paths.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    held
}

/// Hands `content` on, piece by piece, and says what it was.
fn each(content: &mut dyn Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<[u8; 32]> {
    let (mut buffer, mut digest) = (vec![0; CHUNK], Sha256::new());
    loop {
        let read = match content.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if read == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&buffer[..read]);
        take(&buffer[..read])?;
    }
}

/// What the disk has of a file whose pages are all written: the kernel is told to forget them first.
fn read_back(file: &mut File) -> io::Result<[u8; 32]> {
    fadvise(&*file, 0, None, Advice::DontNeed)?;
    file.rewind()?;
    each(file, |_| Ok(()))
}

/// True when the file is there and holds exactly the `length` bytes of `content`.
pub(crate) fn same<K: Read + ?Sized>(
    top: &Path,
    relative: &str,
    content: &mut K,
    length: u64,
) -> Result<bool, BootError> {
    let failed = |error| BootError::io("comparing", relative)(error);
    let mut file = match File::open(top.join(relative)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(failed)?,
    };
    if file.metadata().map_err(failed)?.len() != length {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        file.read_exact(&mut ours[..now]).map_err(failed)?;
        content.read_exact(&mut theirs[..now]).map_err(failed)?;
        if ours[..now] != theirs[..now] {
            return Ok(false);
        }
        left -= now as u64;
    }
    Ok(true)
}

/// Reads a small file.
pub(crate) fn read(top: &Path, relative: &str, limit: u64) -> Result<Vec<u8>, BootError> {
    let mut bytes = Vec::new();
    File::open(top.join(relative))
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(BootError::io("reading", relative))?;
    match bytes.len() as u64 > limit {
        true => Err(BootError::Limit { path: relative.into(), limit }),
        false => Ok(bytes),
    }
}

/// Removes a file, or a directory with what is in it; absence is success.
pub(crate) fn remove(top: &Path, relative: &str) -> Result<(), BootError> {
    match remove_path(top, &top.join(relative)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(BootError::io("removing", relative)),
    }
}

fn remove_path(top: &Path, path: &Path) -> io::Result<()> {
    let held = hold(path);
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path)?,
        false => fs::remove_file(path)?,
    }
    flush(top)?;
    drop(held);
    flush(top)
}

/// Names in a directory that are valid UTF-8, sorted; an absent directory has none.
pub(crate) fn names(top: &Path, relative: &str) -> Result<Vec<String>, BootError> {
    let listing = match fs::read_dir(top.join(relative)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(BootError::io("listing", relative))?,
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(BootError::io("listing", relative))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
