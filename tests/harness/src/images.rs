//! Builds images by the commands of `docs/contracts.md`, printing each, and pushes them.
//!
//! What is up to date is left to podman's own layer cache.

mod build;
mod programs;
mod seen;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Run;
use crate::{Progress, Registry, paths};
use build::{Build, Cache, podman};

pub use build::podman_build;

/// Where images made here are named.
const NAMESPACE: &str = "localhost/rocketos";
/// The time that files bear which building makes: a constant, so that two builds are alike.
pub const SOURCE_DATE_EPOCH: &str = "1767225600";
/// What RUN steps of `Containerfile.d/20-base` read of `base/` through mounts; COPY sees changes to the rest itself.
const SEEN_BY_RUN: &[&str] = &["no-initramfs"];
/// What os-release holds in place of a version until a release is built.
const OPEN_VERSION: &str = "@VERSION@";
/// What pushing or copying an image may take.
const COPY_LIMIT: std::time::Duration = std::time::Duration::from_secs(900);

/// One version of one variant, built.
#[derive(Debug, Clone)]
pub struct Release {
    /// The variant's name.
    pub variant: String,
    /// Its version, as in os-release.
    pub version: String,
    /// Its name in podman's storage.
    pub image: String,
    /// What sealing said of it (`facts.json`).
    pub facts: Value,
}

/// Builds images.
#[derive(Debug)]
pub struct Images<'a> {
    progress: &'a Progress,
    secrets: Vec<(String, PathBuf)>,
    host_containers: Vec<String>,
}

impl<'a> Images<'a> {
    /// Builds nothing yet.
    pub fn new(progress: &'a Progress) -> Self {
        Self { progress, secrets: Vec::new(), host_containers: Vec::new() }
    }

    /// Hands a file to RUN steps that mount the secret of this name.
    pub fn secret(mut self, name: &str, file: &Path) -> Self {
        self.secrets.push((name.to_owned(), file.to_owned()));
        self
    }

    /// Fixes the digest of a host container's image in what is sealed from here on: it is to be pushed beside.
    pub fn host_container(mut self, name: &str, digest: &str) -> Self {
        self.host_containers.push(format!("{name}={digest}"));
        self
    }

    /// Builds what host containers stand on: bootstrap and tools.
    pub fn tools(&self) -> Result<()> {
        self.progress.step("compiling rocketctl and the static programs", programs::compile)?;
        self.bootstrap()?;
        self.progress.step("building the image tools", || {
            Build::new("Containerfile.d/11-tools-handin", "tools").context(&programs::folder()).run()
        })
    }

    /// Builds what all variants stand on: the same, base and sealer.
    pub fn foundation(&self) -> Result<()> {
        self.tools()?;
        self.progress.step("building the image base", || {
            let bootstrap = format!("{NAMESPACE}/bootstrap");
            let inputs = tree_digest(&paths::workspace().join("base"), SEEN_BY_RUN)?;
            Build::new("Containerfile.d/20-base", "base").arg("BOOTSTRAP", &bootstrap).inputs(&inputs).run()
        })?;
        self.progress.step("building the image sealer", || Build::new("Containerfile.d/30-sealer", "sealer").run())
    }

    /// Builds a release of a variant of this checkout; [`Images::foundation`] comes first.
    pub fn variant(&self, variant: &str, version: &str) -> Result<Release> {
        self.derived(&paths::workspace().join("variants").join(variant).join("Containerfile"), variant, version)
    }

    /// Builds the image of a host container of this checkout, and returns its name; [`Images::tools`] comes first.
    pub fn container(&self, name: &str, version: &str) -> Result<String> {
        let folder = paths::container(name);
        let tagged = format!("{name}:{version}");
        self.progress.step(&format!("building the host container {name} {version}"), || {
            let build = Build::new(folder.join("Containerfile"), &tagged).context(&folder);
            build.arg("BOOTSTRAP", &format!("{NAMESPACE}/bootstrap")).arg("VERSION", version).run()
        })?;
        Ok(format!("{NAMESPACE}/{tagged}"))
    }

