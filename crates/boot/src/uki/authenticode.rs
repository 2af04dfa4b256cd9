//! What of a PE file a signature covers, and where signatures lie in it (Microsoft, "Windows Authenticode Portable
//! Executable Signature Format").
//!
//! Covered is the whole file but its checksum, the entry of the table of signatures, and that table, which is the file's
//! end. Files with bytes that firmware might hash in another order than their own are refused. Making and judging a
//! signature is not done here.

use sha2::{Digest as _, Sha256};

use super::{
    CERTIFICATES, Headers, OPTIONAL_HEADER, UkiError, check, parse, put_u32, round_up, slice, too_large, u16_at, u32_at,
};

/// Where the optional header has the checksum.
const CHECKSUM: usize = 64;
/// Bytes of `WIN_CERTIFICATE` before the signature.
const HEADER: usize = 8;
/// Entries of the table begin at a multiple of it.
const ALIGNMENT: u32 = 8;
/// WIN_CERT_REVISION_2_0.
const REVISION: u16 = 0x0200;
/// WIN_CERT_TYPE_PKCS_SIGNED_DATA.
const SIGNED_DATA: u16 = 0x0002;
/// Signatures of one file: two while keys rotate.
const SIGNATURES: usize = 8;

/// Where the data directory of signatures stands, and the table it names: both ends of it.
struct Table {
    entry: usize,
    from: usize,
    to: usize,
}

fn table(bytes: &[u8], headers: &Headers) -> Result<Table, UkiError> {
    let entry = headers.optional + OPTIONAL_HEADER + 8 * CERTIFICATES;
    let directories = u32_at(bytes, headers.optional + 108, "the optional header")? as usize;
    if directories <= CERTIFICATES || entry + 8 > headers.table {
        return Err(UkiError::Malformed("its header has no place for a signature".to_owned()));
    }
    let from = u32_at(bytes, entry, "the data directories")? as usize;
    let length = u32_at(bytes, entry + 4, "the data directories")? as usize;
    if from == 0 && length == 0 {
        return Ok(Table { entry, from: bytes.len(), to: bytes.len() });
    }
    let content_end = headers.sections.iter().map(|section| section.file_range().1).max().unwrap_or_default();
    match from.checked_add(length) {
        Some(to) if to == bytes.len() && from as u64 >= content_end => Ok(Table { entry, from, to }),
        _ => Err(UkiError::Malformed("its table of signatures is not the end of the file".to_owned())),
    }
}

/// Headers and sections have to lie one behind the other: firmware hashes them by their sizes, others by their places.
fn require_gapless(headers: &Headers) -> Result<(), UkiError> {
    let mut ranges: Vec<_> = headers.sections.iter().filter(|section| section.size > 0).collect();
    ranges.sort_by_key(|section| section.offset);
    let mut at = u64::from(headers.size_of_headers);
    for section in ranges {
        let (from, to) = section.file_range();
        if from != at {
            return Err(UkiError::Malformed(format!(
                "there are bytes before section {} that belong to none",
                section.name
            )));
        }
        at = to;
    }
    Ok(())
}

fn read(bytes: &[u8]) -> Result<(Headers, Table), UkiError> {
    let headers = parse(bytes, bytes.len() as u64)?;
    check(bytes.len() as u64, &headers)?;
    require_gapless(&headers)?;
    let table = table(bytes, &headers)?;
    Ok((headers, table))
}

/// The SHA-256 that a signature of this file is over, signed already or not.
///
/// # Errors
/// As [`super::sections`], and when it cannot bear a signature.
pub fn digest(bytes: &[u8]) -> Result<[u8; 32], UkiError> {
    let (headers, table) = read(bytes)?;
    let checksum = headers.optional + CHECKSUM;
    let mut hash = Sha256::new();
    for range in [0..checksum, checksum + 4..table.entry, table.entry + 8..table.from] {
        hash.update(slice(bytes, range.start, range.len(), "what is signed")?);
    }
    // As long as it will be when it is signed: the table begins aligned.
    let padding = table.from.next_multiple_of(ALIGNMENT as usize) - table.from;
    hash.update(&[0; ALIGNMENT as usize][..padding]);
    Ok(hash.finalize().into())
}

