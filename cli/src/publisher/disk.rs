//! Files that are there as a whole or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use rocketos_trust::tuf::{
    author::{METADATA, Publication, TARGETS},
    limits,
};
use rustix::fs::OFlags;

/// Bytes of one file.
pub const FILE_BYTES: u64 = limits::TARGET_BYTES_IN_MEMORY;
/// Bytes of all that is published: it is held in memory.
const PUBLICATION_BYTES: u64 = 512 << 20;

/// A file of at most so many bytes; none where it is not there.
pub fn read(path: &Path, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
    let reading = || format!("reading {}", path.display());
    // Not waiting: a pipe in a copy that somebody sent would block for ever.
    let file = match File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    ensure!(file.metadata().with_context(reading)?.is_file(), "{} is no regular file", path.display());
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(reading)?;
    ensure!(bytes.len() as u64 <= limit, "{} has more than {limit} bytes", path.display());
    Ok(Some(bytes))
}

/// The names in a folder; none where it is not there.
pub fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let listing = || format!("listing {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(listing),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is none of ours, and neither is one that is being written.
        let name = entry.with_context(listing)?.file_name().into_string().unwrap_or_default();
        if !name.is_empty() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Everything published in a directory.
pub fn read_publication(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut left = PUBLICATION_BYTES;
    for folder in [METADATA, TARGETS] {
        for name in names(&dir.join(folder))? {
            let path = format!("{folder}/{name}");
            if !Publication::is_ours(&path) {
                continue;
            }
            let Some(bytes) = read(&dir.join(&path), FILE_BYTES)? else { continue };
            left = left
                .checked_sub(bytes.len() as u64)
                .with_context(|| format!("{} has more than {PUBLICATION_BYTES} bytes published", dir.display()))?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}

/// Puts a file in place of another: written under another name, flushed, renamed, and the folder flushed.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    let folder = path.parent().with_context(writing)?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::create_dir_all(folder).with_context(writing)?;
    let written = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".").suffix(".unfinished").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    written().with_context(writing)
}

/// The same, unless it is there already.
pub fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    match read(path, FILE_BYTES) {
        Ok(Some(found)) if found == bytes => Ok(()),
        _ => write(path, bytes),
    }
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Puts a publication into a directory: the timestamp last, so that until then what was there is what readers see. Then
/// removes what is published no more.
pub fn write_publication(dir: &Path, publication: &Publication) -> anyhow::Result<()> {
    for (path, bytes) in publication.in_order() {
        write_new(&dir.join(path), bytes)?;
    }
    for folder in [METADATA, TARGETS] {
        for name in names(&dir.join(folder))? {
            let path = format!("{folder}/{name}");
            if Publication::is_ours(&path) && !publication.files().contains_key(&path) {
                remove(&dir.join(path))?;
            }
        }
    }
    Ok(())
}
