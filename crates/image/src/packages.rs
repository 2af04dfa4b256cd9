//! dpkg's database: who owns which path.
//!
//! Reads `/var/lib/dpkg` as dpkg(1) writes it (deb-control(5), dpkg-query(1)): `status`, `info/*.list`, `diversions`.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use crate::{SealError, error::read_text, survey};

const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const DIVERSIONS: &str = "var/lib/dpkg/diversions";
/// Bytes of one file of the database.
const FILE_BYTES: u64 = 64 << 20;

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) source: String,
    pub(crate) source_version: String,
    pub(crate) maintainer: String,
    pub(crate) homepage: String,
    pub(crate) summary: String,
    /// Depends and Pre-Depends, as written.
    pub(crate) depends: String,
    pub(crate) provides: String,
}

/// The database of one root.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    /// By name, then architecture.
    pub(crate) list: Vec<Package>,
    pub(crate) owners: HashMap<String, Vec<usize>>,
}

impl Packages {
    /// Reads the database of `root`; `tree` tells which top-level folders are links into /usr.
    pub(crate) fn read(root: &Path, tree: &survey::Survey) -> Result<Self, SealError> {
        let status = read_text(root, STATUS, FILE_BYTES)?.ok_or_else(|| SealError::Missing {
            what: format!("/{STATUS}"),
            advice: "seal an image derived from base, before its package database is removed",
        })?;
        let mut list = parse_status(&status)?;
        list.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        let diversions = read_text(root, DIVERSIONS, FILE_BYTES)?.unwrap_or_default();
        let diversions = parse_diversions(&diversions)?;
        let mut owners: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, package) in list.iter().enumerate() {
            for path in listed(root, package)?.lines() {
                let path = match diversions.get(path) {
                    Some((to, by)) if *by != package.name => to,
                    _ => path,
                };
                let Some(path) = normal(tree, path) else { continue };
                let here = owners.entry(path).or_default();
                if here.last() != Some(&index) {
                    here.push(index);
                }
            }
        }
        Ok(Self { list, owners })
    }

    /// Indices of the packages that own `path`; folders and files of several architectures have many.
    pub(crate) fn owners(&self, path: &str) -> &[usize] {
        self.owners.get(path).map_or(&[], Vec::as_slice)
    }

    /// For messages.
    pub(crate) fn owner_name(&self, path: &str) -> String {
        match self.owners(path) {
            [] => "none".to_owned(),
            [first, ..] => self.list[*first].name.clone(),
        }
    }
}

fn listed(root: &Path, package: &Package) -> Result<String, SealError> {
    let plain = format!("{INFO}/{}.list", package.name);
    let multiarch = format!("{INFO}/{}:{}.list", package.name, package.architecture);
    match read_text(root, &multiarch, FILE_BYTES)? {
        Some(text) => Ok(text),
        None => read_text(root, &plain, FILE_BYTES)?.ok_or_else(|| SealError::Missing {
            what: format!("/{plain}"),
            advice: "dpkg's database is damaged: install the package again",
        }),
    }
}

/// A path below the root as the tree has it: `/bin/sh` is `usr/bin/sh` where /bin is a link.
fn normal(tree: &survey::Survey, path: &str) -> Option<String> {
    let path = path.trim_start_matches('/');
    match path.split_once('/') {
        _ if path.is_empty() || path == "." => None,
        Some((top, rest)) => match tree.get(top).map(|entry| &entry.kind) {
            Some(survey::Kind::Symlink(target)) => Some(format!("{}/{rest}", target.trim_matches('/'))),
            _ => Some(path.to_owned()),
        },
        None => Some(path.to_owned()),
    }
}

fn parse_diversions(text: &str) -> Result<BTreeMap<String, (String, String)>, SealError> {
    let lines: Vec<_> = text.lines().collect();
    if lines.len() % 3 != 0 {
        return Err(SealError::malformed(DIVERSIONS, "its lines do not come in threes"));
    }
    Ok(lines.chunks_exact(3).map(|three| (three[0].to_owned(), (three[1].to_owned(), three[2].to_owned()))).collect())
}

fn parse_status(text: &str) -> Result<Vec<Package>, SealError> {
    let mut list = Vec::new();
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    let mut last = None;
    for (index, line) in text.lines().chain(std::iter::once("")).enumerate() {
        if line.is_empty() {
            if !fields.is_empty() {
                list.extend(package(&std::mem::take(&mut fields), index)?);
            }
            last = None;
        } else if line.starts_with([' ', '\t']) {
            let value = last
                .and_then(|name| fields.get_mut(name))
                .ok_or_else(|| malformed(index, "a continuation of nothing"))?;
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(index, "expected Name: value"))?;
            fields.insert(name, value.trim().to_owned());
            last = Some(name);
        }
    }
    Ok(list)
}

fn malformed(index: usize, problem: &str) -> SealError {
    SealError::malformed(format!("{STATUS}:{}", index + 1), problem)
}

/// A stanza, where it tells of an installed package.
fn package(fields: &BTreeMap<&str, String>, index: usize) -> Result<Option<Package>, SealError> {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let status = field("Status");
    let name = field("Package");
    match status.split(' ').nth(2) {
        Some("installed") => {}
        Some("not-installed" | "config-files") => return Ok(None),
        _ => {
            let problem =
                format!("package {name} is '{status}', neither installed nor removed: finish its installation");
            return Err(malformed(index, &problem));
        }
    }
    let version = field("Version");
    if name.is_empty() || version.is_empty() {
        return Err(malformed(index, "a package without a name or a version"));
    }
    let source = field("Source");
    let (source, source_version) = match source.split_once(" (") {
        Some((source, rest)) => (source.to_owned(), rest.trim_end_matches(')').to_owned()),
        None if source.is_empty() => (name.clone(), version.clone()),
        None => (source, version.clone()),
    };
    let depends: Vec<String> =
        [field("Pre-Depends"), field("Depends")].into_iter().filter(|field| !field.is_empty()).collect();
    Ok(Some(Package {
        name,
        version,
        architecture: field("Architecture"),
        source,
        source_version,
        maintainer: field("Maintainer"),
        homepage: field("Homepage"),
        summary: field("Description").lines().next().unwrap_or_default().to_owned(),
        depends: depends.join(", "),
        provides: field("Provides"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stanzas_with_their_source_packages() {
        let text = "Package: libc6\nStatus: install ok installed\nSource: glibc (2.41-12)\nVersion: 2.41-12+b1\n\
            Description: GNU C Library\n words\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: bash\nStatus: install ok installed\nVersion: 5\nPre-Depends: libc6 (>= 2)\nDepends: base-files\n";
        let list = parse_status(text).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].source.as_str(), list[0].source_version.as_str()), ("glibc", "2.41-12"));
        assert_eq!(list[0].summary, "GNU C Library");
        assert_eq!(list[1].source, "bash");
        assert_eq!(list[1].depends, "libc6 (>= 2), base-files");
    }

    #[test]
    fn refuses_a_half_installed_package() {
        let text = "Package: bash\nStatus: install ok half-configured\nVersion: 5\n";
        let said = parse_status(text).unwrap_err().to_string();
        assert!(said.contains("package bash is 'install ok half-configured'"), "{said}");
    }
}
