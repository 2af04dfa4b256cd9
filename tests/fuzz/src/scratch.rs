//! What targets need on the disk: folders that last as long as the thread, and a runtime.

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A folder for one thread.
pub(crate) fn folder() -> TempDir {
    TempDir::new().expect("the temporary folder takes a folder")
}

/// Writes a file, its folders too.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a scratch folder takes a folder");
    }
    fs::write(path, bytes).expect("a scratch folder takes a file");
}

/// Empties a folder.
pub(crate) fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a scratch folder is listed") {
        let path = entry.expect("a scratch folder is listed").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("what is in a scratch folder goes");
    }
}

/// A runtime for one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}
