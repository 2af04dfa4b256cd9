//! What an image needs to be accepted: which keys must have signed it, per place it comes from.
//!
//! `file` reads our format, `containers` containers-policy.json(5), `read` finds their files below a root. What no
//! entry speaks of is refused.

mod containers;
mod file;
pub(crate) mod json;
mod read;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Component, Path, PathBuf},
};

use rocketos_model::ImageReference;

use crate::{
    identity::{Identity, Name},
    key::{KeyError, PublicKey},
};

pub use containers::PATH as CONTAINERS_POLICY;
pub use read::FOLDERS;

/// A policy that cannot be used. Nothing is accepted by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file that is there and cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A bound was passed.
    #[error("{path} has {found} {what}, more than {limit}")]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// No TOML.
    #[error("reading {path}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: Box<toml::de::Error>,
    },
    /// No JSON.
    #[error("reading {path}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// A field that means nothing here.
    #[error("{path}: {place} has no field '{field}': {suggestion}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        place: String,
        /// The field.
        field: String,
        /// What may have been meant.
        suggestion: String,
    },
    /// A value that cannot be meant.
    #[error("{path}: {place}: {problem}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        place: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// A key.
    #[error("{path}: {place}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        place: String,
        /// What is wrong with it.
        source: KeyError,
    },
}

/// Where images come from, as far as policies tell places apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// `docker://`, by repository.
    Repository,
    /// `oci:` and `oci-archive:`, by path.
    Layout,
    /// `containers-storage:`, by repository.
    Storage,
    /// `oci:` alone, by path: containers-policy.json(5) tells them apart.
    LayoutDirectory,
    /// `oci-archive:` alone, by path.
    LayoutArchive,
    /// Everywhere.
    Anywhere,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repository => "repository",
            Self::Storage => "storage",
            Self::Layout | Self::LayoutDirectory | Self::LayoutArchive => "layout",
            Self::Anywhere => "default",
        })
    }
}

/// Keys, and how many of them must have signed.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) keys: Vec<PublicKey>,
    pub(crate) threshold: usize,
    pub(crate) identity: Identity,
}

/// What an entry asks for.
#[derive(Debug, Clone)]
pub(crate) enum Accept {
    /// Nothing at all.
    Unsigned,
    /// Signatures: every demand must be met.
    Signed(Vec<Demand>),
    /// No image from there.
    Nothing,
    /// Something of containers-policy.json(5) that is not checked here.
    Unsupported(String),
}

/// What is said of one place.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) accept: Accept,
    /// The file that says so.
    pub(crate) path: PathBuf,
}

/// Which images are accepted.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    entries: BTreeMap<(Table, String), Entry>,
    format: Option<Format>,
}

/// Whose format a policy was read from; each has its own order of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ours,
    Containers,
}

impl Policy {
    /// True where no file said anything: then nothing is accepted.
    pub fn is_absent(&self) -> bool {
        self.format.is_none()
    }

    /// True where the policy is containers-policy.json(5): it was written for containers.
    pub fn is_for_containers(&self) -> bool {
        self.format == Some(Format::Containers)
    }

    /// True where there is an entry by which some image may be accepted.
    pub fn accepts_something(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.accept, Accept::Unsigned | Accept::Signed(_)))
    }

    /// True where entries accept images, and none asks for a signature.
    pub fn accepts_unsigned_alone(&self) -> bool {
        self.accepts_something() && !self.entries.values().any(|entry| matches!(entry.accept, Accept::Signed(_)))
    }

    /// How people call the entry of a place.
    fn called(format: Format, table: Table, name: &str) -> String {
        match format {
            Format::Ours if table == Table::Anywhere => format!("[{table}]"),
            Format::Ours => format!("[{table}.\"{name}\"]"),
            Format::Containers => containers::called(table, name),
        }
    }

    /// The entry for a reference, the most specific first, and how people call it.
    pub(crate) fn entry(&self, reference: &ImageReference) -> Option<(String, &Entry)> {
        let format = self.format?;
        let places = match format {
            Format::Ours => places(reference),
            Format::Containers => containers::places(reference),
        };
        places.into_iter().find_map(|place| {
            let entry = self.entries.get(&place)?;
            let called = Self::called(format, place.0, &place.1);
            Some((called, entry))
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(format) = self.format else { return writeln!(f, "no policy: nothing is accepted") };
        for ((table, name), entry) in &self.entries {
            write!(f, "{}: ", Self::called(format, *table, name))?;
            match &entry.accept {
                Accept::Unsigned => write!(f, "unsigned")?,
                Accept::Nothing => write!(f, "nothing")?,
                Accept::Unsupported(what) => write!(f, "nothing, for {what} is not checked here")?,
                Accept::Signed(demands) => {
                    let all: Vec<String> = demands.iter().map(Demand::to_string).collect();
                    write!(f, "signed by {}", all.join(", and by "))?;
                }
            }
            writeln!(f, " ({})", entry.path.display())?;
        }
        Ok(())
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(PublicKey::name).collect();
        write!(f, "{} of {}", self.threshold, keys.join(", "))?;
        match &self.identity {
            Identity::Any => Ok(()),
            identity => write!(f, ", for {identity}"),
        }
    }
}

/// Every place that a reference lies in, innermost first: each a whole number of components, so that `a.b/c` is no
/// place of `a.b/cd`. A reference that may lie elsewhere than it says lies nowhere, not even in the default: a path
/// that is relative or goes up, a storage named by its folders.
fn places(reference: &ImageReference) -> Vec<(Table, String)> {
    let name = || Name::of(reference).map(|name| name.repository);
    let below = |table, name: Option<String>| -> Vec<(Table, String)> {
        name.iter().flat_map(|name| parents(name)).map(|name| (table, name.to_owned())).collect()
    };
    let mut all = match reference {
        ImageReference::Registry { .. } => below(Table::Repository, name()),
        ImageReference::Storage { name } if name.starts_with('[') => return Vec::new(),
        ImageReference::Storage { .. } => below(Table::Storage, name()),
        ImageReference::Layout { path, .. } | ImageReference::Archive { path, .. } => {
            let mut all: Vec<(Table, String)> = folders(path).map(|path| (Table::Layout, path)).collect();
            if all.is_empty() {
                return all;
            }
            all.push((Table::Layout, "/".to_owned()));
            all
        }
    };
    all.push((Table::Anywhere, String::new()));
    all
}

/// `a/b/c`, `a/b`, `a`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(parent, _)| parent))
}

/// `/a/b`, `/a`, of an absolute path that goes nowhere up; nothing of any other.
fn folders(path: &Path) -> impl Iterator<Item = String> {
    let plain = path.is_absolute()
        && path.components().all(|component| matches!(component, Component::RootDir | Component::Normal(_)));
    let text = if plain { path.to_str() } else { None };
    let normal = text.map(|_| path.components().collect::<PathBuf>()).unwrap_or_default();
    let all: Vec<String> =
        normal.ancestors().filter_map(Path::to_str).filter(|path| path.len() > 1).map(str::to_owned).collect();
    all.into_iter()
}
