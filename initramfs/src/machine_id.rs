//! The node's machine-id: kept on the root partition, the same after every upgrade and rollback.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result};
use rocketos_model::layout;
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, renameat, unlinkat},
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

use crate::{console, root};

/// Hex digits and a newline (machine-id(5)).
const BYTES: usize = 33;
/// Who may read it, and nobody write: as systemd makes it.
const MODE: Mode = Mode::from_raw_mode(0o444);
/// What it is called until it is whole.
const TEMPORARY: &str = ".machine-id.new";
const NAME: &str = "machine-id";

/// machine-id(5): "a single newline-terminated, hexadecimal, 32-character, lowercase ID", not all zeros.
fn valid(text: &str) -> bool {
    text.strip_suffix('\n').is_some_and(|id| {
        id.len() == BYTES - 1
            && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && id.bytes().any(|b| b != b'0')
    })
}

/// Marks random bytes as a version 4 UUID (RFC 9562, 5.4), as systemd does.
fn text(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    format!("{}\n", hex::encode(random))
}

fn fresh() -> Result<String> {
    let mut random = [0; 16];
    // Blocks until the kernel has entropy; up to 256 bytes come whole.
    getrandom(&mut random, GetRandomFlags::empty()).context("asking for random bytes")?;
    Ok(text(random))
}

/// Puts `id` in place of whatever `directory` has, whole or not at all.
fn write(directory: impl AsFd, id: &str) -> io::Result<()> {
    let directory = directory.as_fd();
    match unlinkat(directory, TEMPORARY, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, TEMPORARY, flags, MODE)?);
    file.write_all(id.as_bytes())?;
    rustix::fs::fchmod(&file, MODE)?;
    file.sync_all()?;
    renameat(directory, TEMPORARY, directory, NAME)?;
    // A directory opened for its path alone cannot be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::fsync(openat(directory, ".", flags, Mode::empty())?)?)
}

fn read(directory: &OwnedFd) -> Result<Option<String>> {
    let found = root::read_text(directory, NAME, ResolveFlags::NO_SYMLINKS, BYTES as u64);
    match found {
        Ok(text) => Ok(text.filter(|text| valid(text))),
        // Too long, or not text: not a machine-id.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives the new root the node's machine-id, made now where the node has none.
pub fn hand_over(sysroot: &OwnedFd, new_root: &OwnedFd) -> Result<()> {
    let kept = || -> Result<String> {
        let directory = root::ensure_beneath(sysroot, layout::root::NODE)?;
        if let Some(id) = read(&directory)? {
            return Ok(id);
        }
        console::info("making a machine-id");
        let id = fresh()?;
        write(&directory, &id)?;
        Ok(id)
    };
    let id = kept().with_context(|| format!("keeping the machine-id in {}", layout::root::MACHINE_ID))?;
    let give = || -> Result<()> {
        let etc = root::open_directory(new_root, "etc", ResolveFlags::IN_ROOT)?;
        match read(&etc)? {
            Some(same) if same == id => Ok(()),
            _ => Ok(write(&etc, &id)?),
        }
    };
    give().context("writing /etc/machine-id")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn knows_a_machine_id() {
        for (text, expected) in [
            ("0123456789abcdef0123456789abcdef\n", true),
            ("0123456789abcdef0123456789abcdef", false),
            ("0123456789ABCDEF0123456789abcdef\n", false),
            ("0123456789abcdef0123456789abcde\n", false),
            ("00000000000000000000000000000000\n", false),
            ("uninitialized\n", false),
            ("", false),
        ] {
            assert_eq!(valid(text), expected, "{text:?}");
        }
    }

    #[test]
    fn makes_version_4_uuids() {
        assert_eq!(text([0xff; 16]), "ffffffffffff4fffbfffffffffffffff\n");
        assert_eq!(text([0; 16]), "00000000000040008000000000000000\n");
        assert!(valid(&fresh().unwrap()));
    }

    #[test]
    fn keeps_the_first_id_and_replaces_what_is_none() {
        let node = tempfile::tempdir().unwrap();
        let image = tempfile::tempdir().unwrap();
        fs::create_dir_all(node.path().join("state")).unwrap();
        fs::create_dir(image.path().join("etc")).unwrap();
        fs::write(image.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        let open = |path| OwnedFd::from(File::open(path).unwrap());
        let (sysroot, new_root) = (open(node.path()), open(image.path()));
        hand_over(&sysroot, &new_root).unwrap();
        let first = fs::read_to_string(node.path().join(layout::root::MACHINE_ID)).unwrap();
        assert!(valid(&first));
        hand_over(&sysroot, &new_root).unwrap();
        assert_eq!(fs::read_to_string(image.path().join("etc/machine-id")).unwrap(), first);
        fs::remove_file(node.path().join(layout::root::MACHINE_ID)).unwrap();
        fs::write(node.path().join(layout::root::MACHINE_ID), "x".repeat(99)).unwrap();
        hand_over(&sysroot, &new_root).unwrap();
        let second = fs::read_to_string(image.path().join("etc/machine-id")).unwrap();
        assert!(valid(&second) && second != first);
    }
}
