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

/// The releases' tags, in order.
pub(super) fn tags() -> Vec<String> {
    (1..=PACKAGES.len()).map(|number| format!("0.9.{number}")).collect()
}

/// Builds the first `count` releases and pushes them.
pub(super) fn push(bench: &Bench, registry: &Registry, count: usize) -> Result<Vec<String>> {
    let folder = paths::work().join("bench-releases");
    let mut pushed = Vec::new();
    let mut installed = Vec::new();
    for (tag, package) in tags().into_iter().zip(PACKAGES).take(count) {
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
        bench.push(&image, registry, REPOSITORY, &tag)?;
        pushed.push(tag);
    }
    Ok(pushed)
}
