//! What our units expose, by `systemd-analyze security`: at most [`LIMIT`], without exceptions.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::paths;
use serde_json::Value;

/// What a unit may have, of ten.
const LIMIT: f64 = 2.5;
const PROGRAM: &str = "systemd-analyze";

/// Returns each unit above the limit.
pub(super) fn check(_: &Value) -> Result<Vec<String>> {
    let list =
        Run::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "*.service"]).output()?;
    let units: Vec<&str> =
        list.lines().filter(|path| is_ours(path) && paths::workspace().join(path).exists()).collect();
    ensure!(!units.is_empty(), "there is no unit of ours; they are called rocketos-*.service");
    let mut wrong = Vec::new();
    for unit in units {
        wrong.extend(judge(unit, exposure(&paths::workspace().join(unit))?));
    }
    Ok(wrong)
}

/// A unit that a node runs. Those of tests are none.
fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("rocketos-") && !path.starts_with("tests/")
}

fn judge(unit: &str, found: f64) -> Option<String> {
    (found > LIMIT).then(|| format!("{unit} exposes {found}, more than {LIMIT}"))
}

/// Asks systemd, which the host need not run.
fn exposure(unit: &Path) -> Result<f64> {
    let said = Run::new(PROGRAM)
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(unit)
        .output()
        .with_context(|| format!("asking {PROGRAM} (of Debian's package systemd) about {}", unit.display()))?;
    number(&said).with_context(|| format!("{PROGRAM} does not say what {} exposes:\n{said}", unit.display()))
}

/// `→ Overall exposure level for rocketos-x.service: 1.6 OK`
fn number(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("Overall exposure level for "))?;
    line.split(": ").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_systemd_says() {
        let said = "✓ NotifyAccess=   fine\n\n→ Overall exposure level for rocketos-x.service: 9.6 UNSAFE 😨\n";
        assert_eq!(number(said), Some(9.6));
        assert_eq!(number("Failed to load"), None);
    }

    #[test]
    fn finds_what_exposes_too_much() {
        assert_eq!(judge("a", 2.5), None);
        assert_eq!(judge("b", 2.6).unwrap(), "b exposes 2.6, more than 2.5");
    }

    #[test]
    fn units_of_tests_are_not_ours() {
        assert!(is_ours("base/tree/usr/lib/systemd/system/rocketos-scrub.service"));
        assert!(!is_ours("tests/data/x/rocketos-x.service") && !is_ours("variants/a/tree/lab-hello.service"));
    }
}
