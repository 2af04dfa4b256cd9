//! Which systemd-boot a file is.

use std::cmp::Ordering;

/// What stands in the `.sdmagic` section of every systemd-boot, around its version.
const AROUND: (&[u8], &[u8]) = (b"#### LoaderInfo: systemd-boot ", b" ####");
/// Characters of a version we read.
const VERSION_CHARACTERS: usize = 128;

/// The version of a loader; absent where it does not say.
pub fn loader_version(loader: &[u8]) -> Option<&str> {
    let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    let rest = loader.get(find(loader, AROUND.0)? + AROUND.0.len()..)?;
    let rest = rest.get(..VERSION_CHARACTERS).unwrap_or(rest);
    std::str::from_utf8(rest.get(..find(rest, AROUND.1)?)?).ok()
}

/// True when `new` is an older version than `old` (UAPI Group, Version Format); what does not say is not older.
pub fn is_older(new: &[u8], old: &[u8]) -> bool {
    match (loader_version(new), loader_version(old)) {
        (Some(new), Some(old)) => uapi_version::strverscmp(new, old) == Ordering::Less,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_compares_versions() {
        let loader = |version: &str| format!("MZ..#### LoaderInfo: systemd-boot {version} ####..").into_bytes();
        assert_eq!(loader_version(&loader("257.13-1~deb13u1")), Some("257.13-1~deb13u1"));
        for none in [&b""[..], b"MZ", b"#### LoaderInfo: systemd-boot 257"] {
            assert_eq!(loader_version(none), None);
        }
        assert_eq!(loader_version(&loader(&"9".repeat(200))), None);
        assert!(is_older(&loader("257.9"), &loader("257.13")) && !is_older(&loader("258"), &loader("257.13")));
        assert!(!is_older(&loader("257"), &loader("257")) && !is_older(b"", &loader("257")));
    }
}
