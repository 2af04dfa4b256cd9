//! Names of images inside signatures, and which of them a policy takes for which reference.
//!
//! A cosign signature in the simple-signing form names the repository it was made for; a bundle names none.

use std::fmt;

use rocketos_model::{ImageReference, reference::DEFAULT_TAG};

/// The registry meant where a name has none, and its other name (distribution/reference, "normalize.go").
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];

/// Which name a signature must have been made for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// Any, or none: the digest and the key are enough.
    #[default]
    Any,
    /// The repository of the reference in question (containers-policy.json(5), `matchRepository`).
    Repository,
    /// This repository, or one below it.
    Below(String),
    /// The very reference, tag included (`matchExact`).
    Exact,
    /// The very reference, or its repository where the reference has a digest (`matchRepoDigestOrExact`).
    RepositoryIfDigest,
    /// This reference (`exactReference`).
    ExactReference(String),
    /// This repository (`exactRepository`).
    ExactRepository(String),
    /// `RepositoryIfDigest`, after `prefix` of the reference was replaced by `signed` (`remapIdentity`).
    Remapped {
        /// Where images are pulled from.
        prefix: String,
        /// What they were signed for.
        signed: String,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any name"),
            Self::Repository => f.write_str("the repository it is pulled from"),
            Self::Below(prefix) => write!(f, "a repository at or below '{prefix}'"),
            Self::Exact => f.write_str("the reference it is pulled by, tag included"),
            Self::RepositoryIfDigest => {
                f.write_str("the reference it is pulled by, or its repository where it is pulled by digest")
            }
            Self::ExactReference(name) => write!(f, "the reference '{name}'"),
            Self::ExactRepository(name) => write!(f, "the repository '{name}'"),
            Self::Remapped { prefix, signed } => {
                write!(f, "the reference it is pulled by, with '{signed}' for '{prefix}'")
            }
        }
    }
}

