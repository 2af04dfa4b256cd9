//! Where in a tar file its members are, from the headers alone.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _, path::Path};

use tar_core::{
    HEADER_SIZE,
    parse::{Limits, ParseEvent, Parser},
};

use crate::OciError;

/// Most members of an archive: two for each layer of every image in it, and some.
const MEMBERS: usize = 16 << 10;
/// Longest header with its extensions.
const HEADER_BYTES: usize = 1 << 20;

/// A member's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Maps each regular file of the archive to its content; of two with one name the later counts, as for tar.
///
/// Contents are passed over by their length, so a block device that goes on behind the archive serves as well.
pub(crate) fn index(file: &File, path: &Path) -> Result<HashMap<String, Extent>, OciError> {
    let damaged = |problem: String| OciError::NotALayout { path: path.to_owned(), problem };
    let mut parser = Parser::new(Limits::default());
    let (mut members, mut offset, mut need) = (HashMap::new(), 0_u64, HEADER_SIZE);
    let mut buffer = Vec::new();
    for _ in 0..MEMBERS {
        loop {
            if need > HEADER_BYTES {
                return Err(damaged(format!("a header of more than {HEADER_BYTES} bytes")));
            }
            let filled = read_at_most(file, &mut buffer, need, offset)
                .map_err(|source| OciError::Read { path: path.to_owned(), source })?;
            if filled < need {
                return Err(damaged("it ends before its end mark".to_owned()));
            }
            match parser.parse(&buffer).map_err(|error| damaged(format!("not a tar archive ({error})")))? {
                ParseEvent::NeedData { min_bytes } => need = min_bytes.max(need + HEADER_SIZE),
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    offset += consumed as u64;
                    need = HEADER_SIZE;
                }
                ParseEvent::SparseEntry { .. } => return Err(damaged("it holds a sparse file".to_owned())),
                ParseEvent::End { .. } => return Ok(members),
                ParseEvent::Entry { consumed, entry } => {
                    offset += consumed as u64;
                    let length = entry.size;
                    if entry.entry_type.is_file() {
                        let name = String::from_utf8_lossy(&entry.path).into_owned();
                        let name = name.trim_start_matches("./").to_owned();
                        members.insert(name, Extent { offset, length });
                    }
                    let padded = length.checked_next_multiple_of(HEADER_SIZE as u64);
                    offset = padded
                        .and_then(|padded| offset.checked_add(padded))
                        .ok_or_else(|| damaged("a member without end".to_owned()))?;
                    need = HEADER_SIZE;
                    break;
                }
            }
        }
    }
    Err(damaged(format!("it has more than {MEMBERS} members")))
}

/// Fills `buffer` with up to `want` bytes at `offset`.
fn read_at_most(file: &File, buffer: &mut Vec<u8>, want: usize, offset: u64) -> std::io::Result<usize> {
    buffer.resize(want, 0);
    let mut filled = 0;
    while filled < want {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    /// A ustar header (POSIX pax, "ustar Interchange Format").
    fn header(name: &str, kind: u8, size: u64) -> [u8; 512] {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000000");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn file(parts: &[&[u8]]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for part in parts {
            file.write_all(part).unwrap();
        }
        file
    }

    #[test]
    fn finds_members_by_their_headers() {
        let long = format!("{}/end", "x".repeat(120));
        let pax = format!("{} path={long}\n", long.len() + 10);
        let mut pax_block = [0; 512];
        pax_block[..pax.len()].copy_from_slice(pax.as_bytes());
        let big = 7_u64 << 30;
        let mut archive = file(&[
            &header("blobs/", b'5', 0),
            &header("./index.json", b'0', 5),
            &{
                let mut content = [0; 512];
                content[..5].copy_from_slice(b"hello");
                content
            },
            &header("pax", b'x', pax.len() as u64),
            &pax_block,
            &header("short", b'0', big),
        ]);
        // The content is a hole; behind the end mark a block device has something else.
        archive.seek(SeekFrom::Current(i64::try_from(big).unwrap())).unwrap();
        archive.write_all(&[0; 1024]).unwrap();
        archive.write_all(&[0xff; 4096]).unwrap();
        let found = index(&archive, "x.tar".as_ref()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["index.json"], Extent { offset: 1024, length: 5 });
        assert_eq!(found[&long].length, big);
        assert_eq!(found[&long].offset, 3072);
    }

    #[test]
    fn names_what_is_no_archive() {
        for (parts, wanted) in [
            (vec![&[][..]], "ends before"),
            (vec![&[0x5a; 1024][..]], "not a tar archive"),
            (vec![&header("a", b'0', 512)[..]], "ends before"),
        ] {
            let error = index(&file(&parts), "x.tar".as_ref()).unwrap_err().to_string();
            assert!(error.starts_with("x.tar is not") && error.contains(wanted), "{error}");
        }
    }
}
