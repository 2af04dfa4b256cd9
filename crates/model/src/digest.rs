//! One type for each digest; mixing them does not compile.
//!
//! The OCI ones are `sha256:` and 64 lower-case hex digits (OCI image specification, "Digests"). The composefs
//! ones are fs-verity SHA-512 digests over 4 KiB blocks, 128 lower-case hex digits.

use std::{fmt, str::FromStr};

/// A digest that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not {expected}")]
pub struct DigestError {
    /// What stood there.
    pub found: String,
    /// The form it should have.
    pub expected: &'static str,
}

/// Decodes exactly `N` bytes of lower-case hex.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $len:literal, $prefix:literal, $expected:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps the raw digest.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw digest.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The digest in lower-case hex, without any prefix.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;
            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.strip_prefix($prefix)
                    .and_then(bytes)
                    .map(Self)
                    .ok_or_else(|| DigestError { found: text.to_owned(), expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

const SHA256: &str = "'sha256:' and 64 lower-case hex digits";
const SHA512: &str = "128 lower-case hex digits";

digest! {
    /// SHA-256 of the bytes of an image's manifest: what a signature signs and a deployment is.
    ManifestDigest, 32, "sha256:", SHA256
}
digest! {
    /// SHA-256 of a blob as a registry serves it: a configuration, or a compressed layer.
    BlobDigest, 32, "sha256:", SHA256
}
digest! {
    /// SHA-256 of a layer's uncompressed tar stream (OCI image configuration, `rootfs.diff_ids`).
    DiffId, 32, "sha256:", SHA256
}
digest! {
    /// fs-verity digest of the mountable image: what a kernel command line carries.
    ComposefsDigest, 64, "", SHA512
}
digest! {
    /// fs-verity digest of one file in the store.
    ObjectId, 64, "", SHA512
}

impl ManifestDigest {
    /// The deployment that installing this manifest makes.
    pub fn deployment(&self) -> DeploymentId {
        let mut id = [0; DeploymentId::BYTES];
        id.copy_from_slice(&self.0[..DeploymentId::BYTES]);
        DeploymentId(id)
    }
}

/// The first 32 hex digits of a manifest digest: a deployment's name in paths and boot entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentId([u8; DeploymentId::BYTES]);

impl DeploymentId {
    const BYTES: usize = 16;

    /// How many hex digits the id has.
    pub const HEX_LEN: usize = 2 * Self::BYTES;

    /// True where `prefix` (any number of hex digits) begins this id.
    pub fn starts_with(&self, prefix: &str) -> bool {
        !prefix.is_empty() && hex::encode(self.0).starts_with(prefix)
    }
}

impl FromStr for DeploymentId {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        bytes(text)
            .map(Self)
            .ok_or_else(|| DigestError { found: text.to_owned(), expected: "32 lower-case hex digits" })
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeploymentId({self})")
    }
}

impl serde::Serialize for DeploymentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for DeploymentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_the_exact_form() {
        let hex = "ab".repeat(32);
        for (text, good) in [
            (format!("sha256:{hex}"), true),
            (hex.clone(), false),
            (format!("sha256:{}", hex.to_uppercase()), false),
            (format!("sha256:{}", &hex[2..]), false),
            (format!("sha512:{hex}"), false),
            (format!("sha256:{hex} "), false),
        ] {
            assert_eq!(text.parse::<ManifestDigest>().is_ok(), good, "{text}");
        }
        assert!("cd".repeat(64).parse::<ComposefsDigest>().is_ok());
        assert!("cd".repeat(32).parse::<ComposefsDigest>().is_err());
    }

    #[test]
    fn says_what_it_found_and_what_it_wants() {
        let error = "sha256:x".parse::<DiffId>().unwrap_err();
        assert_eq!(error.to_string(), format!("'sha256:x' is not {SHA256}"));
        let error = "x".parse::<ObjectId>().unwrap_err();
        assert_eq!(error.to_string(), format!("'x' is not {SHA512}"));
    }

    #[test]
    fn names_a_deployment_by_the_first_half() {
        let digest: ManifestDigest = format!("sha256:{}{}", "12".repeat(16), "34".repeat(16)).parse().unwrap();
        assert_eq!(digest.deployment().to_string(), "12".repeat(16));
        assert!(digest.deployment().starts_with("1212"));
        assert!(!digest.deployment().starts_with("34"));
        assert!(!digest.deployment().starts_with(""));
    }
}
