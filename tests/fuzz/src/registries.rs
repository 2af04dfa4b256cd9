//! containers-registries.conf(5).

use std::cell::LazyCell;

use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig};
use tempfile::TempDir;

use crate::scratch;

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(scratch::folder);
}

/// Names that seeds speak of.
const NAMES: [&str; 3] = ["docker://a.example/team/node", "docker://x.a.example/node:1", "docker://docker.io/node"];

pub(crate) fn fuzz(bytes: &[u8]) {
    FOLDER.with(|folder| {
        let file = folder.path().join("registries.conf");
        scratch::write(&file, bytes);
        let config = ReaderConfig { registries_conf: Some(file), ..ReaderConfig::default() };
        let Ok(reader) = Reader::new(config) else { return };
        for name in NAMES {
            let reference: ImageReference = name.parse().expect("a name");
            // Finds the places without asking them.
            let _ = reader.beside(&reference);
        }
    });
}
