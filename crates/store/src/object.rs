//! Putting one file into the store.
//!
//! The digest is computed while the file streams in, so a file that is already there is never written. A new one is
//! written to an unnamed file, sealed with fs-verity, measured by the kernel, compared, and only then linked.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use composefs::fsverity::{
    EnableVerityError, FsVerityHashValue, FsVerityHasher, Sha512HashValue, enable_verity_with_retry, measure_verity,
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, mkdirat, openat, statat, unlinkat},
    io::Errno,
};

use crate::{Store, StoreError, Verity};

/// Files up to this many bytes stay in memory until it is known whether they are new.
const IN_MEMORY_BYTES: u64 = 256 << 10;
/// Bytes read at once: whole blocks of fs-verity's.
const CHUNK: usize = 64 << 10;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) id: Sha512HashValue,
    /// True when the store did not have it.
    pub(crate) new: bool,
}

/// Which files to store, by the ids they have.
pub(crate) type Wanted<'a> = dyn Fn(&Sha512HashValue) -> bool + 'a;

/// Reads exactly `size` bytes from `source`, and stores them where they are wanted.
pub(crate) fn put(
    store: &Store,
    source: &mut dyn Read,
    size: u64,
    buffer: &mut Vec<u8>,
    wanted: &Wanted<'_>,
) -> Result<Put, StoreError> {
    if size <= IN_MEMORY_BYTES {
        buffer.clear();
        let read = source.take(size).read_to_end(buffer).map_err(StoreError::Read)?;
        if (read as u64) < size {
            return Err(truncated());
        }
        return put_bytes(store, buffer, wanted);
    }
    let mut file = unnamed(store)?;
    let mut hasher = FsVerityHasher::<Sha512HashValue>::new();
    buffer.resize(CHUNK, 0);
    let mut left = size;
    while left > 0 {
        let want = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        source.read_exact(&mut buffer[..want]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => StoreError::Read(error),
        })?;
        hash(&mut hasher, &buffer[..want]);
        file.write_all(&buffer[..want]).map_err(StoreError::Write)?;
        left -= want as u64;
    }
    let id = hasher.digest();
    if !wanted(&id) || present(store, &id, size)? {
        return Ok(Put { id, new: false });
    }
    link(store, file, &id)?;
    Ok(Put { id, new: true })
}

/// Puts bytes in memory into the store.
fn put_bytes(store: &Store, bytes: &[u8], wanted: &Wanted<'_>) -> Result<Put, StoreError> {
    let mut hasher = FsVerityHasher::<Sha512HashValue>::new();
    hash(&mut hasher, bytes);
    let id = hasher.digest();
    if !wanted(&id) || present(store, &id, bytes.len() as u64)? {
        return Ok(Put { id, new: false });
    }
    let mut file = unnamed(store)?;
    file.write_all(bytes).map_err(StoreError::Write)?;
    link(store, file, &id)?;
    Ok(Put { id, new: true })
}

/// Hashes whole blocks where they lie; only the last piece of a file may be no multiple of a block.
fn hash(hasher: &mut FsVerityHasher<Sha512HashValue>, bytes: &[u8]) {
    for block in bytes.chunks(FsVerityHasher::<Sha512HashValue>::BLOCK_SIZE) {
        hasher.add_block(block);
    }
}

fn truncated() -> StoreError {
    StoreError::Read(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ends in the middle of a file"))
}

fn objects(store: &Store) -> Result<&OwnedFd, StoreError> {
    store.repository.objects_dir().map_err(|error| StoreError::Write(error.into()))
}

fn unnamed(store: &Store) -> Result<File, StoreError> {
    openat(objects(store)?, ".", OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
        .map(File::from)
        .map_err(|error| StoreError::Write(error.into()))
}

/// What the store has under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Good,
    /// The kernel does not seal it under its name, such as one that was linked when the power went.
    Bad,
}

/// Where fs-verity is not required only the size can be compared, where it is known.
fn state(store: &Store, id: &Sha512HashValue, size: Option<u64>) -> Result<State, StoreError> {
    let (objects, path) = (objects(store)?, id.to_object_pathname());
    let good = match store.verity {
        Verity::Optional => statat(objects, &path, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| size.is_none_or(|size| u64::try_from(stat.st_size).is_ok_and(|found| found == size))),
        Verity::Required => openat(objects, &path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .map(|fd| measure_verity::<Sha512HashValue>(&fd).is_ok_and(|found| found == *id)),
    };
    match good {
        Ok(true) => Ok(State::Good),
        Ok(false) => Ok(State::Bad),
        Err(Errno::NOENT) => Ok(State::Absent),
        Err(error) => Err(StoreError::Read(error.into())),
    }
}

/// True when a good object of this id is in the store; a bad one is taken out of the way first.
///
/// A mount that uses a bad one keeps its inode.
fn present(store: &Store, id: &Sha512HashValue, size: u64) -> Result<bool, StoreError> {
    Ok(replaceable(store, id, Some(size))? == State::Good)
}

/// True when the store has the object and the kernel seals it under its name; nothing is read.
pub(crate) fn is_good(store: &Store, id: &Sha512HashValue) -> Result<bool, StoreError> {
    Ok(state(store, id, None)? == State::Good)
}

/// Takes a bad object out of the way of a good one.
pub(crate) fn remove_bad(store: &Store, id: &Sha512HashValue) -> Result<(), StoreError> {
    replaceable(store, id, None).map(drop)
}

/// What the store has; nothing bad stands there afterwards.
fn replaceable(store: &Store, id: &Sha512HashValue, size: Option<u64>) -> Result<State, StoreError> {
    let found = state(store, id, size)?;
    if found == State::Bad {
        unlinkat(objects(store)?, id.to_object_pathname(), AtFlags::empty())
            .map_err(|error| StoreError::Write(error.into()))?;
    }
    Ok(found)
}

/// Seals `file` and gives it its name.
fn link(store: &Store, file: File, id: &Sha512HashValue) -> Result<(), StoreError> {
    let objects = objects(store)?;
    let sealed = seal(store, file, id)?;
    match mkdirat(objects, id.to_object_dir(), Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(StoreError::Write(error.into())),
    }
    match linkat(CWD, proc_path(&sealed), objects, id.to_object_pathname(), AtFlags::SYMLINK_FOLLOW) {
        // Another layer brought the same file meanwhile.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(StoreError::Write(error.into())),
    }
}

fn proc_path(fd: &impl AsFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Closes the file for writing and has the kernel seal it, where sealing is required.
fn seal(store: &Store, file: File, id: &Sha512HashValue) -> Result<OwnedFd, StoreError> {
    if store.verity == Verity::Optional {
        return Ok(file.into());
    }
    let sealed = File::open(proc_path(&file)).map_err(StoreError::Write)?;
    drop(file);
    match enable_verity_with_retry::<Sha512HashValue>(&sealed) {
        Ok(()) => {}
        Err(EnableVerityError::FilesystemNotSupported) => {
            return Err(StoreError::NoVerity { path: store.path.clone() });
        }
        Err(EnableVerityError::Io(error)) => return Err(StoreError::Write(error)),
        Err(other) => return Err(StoreError::Write(io::Error::other(other))),
    }
    match measure_verity::<Sha512HashValue>(&sealed) {
        Ok(found) if found == *id => Ok(sealed.into()),
        Ok(_) => Err(StoreError::Write(io::Error::other("the kernel measures another digest than was written"))),
        Err(error) => Err(StoreError::Write(io::Error::other(error))),
    }
}
