//! X.509 certificates that people name, and those in signatures.

use rocketos_trust::{
    firmware::{Certificate, certificates},
    limits,
};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(certificate) = Certificate::read(bytes) else { return };
    assert!(bytes.len() as u64 <= limits::CERTIFICATE_BYTES);
    for again in [certificate.to_der(), certificate.to_pem().as_bytes()] {
        let again = Certificate::read(again).expect("what is written is read");
        assert_eq!((again.fingerprint(), again.name()), (certificate.fingerprint(), certificate.name()));
    }
    assert!(certificates(&[&certificate]).ends_with(certificate.to_der()));
}
