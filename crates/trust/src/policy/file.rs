//! Our policy file. `docs/trust.md` is its reference.
//!
//! A fragment is one file; fragments are laid over each other, an entry or a key of a later one in place of the same
//! one of an earlier; then names of keys become keys.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use rocketos_model::ImageReference;
use serde::Deserialize;
use toml::{Table as Toml, Value};

use super::{Accept, Demand, Entry, Format, Policy, PolicyError, Table};
use crate::{identity::Identity, key::PublicKey, limits, nearest::suggestion};

/// The tables of entries, under their names in the file.
const TABLES: [(&str, Table); 3] =
    [("repository", Table::Repository), ("layout", Table::Layout), ("storage", Table::Storage)];
/// The table of keys.
const KEY: &str = "key";
/// The entry for what no other speaks of.
const DEFAULT: &str = "default";
const KEY_FIELDS: [&str; 2] = ["file", "pem"];
const ENTRY_FIELDS: [&str; 4] = ["accept", "keys", "threshold", "identity"];

/// Where a key's PEM is.
#[derive(Debug, Clone)]
enum KeySource {
    Inline(String),
    File(PathBuf),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    file: Option<PathBuf>,
    pem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Signed,
    Unsigned,
    Nothing,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    accept: Word,
    keys: Option<Vec<String>>,
    threshold: Option<usize>,
    identity: Option<String>,
}

/// One file, or several laid over each other.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    keys: BTreeMap<String, (PathBuf, KeySource)>,
    entries: BTreeMap<(Table, String), (PathBuf, RawEntry)>,
}

/// Speaks of one part of a file.
struct Place<'a> {
    path: &'a Path,
    place: String,
}

impl Place<'_> {
    fn wrong(&self, problem: impl Into<String>) -> PolicyError {
        PolicyError::Wrong { path: self.path.to_owned(), place: self.place.clone(), problem: problem.into() }
    }

    /// Refuses the first field that is not known.
    fn fields<'k>(&self, table: &Toml, known: impl IntoIterator<Item = &'k str> + Clone) -> Result<(), PolicyError> {
        let unknown = table.keys().find(|field| !known.clone().into_iter().any(|name| name == field.as_str()));
        unknown.map_or(Ok(()), |field| {
            Err(PolicyError::Unknown {
                path: self.path.to_owned(),
                place: self.place.clone(),
                field: field.clone(),
                suggestion: suggestion(field, known),
            })
        })
    }

    fn table<'v>(&self, value: &'v Value) -> Result<&'v Toml, PolicyError> {
        value.as_table().ok_or_else(|| self.wrong(format!("a table is expected, found {}", value.type_str())))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, table: &Toml) -> Result<T, PolicyError> {
        table.clone().try_into().map_err(|error: toml::de::Error| self.wrong(error.message()))
    }
}

impl Fragment {
    /// Reads the text of the file at `path`. A key's file is looked for beside it.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let file: Toml =
            text.parse().map_err(|error| PolicyError::Toml { path: path.to_owned(), source: Box::new(error) })?;
        let top = Place { path, place: "the top of the file".to_owned() };
        top.fields(&file, TABLES.iter().map(|(name, _)| *name).chain([KEY, DEFAULT]))?;
        let mut fragment = Self::default();
        for (section, value) in &file {
            let at = Place { path, place: format!("[{section}]") };
            if section == DEFAULT {
                let fields = at.table(value)?;
                at.fields(fields, ENTRY_FIELDS)?;
                fragment.entries.insert((Table::Anywhere, String::new()), (path.to_owned(), at.read(fields)?));
                continue;
            }
            for (name, value) in at.table(value)? {
                let at = Place { path, place: format!("[{section}.\"{name}\"]") };
                let fields = at.table(value)?;
                match TABLES.iter().find(|(word, _)| word == section) {
                    Some((_, table)) => {
                        check_name(&at, *table, name)?;
                        at.fields(fields, ENTRY_FIELDS)?;
                        fragment.entries.insert((*table, name.clone()), (path.to_owned(), at.read(fields)?));
                    }
                    None => {
                        at.fields(fields, KEY_FIELDS)?;
                        let source = key_source(&at, at.read(fields)?)?;
                        fragment.keys.insert(name.clone(), (path.to_owned(), source));
                    }
                }
            }
        }
        Ok(fragment)
    }

    /// Lays another over this one.
    pub(super) fn lay(&mut self, later: Self) {
        self.keys.extend(later.keys);
        self.entries.extend(later.entries);
    }

    /// Makes the policy; `load` reads a key's file.
    pub(super) fn finish(
        self,
        mut load: impl FnMut(&Path) -> Result<Vec<u8>, PolicyError>,
    ) -> Result<Policy, PolicyError> {
        let path = self.keys.values().map(|(path, _)| path).next().cloned().unwrap_or_default();
        for (what, found, limit) in
            [("keys", self.keys.len(), limits::KEYS), ("entries", self.entries.len(), limits::ENTRIES)]
        {
            if found > limit {
                return Err(PolicyError::TooLarge { path, what, found: found as u64, limit: limit as u64 });
            }
        }
        let mut keys = BTreeMap::new();
        for (name, (path, source)) in &self.keys {
            let pem = match source {
                KeySource::Inline(pem) => pem.clone().into_bytes(),
                KeySource::File(file) => load(file)?,
            };
            let key = PublicKey::from_pem(name, &pem).map_err(|source| PolicyError::Key {
                path: path.clone(),
                place: format!("[{KEY}.\"{name}\"]"),
                source,
            })?;
            keys.insert(name.clone(), key);
        }
        let mut policy = Policy { format: Some(Format::Ours), ..Policy::default() };
        for ((table, name), (path, raw)) in self.entries {
            let at = Place { path: &path, place: Policy::called(Format::Ours, table, &name) };
            let accept = accept(&at, table, raw, &keys)?;
            policy.entries.insert((table, name), Entry { accept, path: path.clone() });
        }
        Ok(policy)
    }
}

