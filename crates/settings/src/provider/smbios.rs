//! Strings that a vendor, or a hypervisor, puts into SMBIOS: structures of type 11 (DMTF DSP0134 3.7, 6.1 and 7.12).

/// Bytes of a table of structures that are read.
pub const TABLE_BYTES: usize = 4 << 20;
/// Type, length, handle (6.1.2).
const HEADER: usize = 4;
/// OEM strings (7.12).
const OEM_STRINGS: u8 = 11;
/// The last structure (7.45).
const END: u8 = 127;

/// Every string of every structure of type 11. What follows a structure that is damaged is not read: nobody knows where it begins.
pub fn oem_strings(table: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), table);
    while let Some(structure) = Structure::first_of(rest) {
        match structure.kind {
            END => break,
            OEM_STRINGS => found.extend(structure.strings),
            _ => {}
        }
        rest = structure.behind;
    }
    found
}

struct Structure<'a> {
    kind: u8,
    strings: Vec<&'a [u8]>,
    /// What lies behind it.
    behind: &'a [u8],
}

impl<'a> Structure<'a> {
    /// The first one; nothing where there is none that is whole.
    fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let (kind, length) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        if length < HEADER {
            return None;
        }
        // Strings end with a zero each, and all of them with one more; where there is none, there are two (6.1.3).
        let mut rest = bytes.get(length..)?;
        let mut strings = Vec::new();
        if let Some(behind) = rest.strip_prefix(&[0, 0]) {
            return Some(Self { kind, strings, behind });
        }
        loop {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let (string, behind) = (&rest[..end], &rest[end + 1..]);
            if string.is_empty() {
                return Some(Self { kind, strings, behind });
            }
            strings.push(string);
            rest = behind;
        }
    }
}
