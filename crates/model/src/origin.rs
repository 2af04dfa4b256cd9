//! What a deployment is and follows: `state/deploy/<id>/origin`, TOML.

use serde::{Deserialize, Serialize};

use crate::{ComposefsDigest, Followed, ImageReference, ManifestDigest};

/// What a deployment follows: an image reference, or a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The image; on a channel, where the channel said that it is.
    pub image: ImageReference,
    /// The channel.
    pub channel: Option<Followed>,
}

impl From<ImageReference> for Follow {
    fn from(image: ImageReference) -> Self {
        Self { image, channel: None }
    }
}

/// A deployment's origin file. Written whole whenever the deployment is staged: a switch to another name of the same
/// manifest changes only what it follows. Fields that are not known are passed over: a rollback leads to a `rocketctl`
/// that is older than the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// What `upgrade` follows, unless it follows a channel: then where the channel said that the image is.
    pub image: ImageReference,
    /// What is installed.
    pub manifest_digest: ManifestDigest,
    /// What it boots.
    pub composefs_digest: ComposefsDigest,
    /// The kernel's file name on the ESP, such as `6.12.48+deb13-amd64.efi`.
    pub uki: String,
    /// The kernel's release.
    pub kernel: String,
    /// The image's version label.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// The image's variant label.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variant: Option<String>,
    /// When the image was made, RFC 3339, as its configuration says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created: Option<String>,
    /// The image's architecture in OCI's words, such as `amd64`.
    pub architecture: String,
    /// The channel that `upgrade` follows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub channel: Option<Followed>,
}

impl Origin {
    /// What the deployment follows.
    pub fn follow(&self) -> Follow {
        Follow { image: self.image.clone(), channel: self.channel.clone() }
    }
}