/// Refuses a name of an entry that no reference could lie in.
fn check_name(at: &Place<'_>, table: Table, name: &str) -> Result<(), PolicyError> {
    let sound = match table {
        Table::Layout => {
            let path = Path::new(name);
            let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
            let normal = path.components().collect::<PathBuf>();
            path.is_absolute() && path.components().all(plain) && normal.to_str() == Some(name)
        }
        _ => is_prefix(name),
    };
    match (sound, table) {
        (true, _) => Ok(()),
        (false, Table::Layout) => {
            Err(at.wrong("an absolute path is expected, without '..', doubled slashes or one at its end"))
        }
        (false, _) => Err(at.wrong(
            "a registry or a repository is expected in quotes, as in [repository.\"registry.example/rocketos\"], \
             without transport, tag, digest or a slash at its end",
        )),
    }
}

/// True for a registry, or a registry and the beginning of a repository's name.
fn is_prefix(name: &str) -> bool {
    let full = if name.contains('/') { format!("docker://{name}") } else { format!("docker://{name}/any") };
    let plain = matches!(full.parse(), Ok(ImageReference::Registry { tag: None, digest: None, .. }));
    plain && !name.contains('@')
}

fn key_source(at: &Place<'_>, raw: RawKey) -> Result<KeySource, PolicyError> {
    match (raw.file, raw.pem) {
        (None, Some(pem)) => Ok(KeySource::Inline(pem)),
        (Some(file), None) => {
            if file.components().any(|part| part == Component::ParentDir) {
                return Err(at.wrong("a key's file lies beside or below its policy, or has an absolute path"));
            }
            let folder = at.path.parent().unwrap_or(Path::new("/"));
            // Drop-ins share the folder of the policy they belong to.
            let folder =
                if folder.ends_with(super::read::DROP_INS) { folder.parent().unwrap_or(folder) } else { folder };
            Ok(KeySource::File(folder.join(file)))
        }
        _ => Err(at.wrong("exactly one of 'file' and 'pem' is expected")),
    }
}

fn accept(
    at: &Place<'_>,
    table: Table,
    raw: RawEntry,
    known: &BTreeMap<String, PublicKey>,
) -> Result<Accept, PolicyError> {
    if raw.accept != Word::Signed {
        if raw.keys.is_some() || raw.threshold.is_some() || raw.identity.is_some() {
            return Err(at.wrong("'keys', 'threshold' and 'identity' go with accept = \"signed\" only"));
        }
        return Ok(if raw.accept == Word::Unsigned { Accept::Unsigned } else { Accept::Nothing });
    }
    let names = raw.keys.unwrap_or_default();
    if names.is_empty() {
        return Err(at.wrong("accept = \"signed\" needs 'keys', the names of one or more [key] tables"));
    }
    let mut keys: Vec<PublicKey> = Vec::new();
    for name in &names {
        let key = known.get(name).ok_or_else(|| {
            at.wrong(format!("no key is called '{name}': {}", suggestion(name, known.keys().map(String::as_str))))
        })?;
        if let Some(same) = keys.iter().find(|other| *other == key) {
            return Err(at.wrong(format!("keys '{}' and '{name}' are one key, which counts once", same.name())));
        }
        keys.push(key.clone());
    }
    let threshold = match raw.threshold {
        Some(threshold) if (1..=keys.len()).contains(&threshold) => threshold,
        Some(threshold) => {
            return Err(at.wrong(format!(
                "threshold is {threshold}; it is at least 1 and at most {}, as many as there are keys",
                keys.len()
            )));
        }
        None if keys.len() == 1 => 1,
        None => return Err(at.wrong("'threshold' is missing: how many of these keys must have signed?")),
    };
    let identity = match raw.identity.as_deref() {
        None => Identity::Any,
        Some("repository") if table == Table::Layout => {
            return Err(at.wrong("a layout has no repository; name the one it was signed for in 'identity'"));
        }
        Some("repository") => Identity::Repository,
        Some(prefix) if is_prefix(prefix) => Identity::Below(prefix.to_owned()),
        Some(other) => {
            return Err(at.wrong(format!("identity '{other}' is neither \"repository\" nor a registry or repository")));
        }
    };
    Ok(Accept::Signed(vec![Demand { keys, threshold, identity }]))
}
