//! Labels of disks that are plugged in.

use std::io::Cursor;

use rocketos_sys::label::read;

pub(crate) fn fuzz(bytes: &[u8]) {
    // As it lies, and where the descriptor of a compact disc would.
    for before in [0, 16 << 11] {
        let disk = [vec![0; before], bytes.to_vec()].concat();
        if let Some(found) = read(&mut Cursor::new(disk)).expect("memory answers") {
            assert!(!found.label.is_empty() && found.label.len() <= 32, "{found:?}");
            assert!(found.label.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{found:?}");
        }
    }
}
