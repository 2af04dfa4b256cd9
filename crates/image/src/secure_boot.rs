//! Programs that firmware starts under Secure Boot: the loader, UKIs and their addons, signed and judged.
//!
//! What a signature covers is `boot`'s to say, and what it is made of `trust`'s; here both meet.

use rocketos_boot::uki::{self, UkiError, authenticode};
use rocketos_trust::{
    Signer,
    firmware::{Certificate, FirmwareError, sign_program, verify_program},
};

/// The section of an addon, and of a UKI, that carries arguments.
const CMDLINE: &str = ".cmdline";

/// A program that cannot be signed, or whose signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is no program of firmware's.
    #[error("it is not a program that firmware could start")]
    Program(#[from] UkiError),
    /// Signing it, or its signature.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
}

/// Who signs programs: the key that db has the certificate of.
#[derive(Clone, Copy)]
pub struct ProgramSigner<'a> {
    /// The private key.
    pub signer: &'a dyn Signer,
    /// Its certificate.
    pub certificate: &'a Certificate,
}

impl ProgramSigner<'_> {
    /// The program with one signature more.
    ///
    /// # Errors
    /// When it is no program, or the signer fails.
    pub fn sign(&self, program: &[u8]) -> Result<Vec<u8>, ProgramError> {
        let signature = sign_program(&authenticode::digest(program)?, self.signer, self.certificate)?;
        Ok(authenticode::with_signature(program, &signature)?)
    }
}

/// Judges a program by the certificate that db would have.
///
/// # Errors
/// When no signature of it is by that key, with what is wrong with the last one.
pub fn verify_signed(program: &[u8], certificate: &Certificate) -> Result<(), ProgramError> {
    let digest = authenticode::digest(program)?;
    let mut verdict = Err(ProgramError::Unsigned);
    for signature in authenticode::signatures(program)? {
        match verify_program(signature, &digest, certificate) {
            Ok(()) => return Ok(()),
            Err(error) => verdict = Err(error.into()),
        }
    }
    verdict
}

/// An addon (UAPI.5 "Unified Kernel Image", PE Addons): arguments in a program that is never started, only verified.
///
/// # Errors
/// When the stub is none, or the signer fails.
pub fn addon(stub: &[u8], arguments: &str, signer: Option<&ProgramSigner<'_>>) -> Result<Vec<u8>, ProgramError> {
    let addon = uki::assemble(stub, &[(CMDLINE, arguments.as_bytes())])?;
    match signer {
        Some(signer) => signer.sign(&addon),
        None => Ok(addon),
    }
}
