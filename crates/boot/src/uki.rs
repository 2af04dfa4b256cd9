//! Unified kernel images: PE files whose sections carry kernel, initramfs and command line.
//!
//! Owns the PE format as far as a UKI needs it (Microsoft "PE Format"; UAPI.5 "Unified Kernel Image"). What goes into
//! the sections is the caller's: sealing assembles, deploying and linting read. [`assemble`] writes what ukify 257
//! writes for the same input. Everything is pure, and strict: these files come from registries.

pub mod authenticode;

use std::io::{self, Read, Seek, SeekFrom};

use rocketos_model::limits;

/// Most sections a file may have; the PE loader of Linux and Windows stops at 96.
pub const SECTIONS: usize = 96;
/// Bytes of one entry of the section table.
const SECTION_HEADER: usize = 40;
/// Bytes of the COFF file header.
const FILE_HEADER: usize = 20;
/// Where a DOS header says where the PE signature is.
const LFANEW: usize = 0x3c;
/// PE32+, the only optional header of 64-bit machines.
const MAGIC_PE32_PLUS: u16 = 0x20b;
/// Shortest PE32+ optional header, up to the number of data directories.
const OPTIONAL_HEADER: usize = 112;
/// Which data directory tells of a signature (Certificate Table).
const CERTIFICATES: usize = 4;
/// Largest alignment that is taken for one, in a field that must be a power of two.
const ALIGNMENT: u32 = 1 << 20;

/// Bytes at the beginning of a file that hold its headers: 96 sections and every data directory fit many times.
const HEAD_BYTES: u64 = 64 << 10;
/// The section that holds the kernel's command line.
const CMDLINE: &str = ".cmdline";

const CODE: u32 = 0x0000_0020;
const INITIALIZED: u32 = 0x0000_0040;
const READ: u32 = 0x4000_0000;

/// A file that is not a well-formed UKI, or cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// Not a PE32+ file at all.
    #[error("not a 64-bit PE file: {0}")]
    NotPe(&'static str),
    /// It ends too early.
    #[error("cut short: {what} needs bytes up to {needed}, there are {found}")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it would end.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::ErrorKind),
    /// A field that cannot be right.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Two sections claim the same bytes.
    #[error("sections {first} and {second} overlap")]
    Overlap {
        /// The one that begins earlier.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// A bound was passed.
    #[error("{what} has {found} bytes, more than {limit}")]
    TooLarge {
        /// What was measured.
        what: String,
        /// Its size.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A section that must be there once.
    #[error("it has {found} sections named {name}, and needs exactly one")]
    Count {
        /// Which.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// The stub's header has no room for another section.
    #[error("the stub's header has no room for section {0}; use systemd's linuxx64.efi.stub")]
    HeaderFull(String),
    /// The stub bears a signature, which would not hold for the result.
    #[error("the stub is signed; take the unsigned one")]
    Signed,
    /// Text that is no text.
    #[error("section {0} is not UTF-8 text")]
    NotText(String),
}

/// One section of a PE file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Such as `.linux`, without the padding.
    pub name: String,
    /// Bytes in memory; also how much of the content counts.
    pub virtual_size: u32,
    /// Where it is loaded.
    pub virtual_address: u32,
    /// Where its bytes begin in the file.
    pub offset: u32,
    /// Bytes in the file, padded.
    pub size: u32,
    /// IMAGE_SCN flags.
    pub characteristics: u32,
}

impl Section {
    /// Bytes of content: what is in the file, without the padding.
    pub fn len(&self) -> u32 {
        self.size.min(self.virtual_size)
    }

    /// True where the section has no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn file_range(&self) -> (u64, u64) {
        (self.offset.into(), u64::from(self.offset) + u64::from(self.size))
    }

    fn memory_range(&self) -> (u64, u64) {
        (self.virtual_address.into(), u64::from(self.virtual_address) + u64::from(self.virtual_size))
    }

    fn encode(&self) -> [u8; SECTION_HEADER] {
        let mut out = [0; SECTION_HEADER];
        out[..self.name.len()].copy_from_slice(self.name.as_bytes());
        for (at, value) in [
            (8, self.virtual_size),
            (12, self.virtual_address),
            (16, self.size),
            (20, self.offset),
            (36, self.characteristics),
        ] {
            out[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        out
    }
}

/// Where things are in a PE file.
struct Headers {
    file_header: usize,
    optional: usize,
    table: usize,
    section_alignment: u32,
    file_alignment: u32,
    size_of_headers: u32,
    size_of_image: u32,
    signed: bool,
    sections: Vec<Section>,
}

fn slice<'a>(bytes: &'a [u8], at: usize, length: usize, what: &str) -> Result<&'a [u8], UkiError> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or_else(|| UkiError::Truncated {
        what: what.to_owned(),
        needed: (at as u64).saturating_add(length as u64),
        found: bytes.len() as u64,
    })
}

