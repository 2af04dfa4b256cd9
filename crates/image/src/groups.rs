//! Sorts what stays into groups, each of which becomes a layer.
//!
//! 00 what no package owns and what is generated, 01 kernel modules, 02 Rocket OS's own files, 03 to 10 packages: where a
//! rule pins them, otherwise by a hash of their source package, so that a package never changes its group by itself. 11 is
//! for firmware, which rules pin there.

use std::collections::BTreeMap;

use crate::{
    kernel::MODULES,
    packages::Packages,
    release,
    rules::{GROUPS, Rules},
    survey::{EMPTIED, Survey},
};

/// What no package owns, and what is generated.
const UNOWNED: usize = 0;
/// Kernel modules.
const KERNEL: usize = 1;
/// Rocket OS's own files.
const OWN: usize = 2;
/// The first group of packages.
const PACKAGES: usize = 3;
/// Firmware, where rules pin it there; nothing else comes here, so that it is a layer that one may do without.
const FIRMWARE: usize = GROUPS - 1;
/// The program itself.
pub(crate) const PROGRAM: &str = "usr/bin/rocketctl";
/// Files a package brings and every release writes anew.
const GENERATED: [&str; 4] = [release::PATH, "etc/os-release", "etc/issue", "etc/issue.net"];
/// Rocket OS's own files, where no package of ours owns them.
const OWN_PATHS: [&str; 3] = [PROGRAM, "usr/lib/rocketos", "usr/share/rocketos"];

/// The group of every entry that stays; folders that are not empty are in the groups of what they hold.
pub(crate) fn assign(kept: &Survey, packages: &Packages, rules: &Rules) -> BTreeMap<String, usize> {
    let of_package: Vec<usize> = packages
        .list
        .iter()
        .map(|package| {
            let pinned = rules.pins.iter().find(|(glob, _)| glob.is_match(&package.name));
            match pinned {
                Some((_, group)) => *group,
                None if package.name.starts_with("rocketos-") => OWN,
                None => PACKAGES + spread(&package.source) % (FIRMWARE - PACKAGES),
            }
        })
        .collect();
    let below =
        |path: &str, top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut linked: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    kept.iter()
        .map(|(path, entry)| {
            let group = if below(path, MODULES) {
                KERNEL
            } else if OWN_PATHS.iter().any(|top| below(path, top)) {
                OWN
            } else if GENERATED.contains(&path.as_str()) || EMPTIED.contains(&path.as_str()) {
                UNOWNED
            } else {
                packages.owners(path).first().map_or(UNOWNED, |owner| of_package[*owner])
            };
            // A link across layers would be a second file.
            let group = match entry.link {
                Some(link) => *linked.entry(link).or_insert(group),
                None => group,
            };
            (path.clone(), group)
        })
        .collect()
}

/// FNV-1a, 64 bits: the same everywhere and for ever.
fn spread(name: &str) -> usize {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The upper half is mixed better than the lower.
    (hash >> 32) as usize
}

#[cfg(test)]
mod tests {
    #[test]
    fn never_moves_a_package() {
        let groups = ["glibc", "systemd", "util-linux", "openssl"].map(|name| super::spread(name) % 9);
        assert_eq!(groups, [7, 5, 5, 0]);
    }
}
