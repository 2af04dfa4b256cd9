//! Which build-only packages nothing that stays needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{packages::Packages, rules::BuildOnly};

/// Names in a relationship field (deb-control(5)): all alternatives of all its clauses.
fn names(field: &str) -> impl Iterator<Item = &str> {
    field
        .split([',', '|'])
        .map(|clause| clause.split(['(', '[', '<', ':']).next().unwrap_or_default().trim())
        .filter(|name| !name.is_empty())
}

/// Indices of the packages of which nothing stays.
///
/// A rule `name` always holds. A rule `name?` gives way where a package that stays depends on it, by name or by what it
/// provides, also as one alternative among several.
pub(crate) fn left_out(packages: &Packages, rules: &[BuildOnly]) -> BTreeSet<usize> {
    let mut wanted: BTreeMap<&str, bool> = BTreeMap::new();
    for rule in rules {
        // A plain name wins over `name?`, whichever file says so.
        *wanted.entry(&rule.package).or_insert(true) &= rule.unless_needed;
    }
    let mut out: BTreeSet<usize> = packages
        .list
        .iter()
        .enumerate()
        .filter(|(_, package)| wanted.contains_key(package.name.as_str()))
        .map(|(index, _)| index)
        .collect();
    loop {
        let needed: BTreeSet<&str> = packages
            .list
            .iter()
            .enumerate()
            .filter(|(index, _)| !out.contains(index))
            .flat_map(|(_, package)| names(&package.depends))
            .collect();
        let back: Vec<usize> = out
            .iter()
            .copied()
            .filter(|index| {
                let package = &packages.list[*index];
                wanted[package.name.as_str()]
                    && std::iter::once(package.name.as_str())
                        .chain(names(&package.provides))
                        .any(|name| needed.contains(name))
            })
            .collect();
        if back.is_empty() {
            return out;
        }
        for index in back {
            out.remove(&index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Package;

    fn package(name: &str, depends: &str, provides: &str) -> Package {
        Package {
            name: name.to_owned(),
            depends: depends.to_owned(),
            provides: provides.to_owned(),
            ..Package::default()
        }
    }

    #[test]
    fn keeps_what_a_package_that_stays_depends_on() {
        let packages = Packages {
            list: vec![
                package("apt", "libapt (>= 1), perl", ""),
                package("libapt", "libbz2", ""),
                package("libbz2", "", ""),
                package("podman", "awk | busybox, perl:any", ""),
                package("mawk", "libmawk", "awk"),
                package("libmawk", "", ""),
                package("perl", "", ""),
            ],
            ..Packages::default()
        };
        let rule = |name: &str, unless_needed| BuildOnly { package: name.to_owned(), unless_needed };
        let rules = [
            rule("apt", false),
            rule("libapt", true),
            rule("libbz2", true),
            rule("mawk", true),
            rule("libmawk", true),
            rule("perl", true),
            rule("perl", false),
            rule("absent", false),
        ];
        assert_eq!(left_out(&packages, &rules), BTreeSet::from([0, 1, 2, 6]));
    }
}
