//! Firmware variables (UEFI 2.10, chapter 8.2), those among them that the loader left (systemd's Boot Loader Interface).

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{IFlags, ioctl_getflags, ioctl_setflags},
    io::Errno,
};

/// Where the kernel shows firmware variables.
pub const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// The identifier of the boot entry that runs.
pub const LOADER_ENTRY_SELECTED: &str = "LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The partition the loader was started from, as upper- or lower-case GUID.
pub const LOADER_DEVICE_PART_UUID: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The path of the boot entry that runs, where it counts tries (systemd's boot loader interface).
pub const LOADER_BOOT_COUNT_PATH: &str = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The file that the loader was started from, a path on its partition.
pub const LOADER_IMAGE_IDENTIFIER: &str = "LoaderImageIdentifier-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Kept over a reset, seen by the loader, seen by the system (`EFI_VARIABLE_NON_VOLATILE`, `_BOOTSERVICE_ACCESS`,
/// `_RUNTIME_ACCESS`).
pub const LASTING: u32 = 7;

/// Bytes of a variable we read; identifiers, GUIDs and boot options are a tenth of it.
const VARIABLE_BYTES: u64 = 4096;
/// Bytes before the value: the variable's attributes.
const ATTRIBUTE_BYTES: usize = 4;

/// A variable that is there and cannot be read as text.
#[derive(Debug, thiserror::Error)]
pub enum EfivarError {
    /// Reading or writing failed.
    #[error("{doing} {}", .path.display())]
    Io {
        /// Such as "reading".
        doing: &'static str,
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

impl EfivarError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// Reads the text variable `name` (`<name>-<vendor GUID>`); absent where firmware or loader set none.
///
/// # Errors
/// When it is there and cannot be read, or is not UTF-16.
pub fn read(name: &str) -> Result<Option<String>, EfivarError> {
    Variables::at(EFIVARS).text(name)
}

/// The firmware's variables, one file each.
#[derive(Debug, Clone)]
pub struct Variables {
    directory: PathBuf,
}

impl Variables {
    /// Those in `directory`, where efivarfs is mounted ([`EFIVARS`]).
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// True where the firmware has variables at all.
    ///
    /// # Errors
    /// When that cannot be seen.
    pub fn any(&self) -> Result<bool, EfivarError> {
        Ok(!self.names()?.is_empty())
    }

    /// Their names, sorted; none where the firmware has none.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, EfivarError> {
        let failed = || EfivarError::io("listing", &self.directory);
        let listing = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed())?,
        };
        let mut names = Vec::new();
        for entry in listing {
            names.extend(entry.map_err(failed())?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// A variable as it is, its attributes first; absent where there is none.
    fn whole(&self, name: &str) -> Result<Option<Vec<u8>>, EfivarError> {
        let path = self.directory.join(name);
        let mut bytes = Vec::new();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EfivarError::io("reading", &path)(source)),
        };
        file.take(VARIABLE_BYTES + 1).read_to_end(&mut bytes).map_err(EfivarError::io("reading", &path))?;
        Ok(Some(bytes))
    }

    /// A text variable; absent where firmware or loader set none.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is not UTF-16.
    pub fn text(&self, name: &str) -> Result<Option<String>, EfivarError> {
        let Some(bytes) = self.whole(name)? else { return Ok(None) };
        text(&bytes).map(Some).ok_or_else(|| EfivarError::Form { path: self.directory.join(name) })
    }

    /// A variable's value, at most the first 4 KiB of it; absent where there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, EfivarError> {
        Ok(self.whole(name)?.map(|bytes| bytes.get(ATTRIBUTE_BYTES..).unwrap_or_default().to_vec()))
    }

    /// Sets a variable that lasts ([`LASTING`]), in one call to the firmware.
    ///
    /// # Errors
    /// When the firmware does not take it, or keeps none.
    pub fn set(&self, name: &str, value: &[u8]) -> Result<(), EfivarError> {
        self.set_with(name, LASTING, value)
    }

    /// Sets a variable with other attributes than [`LASTING`], in one call to the firmware.
    ///
    /// # Errors
    /// When the firmware does not take it, as one whose signature it does not believe.
    pub fn set_with(&self, name: &str, attributes: u32, value: &[u8]) -> Result<(), EfivarError> {
        let path = self.directory.join(name);
        release(&path).map_err(EfivarError::io("writing", &path))?;
        let bytes = [&attributes.to_le_bytes()[..], value].concat();
        // The kernel makes one call of one write; cutting the file short makes none.
        let written = File::create(&path).and_then(|mut file| file.write(&bytes));
        match written {
            Ok(length) if length == bytes.len() => Ok(()),
            Ok(_) => Err(EfivarError::io("writing", &path)(io::ErrorKind::WriteZero.into())),
            Err(error) => Err(EfivarError::io("writing", &path)(error)),
        }
    }

    /// Removes a variable; absence is success.
    ///
    /// # Errors
    /// When the firmware does not let it go.
    pub fn remove(&self, name: &str) -> Result<(), EfivarError> {
        let path = self.directory.join(name);
        release(&path).map_err(EfivarError::io("removing", &path))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(EfivarError::io("removing", &path)),
        }
    }
}

