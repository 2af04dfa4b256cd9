//! Decides what of a root reaches the image.
//!
//! Left out are: what the prune rules name, files that only build-only packages own, kernel modules by their rules, the
//! kernel itself (it is in the UKI), links to something left out, and folders that all this has emptied.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    SealError,
    depends::left_out,
    kernel::MODULES,
    modules::Modules,
    packages::Packages,
    rules::{DROP_INS, Rules},
    survey::{EMPTIED, Entry, Kind, Survey, parent, resolve},
};

/// What stays, and what takes another file's place.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Every entry of the image but the UKI's.
    pub(crate) kept: Survey,
    /// New content of files in `kept`.
    pub(crate) replaced: BTreeMap<String, Vec<u8>>,
}

/// Why an entry does not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Rule(String),
    Package(String),
}

impl Plan {
    pub(crate) fn new(
        root: &Path,
        tree: &Survey,
        packages: &Packages,
        rules: &Rules,
        modules: &Modules,
    ) -> Result<Self, SealError> {
        let gone = left_out(packages, &rules.build_only);
        let mut dropped = dropped(tree, packages, rules, modules, &gone);
        let of_build = |path: &str| {
            let owners = packages.owners(path);
            !owners.is_empty() && owners.iter().all(|owner| gone.contains(owner))
        };
        propagate(tree, &of_build, &mut dropped);
        let mut kept: Survey = tree
            .iter()
            .filter(|(path, _)| !dropped.contains_key(*path))
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect();
        if let Some((path, Kind::Other(what))) =
            kept.iter().map(|(path, entry)| (path, &entry.kind)).find(|(_, kind)| matches!(kind, Kind::Other(_)))
        {
            return Err(SealError::Forbidden {
                path: path.clone(),
                package: packages.owner_name(path),
                problem: format!("{what} has no place in an image"),
            });
        }
        for (name, mode) in EMPTIED.iter().map(|name| (*name, mode_of(name))) {
            kept.insert(name.to_owned(), folder(mode));
        }
        let mut replaced = replaced(root, &kept, modules, &dropped)?;
        replaced.retain(|path, _| kept.contains_key(path));
        for (path, content) in &replaced {
            if let Some(entry) = kept.get_mut(path) {
                entry.size = content.len() as u64;
                entry.link = None;
            }
        }
        Ok(Self { kept, replaced })
    }
}

/// Modes of the mount points, whatever the build left there.
fn mode_of(name: &str) -> u32 {
    match name {
        "tmp" => 0o1777,
        "proc" | "sys" => 0o555,
        _ => 0o755,
    }
}

/// A folder of root's.
pub(crate) fn folder(mode: u32) -> Entry {
    Entry { kind: Kind::Directory, mode, uid: 0, gid: 0, mtime: 0, size: 0, link: None, capability: None }
}

/// What rules and packages leave out by themselves.
fn dropped(
    tree: &Survey,
    packages: &Packages,
    rules: &Rules,
    modules: &Modules,
    gone: &BTreeSet<usize>,
) -> BTreeMap<String, Reason> {
    let release = format!("{MODULES}/{}/", modules.release);
    let mut out: BTreeMap<String, Reason> = BTreeMap::new();
    for (path, entry) in tree {
        let above = parent(path).and_then(|parent| match out.get(parent) {
            Some(reason @ Reason::Rule(_)) => Some(reason.clone()),
            _ => None,
        });
        let of_kernel = path.strip_prefix(&release).unwrap_or_default();
        let reason = above
            .or_else(|| rules.prune.find(path).map(|line| Reason::Rule(line.place())))
            .or_else(|| {
                let module = of_kernel.strip_prefix("kernel/")?;
                rules.modules_drop.find(module).map(|line| Reason::Rule(line.place()))
            })
            .or_else(|| (of_kernel == "vmlinuz").then(|| Reason::Rule("the UKI, which carries it,".to_owned())))
            .or_else(|| (path == DROP_INS).then(|| Reason::Rule("sealing".to_owned())))
            .or_else(|| {
                let owners = packages.owners(path);
                let only = !owners.is_empty() && owners.iter().all(|owner| gone.contains(owner));
                (only && entry.kind != Kind::Directory).then(|| Reason::Package(packages.list[owners[0]].name.clone()))
            });
        if let Some(reason) = reason {
            out.insert(path.clone(), reason);
        }
    }
    out
}

/// Leaves out links to what is left out, and folders that are empty now and were not before, or that only build-only
/// packages own.
fn propagate(tree: &Survey, of_build: &dyn Fn(&str) -> bool, dropped: &mut BTreeMap<String, Reason>) {
    let protected = |path: &str| EMPTIED.contains(&path) || path == "usr" || path == "etc";
    let had_children: BTreeSet<&str> = tree.keys().filter_map(|path| parent(path)).collect();
    let links: Vec<(&String, String)> = tree
        .iter()
        .filter_map(|(path, entry)| match &entry.kind {
            Kind::Symlink(target) => next(tree, path, target).map(|next| (path, next)),
            _ => None,
        })
        .collect();
    loop {
        let mut more: Vec<(String, Reason)> = Vec::new();
        let occupied: BTreeSet<&str> =
            tree.keys().filter(|path| !dropped.contains_key(*path)).filter_map(|path| parent(path)).collect();
        for (path, entry) in tree {
            let emptied = entry.kind == Kind::Directory
                && !occupied.contains(path.as_str())
                && (had_children.contains(path.as_str()) || of_build(path));
            if emptied && !protected(path) && !dropped.contains_key(path) {
                more.push((path.clone(), Reason::Rule("the emptying of its folder".to_owned())));
            }
        }
        for (path, target) in &links {
            if !dropped.contains_key(*path)
                && let Some(reason) = dropped.get(target)
            {
                more.push(((*path).clone(), reason.clone()));
            }
        }
        if more.is_empty() {
            return;
        }
        dropped.extend(more);
    }
}

/// Where a link points, its target's own links not followed.
fn next(tree: &Survey, path: &str, target: &str) -> Option<String> {
    let trimmed = target.trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        _ if trimmed.is_empty() || trimmed.ends_with("..") => resolve(tree, path, target),
        Some((folder, name)) => {
            let folder = if folder.is_empty() { "/" } else { folder };
            let folder = resolve(tree, path, folder)?;
            Some(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
        }
        None => Some(parent(path).map_or_else(|| trimmed.to_owned(), |parent| format!("{parent}/{trimmed}"))),
    }
}

/// depmod's files for the modules that stay.
fn replaced(
    root: &Path,
    kept: &Survey,
    modules: &Modules,
    dropped: &BTreeMap<String, Reason>,
) -> Result<BTreeMap<String, Vec<u8>>, SealError> {
    let release = format!("{MODULES}/{}/", modules.release);
    let stay: BTreeSet<String> =
        modules.dependencies.keys().filter(|path| kept.contains_key(&format!("{release}{path}"))).cloned().collect();
    if let Some((module, dependency)) = modules.broken(&stay) {
        let rule = match dropped.get(&format!("{release}{dependency}")) {
            Some(Reason::Rule(rule)) => rule.clone(),
            Some(Reason::Package(package)) => format!("the build-only package {package}"),
            None => "nothing known".to_owned(),
        };
        return Err(SealError::ModuleDependency { module: module.to_owned(), dependency: dependency.to_owned(), rule });
    }
    modules.filtered(root, &stay)
}