    /// Builds a release from any Containerfile with the stages of a variant; its folder is the context.
    pub fn derived(&self, containerfile: &Path, variant: &str, version: &str) -> Result<Release> {
        self.rootfs(containerfile, variant)?;
        let context = containerfile.parent().context("a Containerfile without a folder")?;
        let rootfs = format!("{variant}-rootfs:{version}");
        self.progress.step(&format!("building {variant} {version}: root"), || {
            Build::new(containerfile, &rootfs).context(context).arg("VERSION", version).target("rootfs").run()
        })?;
        self.seal(containerfile, variant, version, &rootfs, Cache::Used)
    }

    /// Seals a release of this checkout once more from the same root, using nothing that sealing left before.
    ///
    /// The result is named after `variant`, which is not the release's own.
    pub fn again(&self, release: &Release, variant: &str) -> Result<Release> {
        let containerfile = paths::workspace().join("variants").join(&release.variant).join("Containerfile");
        let rootfs = format!("{}-rootfs:{}", release.variant, release.version);
        self.seal(&containerfile, variant, &release.version, &rootfs, Cache::PassedOver)
    }

    /// Builds the last two stages upon a root.
    fn seal(&self, containerfile: &Path, variant: &str, version: &str, rootfs: &str, cache: Cache) -> Result<Release> {
        let context = containerfile.parent().context("a Containerfile without a folder")?;
        let build = |name: &str| {
            let mut build = Build::new(containerfile, name).context(context).arg("VERSION", version).cache(cache);
            if !self.host_containers.is_empty() {
                build = build.arg("HOST_CONTAINERS", &self.host_containers.join(" "));
            }
            self.secrets.iter().fold(build, |build, (name, file)| build.secret(name, file))
        };
        let root_id = podman(["image", "inspect", "--format={{.Id}}", &format!("{NAMESPACE}/{rootfs}")]).output()?;
        let sealed = format!("{variant}-sealed:{version}");
        self.progress.step(&format!("building {variant} {version}: sealing"), || {
            build(&sealed).target("sealed").stage("rootfs", rootfs).inputs(root_id.trim()).run()?;
            podman(["tag", &format!("{NAMESPACE}/{sealed}"), &format!("{NAMESPACE}/{variant}-sealed")]).quiet()
        })?;
        let facts = facts(&sealed).with_context(|| format!("reading what sealing {variant} {version} said"))?;
        let name = format!("{variant}:{version}");
        self.progress.step(&format!("building {variant} {version}: sealed image"), || {
            let mut last = build(&name).stage("sealed", &sealed).stage("rootfs", rootfs);
            for (fact, value) in facts.as_object().into_iter().flatten().filter(|(fact, _)| *fact != "version") {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                last = last.arg(&fact.to_uppercase().replace('-', "_"), &value);
            }
            last.run()?;
            podman(["tag", &format!("{NAMESPACE}/{name}"), &format!("{NAMESPACE}/{variant}")]).quiet()
        })?;
        let (variant, version) = (variant.to_owned(), version.to_owned());
        Ok(Release { variant, version, image: format!("{NAMESPACE}/{name}"), facts })
    }

    /// Pushes an image as `<repository>:<tag>` and returns its manifest digest there.
    pub fn push(&self, image: &str, registry: &Registry, repository: &str, tag: &str) -> Result<String> {
        let to = format!("{}/{repository}:{tag}", registry.on_host());
        self.progress.step(&format!("pushing {repository}:{tag}"), || {
            let digest = tempfile::NamedTempFile::new().context("making a file for a digest")?;
            podman(["push", "--tls-verify=false", "--format=oci", "--digestfile"])
                .arg(digest.path())
                .args([image, &format!("docker://{to}")])
                .limit(COPY_LIMIT)
                .printed()
                .quiet()
                .with_context(|| format!("pushing {image} to {to}"))?;
            Ok(std::fs::read_to_string(digest.path())?.trim().to_owned())
        })
    }

