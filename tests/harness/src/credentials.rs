//! systemd credentials handed to a machine by its firmware (SMBIOS type 11), which configure an unchanged image.
//!
//! Units and drop-ins need systemd 256 or newer in the guest (`systemd.system-credentials(7)`), and the module
//! `dmi-sysfs`.

use std::collections::BTreeMap;

/// A set of credentials; units wanted by one target are gathered in one drop-in.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    values: BTreeMap<String, Vec<u8>>,
    wants: BTreeMap<String, Vec<String>>,
    tmpfiles: String,
}

impl Credentials {
    /// Starts with none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a credential by name.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Adds a unit that exists for this boot.
    pub fn unit(&mut self, name: &str, text: &str) {
        self.set(&format!("systemd.extra-unit.{name}"), text);
    }

    /// Makes `target` want `unit`.
    pub fn want(&mut self, target: &str, unit: &str) {
        self.wants.entry(target.to_owned()).or_default().push(unit.to_owned());
    }

    /// Writes a file into the guest's file system when systemd-tmpfiles sets it up, early in boot.
    pub fn file(&mut self, path: &str, contents: &[u8]) {
        // `~`: the argument is base64; `+`: whatever the image has there is replaced.
        self.tmpfiles.push_str(&format!("f+~ {path} 0644 root root - {}\n", base64(contents)));
    }

    /// Returns QEMU's arguments for all of them.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = self.values.clone();
        for (target, units) in &self.wants {
            let text = format!("[Unit]\nWants={}\n", units.join(" "));
            all.insert(format!("systemd.unit-dropin.{target}"), text.into_bytes());
        }
        if !self.tmpfiles.is_empty() {
            all.insert("tmpfiles.extra".to_owned(), self.tmpfiles.clone().into_bytes());
        }
        all.iter()
            .flat_map(|(name, value)| {
                let value = base64(value);
                ["-smbios".to_owned(), format!("type=11,value=io.systemd.credential.binary:{name}={value}")]
            })
            .collect()
    }
}

/// Encodes bytes as padded base64 (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            if index <= chunk.len() {
                let sextet = (word >> (18 - 6 * index)) & 0x3f;
                out.push(char::from(ALPHABET[sextet as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn encodes_the_vectors_of_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
