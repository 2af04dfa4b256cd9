//! Signatures of programs that firmware starts (Authenticode).

use cms::{content_info::ContentInfo, signed_data::SignedData};
use x509_cert::{
    der::{Any, Decode as _, Encode as _},
    spki::ObjectIdentifier,
};

use super::{Certificate, FirmwareError, pkcs7};
use crate::Signer;

/// SPC_INDIRECT_DATA_OBJID.
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");

/// SpcIndirectDataContent up to the digest, in DER: nothing of it but the digest ever differs.
const BEFORE_DIGEST: [u8; 70] = [
    0x30, 0x68, // SpcIndirectDataContent
    0x30, 0x33, // data: SpcAttributeTypeAndOptionalValue
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f, // SPC_PE_IMAGE_DATAOBJ
    0x30, 0x25, // value: SpcPeImageData
    0x03, 0x01, 0x00, // flags: none
    0xa0, 0x20, 0xa2, 0x1e, 0x80, 0x1c, // file: an SpcLink to a file, whose name the specification fixes:
    0x00, b'<', 0x00, b'<', 0x00, b'<', 0x00, b'O', 0x00, b'b', 0x00, b's', 0x00, b'o', 0x00, b'l', 0x00, b'e', 0x00,
    b't', 0x00, b'e', 0x00, b'>', 0x00, b'>', 0x00, b'>', //
    0x30, 0x31, // messageDigest: DigestInfo
    0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
];
/// The end of SHA-256's algorithm identifier, and an OCTET STRING of its length.
const DIGEST_FOLLOWS: [u8; 4] = [0x05, 0x00, 0x04, 0x20];

fn indirect_data(digest: &[u8; 32]) -> Vec<u8> {
    [&BEFORE_DIGEST[..], &DIGEST_FOLLOWS, digest].concat()
}

/// Signs the digest of a program; returns what goes into the file's table of certificates.
///
/// # Errors
/// When the certificate is not of the signer's key, or the signer fails.
pub fn sign_program(
    digest: &[u8; 32],
    signer: &dyn Signer,
    certificate: &Certificate,
) -> Result<Vec<u8>, FirmwareError> {
    let content = Any::from_der(&indirect_data(digest))?;
    let signed = pkcs7::sign_inside(INDIRECT_DATA, &content, signer, certificate)?;
    Ok(ContentInfo { content_type: pkcs7::SIGNED_DATA, content: Any::encode_from(&signed)? }.to_der()?)
}

/// Judges a signature out of a file's table of certificates: by the key of `certificate`, over a program of this digest.
///
/// # Errors
/// When it is no such signature.
pub fn verify_program(signature: &[u8], digest: &[u8; 32], certificate: &Certificate) -> Result<(), FirmwareError> {
    let malformed = |error: x509_cert::der::Error| FirmwareError::Malformed(error.to_string());
    let info = ContentInfo::from_der(signature).map_err(malformed)?;
    if info.content_type != pkcs7::SIGNED_DATA {
        return Err(FirmwareError::Malformed(format!("it is of type {}", info.content_type)));
    }
    let signed: SignedData = info.content.decode_as().map_err(malformed)?;
    if signed.encap_content_info.econtent_type != INDIRECT_DATA {
        return Err(FirmwareError::Malformed("it is no signature of a program".to_owned()));
    }
    pkcs7::verify_inside(&signed, certificate)?;
    // The digest is what follows the algorithm; what others write before it differs in words that firmware passes over.
    let content = signed.encap_content_info.econtent.as_ref().map(|content| content.value()).unwrap_or_default();
    let tail = [&BEFORE_DIGEST[BEFORE_DIGEST.len() - 15..], &DIGEST_FOLLOWS, digest].concat();
    match content.ends_with(&tail) {
        true => Ok(()),
        false => Err(FirmwareError::Changed),
    }
}