    /// Bootstraps a minimal trixie where there is none; a person may tag another image with its name instead.
    fn bootstrap(&self) -> Result<()> {
        let name = format!("{NAMESPACE}/bootstrap");
        if podman(["image", "exists", &name]).outcome()?.0.success() {
            return Ok(());
        }
        self.progress.step("bootstrapping Debian 13", || {
            std::fs::create_dir_all(paths::work())?;
            let archive = paths::work().join("bootstrap.tar");
            Run::new("mmdebstrap")
                .args(["--variant=apt", "--include=ca-certificates", "trixie"])
                .arg(&archive)
                .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
                .limit(COPY_LIMIT)
                .printed()
                .quiet()?;
            podman(["import", "--quiet"]).arg(&archive).arg(&name).printed().quiet()?;
            std::fs::remove_file(&archive).with_context(|| format!("removing {}", archive.display()))
        })
    }

    /// Builds the unsealed root of a variant, for others to derive from: its version is left open.
    fn rootfs(&self, containerfile: &Path, variant: &str) -> Result<()> {
        for parent in parents(containerfile, variant)? {
            self.rootfs(&paths::workspace().join("variants").join(&parent).join("Containerfile"), &parent)?;
        }
        let context = containerfile.parent().context("a Containerfile without a folder")?;
        self.progress.step(&format!("building the root of {variant}"), || {
            let build = Build::new(containerfile, &format!("{variant}-rootfs")).context(context);
            build.arg("VERSION", OPEN_VERSION).target("rootfs").run()
        })
    }
}

/// Returns the variants whose unsealed roots a Containerfile starts from.
fn parents(containerfile: &Path, own: &str) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(containerfile).with_context(|| format!("reading {}", containerfile.display()))?;
    let root = |word: &str| Some(word.strip_prefix(NAMESPACE)?.strip_prefix('/')?.strip_suffix("-rootfs")?.to_owned());
    let heads = text.lines().filter(|line| line.starts_with("FROM ") || line.starts_with("ARG "));
    let mut found: Vec<String> =
        heads.flat_map(|line| line.split([' ', '='])).filter_map(root).filter(|parent| parent != own).collect();
    found.dedup();
    Ok(found)
}

/// Returns a digest over the names and bytes of all files below some names in a folder.
fn tree_digest(folder: &Path, names: &[&str]) -> Result<String> {
    let list = "find \"$@\" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum";
    let line = Run::new("sh").args(["-c", list, "sh"]).args(names).cwd(folder).output()?;
    let digest = line.split_whitespace().next();
    digest.map(str::to_owned).with_context(|| format!("a digest of {}", folder.display()))
}

/// Reads `facts.json` from the image that sealing left.
fn facts(sealed: &str) -> Result<Value> {
    let folder = tempfile::tempdir().context("making a folder for facts.json")?;
    let file: PathBuf = folder.path().join("facts.json");
    copy_out(&format!("{NAMESPACE}/{sealed}"), "/sealed/facts.json", &file)?;
    serde_json::from_slice(&std::fs::read(&file)?).context("parsing facts.json")
}

/// Copies a file or folder out of an image in podman's storage.
pub fn copy_out(image: &str, path: &str, to: &Path) -> Result<()> {
    // The command is never run; an image without one needs it named.
    let created = podman(["create", image, "none"]).output()?;
    let container = created.trim().lines().last().unwrap_or_default().to_owned();
    if container.is_empty() {
        bail!("podman create {image} named no container");
    }
    let copied = podman(["cp", &format!("{container}:{path}")]).arg(to).quiet();
    podman(["rm", &container]).quiet()?;
    copied.with_context(|| format!("copying {path} out of {image}"))
}
