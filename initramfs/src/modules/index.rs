//! depmod's files: which modules there are, what each depends on and what wants it.

use std::collections::{HashMap, HashSet};

use super::alias::matches;

/// One module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_` for every `-`.
    pub name: String,
    /// Its file, relative to `/lib/modules/<release>`.
    pub path: String,
    /// Names of what must be inserted before it.
    pub(super) needs: Vec<String>,
}

/// What is inserted along with a module where it is there (modprobe.d(5), `softdep`): modules or aliases.
#[derive(Debug, Default)]
struct Soft {
    before: Vec<String>,
    after: Vec<String>,
}

/// What a module calls itself, or wants.
#[derive(Debug)]
struct Alias {
    pattern: String,
    /// Bytes of the pattern that stand for themselves, up to the first that does not.
    literal: usize,
    module: String,
}

/// All three files.
#[derive(Debug, Default)]
pub struct Index {
    modules: HashMap<String, Module>,
    aliases: Vec<Alias>,
    soft: HashMap<String, Soft>,
}

/// A name or an alias as kmod compares them: `-` and `_` are the same, except within brackets.
pub fn normal(name: &str) -> String {
    if !name.contains('-') {
        return name.to_owned();
    }
    let mut inside = false;
    name.chars()
        .map(|c| {
            inside = c == '[' || inside && c != ']';
            if c == '-' && !inside { '_' } else { c }
        })
        .collect()
}

/// The module a file holds: its name up to `.ko`, however it is compressed.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    Some(normal(file.split_once(".ko")?.0))
}

impl Index {
    /// Reads `modules.dep`, `modules.alias` and `modules.softdep`; lines of other forms are passed over, as by kmod.
    pub fn parse(dep: &str, alias: &str, softdep: &str) -> Self {
        let mut index = Self::default();
        for line in dep.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            if let Some(name) = name_of(path) {
                let module = Module {
                    name: name.clone(),
                    path: path.to_owned(),
                    needs: needs.split_whitespace().filter_map(name_of).collect(),
                };
                index.modules.insert(name, module);
            }
        }
        for line in alias.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
                let pattern = normal(pattern);
                let literal = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
                index.aliases.push(Alias { pattern, literal, module: normal(module) });
            }
        }
        for line in softdep.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else {
                continue;
            };
            let soft = index.soft.entry(normal(module)).or_default();
            let mut list = &mut soft.before;
            for word in words {
                match word {
                    "pre:" => list = &mut soft.before,
                    "post:" => list = &mut soft.after,
                    name => list.push(normal(name)),
                }
            }
        }
        index
    }

    /// Names of the modules in this initramfs that want a device with this `modalias`.
    pub fn wanted_by(&self, modalias: &str) -> Vec<String> {
        let text = normal(modalias);
        let mut names = Vec::new();
        for Alias { pattern, literal, module } in &self.aliases {
            // Most differ here already.
            let rest = text.strip_prefix(&pattern[..*literal]);
            if rest.is_some_and(|rest| matches(&pattern[*literal..], rest))
                && self.modules.contains_key(module)
                && !names.contains(module)
            {
                names.push(module.clone());
            }
        }
        names
    }

    /// What to insert, in order, so that the module `name`, or every module with the alias `name`, is there.
    ///
    /// What is not in this initramfs is left out: it is built in, or inserting what needs it fails and says so.
    pub fn order(&self, name: &str) -> Vec<Module> {
        let mut order = Vec::new();
        self.visit(&normal(name), &mut HashSet::new(), &mut order);
        order
    }

    /// Depth first; a circle is cut where it closes.
    fn visit(&self, name: &str, seen: &mut HashSet<String>, order: &mut Vec<Module>) {
        if !seen.insert(name.to_owned()) {
            return;
        }
        let Some(module) = self.modules.get(name) else {
            for other in self.wanted_by(name) {
                self.visit(&other, seen, order);
            }
            return;
        };
        let soft = self.soft.get(name);
        for before in soft.iter().flat_map(|soft| &soft.before).chain(&module.needs) {
            self.visit(before, seen, order);
        }
        order.push(module.clone());
        for after in soft.iter().flat_map(|soft| &soft.after) {
            self.visit(after, seen, order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/crypto/crc32c_generic.ko.xz:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias crc32c crc32c-intel
alias crc32c crc32c_generic
alias fs-ext4 ext4
alias x-y[a-c]* a
alias pci:* not-in-here
";
    const SOFT: &str = "softdep ext4 pre: crc32c nothing\nsoftdep mbcache post: a\n";

    fn order(name: &str) -> Vec<String> {
        let index = Index::parse(DEP, ALIAS, SOFT);
        index.order(name).into_iter().map(|module| module.name).collect()
    }

    #[test]
    fn puts_dependencies_first() {
        assert_eq!(order("virtio-pci"), ["virtio_ring", "virtio", "virtio_pci"]);
    }

    #[test]
    fn follows_soft_dependencies_through_aliases() {
        assert_eq!(order("ext4"), ["crc32c_intel", "crc32c_generic", "crc16", "mbcache", "b", "a", "jbd2", "ext4"]);
        assert_eq!(order("fs-ext4"), order("ext4"));
    }

    #[test]
    fn ends_on_a_circle_and_on_nothing() {
        assert_eq!(order("a"), ["b", "a"]);
        assert!(order("none").is_empty());
    }

    #[test]
    fn keeps_the_files_real_name() {
        let index = Index::parse(DEP, ALIAS, SOFT);
        assert_eq!(index.order("crc32c_intel")[0].path, "kernel/arch/x86/crypto/crc32c-intel.ko.xz");
    }

    #[test]
    fn asks_for_what_is_in_the_initramfs() {
        let index = Index::parse(DEP, ALIAS, SOFT);
        let modalias = "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00";
        assert_eq!(index.wanted_by(modalias), ["virtio_pci"]);
        assert_eq!(index.wanted_by("x_yb7"), ["a"]);
        assert!(index.wanted_by("usb:v1").is_empty());
    }

    #[test]
    fn takes_dash_and_underscore_for_one() {
        assert_eq!(normal("crc32c-intel"), "crc32c_intel");
        assert_eq!(normal("a-[0-9]-b"), "a_[0-9]_b");
    }
}
