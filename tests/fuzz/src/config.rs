//! Configurations.

use crate::layout::{self, MANIFEST, TAR};

pub(crate) fn fuzz(bytes: &[u8]) {
    layout::with(|layout| {
        let manifest = layout::manifest(bytes, &[layout::descriptor(TAR, b"")]);
        layout.blob(&manifest);
        layout.blob(bytes);
        layout.list(&manifest, MANIFEST, &[]);
        if let Ok(resolved) = layout.resolve(None) {
            assert_eq!(resolved.config, bytes);
            assert_eq!(resolved.layers.len(), 1);
        }
    });
}
