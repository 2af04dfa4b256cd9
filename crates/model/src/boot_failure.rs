//! What an initramfs that fails tells the next boot, by way of a firmware variable: nothing else lasts that early.

/// The variable, with a vendor's GUID of its own.
pub const VARIABLE: &str = "RocketOSBootFailure-5f0d4b1e-7c59-4e0a-9d3b-2a6c81e4f7d3";
/// Bytes of a reason; firmware has little room.
pub const REASON_BYTES: usize = 512;

/// A boot that failed before systemd ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFailure {
    /// The boot entry's identifier, as the loader reported it; empty where it did not.
    pub entry: String,
    /// What failed.
    pub reason: String,
}

impl BootFailure {
    /// The variable's value: two lines, UTF-8, the second one cut to [`REASON_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let line = |text: &str| text.replace(char::is_control, " ");
        let mut reason = line(&self.reason);
        let mut end = reason.len().min(REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        format!("{}\n{reason}", line(&self.entry)).into_bytes()
    }

    /// Reads it; absent where it is none. Anybody with firmware's variables may have written it: it is told to people and
    /// decides nothing.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entry, reason) = str::from_utf8(bytes).ok()?.split_once('\n')?;
        let printable = |text: &str| !text.contains(char::is_control);
        let fits = reason.len() <= REASON_BYTES && printable(entry) && printable(reason);
        fits.then(|| Self { entry: entry.to_owned(), reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_variable() {
        let failure = |reason: &str| BootFailure { entry: "rocketos-1-ab.conf".into(), reason: reason.into() };
        let plain = failure("mounting /dev/vda2: no such device");
        assert_eq!(BootFailure::from_bytes(&plain.to_bytes()), Some(plain));
        let read = BootFailure::from_bytes(&failure(&"é\n".repeat(REASON_BYTES)).to_bytes()).unwrap();
        assert!(read.reason.starts_with("é é ") && read.reason.len() <= REASON_BYTES);
        for none in [&b""[..], b"one line", b"a\nb\nc", b"\xff\nb", b"a\x1b\nb"] {
            assert_eq!(BootFailure::from_bytes(none), None, "{none:?}");
        }
    }
}
