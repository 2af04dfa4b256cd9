//! Kernel modules: what depends on what, and depmod's files for those that stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    SealError,
    error::{read_bounded, read_text},
    index,
    kernel::MODULES,
};

/// Bytes of one file that depmod writes.
const FILE_BYTES: u64 = 64 << 20;

/// How module names compare: kmod takes `-` for `_`.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// A module's name by its file; absent where the file is no module.
pub(crate) fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let (name, rest) = file.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"].contains(&rest).then(|| normal(name))
}

/// The modules of one kernel, as depmod found them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modules {
    /// Below /usr/lib/modules.
    pub(crate) release: String,
    /// Paths below the release's folder, with those each needs, in depmod's order.
    pub(crate) dependencies: BTreeMap<String, Vec<String>>,
    /// Paths by name.
    pub(crate) by_name: BTreeMap<String, String>,
    /// Names that are built into the kernel.
    pub(crate) builtin: BTreeSet<String>,
    /// Aliases without wildcards, such as `crypto-crc32c`.
    aliases: BTreeMap<String, Vec<String>>,
    /// Soft dependencies by name.
    soft: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Reads depmod's files of the kernel.
    pub(crate) fn read(root: &Path, release: &str) -> Result<Self, SealError> {
        let text = |file: &str| read_text(root, &format!("{MODULES}/{release}/{file}"), FILE_BYTES);
        let dep = text("modules.dep")?.ok_or_else(|| SealError::Missing {
            what: format!("/{MODULES}/{release}/modules.dep"),
            advice: "run depmod in the root before sealing it",
        })?;
        let mut modules = Self { release: release.to_owned(), ..Self::default() };
        for (number, line) in dep.lines().enumerate() {
            let (path, needs) = line.split_once(':').ok_or_else(|| {
                SealError::malformed(
                    format!("{MODULES}/{release}/modules.dep:{}", number + 1),
                    "expected '<module>: <modules>'",
                )
            })?;
            if let Some(name) = name_of(path) {
                modules.by_name.insert(name, path.to_owned());
            }
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            modules.dependencies.insert(path.to_owned(), needs);
        }
        for line in text("modules.builtin")?.unwrap_or_default().lines() {
            modules.builtin.extend(name_of(line));
        }
        for line in text("modules.alias")?.unwrap_or_default().lines() {
            if let ["alias", alias, name] = words(line)[..]
                && !alias.contains(['*', '?', '['])
            {
                modules.aliases.entry(normal(alias)).or_default().push(normal(name));
            }
        }
        for line in text("modules.softdep")?.unwrap_or_default().lines() {
            if let ["softdep", name, needs @ ..] = &words(line)[..] {
                let needs = needs.iter().filter(|word| !word.ends_with(':')).map(|word| normal(word));
                modules.soft.entry(normal(name)).or_default().extend(needs);
            }
        }
        Ok(modules)
    }

    /// Paths of `names` and of everything they need, hard or soft.
    pub(crate) fn closure(&self, names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut todo: Vec<String> = names.into_iter().filter_map(|name| self.by_name.get(&name).cloned()).collect();
        let mut found = BTreeSet::new();
        while let Some(path) = todo.pop() {
            if !found.insert(path.clone()) {
                continue;
            }
            todo.extend(self.dependencies.get(&path).into_iter().flatten().cloned());
            let soft = name_of(&path).and_then(|name| self.soft.get(&name));
            for name in soft.into_iter().flatten() {
                let aliased = self.aliases.get(name).into_iter().flatten();
                todo.extend(std::iter::once(name).chain(aliased).filter_map(|name| self.by_name.get(name)).cloned());
            }
        }
        found
    }

    /// The first module of `kept` that needs one outside it.
    pub(crate) fn broken(&self, kept: &BTreeSet<String>) -> Option<(&str, &str)> {
        kept.iter().find_map(|path| {
            let needs = self.dependencies.get_key_value(path)?;
            let missing = needs.1.iter().find(|need| !kept.contains(*need))?;
            Some((needs.0.as_str(), missing.as_str()))
        })
    }

    /// Names of modules that `kept` has no file of.
    fn gone(&self, kept: &BTreeSet<String>) -> BTreeSet<String> {
        let stay: BTreeSet<String> = kept.iter().filter_map(|path| name_of(path)).collect();
        self.by_name.keys().filter(|name| !stay.contains(*name)).cloned().collect()
    }

    /// depmod's files for the modules in `kept`, by their paths below the root; unaltered ones are not among them.
    pub(crate) fn filtered(
        &self,
        root: &Path,
        kept: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, SealError> {
        let gone = self.gone(kept);
        if gone.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut out = BTreeMap::new();
        for file in [
            "modules.dep",
            "modules.order",
            "modules.alias",
            "modules.softdep",
            "modules.weakdep",
            "modules.symbols",
            "modules.devname",
        ] {
            let path = format!("{MODULES}/{}/{file}", self.release);
            if let Some(text) = read_text(root, &path, FILE_BYTES)? {
                let lines = text.lines().filter(|line| stays(file, line, kept, &gone));
                out.insert(path, lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes());
            }
        }
        for file in ["modules.dep.bin", "modules.alias.bin", "modules.symbols.bin"] {
            let path = format!("{MODULES}/{}/{file}", self.release);
            let Some(bytes) = read_bounded(root, &path, FILE_BYTES)? else { continue };
            let mut values = index::read(&bytes).map_err(|problem| SealError::malformed(&path, problem))?;
            values.retain(|value| {
                let module = if file == "modules.dep.bin" { &value.key } else { &value.text };
                !gone.contains(&normal(&String::from_utf8_lossy(module)))
            });
            let written = index::write(values).map_err(|problem| SealError::malformed(&path, problem))?;
            out.insert(path, written);
        }
        Ok(out)
    }
}

