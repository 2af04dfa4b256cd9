//! Archives that are to hold a layout.

use std::{cell::LazyCell, path::PathBuf};

use rocketos_model::ImageReference;
use rocketos_oci::{Reader, ReaderConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{layout, scratch, tar};

thread_local! {
    static READING: LazyCell<(TempDir, Reader, Runtime)> = LazyCell::new(|| {
        let config = ReaderConfig { architecture: layout::ARCHITECTURE.to_owned(), ..ReaderConfig::default() };
        (scratch::folder(), Reader::new(config).expect("no file is no bad file"), scratch::runtime())
    });
}

pub(crate) fn fuzz(bytes: &[u8]) {
    READING.with(|reading| {
        let (folder, reader, runtime) = &**reading;
        let path: PathBuf = folder.path().join("image.tar");
        scratch::write(&path, &tar::checksummed(bytes));
        for tag in [None, Some(layout::TAG.to_owned())] {
            if let Ok(resolved) = runtime.block_on(reader.resolve(&ImageReference::Archive { path: path.clone(), tag }))
            {
                layout::check(&resolved);
            }
        }
    });
}
