//! Host containers that every node of an image has: their digests are fixed when it is sealed, and so are under its own.
//!
//! They are settings of the image, as drop-ins of variants are, and come first: what a variant, user data or an operator say is over
//! them. Where they are is said relative to where the system is, so that who mirrors one mirrors the others with it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use rocketos_model::{ManifestDigest, PlacedImage};

use crate::{output::place, plan::Plan};

/// The file of settings.
pub const SETTINGS: &str = "usr/lib/rocketos/settings.d/10-host-containers.toml";
/// The one that is on where nobody says otherwise.
const ON: &str = "control";
/// The one that may to the host whatever root may, where it is on.
const SUPERPOWERED: &str = "admin";

/// Which images, by the names of containers, which are those of their repositories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostContainers(BTreeMap<String, ManifestDigest>);

/// One that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostContainersError {
    /// Not `name=digest`.
    #[error("'{0}' is no host container: expected <name>=<digest of its manifest>, such as control=sha256:…")]
    Form(String),
    /// A container with two digests.
    #[error("host container '{0}' is named twice")]
    Twice(String),
}

impl HostContainers {
    /// Reads `name=digest`, each once.
    ///
    /// # Errors
    /// When one is something else.
    pub fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, HostContainersError> {
        let mut all = BTreeMap::new();
        for word in words {
            let form = || HostContainersError::Form(word.escape_default().to_string());
            let (name, digest) = word.split_once('=').ok_or_else(form)?;
            let digest = ManifestDigest::from_str(digest).map_err(|_| form())?;
            // As settings take a container's name, and registries the last part of a repository's.
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(plain) || name.starts_with('-') || name.ends_with('-') {
                return Err(form());
            }
            if all.insert(name.to_owned(), digest).is_some() {
                return Err(HostContainersError::Twice(name.to_owned()));
            }
        }
        Ok(Self(all))
    }

    /// Each with its image, beside the system's.
    pub fn images(&self) -> impl Iterator<Item = (&str, PlacedImage)> {
        self.0.iter().map(|(name, digest)| {
            (name.as_str(), PlacedImage::Beside { name: name.clone(), tag: None, digest: Some(*digest) })
        })
    }

    /// Places them in the image; where there is none, nothing.
    pub(crate) fn place(&self, plan: &mut Plan) {
        if !self.0.is_empty() {
            place(plan, SETTINGS, self.to_string().into_bytes());
        }
    }
}

/// The file of settings.
impl fmt::Display for HostContainers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# Written when this image was sealed: images of its repository's registry.\n")?;
        for (name, source) in self.images() {
            let (on, superpowered) = (name == ON, name == SUPERPOWERED);
            write!(f, "\n[settings.host-containers.{name}]\nenabled = {on}\nsource = \"{source}\"\n")?;
            if superpowered {
                f.write_str("superpowered = true\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Silent, fixture::Fixture, seal};

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    #[test]
    fn digests_are_fixed_when_an_image_is_sealed() {
        let fixture = Fixture::new();
        let (plain, without) = fixture.seal("plain");
        let groups = fs::read_dir(plain.join("groups")).unwrap().map(|group| group.unwrap().path());
        assert!(groups.into_iter().all(|group| !group.join(SETTINGS).exists()));
        let [control, admin] = [format!("control={}", digest("ab")), format!("admin={}", digest("cd"))];
        let mut options = fixture.options("with");
        options.host_containers = HostContainers::read([control.as_str(), &admin]).unwrap();
        let with = seal(&options, None, &Silent).unwrap();
        let text = fs::read_to_string(fixture.image(&options.output).join(SETTINGS)).unwrap();
        let expected = format!(
            "\n[settings.host-containers.admin]\nenabled = false\nsource = \"admin@{}\"\nsuperpowered = true\n\
             \n[settings.host-containers.control]\nenabled = true\nsource = \"control@{}\"\n",
            digest("cd"),
            digest("ab")
        );
        assert!(text.ends_with(&expected), "{text}");
        assert_ne!(with.composefs_digest, without.composefs_digest);
    }

    #[test]
    fn refuses_what_is_no_name_or_no_digest() {
        let good = digest("ab");
        for word in [
            "control",
            "control=",
            "control=latest",
            "control=sha256:ab",
            &format!("={good}"),
            &format!("Control={good}"),
            &format!("-a={good}"),
            &format!("a/b={good}"),
            &format!("a\"]={good}"),
        ] {
            assert!(matches!(HostContainers::read([word]), Err(HostContainersError::Form(_))), "{word}");
        }
        let one = format!("control={good}");
        assert_eq!(HostContainers::read([one.as_str(), &one]), Err(HostContainersError::Twice("control".to_owned())));
    }
}
