//! `image lint`.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use rocketos_image::{LintOptions, Outcome, Severity, checks, lint};

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fatal => "fatal",
        Severity::Warning => "warning",
    }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(what) => what.clone(),
        Outcome::NotRun(why) => format!("could not run: {why}"),
    }
}

/// Checks an unpacked image; a check that could not run is as bad as one that failed.
pub fn run(
    root: &Path,
    rules: Option<PathBuf>,
    skip: &[String],
    fatal_warnings: bool,
    json: bool,
) -> anyhow::Result<()> {
    for name in skip {
        ensure!(checks().any(|check| check.name == name), "no check is named '{name}'; --list shows them");
    }
    let mut options = LintOptions { skip: skip.to_vec(), ..LintOptions::default() };
    if let Some(rules) = rules {
        options.rules = rules;
    }
    let findings = lint(root, &options);
    if json {
        println!("{}", serde_json::to_string(&findings)?);
    } else {
        for finding in &findings {
            println!("{}: {}: {}", word(finding.severity), finding.check, text(&finding.outcome));
        }
    }
    let fatal = findings.iter().filter(|finding| fatal_warnings || finding.severity == Severity::Fatal);
    match fatal.count() {
        0 => Ok(()),
        fatal => bail!("{fatal} of {} findings are fatal", findings.len()),
    }
}

/// Lists the checks.
pub fn list(json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(&checks().collect::<Vec<_>>())?);
        return Ok(());
    }
    for check in checks() {
        println!("{} ({}): {}", check.name, word(check.severity), check.reason);
    }
    Ok(())
}
