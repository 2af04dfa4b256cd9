//! A layer as a registry serves it. The first byte chooses what it is said to be packed with.

use std::cell::RefCell;

use rocketos_model::BlobDigest;

use crate::{
    layer::Shelf,
    layout::{self, MANIFEST, TAR},
};

thread_local! {
    static SHELF: RefCell<Option<Shelf>> = const { RefCell::new(None) };
}

pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((kind, packed)) = bytes.split_first() else { return };
    let media_type = format!("{TAR}{}", ["", "+gzip", "+zstd"][usize::from(*kind) % 3]);
    SHELF.with_borrow_mut(|shelf| {
        let shelf = shelf.get_or_insert_with(Shelf::new);
        layout::with(|layout| {
            // Nobody knows what is inside, so nothing is ever named; everything before that is done.
            let config = layout::config(&[BlobDigest::from_bytes([0; 32])]);
            let manifest = layout::manifest(&config, &[layout::descriptor(&media_type, packed)]);
            for blob in [&config, &manifest, packed] {
                layout.blob(blob);
            }
            layout.list(&manifest, MANIFEST, &[]);
            let resolved = layout.resolve(None).expect("the image is good");
            let fetched = layout.runtime.block_on(layout.reader.fetch(&resolved, &shelf.store, &()));
            assert!(fetched.is_err(), "no stream has a digest of zeros");
        });
        shelf.used();
    });
}
