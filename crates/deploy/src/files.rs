//! The node's own small files.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

use rocketos_model::{Booted, layout, limits};

use crate::DeployError;

/// Replaces a file: written under another name, flushed, renamed, its directory flushed.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), DeployError> {
    let temporary = path.with_extension("unfinished");
    let result = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(DeployError::io("writing", path))
}

/// Reads a file; absent where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, DeployError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limits::CONFIG_FILE_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DeployError::io("reading", path)(error)),
    }
}

/// What the initramfs booted.
pub(crate) fn booted() -> Result<Booted, DeployError> {
    let path = Path::new(layout::node::BOOTED);
    let text = read(path)?.ok_or_else(|| DeployError::NotBooted { path: path.to_owned() })?;
    Booted::from_toml(&text).map_err(|error| DeployError::Format { path: path.to_owned(), source: error.into() })
}

/// Removes a file or a directory with what is in it; absence is success.
pub(crate) fn remove(path: &Path) -> Result<(), DeployError> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(DeployError::io("removing", path)),
    }
}

/// Names in a directory, sorted; an absent directory has none.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, DeployError> {
    let listing = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(DeployError::io("listing", path))?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(DeployError::io("listing", path))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Makes a directory and those above it.
pub(crate) fn directory(path: &Path) -> Result<(), DeployError> {
    fs::create_dir_all(path).map_err(DeployError::io("making", path))
}
