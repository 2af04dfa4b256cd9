//! Images named by where another is, so that who mirrors a system mirrors them with it.
//!
//! `control:1.0` and `control@sha256:…` are beside the system's own image: where that is `registry.example/rocketos/standalone`,
//! `registry.example/rocketos/control`. Anything with a slash is a name of its own.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    ImageReference, ManifestDigest, ReferenceError,
    reference::{digest_of, tag_of, valid_name},
};

/// Names that are transports', and so nobody's image.
const TRANSPORTS: [&str; 5] = ["docker", "registry", "oci", "oci-archive", "containers-storage"];

/// An image: by its own name, or by one beside another's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlacedImage {
    /// Wherever it says.
    At(ImageReference),
    /// In the registry of another, beside its repository.
    Beside {
        /// The last part of its repository.
        name: String,
        /// A name that may move.
        tag: Option<String>,
        /// A manifest that may not.
        digest: Option<ManifestDigest>,
    },
}

impl PlacedImage {
    /// The whole name, where the other is `origin`; none where that is in no registry and this is beside it.
    pub fn resolve(&self, origin: &ImageReference) -> Option<ImageReference> {
        let Self::Beside { name, tag, digest } = self else {
            let Self::At(reference) = self else { return None };
            return Some(reference.clone());
        };
        let ImageReference::Registry { registry, repository, .. } = origin else { return None };
        let repository = match repository.rsplit_once('/') {
            Some((above, _)) => format!("{above}/{name}"),
            None => name.clone(),
        };
        Some(ImageReference::Registry { registry: registry.clone(), repository, tag: tag.clone(), digest: *digest })
    }

    /// The manifest that it is, wherever it is; none where a tag says.
    pub fn digest(&self) -> Option<ManifestDigest> {
        match self {
            Self::At(ImageReference::Registry { digest, .. }) | Self::Beside { digest, .. } => *digest,
            Self::At(_) => None,
        }
    }
}

impl fmt::Display for PlacedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(reference) => reference.fmt(f),
            Self::Beside { name, tag, digest } => {
                f.write_str(name)?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

impl FromStr for PlacedImage {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let own = text.is_empty()
            || text.contains('/')
            || text.split(':').next().is_some_and(|first| TRANSPORTS.contains(&first));
        if own {
            return text.parse().map(Self::At);
        }
        let (rest, digest) = digest_of(text)?;
        let (name, tag) = tag_of(rest)?;
        match valid_name(name) {
            true => Ok(Self::Beside { name: name.to_owned(), tag, digest }),
            false => Err(ReferenceError::Repository(name.to_owned())),
        }
    }
}

impl Serialize for PlacedImage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PlacedImage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "ab".repeat(32))
    }

    #[test]
    fn is_beside_the_image_of_the_system() {
        let digest = digest();
        for (text, origin, expected) in [
            (
                "control:1",
                "docker://registry.example/rocketos/standalone:7",
                "docker://registry.example/rocketos/control:1",
            ),
            ("control", "docker://localhost:5000/standalone", "docker://localhost:5000/control"),
        ] {
            let found = text.parse::<PlacedImage>().unwrap().resolve(&origin.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), expected);
        }
        let pinned: PlacedImage = format!("admin:1@{digest}").parse().unwrap();
        let origin = "docker://a.b/c/d/e:1".parse().unwrap();
        assert_eq!(pinned.resolve(&origin).unwrap().to_string(), format!("docker://a.b/c/d/admin:1@{digest}"));
        assert_eq!(pinned.digest().unwrap().to_string(), digest);
        for nowhere in ["oci:/media/usb", "oci-archive:/dev/vdb:1", "containers-storage:localhost/a"] {
            assert_eq!(pinned.resolve(&nowhere.parse().unwrap()), None, "{nowhere}");
        }
        // What has a name of its own is wherever the system is from.
        let own: PlacedImage = "registry.example/admin:1".parse().unwrap();
        for origin in ["docker://a.b/c", "oci:/media/usb"] {
            assert_eq!(own.resolve(&origin.parse().unwrap()).unwrap().to_string(), "docker://registry.example/admin:1");
        }
    }

    #[test]
    fn reads_back_what_it_writes_and_refuses_the_rest() {
        let digest = digest();
        for text in [
            "control",
            "control:1.0",
            &format!("control@{digest}"),
            &format!("a-b:1@{digest}"),
            "docker://a.b/c:1",
            "oci:/a",
        ] {
            let read: PlacedImage = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "",
            "Control",
            "-a",
            "a:",
            "a:-",
            "a@sha256:12",
            "a b",
            "a:1:2",
            "containers-storage:a",
            "oci:",
            "docker:a",
            "a/b",
        ] {
            let read = text.parse::<PlacedImage>();
            assert!(!matches!(read, Ok(PlacedImage::Beside { .. })), "{text}");
        }
    }
}
