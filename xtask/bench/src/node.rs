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
        let stamp = base.with_extension("of");
        let from = format!("docker://{}/{REPOSITORY}:{}", registry.on_host(), first.tag);
        if !(base.exists() && std::fs::read_to_string(&stamp).is_ok_and(|of| of == first.digest)) {
            let follow = format!("docker://{}/{REPOSITORY}:{}", registry.in_guest(), first.tag);
            installer::disk(&bench.tools, &bench.progress, &Install::new(&from, &follow), &base)?;
            std::fs::write(&stamp, &first.digest).with_context(|| format!("writing {}", stamp.display()))?;
        }
        Ok(Self { registry, releases, base })
    }

    /// A disk of its own.
    pub(super) fn disk(&self, bench: &Bench, name: &str) -> Result<PathBuf> {
        let file = bench.work.path().join(format!("{name}.qcow2"));
        bench.tools.overlay(&self.base, Format::Qcow2, &file)?;
        Ok(file)
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

/// A machine with a shell that knows the registry, without a disk.
pub(super) fn machine(bench: &Bench, registry: &Registry) -> Machine {
    Machine::new(&bench.tools, "bench")
        .memory(MEMORY)
        .with_shell()
        .file("/etc/containers/registries.conf.d/50-bench.conf", &registry.guest_configuration())
        .time_limit(LIFE)
}

/// MiB in use that cannot be had back by dropping caches.
pub(super) fn memory_in_use(guest: &mut Guest) -> Result<f64> {
    let said = guest.ask("cat /proc/meminfo")?;
    let kib = |key: &str| -> Result<f64> {
        let line = said.lines().find(|line| line.starts_with(key)).with_context(|| format!("{key} in meminfo"))?;
        line.split_whitespace().nth(1).context("a number in meminfo")?.parse().context("a number in meminfo")
    };
    Ok((kib("MemTotal:")? - kib("MemAvailable:")?) / 1024.0)
}
