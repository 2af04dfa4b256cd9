//! Five releases of dev, each with another version and one small package more than the one before.

use anyhow::{Context, Result};
use rocketos_tests::{Images, Registry, paths};

use crate::Bench;

/// What is added, release by release; the first is dev as it is.
const PACKAGES: [&str; 5] = ["", "file", "tree", "lsof", "pv"];
/// The variant's name.
const VARIANT: &str = "bench";
/// Where the releases are in a registry.
pub(super) const REPOSITORY: &str = "rocketos/bench";

/// How a release is built.
const CONTAINERFILE: &str = include_str!("releases/Containerfile");

/// How many there are.
pub(super) const COUNT: usize = PACKAGES.len();

/// A release in a registry.
pub(super) struct Pushed {
    /// Its version and tag.
    pub(super) tag: String,
    /// Its manifest's digest there.
    pub(super) digest: String,
}

/// Builds the first `count` releases and pushes them.
pub(super) fn push(bench: &Bench, registry: &Registry, count: usize) -> Result<Vec<Pushed>> {
    let folder = paths::work().join("bench-releases");
    let mut pushed = Vec::new();
    let mut installed = Vec::new();
    for (number, package) in (1..).zip(PACKAGES).take(count) {
        let tag = format!("0.9.{number}");
        installed.extend((!package.is_empty()).then_some(package));
        let image = match bench.build {
            true => {
                let context = folder.join(&tag);
                std::fs::create_dir_all(&context).with_context(|| format!("making {}", context.display()))?;
                let containerfile = context.join("Containerfile");
                std::fs::write(&containerfile, CONTAINERFILE)?;
                std::fs::write(context.join("packages"), installed.join("\n"))?;
                Images::new(&bench.progress).derived(&containerfile, VARIANT, &tag)?.image
            }
            false => format!("localhost/rocketos/{VARIANT}:{tag}"),
        };
        let digest = bench.push(&image, registry, REPOSITORY, &tag)?;
        pushed.push(Pushed { tag, digest });
    }
    Ok(pushed)
}