fn u16_at(bytes: &[u8], at: usize, what: &str) -> Result<u16, UkiError> {
    let found = slice(bytes, at, 2, what)?;
    Ok(u16::from_le_bytes([found[0], found[1]]))
}

fn u32_at(bytes: &[u8], at: usize, what: &str) -> Result<u32, UkiError> {
    let found = slice(bytes, at, 4, what)?;
    Ok(u32::from_le_bytes([found[0], found[1], found[2], found[3]]))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn alignment(value: u32, name: &str) -> Result<u32, UkiError> {
    match value.is_power_of_two() && value <= ALIGNMENT {
        true => Ok(value),
        false => Err(UkiError::Malformed(format!("{name} is {value}, not a power of two up to {ALIGNMENT}"))),
    }
}

/// Parses the headers of a file of `length` bytes that begins with `bytes`.
fn parse(bytes: &[u8], length: u64) -> Result<Headers, UkiError> {
    if length > limits::UKI_BYTES {
        return Err(UkiError::TooLarge { what: "the file".to_owned(), found: length, limit: limits::UKI_BYTES });
    }
    if slice(bytes, 0, 2, "the DOS header")? != b"MZ" {
        return Err(UkiError::NotPe("it does not begin with MZ"));
    }
    let signature = u32_at(bytes, LFANEW, "the DOS header")? as usize;
    if slice(bytes, signature, 4, "the PE signature")? != b"PE\0\0" {
        return Err(UkiError::NotPe("it has no PE signature"));
    }
    let file_header = signature + 4;
    let count = usize::from(u16_at(bytes, file_header + 2, "the file header")?);
    let optional_size = usize::from(u16_at(bytes, file_header + 16, "the file header")?);
    let optional = file_header + FILE_HEADER;
    if optional_size < OPTIONAL_HEADER {
        return Err(UkiError::NotPe("its optional header is too short"));
    }
    slice(bytes, optional, optional_size, "the optional header")?;
    if u16_at(bytes, optional, "the optional header")? != MAGIC_PE32_PLUS {
        return Err(UkiError::NotPe("its optional header is not PE32+"));
    }
    if count > SECTIONS {
        return Err(UkiError::Malformed(format!("{count} sections, more than {SECTIONS}")));
    }
    let directories = u32_at(bytes, optional + 108, "the optional header")? as usize;
    let certificates = OPTIONAL_HEADER + 8 * CERTIFICATES;
    let signed = directories > CERTIFICATES
        && optional_size >= certificates + 8
        && u32_at(bytes, optional + certificates, "the data directories")? != 0;
    let table = optional + optional_size;
    let sections =
        (0..count).map(|index| parse_section(bytes, table + index * SECTION_HEADER)).collect::<Result<Vec<_>, _>>()?;
    Ok(Headers {
        file_header,
        optional,
        table,
        section_alignment: alignment(u32_at(bytes, optional + 32, "the optional header")?, "SectionAlignment")?,
        file_alignment: alignment(u32_at(bytes, optional + 36, "the optional header")?, "FileAlignment")?,
        size_of_image: u32_at(bytes, optional + 56, "the optional header")?,
        size_of_headers: u32_at(bytes, optional + 60, "the optional header")?,
        signed,
        sections,
    })
}

fn parse_section(bytes: &[u8], at: usize) -> Result<Section, UkiError> {
    let header = slice(bytes, at, SECTION_HEADER, "the section table")?;
    let name = &header[..8];
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = str::from_utf8(&name[..end])
        .ok()
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| UkiError::Malformed("a section's name is not plain ASCII".to_owned()))?;
    let field = |offset| u32_at(header, offset, "the section table");
    Ok(Section {
        name: name.to_owned(),
        virtual_size: field(8)?,
        virtual_address: field(12)?,
        size: field(16)?,
        offset: field(20)?,
        characteristics: field(36)?,
    })
}

/// Refuses ranges that share a byte; empty ones share nothing.
fn disjoint(sections: &[Section], range: fn(&Section) -> (u64, u64)) -> Result<(), UkiError> {
    let mut sorted: Vec<_> = sections.iter().filter(|section| range(section).0 < range(section).1).collect();
    sorted.sort_by_key(|section| range(section));
    for pair in sorted.windows(2) {
        if range(pair[1]).0 < range(pair[0]).1 {
            return Err(UkiError::Overlap { first: pair[0].name.clone(), second: pair[1].name.clone() });
        }
    }
    Ok(())
}

