//! One `podman build`, as a person would type it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{NAMESPACE, SOURCE_DATE_EPOCH};
use crate::command::Run;
use crate::paths;

/// What one build may take: the first one of `base` downloads and unpacks every package.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// Only the unified hierarchy has this file; runtimes cannot start containers on the others.
const UNIFIED_CGROUPS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// Tells apt of the kept packages.
const KEPT_LIST: &str = "kept.list";

/// Whether layers of earlier builds may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    Used,
    PassedOver,
}

/// A build of one Containerfile.
pub(super) struct Build {
    containerfile: PathBuf,
    name: String,
    context: PathBuf,
    target: Option<String>,
    args: Vec<(String, String)>,
    stages: Vec<(String, String)>,
    secrets: Vec<(String, PathBuf)>,
    inputs: Option<String>,
    cache: Cache,
}

impl Build {
    /// Builds the last stage, named `localhost/rocketos/<name>`, with the checkout as context.
    pub(super) fn new(containerfile: impl AsRef<Path>, name: &str) -> Self {
        Self {
            containerfile: containerfile.as_ref().to_owned(),
            name: format!("{NAMESPACE}/{name}"),
            context: PathBuf::from("."),
            target: None,
            stages: Vec::new(),
            secrets: Vec::new(),
            inputs: None,
            cache: Cache::Used,
            args: vec![("SOURCE_DATE_EPOCH".to_owned(), SOURCE_DATE_EPOCH.to_owned())],
        }
    }

    pub(super) fn context(mut self, folder: &Path) -> Self {
        self.context = folder.to_owned();
        self
    }

    pub(super) fn target(mut self, stage: &str) -> Self {
        self.target = Some(stage.to_owned());
        self
    }

    pub(super) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes an image in place of a stage, which is not built then.
    ///
    /// buildah 1.28 mounts the wrong tree when a stage that a RUN mounts comes whole from the cache.
    pub(super) fn stage(mut self, stage: &str, image: &str) -> Self {
        self.stages.push((stage.to_owned(), image.to_owned()));
        self
    }

    /// Shows a file to RUN steps that mount the secret of this name; no layer gets it, and the cache does not look at it.
    pub(super) fn secret(mut self, name: &str, file: &Path) -> Self {
        self.secrets.push((name.to_owned(), file.to_owned()));
        self
    }

    /// Says what a RUN sees through mounts, whose changes buildah 1.28 does not see.
    ///
    /// Where the Containerfile declares `ARG INPUTS` before that RUN, the cache heeds it. Where it does not, the
    /// cache is left aside whenever this is another value than at the last build of the same name.
    pub(super) fn inputs(mut self, inputs: &str) -> Self {
        self.inputs = Some(inputs.to_owned());
        self
    }

    pub(super) fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    pub(super) fn run(self) -> Result<()> {
        let kept = paths::work().join("inputs").join(self.name.replace(['/', ':'], "-"));
        let mut run = offer_kept(podman_build());
        let mut no_cache = self.cache == Cache::PassedOver;
        let short = |path: &Path| path.strip_prefix(paths::workspace()).unwrap_or(path).to_owned();
        run = run.arg("-f").arg(short(&self.containerfile)).args(["-t", &self.name]);
        if let Some(target) = &self.target {
            run = run.args(["--target", target]);
        }
        for (name, value) in &self.args {
            run = run.arg("--build-arg").arg(format!("{name}={value}"));
        }
        for (stage, image) in &self.stages {
            run = run.arg("--build-context").arg(format!("{stage}=container-image://{NAMESPACE}/{image}"));
        }
        for (name, file) in &self.secrets {
            run = run.arg("--secret").arg(format!("id={name},src={}", file.display()));
        }
        if let Some(inputs) = &self.inputs {
            run = run.arg("--build-arg").arg(format!("INPUTS={inputs}"));
            let path = paths::workspace().join(&self.containerfile);
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let mounts = text.lines().any(|line| line.starts_with("RUN --mount=type=bind"));
            let heeded = !mounts || text.lines().any(|line| line.starts_with("ARG INPUTS"));
            if !heeded && !std::fs::read_to_string(&kept).is_ok_and(|last| last == *inputs) {
                no_cache = true;
            }
        }
        if no_cache {
            run = run.arg("--no-cache");
        }
        run.arg(short(&self.context)).limit(BUILD_LIMIT).printed().quiet()?;
        if let Some(inputs) = &self.inputs {
            std::fs::create_dir_all(paths::work().join("inputs"))?;
            std::fs::write(&kept, inputs).with_context(|| format!("writing {}", kept.display()))?;
        }
        Ok(())
    }
}

/// Begins `podman build` with what this host needs; never with `--timestamp`, which would set every file's mtime.
pub fn podman_build() -> Run {
    // Each COPY of a sealed image is a layer, whatever containers.conf says.
    let run = podman(["build", "--layers"]);
    if Path::new(UNIFIED_CGROUPS).exists() { run } else { run.env("BUILDAH_ISOLATION", "chroot").arg("--network=host") }
}

/// Offers a build the packages that were kept, where there are any (base/README.md, "Versions").
fn offer_kept(run: Run) -> Run {
    let kept = paths::target().join("packages");
    let list = kept.join(KEPT_LIST);
    if !list.exists() {
        return run;
    }
    run.arg("-v")
        .arg(format!("{}:/var/lib/rocketos/packages:ro", kept.display()))
        .arg("-v")
        .arg(format!("{}:/etc/apt/sources.list.d/{KEPT_LIST}:ro", list.display()))
}

/// Runs podman.
pub(super) fn podman<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Run {
    Run::new("podman").args(args)
}