/// A name as a signature or a policy has it: repository, tag, digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Name {
    /// Reads `[registry/]repository[:tag][@digest]`; absent where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let first = rest.split_once('/').map(|(first, _)| first);
        let full = match first {
            Some(host) if host == DOCKER_HUB[1] => rest.replacen(DOCKER_HUB[1], DOCKER_HUB[0], 1),
            Some(host) if host.contains(['.', ':']) || host == "localhost" => rest.to_owned(),
            Some(_) => format!("{}/{rest}", DOCKER_HUB[0]),
            None => format!("{}/library/{rest}", DOCKER_HUB[0]),
        };
        let full = match digest {
            Some(digest) => format!("docker://{full}@{digest}"),
            None => format!("docker://{full}"),
        };
        Self::of(&full.parse().ok()?)
    }

    /// The name of an image in a registry or in podman's storage.
    pub(crate) fn of(reference: &ImageReference) -> Option<Self> {
        match reference {
            ImageReference::Registry { registry, repository, tag, digest } => Some(Self {
                repository: format!("{registry}/{repository}"),
                tag: tag.clone(),
                digest: digest.map(|digest| digest.to_string()),
            }),
            // `[driver@root]name` and ids name no repository.
            ImageReference::Storage { name } if name.contains('/') && !name.starts_with('[') => Self::parse(name),
            _ => None,
        }
    }

    /// The name as tools pull it: `latest` where neither tag nor digest is given.
    fn pulled(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    fn is_bare(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// What of `name` lies behind `prefix` at a border of components: `""` or `"/…"`.
pub(crate) fn below<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Identity {
    /// True where a signature made for `signed` is one for `reference`.
    pub(crate) fn allows(&self, reference: &ImageReference, signed: &str) -> bool {
        if *self == Self::Any {
            return true;
        }
        let Some(signed) = Name::parse(signed) else { return false };
        let asked = Name::of(reference).map(Name::pulled);
        match (self, asked) {
            (Self::Any, _) => true,
            (Self::Below(prefix), _) => below(&signed.repository, prefix).is_some(),
            (Self::ExactRepository(name), _) => {
                Name::parse(name).is_some_and(|name| name.repository == signed.repository)
            }
            (Self::ExactReference(name), _) => Name::parse(name).is_some_and(|name| !name.is_bare() && name == signed),
            (Self::Repository, Some(asked)) => asked.repository == signed.repository,
            (Self::Exact, Some(asked)) => asked == signed,
            (Self::RepositoryIfDigest, Some(asked)) => repository_if_digest(&asked, &signed),
            (Self::Remapped { prefix, signed: replacement }, Some(mut asked)) => {
                if let Some(rest) = below(&asked.repository, prefix) {
                    asked.repository = format!("{replacement}{rest}");
                }
                repository_if_digest(&asked, &signed)
            }
            (_, None) => false,
        }
    }
}

/// containers-policy.json(5), `matchRepoDigestOrExact`.
fn repository_if_digest(asked: &Name, signed: &Name) -> bool {
    if signed.is_bare() {
        return false;
    }
    match (&asked.tag, &asked.digest) {
        (None, Some(_)) => asked.repository == signed.repository,
        _ => asked == signed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_names_as_containers_policy_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let by_digest = format!("docker://a.b/c/d@{digest}");
        let remapped = Identity::Remapped { prefix: "mirror.b/x".to_owned(), signed: "a.b/c".to_owned() };
        for (identity, reference, signed, allowed) in [
            (Identity::Any, "oci:/a", "whatever it is", true),
            (Identity::Repository, "docker://a.b/c/d:1", "a.b/c/d", true),
            (Identity::Repository, "docker://a.b/c/d:1", "a.b/c/d:2", true),
            (Identity::Repository, "docker://a.b/c/d:1", "a.b/c/dd", false),
            (Identity::Repository, "docker://a.b/c/d:1", "a.b/c", false),
            (Identity::Repository, "docker://docker.io/library/x:1", "x", true),
            (Identity::Repository, "docker://docker.io/y/x:1", "index.docker.io/y/x", true),
            (Identity::Repository, "containers-storage:localhost/c:1", "localhost/c", true),
            (Identity::Repository, "oci:/a", "a.b/c", false),
            (Identity::Below("a.b/c".to_owned()), "oci:/a", "a.b/c/d", true),
            (Identity::Below("a.b/c".to_owned()), "oci:/a", "a.b/c", true),
            (Identity::Below("a.b/c".to_owned()), "oci:/a", "a.b/cd", false),
            (Identity::Below("a.b".to_owned()), "oci:/a", "a.b.evil/c", false),
            (Identity::Below("a.b".to_owned()), "oci:/a", "a.b:5000/c", false),
            (Identity::Exact, "docker://a.b/c/d:1", "a.b/c/d:1", true),
            (Identity::Exact, "docker://a.b/c/d", "a.b/c/d:latest", true),
            (Identity::Exact, "docker://a.b/c/d:1", "a.b/c/d", false),
            (Identity::RepositoryIfDigest, "docker://a.b/c/d:1", "a.b/c/d:1", true),
            (Identity::RepositoryIfDigest, "docker://a.b/c/d:1", "a.b/c/d:2", false),
            (Identity::RepositoryIfDigest, "docker://a.b/c/d:1", "a.b/c/d", false),
            (Identity::RepositoryIfDigest, &by_digest, "a.b/c/d:2", true),
            (Identity::RepositoryIfDigest, &by_digest, "a.b/c/d", false),
            (Identity::ExactReference("a.b/c:1".to_owned()), "docker://x.y/z", "a.b/c:1", true),
            (Identity::ExactReference("a.b/c:1".to_owned()), "docker://x.y/z", "a.b/c:2", false),
            (Identity::ExactRepository("a.b/c".to_owned()), "docker://x.y/z", "a.b/c:2", true),
            (Identity::ExactRepository("a.b/c".to_owned()), "docker://x.y/z", "a.b/c/d:2", false),
            (remapped.clone(), "docker://mirror.b/x/d:1", "a.b/c/d:1", true),
            (remapped.clone(), "docker://mirror.b/xx/d:1", "a.b/c/d:1", false),
            (remapped.clone(), "docker://other.b/d:1", "other.b/d:1", true),
            (remapped, "docker://mirror.b/x/d:1", "mirror.b/x/d:1", false),
        ] {
            let reference: ImageReference = reference.parse().unwrap();
            assert_eq!(identity.allows(&reference, signed), allowed, "{identity:?} {reference} {signed}");
        }
    }

    #[test]
    fn takes_no_malformed_name() {
        for signed in ["", "/", "a.b/", "a.b//c", "A.b/C", "a.b/../c", "a.b/c d", "a.b/c@sha256:12", "a.b/c\n"] {
            let reference: ImageReference = "docker://a.b/c".parse().unwrap();
            assert!(!Identity::Repository.allows(&reference, signed), "{signed}");
            assert!(!Identity::Below("a.b".to_owned()).allows(&reference, signed), "{signed}");
        }
    }
}
