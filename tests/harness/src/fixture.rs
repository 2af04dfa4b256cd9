//! What machine tests share: releases in a registry and a disk with the first of them installed.
//!
//! Made once and kept in `target/work/fixture` until an image changes. Tests work on overlays of the disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::Run;
use crate::installer::{self, Install};
use crate::{Disk, Format, Images, Machine, Progress, Registry, Tools, paths};

/// The variant under test: it has a shell, which is how tests speak to it.
pub const VARIANT: &str = "dev";
/// Its releases.
pub const VERSIONS: [&str; 3] = ["1.0.0", "1.0.1", "1.0.2"];
/// A release that differs from the first only in an initramfs that cannot run.
pub const BROKEN: &str = "1.0.9";
/// Where the releases are in the registry.
pub const REPOSITORY: &str = "rocketos/dev";
/// Media type of what is there.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The tag that the installed node follows.
pub const TAG: &str = "stable";
/// The registry's port; the installed node remembers it, so it cannot be another each time.
const PORT: u16 = 5999;
/// The loader in an image.
pub const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// What [`Fixture::with_another_loader`] puts in its place, once it is there.
pub const OTHER_LOADER: &str = "/var/loader.efi";
/// The unit that does so.
const SWAP: &str = "another-loader.service";
/// Memory of a machine under test, in MiB.
const MEMORY: u32 = 1536;
/// What a boot may take in an emulated machine on a busy host.
pub const BOOT: Duration = Duration::from_secs(400);
/// What an upgrade may take there.
pub const UPGRADE: Duration = Duration::from_secs(900);
/// What a whole test machine may run.
const LIFE: Duration = Duration::from_secs(3600);

/// Tells test processes that the fixture is built: the one that starts them has done so.
pub const READY: &str = "ROCKETOS_TESTS_FIXTURE_READY";
/// This process has built it.
static BUILT: AtomicBool = AtomicBool::new(false);

/// Builds and pushes all releases, and writes down their digests, the broken one's last.
fn build(progress: &Progress, registry: &Registry, list: &Path) -> Result<()> {
    let images = Images::new(progress);
    let mut digests = String::new();
    for version in VERSIONS {
        let release = images.variant(VARIANT, version)?;
        digests += &images.push(&release.image, registry, REPOSITORY, version)?;
        digests.push('\n');
    }
    let containerfile = paths::workspace().join("tests/data/broken/Containerfile");
    let broken = images.derived(&containerfile, "broken", BROKEN)?;
    digests += &images.push(&broken.image, registry, REPOSITORY, BROKEN)?;
    std::fs::write(list, digests).with_context(|| format!("writing {}", list.display()))
}

/// Which folder of the fixture's the registry keeps its content in, where it is not [`REGISTRY`].
pub const CONTENT: &str = "ROCKETOS_TESTS_REGISTRY";
const REGISTRY: &str = "registry";
const APART: &str = "registry-apart";

/// The shared state, its registry running.
#[derive(Debug)]
pub struct Fixture {
    /// Host programs.
    pub tools: Tools,
    /// Holds every release.
    pub registry: Registry,
    /// Manifest digests of [`VERSIONS`], in order.
    pub digests: Vec<String>,
    /// Manifest digest of [`BROKEN`].
    pub broken: String,
    base: PathBuf,
    overlays: tempfile::TempDir,
}

impl Fixture {
    /// Builds what is missing and starts the registry; [`TAG`] names the first release.
    ///
    /// Where [`READY`] is set, or this process has done so before, nothing is built again.
    pub fn ready(progress: &Progress) -> Result<Self> {
        let tools = Tools::ensure(progress)?;
        let folder = paths::work().join("fixture");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let content = std::env::var_os(CONTENT).unwrap_or_else(|| REGISTRY.into());
        let registry = Registry::on_port(&tools, &folder.join(content), PORT)?;
        let list = folder.join("digests");
        let known = std::env::var_os(READY).is_some() || BUILT.load(Ordering::Relaxed);
        if !known {
            build(progress, &registry, &list)?;
            BUILT.store(true, Ordering::Relaxed);
        }
        let text = std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        let mut digests: Vec<String> = text.lines().map(str::to_owned).collect();
        let broken = digests.pop().context("the list of digests is empty")?;
        let overlays = tempfile::Builder::new().prefix("overlays-").tempdir_in(&folder)?;
        let fixture = Self { tools, registry, digests, broken, base: folder.join("base.qcow2"), overlays };
        fixture.tag(VERSIONS[0])?;
        if !known {
            fixture.install(progress, &folder.join("base.of"))?;
        }
        Ok(fixture)
    }

