//! Dated results of runs that take hours, in the checkout, to be committed.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::Run;
use crate::paths;

/// Where they are kept.
const RESULTS: &str = "docs/results";

/// Writes a page of its own for today and `kind`: a heading, which gets the date, and what is below it. Returns where it is.
pub fn write(kind: &str, heading: &str, text: &str) -> Result<PathBuf> {
    let date = Run::new("date").args(["-u", "+%F"]).output()?.trim().to_owned();
    let file = kept(&format!("{date}-{kind}"))?;
    std::fs::write(&file, format!("# {heading}, {date}\n\n{text}"))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Where the page of a kind is that one run after the other adds to; its folder is made.
pub fn kept(kind: &str) -> Result<PathBuf> {
    let folder = paths::workspace().join(RESULTS);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder.join(format!("{kind}.md")))
}
