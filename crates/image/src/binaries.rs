//! How programs and libraries were built: what a compiler adds against those who overrun a buffer.
//!
//! A file is judged by what it says of itself. Two rules are exact: position independence (PIE) and relocations that are
//! read-only (RELRO). Whether a function has a stack canary, or a call its bounds (FORTIFY), a stripped file does not say; it
//! names what it calls, and that tells whether either was in use at all. Of a program that is linked statically not even that
//! is known. What has a reason to be otherwise is named in `binaries.allowed`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    fs::File,
    io::Read as _,
    path::Path,
};

use object::{
    Endianness, FileKind, elf,
    read::elf::{Dyn as _, FileHeader, ProgramHeader as _, Sym as _},
};

use crate::{
    SealError,
    error::read_bounded,
    packages::Packages,
    rules::Line,
    survey::{Kind, Survey},
};

/// In the rules' folder, and in a variant's: a path, and the faults it may have.
pub(crate) const ALLOWED: &str = "binaries.allowed";
/// Bytes of a program.
const BINARY_BYTES: u64 = 256 << 20;
/// How a program or library begins.
const MAGIC: [u8; 4] = *b"\x7fELF";
/// Runs on other processors than ours.
const FIRMWARE: &str = "usr/lib/firmware/";

/// Functions that write into a buffer of the caller's, without and with bounds. Whoever calls them has arrays, as a rule on
/// the stack, where `-fstack-protector-strong` puts a canary.
const FILL: [&str; 19] = [
    "fgets",
    "fread",
    "getcwd",
    "gets",
    "pread",
    "pread64",
    "read",
    "readlink",
    "realpath",
    "recv",
    "recvfrom",
    "snprintf",
    "sprintf",
    "stpcpy",
    "strcat",
    "strcpy",
    "strncpy",
    "vsnprintf",
    "vsprintf",
];
/// Functions that no file built with FORTIFY calls: level 2 puts one that is checked in their place, whatever is known of their
/// arguments (glibc, bits/stdio2.h and bits/syslog.h).
const UNCHECKED: [&str; 10] =
    ["asprintf", "dprintf", "fprintf", "printf", "syslog", "vasprintf", "vdprintf", "vfprintf", "vprintf", "vsyslog"];

/// What is wrong with a program or library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It lies at the same address in each process.
    Pie,
    /// The addresses of what it calls can be overwritten.
    Relro,
    /// Its stack, or its code, is writable and can be executed.
    Writable,
    /// Nothing watches the return addresses on its stack.
    Canary,
    /// Its calls of the C library are not bounded.
    Fortify,
}

/// Each with its name in `binaries.allowed`.
const FAULTS: [(Fault, &str, &str); 5] = [
    (Fault::Pie, "pie", "is no position-independent program"),
    (Fault::Relro, "relro", "has no read-only relocations (RELRO)"),
    (Fault::Writable, "writable", "has code or a stack that is writable and executable"),
    (Fault::Canary, "canary", "fills buffers without stack canaries"),
    (Fault::Fortify, "fortify", "calls the C library without FORTIFY"),
];

impl Fault {
    fn words(self) -> &'static str {
        FAULTS.iter().find(|(fault, ..)| *fault == self).map_or("", |(_, _, words)| words)
    }
}

/// The faults that files may have, by path.
pub(crate) type Allowed = BTreeMap<String, BTreeSet<Fault>>;

/// Reads lines of `binaries.allowed`.
pub(crate) fn allowed(lines: &[Line]) -> Result<Allowed, SealError> {
    let mut allowed = Allowed::new();
    for line in lines {
        let mut words = line.text.split_whitespace();
        let Some(path) = words.next().and_then(|word| word.strip_prefix('/')) else {
            return Err(line.error(format!("'{}' does not begin with '/'", line.text)));
        };
        let faults: Vec<&str> = words.collect();
        if faults.is_empty() {
            return Err(line.error(format!("say which of {} /{path} may have", names())));
        }
        for name in faults {
            let Some((fault, ..)) = FAULTS.iter().find(|(_, known, _)| *known == name) else {
                return Err(line.error(format!("'{name}' is none of {}", names())));
            };
            allowed.entry(path.to_owned()).or_default().insert(*fault);
        }
    }
    Ok(allowed)
}

fn names() -> String {
    FAULTS.map(|(_, name, _)| name).join(", ")
}

