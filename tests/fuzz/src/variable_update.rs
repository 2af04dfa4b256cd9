//! Signed updates of the variables that Secure Boot is made of, as files have them.

use rocketos_trust::{firmware::Update, limits};

/// Where the moment stands, all of whose bytes are signed.
const TIME: std::ops::Range<usize> = 0..16;

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(update) = Update::read(bytes) else { return };
    assert!(bytes.len() as u64 <= limits::VARIABLE_UPDATE_BYTES && update.bytes == bytes);
    assert!(bytes.len() > TIME.end);
    // Its value and its moment are signed.
    for at in TIME.chain([bytes.len() - 1]) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert!(Update::read(&changed).is_err(), "byte {at}");
    }
    assert!(Update::read(&[bytes, b"\0"].concat()).is_err());
}
