//! Sections of a unified kernel image, which is a PE file (Microsoft's PE format, "Section Table").

use anyhow::{Context, Result, bail};

/// Where the offset of the PE signature stands.
const SIGNATURE_AT: usize = 0x3c;
const SIGNATURE: &[u8] = b"PE\0\0";
const COFF_HEADER: usize = 20;
const SECTION_HEADER: usize = 40;
const NAME: usize = 8;

/// Returns the bytes of a section, without padding.
pub(super) fn section<'a>(image: &'a [u8], name: &[u8]) -> Result<&'a [u8]> {
    let pe = usize::try_from(u32_at(image, SIGNATURE_AT)?)?;
    if bytes_at(image, pe, SIGNATURE.len())? != SIGNATURE {
        bail!("no PE file");
    }
    let coff = pe + SIGNATURE.len();
    let sections = usize::from(u16_at(image, coff + 2)?);
    let table = coff + COFF_HEADER + usize::from(u16_at(image, coff + 16)?);
    for index in 0..sections {
        let header = bytes_at(image, table + index * SECTION_HEADER, SECTION_HEADER)?;
        if header[..NAME].strip_prefix(name).is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
            let (virtual_size, raw_size, raw_at) = (u32_at(header, 8)?, u32_at(header, 16)?, u32_at(header, 20)?);
            return bytes_at(image, usize::try_from(raw_at)?, usize::try_from(virtual_size.min(raw_size))?);
        }
    }
    bail!("no section {}", String::from_utf8_lossy(name))
}

fn bytes_at(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let end = at.checked_add(length).context("an offset beyond all files")?;
    bytes.get(at..end).with_context(|| format!("a file that ends before byte {end}"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes_at(bytes, at, 4)?.try_into()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_le_bytes(bytes_at(bytes, at, 2)?.try_into()?))
}
