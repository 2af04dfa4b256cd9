//! Labels of file systems, as they lie on a disk: vfat and ISO 9660.
//!
//! The bytes are those of any disk that happens to be plugged in. What is no such file system has no label, and is no error.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

/// Bytes of a boot sector.
const SECTOR: usize = 512;
/// Bytes of a volume descriptor (ECMA-119, 7.1.1).
const DESCRIPTOR: usize = 2048;
/// Where the first one lies (ECMA-119, 7.2.1).
const DESCRIPTORS: u64 = 16 * DESCRIPTOR as u64;
/// Where a boot sector says what it is, and its label (Microsoft, "FAT32 File System Specification", BS_FilSysType and BS_VolLab):
/// on FAT32, and on the smaller ones.
const FATS: [(usize, &[u8], usize); 2] = [(82, b"FAT32", 71), (54, b"FAT1", 43)];
/// Bytes of a FAT's label.
const FAT_LABEL: usize = 11;
/// What a FAT without a label says.
const FAT_NO_LABEL: &str = "NO NAME";

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// FAT, of any size.
    Vfat,
    /// ISO 9660, a compact disc's.
    Iso9660,
}

impl Kind {
    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vfat => "vfat",
            Self::Iso9660 => "iso9660",
        }
    }
}

/// A file system with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Its kind.
    pub kind: Kind,
    /// Its label, without the blanks that fill it up.
    pub label: String,
}

/// What a device's first bytes say.
///
/// # Errors
/// When the device does not answer; one that is too short has no label.
pub fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<Labelled>> {
    let (mut sector, mut descriptor) = ([0; SECTOR], [0; DESCRIPTOR]);
    if fill(device, DESCRIPTORS, &mut descriptor)?
        && let Some(found) = of_iso9660(&descriptor)
    {
        return Ok(Some(found));
    }
    Ok(if fill(device, 0, &mut sector)? { of_fat(&sector) } else { None })
}

/// False where the device ends before.
fn fill(device: &mut (impl Read + Seek), at: u64, into: &mut [u8]) -> io::Result<bool> {
    device.seek(SeekFrom::Start(at))?;
    match device.read_exact(into) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

/// The primary volume descriptor (ECMA-119, 8.4).
fn of_iso9660(descriptor: &[u8; DESCRIPTOR]) -> Option<Labelled> {
    let is_primary = descriptor.starts_with(b"\x01CD001\x01");
    let label = text(&descriptor[40..72])?;
    (is_primary && !label.is_empty()).then_some(Labelled { kind: Kind::Iso9660, label })
}

fn of_fat(sector: &[u8; SECTOR]) -> Option<Labelled> {
    if !sector.ends_with(&[0x55, 0xaa]) {
        return None;
    }
    let (_, _, at) = FATS.iter().find(|(at, name, _)| sector[*at..].starts_with(name))?;
    let label = text(&sector[*at..at + FAT_LABEL])?;
    (!label.is_empty() && label != FAT_NO_LABEL).then_some(Labelled { kind: Kind::Vfat, label })
}

/// Printable ASCII, as labels are that anybody looks for.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches([' ', '\0']);
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Cursor, path::Path, process::Command};

    use super::*;

    fn run(program: &str, args: &[&str]) {
        let ended = Command::new(program).args(args).output().unwrap();
        assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    fn of(path: &Path) -> Option<(Kind, String)> {
        read(&mut File::open(path).unwrap()).unwrap().map(|found| (found.kind, found.label))
    }

    #[test]
    fn reads_what_others_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let (file, content) = (folder.path().join("disk"), folder.path().join("content"));
        let path = file.to_str().unwrap();
        for (kind, bytes) in [("12", 1 << 20), ("16", 16 << 20), ("32", 64 << 20)] {
            for (label, expected) in [("CIDATA", Some("CIDATA")), ("cidata", Some("cidata")), ("", None)] {
                File::create(&file).unwrap().set_len(bytes).unwrap();
                let named: &[&str] = if label.is_empty() { &[] } else { &["-n", label] };
                run("mkfs.vfat", &[&["-F", kind], named, &[path]].concat());
                let expected = expected.map(|label| (Kind::Vfat, label.to_owned()));
                assert_eq!(of(&file), expected, "FAT{kind} {label}");
            }
        }
        std::fs::create_dir(&content).unwrap();
        std::fs::write(content.join("user-data"), "[settings]\n").unwrap();
        std::fs::remove_file(&file).unwrap();
        let folder = content.to_str().unwrap();
        run("xorriso", &["-as", "mkisofs", "-quiet", "-J", "-R", "-V", "cidata", "-o", path, folder]);
        assert_eq!(of(&file), Some((Kind::Iso9660, "cidata".to_owned())));
    }

    #[test]
    fn what_is_no_file_system_of_these_has_no_label() {
        let mut gpt = vec![0; 64 << 10];
        gpt[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut damaged = gpt.clone();
        damaged[82..87].copy_from_slice(b"FAT32");
        damaged[71..82].copy_from_slice(b"cid\x01ta\xff    ");
        for bytes in [Vec::new(), vec![0; 511], vec![0; 512], vec![0xff; 64 << 10], gpt, damaged] {
            assert_eq!(read(&mut Cursor::new(&bytes)).unwrap(), None, "{} bytes", bytes.len());
        }
    }
}
