//! What UEFI Secure Boot believes: certificates, signatures in programs, signed updates of its variables.
//!
//! Owns the forms, as bytes: X.509 (RFC 5280), PKCS#7 (RFC 2315), Authenticode (Microsoft, "Windows Authenticode Portable
//! Executable Signature Format") and `EFI_VARIABLE_AUTHENTICATION_2` (UEFI 2.10, 8.2.2). Whoever holds a key is a
//! [`crate::Signer`]. Where a signature lies in a PE file, and what of the file it covers, is `boot`'s to say.

mod authenticode;
mod certificate;
mod pkcs7;
mod variable;

pub use authenticode::{sign_program, verify_program};
pub use certificate::{Certificate, Validity};
pub use variable::{Mode, OWNER, Update, Variable, certificates, revoked};

use crate::SignError;

/// Something that is not what firmware takes, or cannot become it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// A kind of key that firmware does not verify.
    #[error("the key {name} is no RSA key; firmware verifies RSA, of 2048 bits everywhere")]
    NotRsa {
        /// The key's name.
        name: String,
    },
    /// A name that a certificate cannot bear.
    #[error("'{0}' is no name for a certificate: letters, digits, spaces, '-', '_' and '.', at most 60 of them")]
    Name(String),
    /// A key and the certificate of another.
    #[error("the certificate {certificate} is not of the key {key}")]
    Mismatch {
        /// Its subject.
        certificate: String,
        /// The key's name.
        key: String,
    },
    /// Bytes that are no certificate.
    #[error("not one X.509 certificate with an RSA key, in PEM or DER: {0}")]
    Certificate(String),
    /// Bytes that are no signature, or one of another kind.
    #[error("not a signature as firmware takes it: {0}")]
    Malformed(String),
    /// A signature of something else.
    #[error("it is signed, but what was signed is not this: it was changed afterwards")]
    Changed,
    /// A signature by somebody else.
    #[error("it is signed, but not by {0}")]
    Stranger(String),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Encoding, which no input of ours makes fail.
    #[error("writing DER")]
    Der(#[from] x509_cert::der::Error),
}

#[cfg(test)]
mod tests;
