//! containers-auth.json(5).

use std::cell::LazyCell;

use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig};
use tempfile::TempDir;

use crate::scratch;

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(scratch::folder);
}

pub(crate) fn fuzz(bytes: &[u8]) {
    FOLDER.with(|folder| {
        let file = folder.path().join("auth.json");
        scratch::write(&file, bytes);
        let Ok(reader) = Reader::new(ReaderConfig { auth_files: vec![file], ..ReaderConfig::default() }) else {
            return;
        };
        let reference: ImageReference = "docker://a.example/team/node".parse().expect("a name");
        let _ = reader.beside(&reference);
    });
}
