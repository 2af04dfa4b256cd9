//! os-release(5): what an image says of itself.

use std::{collections::BTreeMap, path::Path};

use crate::{SealError, error::read_text};

/// Where it lies; /etc/os-release is a link to it.
pub(crate) const PATH: &str = "usr/lib/os-release";
/// The one variant that may carry a shell, and what else people need to look around.
pub(crate) const DEV: &str = "dev";
/// Bytes of an os-release file.
const BYTES: u64 = 64 << 10;

/// The assignments of an os-release file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) text: String,
    fields: BTreeMap<String, String>,
}

impl Release {
    pub(crate) fn read(root: &Path) -> Result<Self, SealError> {
        let text = read_text(root, PATH, BYTES)?.ok_or_else(|| SealError::Missing {
            what: format!("/{PATH}"),
            advice: "every image says there what it is (os-release(5))",
        })?;
        Self::parse(text)
    }

    fn parse(text: String) -> Result<Self, SealError> {
        let mut fields = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| SealError::malformed(format!("{PATH}:{}", index + 1), "expected NAME=value"))?;
            fields.insert(key.to_owned(), unquote(value));
        }
        Ok(Self { text, fields })
    }

    /// A field's value; absent where it is missing or empty.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the variant is excused from being minimal.
    pub(crate) fn is_dev(&self) -> bool {
        self.field("VARIANT_ID") == Some(DEV)
    }

    /// The image's version: IMAGE_VERSION, or else VERSION_ID.
    pub(crate) fn version(&self) -> &str {
        self.field("IMAGE_VERSION").or_else(|| self.field("VERSION_ID")).unwrap_or_default()
    }
}

fn unquote(value: &str) -> String {
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => {
            let mut out = String::new();
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\\' => out.extend(chars.next()),
                    c => out.push(c),
                }
            }
            out
        }
        (None, Some(inner)) => inner.to_owned(),
        (None, None) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quoted_fields_and_prefers_the_image_version() {
        let text = "# x\nID=rocketos\nNAME=\"Rocket \\\"OS\\\"\"\nVARIANT_ID='dev'\nVERSION_ID=13\nEMPTY=\n";
        let release = Release::parse(text.to_owned()).unwrap();
        assert_eq!(release.field("NAME"), Some("Rocket \"OS\""));
        assert_eq!(release.field("VARIANT_ID"), Some("dev"));
        assert_eq!(release.field("EMPTY"), None);
        assert_eq!(release.version(), "13");
        let release = Release::parse(format!("{text}IMAGE_VERSION=0.2\n")).unwrap();
        assert_eq!(release.version(), "0.2");
        assert!(Release::parse("nonsense\n".to_owned()).is_err());
    }
}
