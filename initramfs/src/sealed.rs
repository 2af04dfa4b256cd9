//! Whether the kernel was given the command line that was sealed, and nothing else but what the image allows.
//!
//! The stub adds what addons, and on machines that are not confidential ones the hypervisor's SMBIOS strings, say. Firmware
//! checks the signatures of addons, and nobody those of strings: from here on they look the same. So names decide.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};
use rocketos_model::{cmdline::Allowed, layout};

/// A file of the initramfs; absent where sealing did not put it there.
fn read(top: &Path, path: &str) -> Result<Option<String>> {
    match fs::read_to_string(top.join(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).with_context(|| format!("reading {path}")),
    }
}

/// Refuses a command line that the image does not take; returns what it does, where it is sealed against others.
pub fn check(cmdline: &str) -> Result<Option<String>> {
    check_in(Path::new("/"), cmdline)
}

fn check_in(top: &Path, cmdline: &str) -> Result<Option<String>> {
    let Some(sealed) = read(top, layout::initramfs::CMDLINE)? else { return Ok(None) };
    // Sealing writes both.
    let allowed = read(top, layout::initramfs::ALLOWED)?.context("the initramfs does not say what may be added")?;
    Allowed::parse(&allowed).check(cmdline, &sealed).context("comparing the kernel command line")?;
    Ok(Some(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_sealed_refuses_what_was_not() {
        let top = tempfile::tempdir().unwrap();
        assert_eq!(check_in(top.path(), "init=/x").unwrap(), None);
        fs::create_dir(top.path().join("sealed")).unwrap();
        fs::write(top.path().join(layout::initramfs::CMDLINE), "a b=c").unwrap();
        assert!(check_in(top.path(), "a b=c").is_err(), "half of the seal is none");
        fs::write(top.path().join(layout::initramfs::ALLOWED), "hugepages").unwrap();
        assert_eq!(check_in(top.path(), "a b=c hugepages=2\n").unwrap().as_deref(), Some("hugepages"));
        for line in ["a b=c init=/x", "init=/x a b=c", "a", "a b=c hugepages=2 systemd.unit=x"] {
            assert!(check_in(top.path(), line).is_err(), "{line}");
        }
    }
}
