//! A registry with the referrers API, which Debian's does not have: `tests/data/referrers`, compiled by Go.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::Run;
use crate::paths;
use crate::progress::Progress;

/// The program's name.
const NAME: &str = "referrers-registry";
/// What fetching its one dependency and compiling both may take.
const LIMIT: Duration = Duration::from_secs(900);

/// Compiles it into `folder` where it is missing or older than its source.
pub(super) fn ensure(progress: &Progress, folder: &Path) -> Result<()> {
    let source = paths::workspace().join("tests/data/referrers");
    let stamp = folder.join(format!("{NAME}.of"));
    let mut wanted = String::new();
    for name in ["go.mod", "go.sum", "main.go"] {
        let file = source.join(name);
        wanted += &std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    }
    if folder.join(NAME).exists() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    progress.step("compiling a registry with the referrers API", || {
        Run::new("go")
            .args(["build", "-mod=readonly", "-o"])
            .arg(folder.join(NAME))
            .arg(".")
            .env("CGO_ENABLED", "0")
            .cwd(&source)
            .limit(LIMIT)
            .quiet()?;
        std::fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
    })
}
