//! Schemathesis, which judges the API by its description: from PyPI, in a folder of its own, at the versions of
//! `tests/data/schemathesis/requirements.txt`. No image has it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::Run;
use crate::paths;
use crate::progress::Progress;

/// The program's name.
const NAME: &str = "schemathesis";
/// What fetching it over a slow network may take.
const LIMIT: Duration = Duration::from_secs(900);

/// Installs it where it is missing or other versions are wanted, and puts it into `folder`.
pub(super) fn ensure(progress: &Progress, folder: &Path) -> Result<()> {
    let versions = paths::workspace().join("tests/data/schemathesis/requirements.txt");
    let wanted = std::fs::read_to_string(&versions).with_context(|| format!("reading {}", versions.display()))?;
    let stamp = folder.join(format!("{NAME}.of"));
    let link = folder.join(NAME);
    if link.exists() && std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    progress.step("fetching Schemathesis", || {
        let home = paths::tools().join(NAME);
        Run::new("python3").args(["-m", "venv", "--clear"]).arg(&home).limit(LIMIT).quiet()?;
        Run::new(home.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&versions)
            .limit(LIMIT)
            .quiet()?;
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link).with_context(|| format!("removing the old {}", link.display()))?;
        }
        symlink(home.join("bin").join(NAME), &link).with_context(|| format!("making {}", link.display()))?;
        std::fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
    })
}
