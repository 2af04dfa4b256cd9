//! Saying what a mountable image holds, for people and tests; nothing is mounted.

use std::{fs::File, io::Read as _};

use composefs::{dumpfile::write_dumpfile, erofs::reader::erofs_to_filesystem, fsverity::Sha512HashValue};
use rocketos_model::ComposefsDigest;

use crate::{Store, StoreError};

impl Store {
    /// Lists the files of a mountable image as the kernel will show them, one a line, in the form of composefs-dump(5).
    ///
    /// # Errors
    /// When the image is not in the store, or damaged.
    pub fn list_files(&self, image: &ComposefsDigest) -> Result<String, StoreError> {
        let (fd, _) = self
            .repository
            .open_image(&image.to_hex())
            .map_err(StoreError::composefs("opening a mountable image in the store"))?;
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes).map_err(StoreError::Read)?;
        let mut listing = Vec::new();
        erofs_to_filesystem::<Sha512HashValue>(&bytes)
            .and_then(|tree| write_dumpfile(&mut listing, &tree))
            .map_err(StoreError::composefs("reading a mountable image"))?;
        String::from_utf8(listing).map_err(|error| StoreError::Parse { what: "mountable form", source: error.into() })
    }
}
