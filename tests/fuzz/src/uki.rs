//! Unified kernel images: what a registry or an ESP has where a kernel is expected.

use std::io::Cursor;

use rocketos_boot::uki::{SECTIONS, assemble, cmdline, cmdline_of, read_section, sections, text};
use rocketos_model::limits::CMDLINE_BYTES;

pub(crate) fn fuzz(bytes: &[u8]) {
    let whole = cmdline(bytes);
    let _ = cmdline_of(&mut Cursor::new(bytes)).map(|line| {
        assert!(line.len() <= CMDLINE_BYTES);
        // Both ways of reading are one.
        assert_eq!(whole.as_ref(), Ok(&line));
    });
    let Ok(found) = sections(bytes) else {
        assert!(whole.is_err() && assemble(bytes, &[]).is_err());
        return;
    };
    assert!(found.len() <= SECTIONS);
    for section in &found {
        if let Ok(Some(content)) = read_section(bytes, &section.name) {
            assert_eq!(content.len(), section.len() as usize);
        }
        let _ = text(bytes, &section.name);
    }
    // The file as a stub: what is put behind it is read back.
    let added: [(&str, &[u8]); 2] = [(".fuzzed", b"some text"), (".linux", &[7; 513])];
    let Ok(image) = assemble(bytes, &added) else { return };
    let had = |name: &str| found.iter().filter(|section| section.name == name).count();
    for (name, content) in added.iter().filter(|(name, _)| had(name) == 0) {
        assert_eq!(read_section(&image, name), Ok(Some(*content)));
    }
}