/// Makes a variable's file one that can be written and removed: the kernel guards all but a few well-known ones, once they are
/// there, by the immutable flag (Documentation/filesystems/efivarfs.rst).
fn release(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let flags = match ioctl_getflags(&file) {
        // A file system without such flags guards nothing by them.
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    if flags.contains(IFlags::IMMUTABLE) {
        ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    }
    Ok(())
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

    /// As root, on a file system that knows the flag; a machine's firmware is asked in `tests/boot/failing.rs`.
    #[test]
    fn writes_and_removes_what_the_kernel_guards() {
        let directory = tempfile::tempdir().unwrap();
        let variables = Variables::at(directory.path());
        variables.set("guarded", b"first").unwrap();
        let guard = || {
            let file = File::open(directory.path().join("guarded")).unwrap();
            let flags = ioctl_getflags(&file).unwrap_or(IFlags::empty());
            let _ = ioctl_setflags(&file, flags | IFlags::IMMUTABLE);
        };
        guard();
        variables.set("guarded", b"second").unwrap();
        assert_eq!(variables.value("guarded").unwrap().as_deref(), Some(&b"second"[..]));
        guard();
        variables.remove("guarded").unwrap();
        assert_eq!(variables.value("guarded").unwrap(), None);
    }

    #[test]
    fn takes_only_absence_for_absent() {
        let directory = tempfile::tempdir().unwrap();
        let variables = Variables::at(directory.path());
        assert_eq!(variables.text("none").unwrap(), None);
        assert!(!variables.any().unwrap() && !Variables::at(directory.path().join("none")).any().unwrap());
        std::fs::write(directory.path().join("odd"), b"x").unwrap();
        assert!(matches!(variables.text("odd"), Err(EfivarError::Form { .. })));
        std::fs::create_dir(directory.path().join("dir")).unwrap();
        assert!(matches!(variables.text("dir"), Err(EfivarError::Io { .. })));
    }

    #[test]
    fn what_is_set_is_there_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let variables = Variables::at(directory.path());
        variables.set("a", b"xyz").unwrap();
        assert_eq!(std::fs::read(directory.path().join("a")).unwrap(), b"\x07\0\0\0xyz");
        assert_eq!(variables.value("a").unwrap().unwrap(), b"xyz");
        assert_eq!(variables.names().unwrap(), ["a"]);
        variables.remove("a").unwrap();
        variables.remove("a").unwrap();
        assert_eq!(variables.value("a").unwrap(), None);
        assert!(Variables::at(directory.path().join("none")).set("a", b"").is_err());
    }
}