    /// Copies what the registry has, for tests that run at the same time in a network of their own, with [`CONTENT`] set to
    /// what this returns: tags are moved.
    pub fn content_apart() -> Result<&'static str> {
        let folder = paths::work().join("fixture");
        let (from, to) = (folder.join(REGISTRY), folder.join(APART));
        if to.exists() {
            std::fs::remove_dir_all(&to).with_context(|| format!("removing {}", to.display()))?;
        }
        Run::new("cp").args(["--archive", "--reflink=auto"]).arg(&from).arg(&to).quiet()?;
        Ok(APART)
    }

    /// Makes [`TAG`] name a release.
    pub fn tag(&self, version: &str) -> Result<()> {
        let name = |tag: &str| format!("docker://{}/{REPOSITORY}:{tag}", self.registry.on_host());
        self.tools
            .run("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args([name(version), name(TAG)])
            .quiet()
            .with_context(|| format!("naming {version} {TAG}"))
    }

    /// The reference under which a node in a machine finds a release.
    pub fn reference(&self, tag: &str) -> String {
        format!("docker://{}/{REPOSITORY}:{tag}", self.registry.in_guest())
    }

    /// The configuration of a release, by its place in [`VERSIONS`]: no other has it, and nothing needs it to boot.
    pub fn configuration(&self, release: usize) -> Result<Vec<u8>> {
        let digest = &self.digests[release];
        let (status, manifest) = self.registry.get(&format!("/v2/{REPOSITORY}/manifests/{digest}"), MANIFEST)?;
        let parsed: Value = serde_json::from_slice(&manifest).with_context(|| format!("manifest: {status}"))?;
        let config = parsed["config"]["digest"].as_str().context("a manifest without a configuration")?;
        let (status, bytes) = self.registry.get(&format!("/v2/{REPOSITORY}/blobs/{config}"), "*/*")?;
        ensure!(status.contains(" 200 "), "configuration: {status}");
        Ok(bytes)
    }

    /// A disk of its own with the first release installed.
    pub fn disk(&self, name: &str) -> Result<PathBuf> {
        let file = self.overlays.path().join(format!("{name}.qcow2"));
        self.tools.overlay(&self.base, Format::Qcow2, &file)?;
        Ok(file)
    }

    /// A folder that ends with the fixture.
    pub fn scratch(&self) -> &Path {
        self.overlays.path()
    }

    /// A machine that boots a disk, with a shell and a word about the registry.
    pub fn machine(&self, name: &str, disk: &Path) -> Machine {
        self.machine_with(name, Disk::qcow2(disk))
    }

    /// The same, its disk attached as the caller says.
    pub fn machine_with(&self, name: &str, disk: Disk) -> Machine {
        Machine::new(&self.tools, name)
            .memory(MEMORY)
            .disk(disk)
            .with_shell()
            .file("/etc/containers/registries.conf.d/50-test.conf", &self.registry.guest_configuration())
            .time_limit(LIFE)
    }

    /// A machine whose image has another loader for who updates it.
    pub fn with_another_loader(&self, machine: Machine) -> Machine {
        // For everybody: whoever updates it has mounts of its own, and so has who tells how it stands.
        let swap = format!("[Service]\nType=oneshot\nExecStart=-/bin/mount --bind {OTHER_LOADER} {LOADER}\n");
        let first = format!("[Unit]\nWants={SWAP}\nAfter={SWAP}\n");
        machine.credentials(|set| {
            set.unit(SWAP, &swap);
            for updates in ["rocketos-bless", "rocketos-loader"] {
                set.set(&format!("systemd.unit-dropin.{updates}.service"), &*first);
            }
        })
    }

    fn install(&self, progress: &Progress, stamp: &Path) -> Result<()> {
        let now = &self.digests[0];
        if self.base.exists() && std::fs::read_to_string(stamp).is_ok_and(|of| of == *now) {
            return Ok(());
        }
        let from = format!("docker://{}/{REPOSITORY}:{TAG}", self.registry.on_host());
        let install = Install::new(&from, &self.reference(TAG));
        installer::disk(&self.tools, progress, &install, &self.base)?;
        std::fs::write(stamp, now).with_context(|| format!("writing {}", stamp.display()))
    }
}
