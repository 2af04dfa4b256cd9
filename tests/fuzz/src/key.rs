//! Public keys.

use rocketos_trust::{PublicKey, limits};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(key) = PublicKey::from_pem("key", bytes) else { return };
    assert!(bytes.len() as u64 <= limits::KEY_BYTES);
    let again = PublicKey::from_pem("key", &key.to_pem()).expect("what was written is read");
    assert_eq!((again.fingerprint(), again.algorithm()), (key.fingerprint(), key.algorithm()));
    assert!(!key.verifies(b"message", b""));
}
