//! Reading one object from the disk, not from memory.

use std::{
    fs::File,
    io::{self, Read as _},
};

use composefs::fsverity::{FsVerityHashValue as _, FsVerityHasher, Sha512HashValue, measure_verity};
use rustix::{
    fs::{Advice, FileType, Mode, OFlags, fadvise, fstat, openat},
    io::Errno,
};

use super::{Fault, Pace, Watch};
use crate::{Store, StoreError, Verity};

/// Bytes read at once: whole blocks of fs-verity's.
const CHUNK: usize = 256 << 10;

/// What an object turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Examined {
    /// What its name says; its bytes.
    Good(u64),
    Bad(Fault),
    /// Nobody knows: it was not read to its end.
    Stopped,
}

/// Room for what is read.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; CHUNK]
}

/// Reads an object and compares it with its id, then asks the kernel for its own measure.
pub(crate) fn examine(
    store: &Store,
    id: &Sha512HashValue,
    pace: &mut Pace<'_>,
    buffer: &mut [u8],
    watch: &dyn Watch,
) -> Result<Examined, StoreError> {
    let objects = store.repository.objects_dir().map_err(|error| StoreError::Look(error.into()))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = match openat(objects, id.to_object_pathname(), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Examined::Bad(Fault::Missing)),
        Err(error) => return bad(error.into()),
    };
    match fstat(&file) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
        Ok(_) => return Ok(Examined::Bad(Fault::Changed)),
        Err(error) => return bad(error.into()),
    }
    forget(&file)?;
    let mut hasher = FsVerityHasher::<Sha512HashValue>::new();
    let mut bytes = 0;
    loop {
        let read = match fill(&mut file, buffer) {
            Ok(read) => read,
            Err(error) => return bad(error),
        };
        for block in buffer[..read].chunks(FsVerityHasher::<Sha512HashValue>::BLOCK_SIZE) {
            hasher.add_block(block);
        }
        bytes += read as u64;
        if !pace.passed(read, watch)? {
            return Ok(Examined::Stopped);
        }
        if read < buffer.len() {
            break;
        }
    }
    // What nobody else reads need not push out what somebody does.
    forget(&file)?;
    if hasher.digest() != *id {
        return Ok(Examined::Bad(Fault::Changed));
    }
    let sealed =
        store.verity == Verity::Optional || measure_verity::<Sha512HashValue>(&file).is_ok_and(|own| own == *id);
    Ok(if sealed { Examined::Good(bytes) } else { Examined::Bad(Fault::Unsealed) })
}

/// Drops what the kernel remembers of the file, its hash tree included; pages that a program has mapped stay.
fn forget(file: &File) -> Result<(), StoreError> {
    fadvise(file, 0, None, Advice::DontNeed).map_err(|error| StoreError::Look(error.into()))
}

/// Reads until the buffer is full or the file ends: only the last piece may be no whole block.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A file that gives an error is bad; a process that has run out of something knows nothing of the file.
pub(super) fn bad(error: io::Error) -> Result<Examined, StoreError> {
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::PERM, Errno::INTR, Errno::OPNOTSUPP];
    match Errno::from_io_error(&error).is_some_and(|errno| own.contains(&errno)) {
        true => Err(StoreError::Look(error)),
        false => Ok(Examined::Bad(Fault::Unreadable)),
    }
}
