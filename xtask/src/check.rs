//! `check`: what holds for every commit, without building images or booting machines.

mod exposure;
mod floors;
mod licences;
mod promises;
mod sizes;
mod table;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rocketos_tests::command::Run;
use rocketos_tests::{Progress, paths};
use serde_json::Value;

/// What clippy may take on a cold target folder.
const CLIPPY_LIMIT: Duration = Duration::from_secs(2400);

/// How to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave clippy out.
    #[arg(long)]
    no_clippy: bool,
}

/// Checks everything, then says all that is wrong.
pub fn run(args: &Args) -> Result<()> {
    let progress = Progress::new();
    let mut wrong = Vec::new();
    let mut note = |name: &str, found: Vec<String>| {
        println!("{name:<40} {}", if found.is_empty() { "ok".to_owned() } else { format!("{} wrong", found.len()) });
        wrong.extend(found);
    };
    let (formatted, listed, _) = Run::new("cargo").args(["fmt", "--all", "--check", "--", "-l"]).outcome()?;
    let short = |file: &str| file.trim_start_matches(&format!("{}/", paths::workspace().display())).to_owned();
    let unformatted = listed.lines().map(|file| format!("{} is not formatted", short(file))).collect();
    note("format", if formatted.success() { Vec::new() } else { unformatted });
    let metadata = metadata()?;
    for (name, check) in CHECKS {
        note(name, check(&metadata).with_context(|| format!("checking {name}"))?);
    }
    if !wrong.is_empty() {
        bail!("{} things are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    if !args.no_clippy {
        let words = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        progress.step("clippy", || Run::new("cargo").args(words).limit(CLIPPY_LIMIT).attached())?;
    }
    Ok(())
}

/// Looks for what is wrong; an error means that it could not look.
type Check = fn(&Value) -> Result<Vec<String>>;

const CHECKS: &[(&str, Check)] = &[
    ("dependencies go down the floors", floors::check),
    ("unsafe stays in crates/sys", sizes::unsafe_code),
    ("files and functions stay inside sizes", sizes::check),
    ("licences are among the allowed", licences::check),
    ("units expose what they may", exposure::check),
    ("every promise has a test", promises::check),
];

fn metadata() -> Result<Value> {
    let text = Run::new("cargo").args(["metadata", "--format-version=1", "--locked"]).output()?;
    serde_json::from_str(&text).context("reading what cargo says of the workspace")
}
