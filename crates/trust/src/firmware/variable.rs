//! Signed updates of the variables that Secure Boot is made of (UEFI 2.10, 8.2.2 and 32.4.1).

use std::time::Duration;

use cms::signed_data::SignedData;
use x509_cert::der::{DateTime, Decode as _, Encode as _};

use super::{Certificate, FirmwareError, pkcs7};
use crate::{Signer, limits};

/// Whose entries ours are (`EFI_SIGNATURE_DATA`, SignatureOwner): a name, of which nothing depends.
pub const OWNER: &str = "6f0c9d5a-7a2e-4b0f-9a43-2f3f5c1d8e70";
/// `EFI_CERT_X509_GUID`.
const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";
/// `EFI_CERT_SHA256_GUID`.
const SHA256: &str = "c1c41626-504c-4092-aca9-41f936934328";
/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7: &str = "4aafd29d-68df-49ee-8aa9-347d375665a7";
/// `WIN_CERT_TYPE_EFI_GUID`.
const WIN_CERT_TYPE_EFI_GUID: u16 = 0x0ef1;
/// `WIN_CERTIFICATE` revision 2.0.
const REVISION: u16 = 0x0200;
/// Bytes of `EFI_TIME`, of `WIN_CERTIFICATE` with its GUID, and of a GUID.
const TIME_BYTES: usize = 16;
const WIN_CERTIFICATE_BYTES: usize = 24;
const GUID_BYTES: usize = 16;
/// Non-volatile, seen by the loader and the system, time-based authenticated.
const ATTRIBUTES: u32 = 0x27;
/// `EFI_VARIABLE_APPEND_WRITE`.
const APPEND: u32 = 0x40;

/// A variable of Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// The platform key: who may change it and KEK.
    Pk,
    /// The keys that may change db and dbx.
    Kek,
    /// What may start.
    Db,
    /// What may not, whatever db says.
    Dbx,
}

impl Variable {
    /// All, in the order in which they are enrolled: the last one, PK, ends setup mode.
    pub const ALL: [Self; 4] = [Self::Dbx, Self::Db, Self::Kek, Self::Pk];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
            Self::Dbx => "dbx",
        }
    }

    /// The namespace of its name.
    pub fn vendor(self) -> &'static str {
        match self {
            // EFI_GLOBAL_VARIABLE
            Self::Pk | Self::Kek => "8be4df61-93ca-11d2-aa0d-00e098032b8c",
            // EFI_IMAGE_SECURITY_DATABASE_GUID
            Self::Db | Self::Dbx => "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
        }
    }

    /// Its name as Linux has it.
    pub fn file(self) -> String {
        format!("{}-{}", self.name(), self.vendor())
    }
}

/// How an update changes a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It says all that the variable holds; firmware takes it once, for the next has to be younger.
    Replace,
    /// It is added to what is there.
    Append,
}

impl Mode {
    /// `SetVariable`'s attributes.
    pub fn attributes(self) -> u32 {
        match self {
            Self::Replace => ATTRIBUTES,
            Self::Append => ATTRIBUTES | APPEND,
        }
    }
}

/// A GUID as firmware has it: three numbers little-endian, the rest as written (UEFI 2.10, appendix A).
fn guid(text: &str) -> [u8; GUID_BYTES] {
    let mut bytes = [0; GUID_BYTES];
    hex::decode_to_slice(text.replace('-', ""), &mut bytes).expect("a constant in hexadecimal digits");
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// One `EFI_SIGNATURE_LIST` of entries of one length.
fn list(kind: &str, entries: &[&[u8]]) -> Vec<u8> {
    let Some(first) = entries.first() else { return Vec::new() };
    let size = GUID_BYTES + first.len();
    let length = |value: usize| u32::try_from(value).expect("limits bound it").to_le_bytes();
    let mut out = guid(kind).to_vec();
    out.extend(length(GUID_BYTES + 12 + size * entries.len()));
    out.extend(length(0));
    out.extend(length(size));
    for entry in entries {
        out.extend(guid(OWNER));
        out.extend(*entry);
    }
    out
}

/// What a variable holds that names these certificates.
pub fn certificates(all: &[&Certificate]) -> Vec<u8> {
    all.iter().flat_map(|one| list(X509, &[one.to_der()])).collect()
}

/// What dbx holds that names programs by their digests.
pub fn revoked(digests: &[[u8; 32]]) -> Vec<u8> {
    list(SHA256, &digests.iter().map(|digest| digest.as_slice()).collect::<Vec<_>>())
}

/// `EFI_TIME` of a moment, in seconds since 1970.
fn efi_time(seconds: u64) -> Result<[u8; TIME_BYTES], FirmwareError> {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds))?;
    let mut out = [0; TIME_BYTES];
    out[..2].copy_from_slice(&time.year().to_le_bytes());
    out[2..7].copy_from_slice(&[time.month(), time.day(), time.hour(), time.minutes(), time.seconds()]);
    Ok(out)
}

