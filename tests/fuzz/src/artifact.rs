//! What lies beside an image: a manifest that names it as its subject, and one whose layers are named files.

use rocketos_oci::FILES;
use serde_json::json;

use crate::layout::{self, MANIFEST};

/// Bytes of a file that is read.
const FILE_BYTES: u64 = 1 << 16;
const CONTENT: &[u8] = b"{}";

pub(crate) fn fuzz(bytes: &[u8]) {
    layout::with(|layout| {
        let config = layout::config(&[]);
        let good = layout::manifest(&config, &[]);
        for blob in [config.as_slice(), &good, CONTENT, bytes] {
            layout.blob(blob);
        }
        let mut tagged = layout::descriptor(MANIFEST, bytes);
        tagged["annotations"] = json!({"org.opencontainers.image.ref.name": "files"});
        layout.list(&good, MANIFEST, &[tagged]);
        let resolved = layout.resolve(Some(layout::TAG)).expect("the image is good");
        let beside = || resolved.beside().expect("a layout has things beside an image");
        let found = layout.runtime.block_on(beside().referring(resolved.manifest_digest, &[]));
        for digest in found.unwrap_or_default() {
            assert_eq!(digest.as_bytes(), layout::digest(bytes).as_bytes());
        }
        let Ok(Some(files)) = layout.runtime.block_on(beside().files("files")) else { return };
        assert!(files.names().count() <= FILES);
        for name in files.names() {
            if let Ok(content) = layout.runtime.block_on(files.read(name, FILE_BYTES)) {
                assert!(content.expect("it was listed").len() as u64 <= FILE_BYTES);
            }
        }
    });
}
