//! Tables of good and bad files, all made from one tiny stub.

use super::*;

/// A PE32+ file with room for a few more sections: `.text` of 512 bytes and `.sbat` of 512.
pub(crate) fn stub() -> Vec<u8> {
    let mut out = vec![0; 0x400];
    out[..2].copy_from_slice(b"MZ");
    put_u32(&mut out, LFANEW, 0x80);
    out[0x80..0x84].copy_from_slice(b"PE\0\0");
    let file_header = 0x84;
    out[file_header + 2..file_header + 4].copy_from_slice(&2_u16.to_le_bytes());
    out[file_header + 16..file_header + 18].copy_from_slice(&240_u16.to_le_bytes());
    let optional = file_header + FILE_HEADER;
    out[optional..optional + 2].copy_from_slice(&MAGIC_PE32_PLUS.to_le_bytes());
    for (at, value) in [(32, 0x1000), (36, 0x200), (56, 0x3000), (60, 0x400), (64, 77), (108, 16)] {
        put_u32(&mut out, optional + at, value);
    }
    let table = optional + 240;
    for (index, name) in [".text", ".sbat"].into_iter().enumerate() {
        let index32 = u32::try_from(index).unwrap();
        let section = Section {
            name: name.to_owned(),
            virtual_size: 0x1f0,
            virtual_address: 0x1000 * (index32 + 1),
            offset: 0x400 + 0x200 * index32,
            size: 0x200,
            characteristics: READ | CODE,
        };
        let at = table + index * SECTION_HEADER;
        out[at..at + SECTION_HEADER].copy_from_slice(&section.encode());
    }
    out.resize(0x800, 0x90);
    out
}

const TABLE: usize = 0x84 + FILE_HEADER + 240;

#[test]
fn reads_back_what_it_assembles() {
    let cmdline_ = "composefs.digest=x quiet";
    let added: [(&str, &[u8]); 4] = [
        (".osrel", b"ID=rocketos\n"),
        (".cmdline", cmdline_.as_bytes()),
        (".initrd", &[7; 5000]),
        (".linux", &[9; 513]),
    ];
    let uki = assemble(&stub(), &added).unwrap();
    assert_eq!(uki, assemble(&stub(), &added).unwrap());
    let found = sections(&uki).unwrap();
    let names: Vec<_> = found.iter().map(|section| section.name.as_str()).collect();
    assert_eq!(names, [".text", ".sbat", ".osrel", ".cmdline", ".initrd", ".linux"]);
    assert_eq!(cmdline(&uki).unwrap(), cmdline_);
    assert_eq!(cmdline_of(&mut std::io::Cursor::new(&uki)).unwrap(), cmdline_);
    assert_eq!(text(&uki, ".osrel").unwrap(), "ID=rocketos\n");
    assert_eq!(read_section(&uki, ".initrd").unwrap(), Some(&[7; 5000][..]));
    assert_eq!(read_section(&uki, ".dtb").unwrap(), None);
    let linux = found.last().unwrap();
    assert_eq!((linux.size, linux.virtual_address), (1024, 0x7000));
    assert_eq!(linux.characteristics, READ | CODE);
    assert_eq!(u32_at(&uki, 0x84 + FILE_HEADER + 56, "").unwrap(), 0x8000);
    assert_eq!(u32_at(&uki, 0x84 + FILE_HEADER + 64, "").unwrap(), 0);
}

#[test]
fn replaces_a_section_the_stub_has() {
    let uki = assemble(&stub(), &[(".sbat", b"sbat,1")]).unwrap();
    assert_eq!(sections(&uki).unwrap().len(), 2);
    assert_eq!(read_section(&uki, ".sbat").unwrap(), Some(&b"sbat,1"[..]));
    let error = assemble(&stub(), &[(".sbat", &[1; 0x201])]).unwrap_err();
    assert_eq!(error.to_string(), "section .sbat for the stub has 513 bytes, more than 512");
}

#[test]
fn refuses_more_sections_than_the_header_holds() {
    let many: Vec<(&str, &[u8])> = vec![(".more", b"x"); 20];
    assert!(matches!(assemble(&stub(), &many), Err(UkiError::HeaderFull(_))));
}

#[test]
fn refuses_a_signed_stub() {
    let mut signed = stub();
    put_u32(&mut signed, 0x84 + FILE_HEADER + OPTIONAL_HEADER + 32, 0x800);
    assert_eq!(assemble(&signed, &[]), Err(UkiError::Signed));
}

#[test]
fn refuses_every_truncation() {
    let uki = assemble(&stub(), &[(".cmdline", b"quiet")]).unwrap();
    for length in 0..uki.len() {
        assert!(sections(&uki[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn survives_any_single_altered_byte() {
    let uki = assemble(&stub(), &[(".cmdline", b"quiet")]).unwrap();
    for at in 0..0x400 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut altered = uki.clone();
            altered[at] = value;
            let _ = cmdline(&altered);
            let _ = assemble(&altered, &[(".osrel", b"x")]);
        }
    }
}

#[test]
fn refuses_sections_that_overlap_or_leave_the_file() {
    for (field, value, expected) in [
        (20, 0x400, "sections .text and .sbat overlap"),
        (12, 0x1000, "sections .text and .sbat overlap"),
        (16, 0x10_0000, "cut short: section .sbat needs bytes up to 1050112, there are 2048"),
        (20, 0x10, "sections the headers and .sbat overlap"),
        (8, 0xffff_ffff, "malformed: section .sbat lies outside the image in memory"),
    ] {
        let mut bad = stub();
        put_u32(&mut bad, TABLE + SECTION_HEADER + field, value);
        assert_eq!(sections(&bad).unwrap_err().to_string(), expected);
    }
}

#[test]
fn refuses_two_command_lines_and_a_long_one() {
    let two = assemble(&stub(), &[(".cmdline", b"a"), (".cmdline", b"b")]).unwrap();
    assert_eq!(cmdline(&two).unwrap_err().to_string(), "it has 2 sections named .cmdline, and needs exactly one");
    let long = assemble(&stub(), &[(".cmdline", &[b'a'; 4097])]).unwrap();
    assert!(matches!(cmdline(&long), Err(UkiError::TooLarge { .. })));
    let none = assemble(&stub(), &[]).unwrap();
    assert!(matches!(cmdline(&none), Err(UkiError::Count { found: 0, .. })));
    let split = assemble(&stub(), &[(".cmdline", b"a\0b")]).unwrap();
    assert!(matches!(cmdline(&split), Err(UkiError::NotText(_))));
}
