use std::path::PathBuf;

use super::*;
use crate::fixture::Fixture;

/// Segments of a program that is as it should be: their types and flags.
pub(crate) const SOUND: [(u32, u32); 2] = [(elf::PT_GNU_RELRO, elf::PF_R), (elf::PT_GNU_STACK, elf::PF_R | elf::PF_W)];

/// An ELF file of 64 bits with these segments, that calls these functions.
pub(crate) fn program(kind: u16, segments: &[(u32, u32)], calls: &[&str]) -> Vec<u8> {
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    const SYMBOL: usize = 24;
    let mut names = b"\0".to_vec();
    let mut symbols = vec![0; SYMBOL];
    for call in calls {
        // st_name, st_info (a global function), st_shndx 0: somebody else's.
        symbols.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        symbols.push(elf::STB_GLOBAL << 4 | elf::STT_FUNC);
        symbols.resize(symbols.len() + SYMBOL - 5, 0);
        names.extend(call.bytes());
        names.push(0);
    }
    let names_at = HEADER + SEGMENT * segments.len();
    let symbols_at = names_at + names.len();
    let sections_at = symbols_at + symbols.len();
    let words = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let section = |kind: u32, at: usize, size: usize, link: u32, entry: u64| {
        let mut out = [0, kind].iter().flat_map(|value: &u32| value.to_le_bytes()).collect::<Vec<u8>>();
        out.extend(words(&[0, 0, at as u64, size as u64]));
        out.extend(link.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(words(&[1, entry]));
        out
    };

    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend(halves(&[kind, elf::EM_X86_64]));
    out.extend(1_u32.to_le_bytes());
    out.extend(words(&[0, HEADER as u64, sections_at as u64]));
    out.extend(0_u32.to_le_bytes());
    out.extend(halves(&[64, SEGMENT as u16, segments.len() as u16, 64, 3, 1]));
    for (kind, flags) in segments {
        out.extend(kind.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(words(&[0; 6]));
    }
    out.extend(&names);
    out.extend(&symbols);
    out.extend([0; 64]);
    out.extend(section(elf::SHT_STRTAB, names_at, names.len(), 0, 0));
    out.extend(section(elf::SHT_DYNSYM, symbols_at, symbols.len(), 1, SYMBOL as u64));
    out
}

fn of(bytes: &[u8]) -> Vec<Fault> {
    faults(bytes).unwrap().into_iter().collect()
}

#[test]
fn finds_each_fault_and_no_other() {
    let [relro, stack] = SOUND;
    let executable = (elf::PT_GNU_STACK, elf::PF_R | elf::PF_W | elf::PF_X);
    let sound = ["read", "__stack_chk_fail", "__printf_chk", "puts"];
    for (kind, segments, calls, expected) in [
        (elf::ET_DYN, &[relro, stack][..], &sound[..], None),
        (elf::ET_EXEC, &[relro, stack], &sound, Some(Fault::Pie)),
        (elf::ET_DYN, &[stack], &sound, Some(Fault::Relro)),
        (elf::ET_DYN, &[relro], &sound, Some(Fault::Writable)),
        (elf::ET_DYN, &[relro, executable], &sound, Some(Fault::Writable)),
        (elf::ET_DYN, &[relro, stack], &["read"], Some(Fault::Canary)),
        (elf::ET_DYN, &[relro, stack], &["__read_chk"], Some(Fault::Canary)),
        // Nothing here says that it has an array.
        (elf::ET_DYN, &[relro, stack], &["memcpy", "strlen"], None),
        (elf::ET_DYN, &[relro, stack], &["printf"], Some(Fault::Fortify)),
        // Kernel modules.
        (elf::ET_REL, &[], &["printf", "read"], None),
    ] {
        let found = of(&program(kind, segments, calls));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{kind} {segments:?} {calls:?}");
    }
}

#[test]
fn judges_what_a_linker_made() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    // Rust bounds its buffers itself, and C that it links is asked for no canaries.
    let found = of(&own);
    assert!(found.iter().all(|fault| *fault == Fault::Canary), "{found:?}");
}

#[test]
fn a_program_that_cannot_be_read_is_an_error() {
    let whole = program(elf::ET_DYN, &SOUND, &["read"]);
    assert!(faults(&whole[..70]).is_err());
    assert!(faults(b"\x7fELF\x07").is_err());
}

#[test]
fn sealing_names_the_file_and_its_package() {
    let fixture = Fixture::new();
    fixture.package("old", "1", &["usr/bin/old"]);
    fixture.file("usr/bin/old", program(elf::ET_EXEC, &SOUND, &["read"]));
    let said = fixture.refusal();
    assert!(
        said.starts_with(
            "/usr/bin/old (package old) is no position-independent program, fills buffers without stack canaries; "
        ),
        "{said}"
    );
    // What is left out is not judged, and what a rule names may be so.
    fixture.rule("binaries.allowed", "/usr/bin/old pie # old\n");
    assert!(fixture.refusal().contains("fills buffers"), "{}", fixture.refusal());
    fixture.rule("binaries.allowed", "/usr/bin/old pie canary # old\n");
    fixture.seal("out");
}

#[test]
fn a_variant_names_its_own() {
    let fixture = Fixture::new();
    fixture.package("old", "1", &["usr/bin/old"]);
    fixture.file("usr/bin/old", program(elf::ET_EXEC, &SOUND, &[]));
    fixture.file("usr/share/rocketos/seal.d/mine.binaries.allowed", "/usr/bin/old pie\n");
    fixture.rule("prune", "/usr/share/doc/**\n/usr/share/doc\n/usr/share/rocketos/**\n");
    fixture.seal("out");
}

#[test]
fn refuses_lines_that_say_nothing() {
    let line = |text: &str| Line { text: text.to_owned(), path: PathBuf::from("allowed"), number: 7 };
    for (text, says) in [
        ("usr/bin/a pie", "allowed:7: 'usr/bin/a pie' does not begin with '/'"),
        ("/usr/bin/a", "allowed:7: say which of pie, relro, writable, canary, fortify /usr/bin/a may have"),
        ("/usr/bin/a nx", "allowed:7: 'nx' is none of pie, relro, writable, canary, fortify"),
    ] {
        assert_eq!(allowed(&[line(text)]).unwrap_err().to_string(), says);
    }
}
