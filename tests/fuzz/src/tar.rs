//! Tar streams that are looked into: without right checksums nothing would be read behind the first header.

use std::ops::Range;

/// Bytes of a header (POSIX pax, "ustar Interchange Format").
const HEADER: usize = 512;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const MAGIC: Range<usize> = 257..262;

/// Sets the checksum of every header right.
pub(crate) fn checksummed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + HEADER) {
        at += HEADER;
        if &header[MAGIC] != b"ustar" {
            continue;
        }
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = str::from_utf8(&header[SIZE]).unwrap_or_default();
        let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        // As far as the bytes go: what is behind is nobody's header.
        at = at.saturating_add(size.min(bytes.len()).next_multiple_of(HEADER));
    }
    bytes
}
