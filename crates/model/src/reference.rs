//! Image references: transport, registry, repository, tag, digest.
//!
//! Written as the containers tools do (containers-transports(5)): `docker://registry/repository[:tag][@digest]`,
//! `oci:path[:tag]`, `oci-archive:path[:tag]`, `containers-storage:name`. A bare name is a registry's.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{DigestError, ManifestDigest};

/// The tag meant where none is given.
pub const DEFAULT_TAG: &str = "latest";
/// Longest reference we read.
pub const MAX_LEN: usize = 4096;
/// Longest tag (OCI distribution specification, "Pulling manifests").
const TAG_LEN: usize = 128;

/// A reference that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A prefix nobody here reads.
    #[error("'{0}' is an unknown transport; known are docker://, oci:, oci-archive: and containers-storage:")]
    Transport(String),
    /// Nothing, or no end.
    #[error("an image reference has 1 to {MAX_LEN} characters, this has {0}")]
    Length(usize),
    /// A registry's name.
    #[error("'{0}' is not a registry's name: it needs a dot, a port or to be 'localhost', as in registry.example/name")]
    Registry(String),
    /// A repository's name.
    #[error("'{0}' is not a repository's name: lower-case letters, digits, and . _ - / between them")]
    Repository(String),
    /// A tag.
    #[error("'{0}' is not a tag: letters, digits, . _ -, at most {TAG_LEN}")]
    Tag(String),
    /// A digest behind `@`.
    #[error("the digest behind '@' is malformed")]
    Digest(#[source] DigestError),
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageReference {
    /// `docker://`: a registry, over HTTPS or, where registries.conf says so, HTTP.
    Registry {
        /// Host and optional port.
        registry: String,
        /// Path of the repository there.
        repository: String,
        /// A name that may move.
        tag: Option<String>,
        /// A manifest that may not.
        digest: Option<ManifestDigest>,
    },
    /// `oci:`: an OCI image layout, a directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` in its index; absent where it holds one image.
        tag: Option<String>,
    },
    /// `oci-archive:`: an OCI image layout in a tar file (or a block device that holds one).
    Archive {
        /// The file.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` in its index; absent where it holds one image.
        tag: Option<String>,
    },
    /// `containers-storage:`: podman's local storage.
    Storage {
        /// Everything behind the colon, podman's own words.
        name: String,
    },
}

impl ImageReference {
    /// The same place, pinned to one manifest.
    #[must_use]
    pub fn with_digest(&self, manifest: ManifestDigest) -> Self {
        match self.clone() {
            Self::Registry { registry, repository, tag, .. } => {
                Self::Registry { registry, repository, tag, digest: Some(manifest) }
            }
            other => other,
        }
    }

    /// The transport's name as bootc's `status` writes it.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Registry { .. } => "registry",
            Self::Layout { .. } => "oci",
            Self::Archive { .. } => "oci-archive",
            Self::Storage { .. } => "containers-storage",
        }
    }

    /// The reference without its transport, as bootc's `status` writes it.
    pub fn name(&self) -> String {
        match self {
            Self::Registry { registry, repository, tag, digest } => {
                let mut name = format!("{registry}/{repository}");
                if let Some(tag) = tag {
                    name = format!("{name}:{tag}");
                }
                if let Some(digest) = digest {
                    name = format!("{name}@{digest}");
                }
                name
            }
            Self::Layout { path, tag } | Self::Archive { path, tag } => match tag {
                Some(tag) => format!("{}:{tag}", path.display()),
                None => path.display().to_string(),
            },
            Self::Storage { name } => name.clone(),
        }
    }

    /// Reads a reference from transport and name, the form of bootc's `--transport`.
    ///
    /// # Errors
    /// When either is not what it should be.
    pub fn from_parts(transport: &str, name: &str) -> Result<Self, ReferenceError> {
        match transport {
            "registry" | "docker" => registry(name),
            "oci" | "oci-archive" | "containers-storage" => format!("{transport}:{name}").parse(),
            other => Err(ReferenceError::Transport(other.to_owned())),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self {
            Self::Registry { .. } => "docker://",
            Self::Layout { .. } => "oci:",
            Self::Archive { .. } => "oci-archive:",
            Self::Storage { .. } => "containers-storage:",
        };
        write!(f, "{prefix}{}", self.name())
    }
}

/// What podman and docker read as a host: labels of letters, digits and hyphens, or an IPv6 address in brackets; then a port.
fn valid_registry(name: &str) -> bool {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.split('.').all(valid_label),
    };
    is_host
        && port.is_none_or(valid_port)
        && (address.is_some() || port.is_some() || host.contains('.') || host == "localhost")
}

