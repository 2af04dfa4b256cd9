//! What our units expose, by `systemd-analyze security`: at most [`LIMIT`], or what docs/hardening.md allows one, for a reason.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rocketos_tests::command::Run;
use rocketos_tests::paths;
use serde_json::Value;

use super::table;

/// What a unit may have, of ten.
const LIMIT: f64 = 2.5;
/// Where the ceilings of others are.
const PAGE: &str = "docs/hardening.md";
/// Its heading.
const HEADING: &str = "## Ceilings";
const PROGRAM: &str = "systemd-analyze";

/// Returns each unit above its ceiling, and each ceiling without a unit that needs it.
pub(super) fn check(_: &Value) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(paths::workspace().join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
    let ceilings = ceilings(&text)?;
    let list =
        Run::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "*.service"]).output()?;
    let units: Vec<&str> =
        list.lines().filter(|path| is_ours(path) && paths::workspace().join(path).exists()).collect();
    ensure!(!units.is_empty(), "there is no unit of ours; they are called rocketos-*.service");
    let mut measured = Vec::new();
    for unit in units {
        let name = unit.rsplit('/').next().unwrap_or(unit);
        measured.push((name.to_owned(), exposure(&paths::workspace().join(unit))?));
    }
    Ok(judge(&measured, &ceilings))
}

/// A unit that a node runs. Those of tests are none.
fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("rocketos-") && !path.starts_with("tests/")
}

fn ceilings(page: &str) -> Result<Vec<(String, f64)>> {
    let rows = table::rows(page, HEADING);
    ensure!(!rows.is_empty(), "{PAGE} has no table below '{HEADING}'");
    let ceiling = |row: &Vec<String>| {
        let [unit, ceiling, reason] = row.as_slice() else {
            anyhow::bail!("{PAGE}: a ceiling has three columns: {row:?}")
        };
        ensure!(!reason.is_empty(), "{PAGE}: the ceiling of {unit} has no reason");
        Ok((unit.trim_matches('`').to_owned(), ceiling.parse().with_context(|| format!("{PAGE}: reading {row:?}"))?))
    };
    rows.iter().map(ceiling).collect()
}

fn judge(measured: &[(String, f64)], ceilings: &[(String, f64)]) -> Vec<String> {
    let ceiling = |unit: &str| ceilings.iter().find(|(name, _)| name == unit).map(|(_, ceiling)| *ceiling);
    let mut wrong: Vec<String> = measured
        .iter()
        .filter(|(unit, found)| *found > ceiling(unit).unwrap_or(LIMIT))
        .map(|(unit, found)| format!("{unit} exposes {found}, more than {}", ceiling(unit).unwrap_or(LIMIT)))
        .collect();
    for (unit, ceiling) in ceilings {
        match measured.iter().find(|(name, _)| name == unit) {
            None => wrong.push(format!("{PAGE} has a ceiling for {unit}, which is not there")),
            Some((_, found)) if *found <= LIMIT => {
                wrong.push(format!("{unit} exposes {found} and needs no ceiling of {ceiling} in {PAGE}"));
            }
            Some(_) => {}
        }
    }
    wrong
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
    fn finds_what_exposes_too_much_and_ceilings_nobody_needs() {
        let of = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
            pairs.iter().map(|(unit, number)| ((*unit).to_owned(), *number)).collect()
        };
        let measured = of(&[("a", 2.5), ("b", 2.6), ("c", 3.0), ("d", 2.0)]);
        let wrong = judge(&measured, &of(&[("c", 2.9), ("d", 4.0), ("e", 9.0)]));
        assert_eq!(
            wrong,
            [
                "b exposes 2.6, more than 2.5",
                "c exposes 3, more than 2.9",
                "d exposes 2 and needs no ceiling of 4 in docs/hardening.md",
                "docs/hardening.md has a ceiling for e, which is not there",
            ]
        );
        assert_eq!(judge(&of(&[("b", 2.6)]), &of(&[("b", 2.6)])), [""; 0]);
    }

    #[test]
    fn every_ceiling_has_a_reason() {
        let page = |row: &str| format!("{HEADING}\n\n| unit | ceiling | why |\n|---|---|---|\n{row}\n");
        assert_eq!(ceilings(&page("| `a.service` | 3.3 | it mounts |")).unwrap(), [("a.service".to_owned(), 3.3)]);
        for row in ["| `a.service` | 3.3 | |", "| `a.service` | high | it mounts |", "| `a.service` | 3.3 |", ""] {
            assert!(ceilings(&page(row)).is_err(), "{row}");
        }
    }

    #[test]
    fn units_of_tests_are_not_ours() {
        assert!(is_ours("base/tree/usr/lib/systemd/system/rocketos-scrub.service"));
        assert!(!is_ours("tests/data/x/rocketos-x.service") && !is_ours("variants/a/tree/lab-hello.service"));
    }
}