fn check(length: u64, headers: &Headers) -> Result<(), UkiError> {
    let table_end = headers.table + headers.sections.len() * SECTION_HEADER;
    for section in &headers.sections {
        let (from, to) = section.file_range();
        if to > length {
            return Err(UkiError::Truncated { what: format!("section {}", section.name), needed: to, found: length });
        }
        if section.size > 0 && from < table_end as u64 {
            return Err(UkiError::Overlap { first: "the headers".to_owned(), second: section.name.clone() });
        }
        let (from, to) = section.memory_range();
        if from < table_end as u64 || to > u64::from(headers.size_of_image) {
            return Err(UkiError::Malformed(format!("section {} lies outside the image in memory", section.name)));
        }
    }
    disjoint(&headers.sections, Section::file_range)?;
    disjoint(&headers.sections, Section::memory_range)
}

/// Lists the sections of a PE file.
///
/// # Errors
/// When it is no 64-bit PE file, is cut short, or its sections overlap in the file or in memory.
pub fn sections(bytes: &[u8]) -> Result<Vec<Section>, UkiError> {
    let headers = parse(bytes, bytes.len() as u64)?;
    check(bytes.len() as u64, &headers)?;
    Ok(headers.sections)
}

/// Reads the one section called `name`; absent where there is none.
///
/// # Errors
/// As [`sections`], and when there are several of that name.
pub fn read_section<'a>(bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, UkiError> {
    let all = sections(bytes)?;
    let mut named = all.iter().filter(|section| section.name == name);
    let Some(section) = named.next() else { return Ok(None) };
    match named.count() {
        0 => slice(bytes, section.offset as usize, section.len() as usize, name).map(Some),
        more => Err(UkiError::Count { name: name.to_owned(), found: more + 1 }),
    }
}

/// Reads a text section that must be there, such as `.osrel` or `.uname`; trailing NUL bytes are not part of it.
///
/// # Errors
/// As [`read_section`], when it is missing, and when it is not UTF-8.
pub fn text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, UkiError> {
    as_text(read_section(bytes, name)?.ok_or_else(|| UkiError::Count { name: name.to_owned(), found: 0 })?, name)
}

fn as_text<'a>(content: &'a [u8], name: &str) -> Result<&'a str, UkiError> {
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    str::from_utf8(&content[..end])
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| UkiError::NotText(name.to_owned()))
}

/// Reads the kernel command line of a UKI.
///
/// # Errors
/// As [`text`], and when it is longer than a kernel reads.
pub fn cmdline(bytes: &[u8]) -> Result<String, UkiError> {
    short(text(bytes, CMDLINE)?)
}

/// Reads the kernel command line of a UKI file without holding the file in memory.
///
/// # Errors
/// As [`cmdline`], and when the file cannot be read.
pub fn cmdline_of(file: &mut (impl Read + Seek + ?Sized)) -> Result<String, UkiError> {
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let mut head = Vec::new();
    io::Read::take(&mut *file, HEAD_BYTES).read_to_end(&mut head).map_err(unreadable)?;
    let headers = parse(&head, length)?;
    check(length, &headers)?;
    let named: Vec<_> = headers.sections.iter().filter(|section| section.name == CMDLINE).collect();
    let [section] = named.as_slice() else {
        return Err(UkiError::Count { name: CMDLINE.to_owned(), found: named.len() });
    };
    if section.len() as usize > limits::CMDLINE_BYTES {
        return Err(too_long(u64::from(section.len())));
    }
    file.seek(SeekFrom::Start(u64::from(section.offset))).map_err(unreadable)?;
    let mut content = vec![0; section.len() as usize];
    file.read_exact(&mut content).map_err(unreadable)?;
    short(as_text(&content, CMDLINE)?)
}

fn unreadable(error: io::Error) -> UkiError {
    UkiError::Read(error.kind())
}

fn short(line: &str) -> Result<String, UkiError> {
    match line.len() > limits::CMDLINE_BYTES {
        true => Err(too_long(line.len() as u64)),
        false => Ok(line.to_owned()),
    }
}

fn too_long(found: u64) -> UkiError {
    UkiError::TooLarge { what: format!("section {CMDLINE}"), found, limit: limits::CMDLINE_BYTES as u64 }
}

fn too_large(what: &str) -> impl FnOnce() -> UkiError {
    let what = what.to_owned();
    move || UkiError::TooLarge { what, found: u64::from(u32::MAX) + 1, limit: u64::from(u32::MAX) }
}

fn round_up(value: usize, alignment: u32, what: &str) -> Result<u32, UkiError> {
    value
        .checked_next_multiple_of(alignment as usize)
        .and_then(|rounded| u32::try_from(rounded).ok())
        .ok_or_else(too_large(what))
}