/// The signatures of a file, in PKCS#7; none where it is not signed.
///
/// # Errors
/// As [`digest`], and when one of them is malformed or of another kind.
pub fn signatures(bytes: &[u8]) -> Result<Vec<&[u8]>, UkiError> {
    let (_, table) = read(bytes)?;
    let (mut at, mut found) = (table.from, Vec::new());
    while at < table.to {
        let length = u32_at(bytes, at, "a signature")? as usize;
        let kind = (u16_at(bytes, at + 4, "a signature")?, u16_at(bytes, at + 6, "a signature")?);
        if length < HEADER || kind != (REVISION, SIGNED_DATA) || found.len() == SIGNATURES {
            return Err(UkiError::Malformed("its table of signatures has something else in it".to_owned()));
        }
        let end = at.checked_add(length).filter(|end| *end <= table.to).ok_or_else(too_large("a signature"))?;
        found.push(slice(bytes, at + HEADER, end - at - HEADER, "a signature")?);
        at = end.next_multiple_of(ALIGNMENT as usize);
    }
    Ok(found)
}

/// Puts a signature in PKCS#7 behind those that are there.
///
/// # Errors
/// As [`digest`], and when the file would become too large.
pub fn with_signature(bytes: &[u8], signature: &[u8]) -> Result<Vec<u8>, UkiError> {
    let (headers, table) = read(bytes)?;
    if signatures(bytes)?.len() >= SIGNATURES {
        return Err(UkiError::Malformed(format!("it has {SIGNATURES} signatures already")));
    }
    let mut out = bytes.to_vec();
    out.resize(round_up(bytes.len(), ALIGNMENT, "the file")? as usize, 0);
    let from = if table.from == table.to { out.len() } else { table.from };
    // Its own length is the exact one; the table's is padded.
    let length = HEADER + signature.len();
    let end = out.len() + round_up(length, ALIGNMENT, "the signature")? as usize;
    let fits = |value: usize| u32::try_from(value).map_err(|_| too_large("the file")());
    out.extend(fits(length)?.to_le_bytes());
    out.extend(REVISION.to_le_bytes());
    out.extend(SIGNED_DATA.to_le_bytes());
    out.extend(signature);
    out.resize(end, 0);
    put_u32(&mut out, table.entry, fits(from)?);
    put_u32(&mut out, table.entry + 4, fits(end - from)?);
    put_u32(&mut out, headers.optional + CHECKSUM, 0);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uki::{assemble, tests::stub};

    #[test]
    fn a_signature_changes_nothing_of_what_it_covers() {
        for extra in 0..9 {
            let uki = assemble(&stub(), &[(".cmdline", &vec![b'a'; 600 + extra])]).unwrap();
            let before = digest(&uki).unwrap();
            assert_eq!(signatures(&uki).unwrap(), Vec::<&[u8]>::new());
            let signed = with_signature(&uki, &vec![1; 100 + extra]).unwrap();
            assert_eq!(digest(&signed).unwrap(), before);
            let twice = with_signature(&signed, b"second").unwrap();
            assert_eq!(digest(&twice).unwrap(), before);
            assert_eq!(signatures(&twice).unwrap(), [&vec![1; 100 + extra][..], b"second"]);
            assert_eq!(crate::uki::sections(&twice).unwrap(), crate::uki::sections(&uki).unwrap());
            assert!(matches!(assemble(&signed, &[]), Err(UkiError::Signed)));
        }
    }

    #[test]
    fn every_byte_before_the_signatures_counts_but_two_fields() {
        let uki = assemble(&stub(), &[(".cmdline", b"a")]).unwrap();
        let (headers, table) = read(&uki).unwrap();
        let (free, before) = ([headers.optional + CHECKSUM, table.entry], digest(&uki).unwrap());
        for at in
            (0..uki.len()).filter(|at| !free.iter().zip([4, 8]).any(|(from, size)| (*from..from + size).contains(at)))
        {
            let mut changed = uki.clone();
            changed[at] ^= 1;
            assert_ne!(digest(&changed).ok(), Some(before), "byte {at}");
        }
    }

    #[test]
    fn refuses_what_firmware_might_hash_otherwise() {
        let signed = with_signature(&stub(), &[1; 64]).unwrap();
        let after = [&signed[..], b"more"].concat();
        assert!(digest(&after).unwrap_err().to_string().contains("not the end of the file"));
        let (headers, _) = read(&stub()).unwrap();
        let mut gap = stub();
        put_u32(&mut gap, headers.optional + 60, 0x3f0);
        assert!(digest(&gap).unwrap_err().to_string().contains("before section .text"));
        let mut kind = signed.clone();
        kind[stub().len() + 6] = 1;
        assert!(signatures(&kind).is_err());
        let mut long = signed;
        long[stub().len()] = 0xff;
        assert!(signatures(&long).is_err());
    }
}
