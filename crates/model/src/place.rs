//! Where release metadata lies, and what a deployment that follows a channel follows.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ImageReference, ReferenceError};

/// Characters of a place.
pub const PLACE_CHARS: usize = 2048;

/// A place. Below it are `metadata/` and `targets/`; in a registry both are files under one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A repository of a registry, as it has images.
    Registry(ImageReference),
    /// A web server: `http://…` or `https://…`, without query and fragment.
    Http(String),
    /// A directory.
    Directory(PathBuf),
}

/// What is no place of release metadata.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Longer than allowed.
    #[error("a place of release metadata has at most {PLACE_CHARS} characters")]
    TooLong,
    /// `dir:` and nothing.
    #[error("'dir:' names no directory")]
    NoDirectory,
    /// A relative one, which would be another elsewhere.
    #[error("'{0}' is a relative path; release metadata in a directory is named by an absolute one")]
    Relative(String),
    /// A URL with more than a path.
    #[error("'{0}' is no URL of a place: a host and a path, without spaces, query or fragment")]
    Url(String),
    /// A tag or a digest.
    #[error("'{0}' names an image; release metadata has a tag of its own in docker://registry/repository")]
    Image(String),
    /// No reference at all.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A transport that has none.
    #[error("'{0}' is no place of release metadata; known are docker://, https://, http:// and dir:")]
    Transport(String),
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text.len() > PLACE_CHARS {
            return Err(PlaceError::TooLong);
        }
        if let Some(path) = text.strip_prefix("dir:") {
            return match PathBuf::from(path) {
                path if path.is_absolute() => Ok(Self::Directory(path)),
                _ if path.is_empty() => Err(PlaceError::NoDirectory),
                _ => Err(PlaceError::Relative(text.to_owned())),
            };
        }
        if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            let sound = !rest.is_empty() && !rest.contains(|c: char| matches!(c, '?' | '#') || c <= ' ' || c == '\x7f');
            return match sound {
                true => Ok(Self::Http(text.trim_end_matches('/').to_owned())),
                false => Err(PlaceError::Url(text.to_owned())),
            };
        }
        match text.parse()? {
            ImageReference::Registry { tag: None, digest: None, registry, repository } => {
                Ok(Self::Registry(ImageReference::Registry { tag: None, digest: None, registry, repository }))
            }
            ImageReference::Registry { .. } => Err(PlaceError::Image(text.to_owned())),
            _ => Err(PlaceError::Transport(text.to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Http(url) => url.fmt(f),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A channel that a deployment follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Followed {
    /// The channel's name.
    pub name: String,
    /// Where its metadata lies.
    pub from: Place,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {} of {}", self.name, self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for text in ["docker://registry.example/os/node", "https://releases.example/os", "dir:/srv/releases"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("http://a/b//".parse::<Place>().unwrap().to_string(), "http://a/b");
        for (text, what) in [
            ("docker://registry.example/os/node:1", "names an image"),
            ("oci:/srv/layout", "no place"),
            ("dir:", "no directory"),
            ("dir:releases", "relative"),
            ("https://releases.example/?a", "no URL"),
            ("https://releases.example/a b", "no URL"),
            ("http://", "no URL"),
            ("ftp://releases.example", "unknown transport"),
            (&"a".repeat(PLACE_CHARS + 1), "at most"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
