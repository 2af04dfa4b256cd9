//! `index.json` of a layout, also as the list of what refers to an image.

use openssl::sha::sha256;
use rocketos_model::ManifestDigest;

use crate::layout;

pub(crate) fn fuzz(bytes: &[u8]) {
    layout::with(|layout| {
        let config = layout::config(&[]);
        let good = layout::manifest(&config, &[]);
        for blob in [&config, &good] {
            layout.blob(blob);
        }
        layout.index(bytes);
        for tag in [None, Some(layout::TAG)] {
            let Ok(resolved) = layout.resolve(tag) else { continue };
            let mut beside = resolved.beside().expect("a layout has things beside an image");
            let subject = ManifestDigest::from_bytes(sha256(&good));
            let _ = layout.runtime.block_on(beside.referring(subject, &["application/x"]));
            let _ = layout.runtime.block_on(beside.under_tag("x"));
        }
    });
}
