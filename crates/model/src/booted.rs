//! What the initramfs found, for the rest of the boot: `/run/rocketos/booted.toml`.

use serde::{Deserialize, Serialize};

use crate::{ComposefsDigest, DeploymentId};

/// What this boot runs and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Booted {
    /// The image that is the root, as the kernel command line named it and the kernel measured it.
    pub composefs_digest: ComposefsDigest,
    /// The deployment, from the loader's `LoaderEntrySelected`; absent where the loader did not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deployment: Option<DeploymentId>,
    /// The boot entry's identifier, as the loader reported it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entry: Option<String>,
    /// The whole disk we booted from, such as `/dev/vda`.
    pub disk: String,
    /// The root partition, such as `/dev/vda2`.
    pub root: String,
    /// The EFI system partition, such as `/dev/vda1`.
    pub esp: String,
}

impl Booted {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        // Only maps with keys that are not strings fail to serialise; there is none.
        toml::to_string(self).expect("a flat structure of strings serialises")
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not what [`Booted::to_toml`] writes.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_file() {
        let booted = Booted {
            composefs_digest: "ab".repeat(64).parse().unwrap(),
            deployment: Some("cd".repeat(16).parse().unwrap()),
            entry: None,
            disk: "/dev/vda".into(),
            root: "/dev/vda2".into(),
            esp: "/dev/vda1".into(),
        };
        assert_eq!(Booted::from_toml(&booted.to_toml()), Ok(booted));
    }
}