/// Puts `added` behind the sections of `stub`, in that order.
///
/// A section the stub has already (`.sbat`) is replaced in place where the new content fits. The checksum is zero, which UEFI does not look at; the time stamp is
/// the stub's; the same input gives the same bytes.
///
/// # Errors
/// When the stub is no unsigned PE file, its header has no room, or the result is too large.
pub fn assemble(stub: &[u8], added: &[(&str, &[u8])]) -> Result<Vec<u8>, UkiError> {
    let mut headers = parse(stub, stub.len() as u64)?;
    check(stub.len() as u64, &headers)?;
    if headers.signed {
        return Err(UkiError::Signed);
    }
    let mut out = stub.to_vec();
    let original = headers.sections.len();
    let mut initialized = u32_at(stub, headers.optional + 8, "the optional header")?;
    for (name, content) in added {
        if name.is_empty() || name.len() > 8 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UkiError::Malformed(format!("'{name}' is no section name")));
        }
        let existing = headers.sections[..original].iter_mut().find(|section| section.name == *name);
        if let Some(section) = existing {
            replace(&mut out, section, content, headers.file_alignment)?;
            continue;
        }
        let section = place(&out, &headers, name, content)?;
        out.resize(section.offset as usize, 0);
        out.extend_from_slice(content);
        out.resize(section.offset as usize + section.size as usize, 0);
        initialized = initialized.checked_add(section.virtual_size).ok_or_else(too_large("the image"))?;
        headers.sections.push(section);
    }
    let end = headers.sections.last().map_or(0, |last| last.memory_range().1);
    let end = usize::try_from(end).map_err(|_| too_large("the image")())?;
    let image = round_up(end, headers.section_alignment, "the image")?;
    for (index, section) in headers.sections.iter().enumerate() {
        let at = headers.table + index * SECTION_HEADER;
        let fields = section.encode();
        if index < original {
            // Relocation fields of the stub's own sections stay as they are.
            out[at + 8..at + 24].copy_from_slice(&fields[8..24]);
        } else {
            out[at..at + SECTION_HEADER].copy_from_slice(&fields);
        }
    }
    let count = u16::try_from(headers.sections.len()).map_err(|_| too_large("the section table")())?;
    out[headers.file_header + 2..headers.file_header + 4].copy_from_slice(&count.to_le_bytes());
    put_u32(&mut out, headers.optional + 8, initialized);
    put_u32(&mut out, headers.optional + 56, image);
    put_u32(&mut out, headers.optional + 64, 0);
    sections(&out)?;
    Ok(out)
}

/// Overwrites a section of the stub with content that fits into it.
fn replace(out: &mut [u8], section: &mut Section, content: &[u8], file_alignment: u32) -> Result<(), UkiError> {
    let room = section.size as usize;
    if content.len() > room {
        return Err(UkiError::TooLarge {
            what: format!("section {} for the stub", section.name),
            found: content.len() as u64,
            limit: room as u64,
        });
    }
    let from = section.offset as usize;
    out[from..from + content.len()].copy_from_slice(content);
    out[from + content.len()..from + room].fill(0);
    section.virtual_size = u32::try_from(content.len()).map_err(|_| too_large(&section.name)())?;
    section.size = round_up(content.len(), file_alignment, &section.name)?;
    Ok(())
}

/// Finds the place of a new section behind all others.
fn place(out: &[u8], headers: &Headers, name: &str, content: &[u8]) -> Result<Section, UkiError> {
    let header_end = headers.table + (headers.sections.len() + 1) * SECTION_HEADER;
    let first_content = headers
        .sections
        .iter()
        .filter(|section| section.size > 0)
        .map(|section| section.offset)
        .min()
        .unwrap_or(headers.size_of_headers);
    if header_end > headers.size_of_headers.min(first_content) as usize || headers.sections.len() >= SECTIONS {
        return Err(UkiError::HeaderFull(name.to_owned()));
    }
    let length = u32::try_from(content.len()).map_err(|_| too_large(name)())?;
    let last = headers
        .sections
        .iter()
        .map(|section| section.memory_range().1)
        .max()
        .unwrap_or(u64::from(headers.size_of_headers));
    let last = usize::try_from(last).map_err(|_| too_large(name)())?;
    Ok(Section {
        name: name.to_owned(),
        virtual_size: length,
        virtual_address: round_up(last, headers.section_alignment, name)?,
        offset: round_up(out.len(), headers.file_alignment, name)?,
        size: round_up(content.len(), headers.file_alignment, name)?,
        characteristics: READ | if name == ".linux" { CODE } else { INITIALIZED },
    })
}

#[cfg(test)]
pub(crate) mod tests;
