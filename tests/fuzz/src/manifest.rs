//! A manifest, or an index of the image the layout has, found by its digest.

use crate::layout::{self, MANIFEST};

pub(crate) fn fuzz(bytes: &[u8]) {
    layout::with(|layout| {
        let config = layout::config(&[]);
        let good = layout::manifest(&config, &[]);
        for blob in [&config, &good] {
            layout.blob(blob);
        }
        layout.blob(bytes);
        // Served as what it says it is; a descriptor of another type refuses it, which is looked at with most inputs.
        let says: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
        let media_type = says.as_ref().and_then(|says| says["mediaType"].as_str()).unwrap_or(MANIFEST);
        layout.list(bytes, media_type, &[]);
        match layout.resolve(Some(layout::TAG)) {
            Ok(resolved) => {
                assert!(resolved.manifest == bytes || resolved.indexes.first().is_some_and(|index| index == bytes));
            }
            // What it says is shown to somebody.
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
        }
    });
}