fn valid_label(label: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    ends(label.bytes().next())
        && ends(label.bytes().last())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn valid_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// OCI distribution specification, "Pulling manifests", `<name>`.
fn valid_repository(name: &str) -> bool {
    name.split('/').all(|part| {
        let ends = |c: Option<u8>| c.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    })
}

fn valid_tag(tag: &str) -> bool {
    tag.len() <= TAG_LEN
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn tag(text: &str) -> Result<String, ReferenceError> {
    valid_tag(text).then(|| text.to_owned()).ok_or_else(|| ReferenceError::Tag(text.to_owned()))
}

/// A name that is the last part of a repository's.
pub(crate) fn valid_name(name: &str) -> bool {
    valid_repository(name) && !name.contains('/')
}

/// What stands before `@`, and the digest behind it.
pub(crate) fn digest_of(text: &str) -> Result<(&str, Option<ManifestDigest>), ReferenceError> {
    match text.split_once('@') {
        Some((rest, digest)) => Ok((rest, Some(digest.parse().map_err(ReferenceError::Digest)?))),
        None => Ok((text, None)),
    }
}

/// What stands before `:`, and the tag behind it.
pub(crate) fn tag_of(text: &str) -> Result<(&str, Option<String>), ReferenceError> {
    match text.split_once(':') {
        Some((rest, name)) => Ok((rest, Some(tag(name)?))),
        None => Ok((text, None)),
    }
}

fn registry(text: &str) -> Result<ImageReference, ReferenceError> {
    let (rest, digest) = digest_of(text)?;
    let (host, path) = rest.split_once('/').ok_or_else(|| ReferenceError::Registry(rest.to_owned()))?;
    let (path, tag) = tag_of(path)?;
    if !valid_registry(host) {
        return Err(ReferenceError::Registry(host.to_owned()));
    }
    if !valid_repository(path) {
        return Err(ReferenceError::Repository(path.to_owned()));
    }
    Ok(ImageReference::Registry { registry: host.to_owned(), repository: path.to_owned(), tag, digest })
}

/// `path[:tag]`; what follows a colon is a tag only where no slash follows.
fn path(text: &str) -> Result<(PathBuf, Option<String>), ReferenceError> {
    match text.rsplit_once(':') {
        Some((path, name)) if !name.contains('/') => Ok((PathBuf::from(path), Some(tag(name)?))),
        _ => Ok((PathBuf::from(text), None)),
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(ReferenceError::Length(text.len()));
        }
        if let Some(rest) = text.strip_prefix("docker://").or_else(|| text.strip_prefix("registry:")) {
            return registry(rest);
        }
        match text.split_once(':') {
            Some(("oci", rest)) => path(rest).map(|(path, tag)| Self::Layout { path, tag }),
            Some(("oci-archive", rest)) => path(rest).map(|(path, tag)| Self::Archive { path, tag }),
            Some(("containers-storage", rest)) => Ok(Self::Storage { name: rest.to_owned() }),
            // A host with a port, a name with a tag: no transport. Anything else before a colon claims to be one.
            Some((before, after)) if !before.contains(['/', '.']) && before != "localhost" => {
                match after.split_once('/') {
                    Some((port, _)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => registry(text),
                    _ => Err(ReferenceError::Transport(before.to_owned())),
                }
            }
            _ => registry(text),
        }
    }
}

impl Serialize for ImageReference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for text in [
            "docker://registry.example/rocketos/standalone:1.0".to_owned(),
            format!("docker://localhost:5000/a/b:tag@{digest}"),
            format!("docker://10.0.2.2:5000/dev@{digest}"),
            "docker://[fd00::1]:5000/dev:1".to_owned(),
            "docker://[fd00::1]/dev".to_owned(),
            "oci:/media/usb/layout".to_owned(),
            "oci:/media/usb/layout:1.0".to_owned(),
            "oci-archive:/dev/vdb".to_owned(),
            "containers-storage:localhost/rocketos/dev:latest".to_owned(),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn takes_a_bare_name_for_a_registrys() {
        for text in ["registry.example/name", "localhost:5000/name:tag", "host:5000/name", "registry:quay.io/a/b"] {
            assert_eq!(text.parse::<ImageReference>().unwrap().transport(), "registry", "{text}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, kind) in [
            ("", "characters"),
            ("ftp://host/name", "unknown transport"),
            ("docker-daemon:name:tag", "unknown transport"),
            ("docker://name", "registry's name"),
            ("docker://name/other", "registry's name"),
            ("docker://host.example[[/name", "registry's name"),
            ("docker://[host.example]/name", "registry's name"),
            ("docker://host..example/name", "registry's name"),
            ("docker://-host.example/name", "registry's name"),
            ("docker://host.example:/name", "registry's name"),
            ("docker://host.example:70000/name", "registry's name"),
            ("docker://host.example/Name", "repository's name"),
            ("docker://host.example/a//b", "repository's name"),
            ("docker://host.example/a:-", "not a tag"),
            ("docker://host.example/a@sha256:12", "digest behind '@'"),
        ] {
            let message = text.parse::<ImageReference>().unwrap_err().to_string();
            assert!(message.contains(kind), "{text}: {message}");
        }
    }
}