/// Every program and library with a fault that it may not have, with the words for it.
pub(crate) fn faulty(root: &Path, tree: &Survey, allowed: &Allowed) -> Result<Vec<(String, String)>, SealError> {
    let mut found = Vec::new();
    let files = tree.iter().filter(|(path, entry)| entry.kind == Kind::File && !path.starts_with(FIRMWARE));
    for (path, _) in files {
        if !begins_as_one(&root.join(path))? {
            continue;
        }
        let Some(bytes) = read_bounded(root, path, BINARY_BYTES)? else { continue };
        let mut faults = faults(&bytes).map_err(|problem| SealError::malformed(path, problem))?;
        if let Some(allowed) = allowed.get(path) {
            faults.retain(|fault| !allowed.contains(fault));
        }
        if !faults.is_empty() {
            let words: Vec<&str> = faults.into_iter().map(Fault::words).collect();
            found.push((path.clone(), words.join(", ")));
        }
    }
    Ok(found)
}

/// Refuses the first of [`faulty`].
pub(crate) fn check(root: &Path, kept: &Survey, packages: &Packages, allowed: &Allowed) -> Result<(), SealError> {
    match faulty(root, kept, allowed)?.into_iter().next() {
        None => Ok(()),
        Some((path, words)) => Err(SealError::Weak { package: packages.owner_name(&path), path, problem: words }),
    }
}

fn begins_as_one(path: &Path) -> Result<bool, SealError> {
    let mut begin = Vec::new();
    let mut file = File::open(path).map_err(SealError::read(path))?.take(MAGIC.len() as u64);
    file.read_to_end(&mut begin).map_err(SealError::read(path))?;
    Ok(begin == MAGIC)
}

/// What is wrong with a file; nothing where it is neither a program nor a library.
fn faults(bytes: &[u8]) -> Result<BTreeSet<Fault>, String> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Elf64) => judge::<elf::FileHeader64<Endianness>>(bytes),
        Ok(FileKind::Elf32) => judge::<elf::FileHeader32<Endianness>>(bytes),
        _ => Err("it begins as a program, and is none".to_owned()),
    }
}

fn judge<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<BTreeSet<Fault>, String> {
    let broken = |error: object::Error| format!("it is a program that cannot be read: {error}");
    let header = Elf::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let kind = header.e_type(endian);
    // Kernel modules, and what a linker takes, are neither.
    if ![elf::ET_EXEC, elf::ET_DYN].contains(&kind) {
        return Ok(BTreeSet::new());
    }
    let segments = header.program_headers(endian, bytes).map_err(broken)?;
    let segment = |kind| segments.iter().find(|segment| segment.p_type(endian) == kind);
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let dynamic = sections.dynamic(endian, bytes).map_err(broken)?.map_or(&[][..], |(entries, _)| entries);
    let writable_code = dynamic.iter().any(|entry| {
        let (tag, value): (u64, u64) = (entry.d_tag(endian).into(), entry.d_val(endian).into());
        let is = |wanted: u32| tag == u64::from(wanted);
        is(elf::DT_TEXTREL) || (is(elf::DT_FLAGS) && value & u64::from(elf::DF_TEXTREL) != 0)
    });
    // Without the mark the kernel makes the stack executable.
    let safe_stack = segment(elf::PT_GNU_STACK).is_some_and(|stack| stack.p_flags(endian) & elf::PF_X == 0);

    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM).map_err(broken)?;
    let calls: BTreeSet<&str> = symbols
        .iter()
        .filter(|symbol| symbol.is_undefined(endian))
        .filter_map(|symbol| std::str::from_utf8(symbol.name(endian, symbols.strings()).ok()?).ok())
        .collect();
    let fills = calls.iter().any(|call| FILL.contains(&bounded(call).unwrap_or(call)));
    let unchecked = UNCHECKED.iter().any(|call| calls.contains(call));

    let faults = [
        (Fault::Pie, kind != elf::ET_DYN),
        (Fault::Relro, segment(elf::PT_GNU_RELRO).is_none()),
        (Fault::Writable, writable_code || !safe_stack),
        (Fault::Canary, fills && !calls.contains("__stack_chk_fail")),
        (Fault::Fortify, unchecked),
    ];
    Ok(faults.into_iter().filter(|(_, has)| *has).map(|(fault, _)| fault).collect())
}

/// `read` of `__read_chk`.
fn bounded(call: &str) -> Option<&str> {
    call.strip_prefix("__")?.strip_suffix("_chk")
}

/// What lint says of files.
pub(crate) fn named((path, words): (impl Display, impl Display)) -> String {
    format!("/{path} ({words})")
}

#[cfg(test)]
pub(crate) mod tests;