/// Whether a line of one of depmod's text files is about modules that stay.
fn stays(file: &str, line: &str, kept: &BTreeSet<String>, gone: &BTreeSet<String>) -> bool {
    let is_gone = |name: &str| gone.contains(&normal(name));
    match (file, &words(line)[..]) {
        ("modules.dep", _) => line.split(':').next().is_some_and(|path| kept.contains(path)),
        // modules.order names files before they are compressed.
        ("modules.order", [path]) => name_of(path).is_none_or(|name| !is_gone(&name)),
        ("modules.alias" | "modules.symbols", ["alias", _, name]) => !is_gone(name),
        ("modules.softdep", ["softdep", name, ..]) => !is_gone(name),
        ("modules.weakdep", ["weakdep", name, ..]) => !is_gone(name),
        ("modules.devname", [name, _, _]) => !is_gone(name),
        _ => true,
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The part of depmod's text files an initramfs needs, for uncompressed modules: file name and content.
pub(crate) fn initramfs_files(
    modules: &Modules,
    root: &Path,
    carried: &BTreeSet<String>,
) -> Result<Vec<(&'static str, String)>, SealError> {
    let gone = modules.gone(carried);
    let mut out = Vec::new();
    let dep = carried.iter().fold(String::new(), |mut text, path| {
        text.push_str(uncompressed(path));
        text.push(':');
        for need in modules.dependencies.get(path).into_iter().flatten() {
            text.push(' ');
            text.push_str(uncompressed(need));
        }
        text + "\n"
    });
    out.push(("modules.dep", dep));
    for file in ["modules.alias", "modules.softdep"] {
        let text = read_text(root, &format!("{MODULES}/{}/{file}", modules.release), FILE_BYTES)?.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && stays(file, line, carried, &gone));
        out.push((file, lines.flat_map(|line| [line, "\n"]).collect()));
    }
    Ok(out)
}

/// A module's path without the suffix of its compression.
pub(crate) fn uncompressed(path: &str) -> &str {
    [".xz", ".zst", ".gz"].iter().find_map(|suffix| path.strip_suffix(suffix)).unwrap_or(path)
}
