//! The image of a container that says what it sees (`tests/data/host`).

use anyhow::{Context, Result};

use super::{Images, podman_build, programs};
use crate::{Tools, paths};

/// Its name in podman's storage.
const NAME: &str = "localhost/rocketos/test-seen";

impl Images<'_> {
    /// Builds it in a version with the programs that [`Images::tools`] compiled, and returns its name: the last one that was built.
    pub fn seen(&self, tools: &Tools, version: &str) -> Result<&'static str> {
        let data = paths::workspace().join("tests/data/host");
        let context = tempfile::tempdir().context("making a folder to build in")?;
        let to = |name: &str| context.path().join(name);
        let copy = |from: std::path::PathBuf, name: &str| {
            std::fs::copy(&from, to(name)).with_context(|| format!("copying {}", from.display()))
        };
        for file in ["Containerfile", "start"] {
            copy(data.join(file), file)?;
        }
        copy(tools.file("usr/bin/busybox"), "busybox")?;
        for program in ["control", "host-shell"] {
            copy(programs::folder().join(program), program)?;
        }
        std::fs::write(to("version"), version).context("writing a version")?;
        self.progress.step(&format!("building a host container, {version}"), || {
            podman_build().args(["-t", NAME, "-f"]).arg(to("Containerfile")).arg(context.path()).printed().quiet()
        })?;
        Ok(NAME)
    }
}
