//! Where release metadata lies.

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{anyhow, bail, ensure};
use rocketos_model::ImageReference;

/// A place. Below it are `metadata/` and `targets/`; in a registry both are files under one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A repository of a registry, as it has images.
    Registry(ImageReference),
    /// A web server.
    Http(reqwest::Url),
    /// A directory.
    Directory(PathBuf),
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some(path) = text.strip_prefix("dir:") {
            ensure!(!path.is_empty(), "'dir:' names no directory");
            return Ok(Self::Directory(path.into()));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            let url = reqwest::Url::parse(text).map_err(|error| anyhow!("'{text}' is no URL: {error}"))?;
            ensure!(url.query().is_none() && url.fragment().is_none(), "'{text}' has more than a path");
            return Ok(Self::Http(url));
        }
        match text.parse()? {
            ImageReference::Registry { tag: None, digest: None, registry, repository } => {
                Ok(Self::Registry(ImageReference::Registry { tag: None, digest: None, registry, repository }))
            }
            ImageReference::Registry { .. } => {
                bail!("'{text}' names an image; release metadata has a tag of its own in docker://registry/repository")
            }
            _ => bail!("'{text}' is no place of release metadata; known are docker://, https://, http:// and dir:"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for text in ["docker://registry.example/os/node", "https://releases.example/os/", "dir:/srv/releases"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for (text, what) in [
            ("docker://registry.example/os/node:1", "names an image"),
            ("oci:/srv/layout", "no place"),
            ("dir:", "no directory"),
            ("https://releases.example/?a", "more than a path"),
            ("ftp://releases.example", "unknown transport"),
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
