//! Kernel command lines.

use rocketos_model::cmdline::{KEY, LEGACY_KEY, argument, digest, split};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(line) = str::from_utf8(bytes) else { return };
    for word in split(line) {
        assert!(!word.is_empty());
    }
    let Ok(found) = digest(line) else { return };
    // However it is quoted, no second word names an image.
    let naming = split(line).map(|word| word.replace('"', "")).filter(|word| {
        let key = word.split('=').next().unwrap_or_default();
        key == KEY || key == LEGACY_KEY
    });
    assert_eq!(naming.collect::<Vec<_>>(), [argument(&found)]);
    assert_eq!(digest(&argument(&found)), Ok(found));
}
