//! Dated results of runs that take hours, in the checkout, to be committed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::Run;
use crate::paths;

/// Where they are kept.
const RESULTS: &str = "docs/results";

/// Writes a page of its own for today and `kind`: a heading, which gets the date, and what is below it. Returns where it is.
pub fn write(kind: &str, heading: &str, text: &str) -> Result<PathBuf> {
    let date = today()?;
    let file = kept(&format!("{date}-{kind}"))?;
    fs::write(&file, format!("# {heading}, {date}\n\n{text}"))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Where the page of a kind is that one run after the other adds to; its folder is made.
pub fn kept(kind: &str) -> Result<PathBuf> {
    let folder = paths::workspace().join(RESULTS);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder.join(format!("{kind}.md")))
}

/// Adds a line to the page of a kind, which begins with `head` where it is not there yet; returns where it is.
pub fn add(kind: &str, head: &str, line: &str) -> Result<PathBuf> {
    let file = kept(kind)?;
    if !file.exists() {
        fs::write(&file, head).with_context(|| format!("writing {}", file.display()))?;
    }
    let written = File::options().append(true).open(&file).and_then(|mut page| writeln!(page, "{line}"));
    written.with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// The day in UTC, as `2026-01-31`.
pub fn today() -> Result<String> {
    said("date", &["-u", "+%F"])
}

/// The commit that the checkout is of.
pub fn commit() -> Result<String> {
    said("git", &["rev-parse", "--short=12", "HEAD"])
}

fn said(program: &str, words: &[&str]) -> Result<String> {
    Ok(Run::new(program).args(words).output()?.trim().to_owned())
}
