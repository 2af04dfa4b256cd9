//! A node in a machine, with two releases in a registry beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rocketos_tests::installer::{self, Install};
use rocketos_tests::{Disk, Format, Guest, Machine, Registry, paths};

use crate::Bench;
use crate::releases::{self, Pushed, REPOSITORY};

/// What a boot may take in an emulated machine on a busy host.
pub(super) const BOOT: Duration = Duration::from_secs(400);
/// What the whole of a machine's life may take.
const LIFE: Duration = Duration::from_secs(3600);
/// What installing or pulling may take there.
pub(super) const WORK: Duration = Duration::from_secs(1200);
/// Where the image that is measured beside is in the registry.
const BEFORE: &str = "rocketos/before";
/// Memory in MiB.
pub(super) const MEMORY: u32 = 1536;

/// An installed disk and a registry.
pub(super) struct Node {
    pub(super) registry: Registry,
    /// The releases in the registry.
    pub(super) releases: Vec<Pushed>,
    base: PathBuf,
}

impl Node {
    /// Builds what is missing; the disk of an earlier run is taken when the same release is on it.
    pub(super) fn ready(bench: &Bench) -> Result<Self> {
        let registry = bench.registry("node-registry")?;
        let releases = releases::push(bench, &registry, 2)?;
        let first = &releases[0];
        let base = paths::work().join("bench-node.qcow2");
        install(bench, &registry, REPOSITORY, first, &base)?;
        Ok(Self { registry, releases, base })
    }

    /// A disk of its own.
    pub(super) fn disk(&self, bench: &Bench, name: &str) -> Result<PathBuf> {
        overlay(bench, &self.base, name)
    }

    /// A disk with the image that is measured beside this checkout; absent where there is none.
    pub(super) fn before(&self, bench: &Bench) -> Result<Option<PathBuf>> {
        let Some(image) = &bench.before else { return Ok(None) };
        let tag = "before".to_owned();
        let digest = bench.push(image, &self.registry, BEFORE, &tag)?;
        let base = paths::work().join("bench-before.qcow2");
        install(bench, &self.registry, BEFORE, &Pushed { tag, digest }, &base)?;
        Ok(Some(base))
    }

    /// A machine that boots it.
    pub(super) fn machine(&self, bench: &Bench, disk: &Path) -> Machine {
        machine(bench, &self.registry).disk(Disk::qcow2(disk))
    }

    /// The name of a release for a guest.
    pub(super) fn reference(&self, release: usize) -> String {
        format!("{}/{REPOSITORY}:{}", self.registry.in_guest(), self.releases[release].tag)
    }
}

/// Installs a release, unless it is what is on the disk.
fn install(bench: &Bench, registry: &Registry, repository: &str, release: &Pushed, disk: &Path) -> Result<()> {
    let stamp = disk.with_extension("of");
    if disk.exists() && std::fs::read_to_string(&stamp).is_ok_and(|of| of == release.digest) {
        return Ok(());
    }
    let reference = |registry: &str| format!("docker://{registry}/{repository}:{}", release.tag);
    let install = Install::new(&reference(&registry.on_host()), &reference(&registry.in_guest()));
    installer::disk(&bench.tools, &bench.progress, &install, disk)?;
    std::fs::write(&stamp, &release.digest).with_context(|| format!("writing {}", stamp.display()))
}

/// A disk that holds the changes to another.
pub(super) fn overlay(bench: &Bench, base: &Path, name: &str) -> Result<PathBuf> {
    let file = bench.work.path().join(format!("{name}.qcow2"));
    bench.tools.overlay(base, Format::Qcow2, &file)?;
    Ok(file)
}

/// A machine with a shell that knows the registry, without a disk.
pub(super) fn machine(bench: &Bench, registry: &Registry) -> Machine {
    Machine::new(&bench.tools, "bench")
        .memory(MEMORY)
        .with_shell()
        .file("/etc/containers/registries.conf.d/50-bench.conf", &registry.guest_configuration())
        .time_limit(LIFE)
}

/// MiB in use after a boot.
pub(super) struct Memory {
    /// What dropping caches leaves, mapped programs among it.
    pub used: f64,
    /// All but `MemAvailable`, of which the kernel takes off what it keeps free for itself (`vm.min_free_kbytes`).
    pub unavailable: f64,
}

/// Looks at both, the second before any cache is dropped.
pub(super) fn memory_in_use(guest: &mut Guest) -> Result<Memory> {
    let kib = |said: &str, key: &str| -> Result<f64> {
        let line = said.lines().find(|line| line.starts_with(key)).with_context(|| format!("{key} in meminfo"))?;
        line.split_whitespace().nth(1).context("a number in meminfo")?.parse().context("a number in meminfo")
    };
    let rest = |said: &str, key: &str| Ok::<_, anyhow::Error>((kib(said, "MemTotal:")? - kib(said, key)?) / 1024.0);
    let unavailable = rest(&guest.ask("cat /proc/meminfo")?, "MemAvailable:")?;
    let used = rest(&guest.ask("sync; echo 3 > /proc/sys/vm/drop_caches; cat /proc/meminfo")?, "MemFree:")?;
    Ok(Memory { used, unavailable })
}