/// The moment of an `EFI_TIME`, in seconds since 1970.
fn seconds(time: &[u8]) -> Result<u64, FirmwareError> {
    let &[low, high, month, day, hour, minute, second, ..] = time else {
        return Err(FirmwareError::Malformed("it is cut short".to_owned()));
    };
    let time = DateTime::new(u16::from_le_bytes([low, high]), month, day, hour, minute, second)?;
    Ok(time.unix_duration().as_secs())
}

/// What is signed: name, namespace, attributes, time, value (UEFI 2.10, 8.2.2).
fn message(variable: Variable, mode: Mode, time: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    out.extend(guid(variable.vendor()));
    out.extend(mode.attributes().to_le_bytes());
    out.extend(time);
    out.extend(value);
    out
}

/// A signed update: what `SetVariable` is given, and what `<variable>.auth` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Of which variable.
    pub variable: Variable,
    /// How.
    pub mode: Mode,
    /// The moment it bears, in seconds since 1970: firmware replaces a value only by one that is younger, not as old.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Update {
    /// Signs one, at a moment in seconds since 1970.
    ///
    /// # Errors
    /// When the certificate is not of the signer's key, or the signer fails.
    pub fn sign(
        variable: Variable,
        mode: Mode,
        value: &[u8],
        at: u64,
        (signer, certificate): (&dyn Signer, &Certificate),
    ) -> Result<Self, FirmwareError> {
        let time = efi_time(at)?;
        let signed = pkcs7::sign_detached(&message(variable, mode, &time, value), signer, certificate)?.to_der()?;
        let length = u32::try_from(WIN_CERTIFICATE_BYTES + signed.len())
            .map_err(|_| FirmwareError::Malformed("the signature is too long".to_owned()))?;
        let mut bytes = time.to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(REVISION.to_le_bytes());
        bytes.extend(WIN_CERT_TYPE_EFI_GUID.to_le_bytes());
        bytes.extend(guid(PKCS7));
        bytes.extend(signed);
        bytes.extend(value);
        Ok(Self { variable, mode, at, bytes })
    }

    /// Reads one, and finds out by its signature of which variable it is, and how it changes it: both are signed, and
    /// neither is written in it. Whether firmware believes the signer is firmware's to say.
    ///
    /// # Errors
    /// When it is none, or was changed.
    pub fn read(bytes: &[u8]) -> Result<Self, FirmwareError> {
        let malformed = |problem: &str| FirmwareError::Malformed(problem.to_owned());
        if bytes.len() as u64 > limits::VARIABLE_UPDATE_BYTES {
            return Err(malformed("it is longer than any update of a variable"));
        }
        let head = bytes.get(..TIME_BYTES + WIN_CERTIFICATE_BYTES).ok_or_else(|| malformed("it is cut short"))?;
        let (time, header) = head.split_at(TIME_BYTES);
        if header[6..8] != WIN_CERT_TYPE_EFI_GUID.to_le_bytes() || header[8..] != guid(PKCS7) {
            return Err(malformed("it does not begin as an update of a variable"));
        }
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let end = TIME_BYTES.checked_add(length).filter(|end| *end >= head.len());
        let signature = end.and_then(|end| bytes.get(head.len()..end)).ok_or_else(|| malformed("it is cut short"))?;
        let value = &bytes[TIME_BYTES + length..];
        let signed = SignedData::from_der(signature).map_err(|error| malformed(&error.to_string()))?;
        let certificate = pkcs7::only_certificate(&signed)?;
        let at = seconds(time)?;
        for variable in Variable::ALL {
            for mode in [Mode::Replace, Mode::Append] {
                if pkcs7::verify_detached(&signed, &message(variable, mode, time, value), &certificate)? {
                    return Ok(Self { variable, mode, at, bytes: bytes.to_vec() });
                }
            }
        }
        Err(FirmwareError::Changed)
    }
}
