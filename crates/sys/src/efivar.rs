//! What the loader left in firmware variables (systemd's Boot Loader Interface).

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Where the kernel shows firmware variables.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// The identifier of the boot entry that runs.
pub const LOADER_ENTRY_SELECTED: &str = "LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The partition the loader was started from, as upper- or lower-case GUID.
pub const LOADER_DEVICE_PART_UUID: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Bytes of a variable we read; identifiers and GUIDs are a tenth of it.
const VARIABLE_BYTES: u64 = 4096;
/// Bytes before the value: the variable's attributes.
const ATTRIBUTE_BYTES: usize = 4;

/// A variable that is there and cannot be read as text.
#[derive(Debug, thiserror::Error)]
pub enum EfivarError {
    /// Reading failed.
    #[error("reading {}", .path.display())]
    Io {
        /// The variable's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not the text the interface promises.
    #[error("{} is not UTF-16 text of at most {VARIABLE_BYTES} bytes", .path.display())]
    Form {
        /// The variable's file.
        path: PathBuf,
    },
}

/// Reads the text variable `name` (`<name>-<vendor GUID>`); absent where firmware or loader set none.
///
/// # Errors
/// When it is there and cannot be read, or is not UTF-16.
pub fn read(name: &str) -> Result<Option<String>, EfivarError> {
    read_in(Path::new(EFIVARS), name)
}

fn read_in(directory: &Path, name: &str) -> Result<Option<String>, EfivarError> {
    let path = directory.join(name);
    let mut bytes = Vec::new();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(EfivarError::Io { path, source }),
    };
    if let Err(source) = file.take(VARIABLE_BYTES + 1).read_to_end(&mut bytes) {
        return Err(EfivarError::Io { path, source });
    }
    match text(&bytes) {
        Some(text) => Ok(Some(text)),
        None => Err(EfivarError::Form { path }),
    }
}

/// Attributes, then UTF-16LE up to a terminator that some writers leave out.
fn text(bytes: &[u8]) -> Option<String> {
    if bytes.len() as u64 > VARIABLE_BYTES {
        return None;
    }
    let (units, rest) = bytes.get(ATTRIBUTE_BYTES..)?.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_attributes_and_utf16() {
        for (bytes, expected) in [
            (&b"\x06\0\0\0a\0b\0\0\0"[..], Some("ab")),
            (b"\x06\0\0\0a\0", Some("a")),
            (b"\x06\0\0\0", Some("")),
            (b"\x06\0\0\0a\0\0\0z\0", Some("a")),
            (b"\x06\0\0", None),
            (b"\x06\0\0\0a", None),
            (b"\x06\0\0\0\x00\xd8a\0", None),
        ] {
            assert_eq!(text(bytes).as_deref(), expected, "{bytes:?}");
        }
        assert_eq!(text(&vec![b'a'; 8192]), None);
    }

    #[test]
    fn takes_only_absence_for_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_in(directory.path(), "none").unwrap(), None);
        std::fs::write(directory.path().join("odd"), b"x").unwrap();
        assert!(matches!(read_in(directory.path(), "odd"), Err(EfivarError::Form { .. })));
        std::fs::create_dir(directory.path().join("dir")).unwrap();
        assert!(matches!(read_in(directory.path(), "dir"), Err(EfivarError::Io { .. })));
    }
}
