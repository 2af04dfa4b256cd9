//! Programs that firmware starts: what of them a signature covers, and the signatures that they have.

use std::cell::LazyCell;

use rocketos_boot::uki::authenticode::{digest, signatures, with_signature};
use rocketos_trust::firmware::{Certificate, verify_program};

thread_local! {
    /// Whose signatures seeds have.
    static OURS: LazyCell<Certificate> = LazyCell::new(|| {
        Certificate::read(include_bytes!("../corpus/certificate/ours.pem")).expect("a certificate")
    });
}

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(covered) = digest(bytes) else {
        assert!(signatures(bytes).is_err() && with_signature(bytes, b"one").is_err());
        return;
    };
    let Ok(found) = signatures(bytes) else {
        assert!(with_signature(bytes, b"one").is_err());
        return;
    };
    let total: usize = found.iter().map(|signature| signature.len()).sum();
    assert!(total <= bytes.len());
    OURS.with(|ours| {
        for signature in &found {
            if verify_program(signature, &covered, ours).is_ok() {
                let mut other = covered;
                other[0] ^= 1;
                assert!(verify_program(signature, &other, ours).is_err());
            }
        }
    });
    // One signature more changes nothing of what the others cover.
    let Ok(signed) = with_signature(bytes, b"one more") else { return };
    assert_eq!(digest(&signed).expect("what was signed is read"), covered);
    let again = signatures(&signed).expect("what was signed is read");
    assert_eq!((again.len(), again[..found.len()] == found), (found.len() + 1, true));
    assert_eq!(again.last(), Some(&&b"one more"[..]));
}
