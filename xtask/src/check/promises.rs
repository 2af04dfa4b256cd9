//! No promise without a test: each row of docs/security-features.md and docs/threat-model.md names tests, and each is a
//! function of the tree that is marked as one.
//!
//! A test is named `<file>::<function>`. A function that is called by a test, as those of a machine that is booted once are,
//! counts where the file is among the tests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use rocketos_tests::paths;
use serde_json::Value;

use super::{sizes, table};

/// Pages, the heading of their tables, and which column names the tests.
const PAGES: [(&str, &str, usize); 2] =
    [("docs/security-features.md", "# Security features", 2), ("docs/threat-model.md", "# Threat model", 3)];

/// Returns each row without a test, and each test that is not there.
pub(super) fn check(_: &Value) -> Result<Vec<String>> {
    let tests: BTreeMap<String, BTreeSet<String>> = sizes::sources()?
        .into_iter()
        .map(|(file, text)| (file.display().to_string(), of(&file.display().to_string(), &text)))
        .collect();
    let mut wrong = Vec::new();
    for (page, heading, column) in PAGES {
        let text = std::fs::read_to_string(paths::workspace().join(page)).with_context(|| format!("reading {page}"))?;
        let rows = table::rows(&text, heading);
        ensure!(!rows.is_empty(), "{page} has no table");
        wrong
            .extend(rows.iter().flat_map(|row| judge(row, column, &tests)).map(|problem| format!("{page}: {problem}")));
    }
    Ok(wrong)
}

/// What is wrong with one row.
fn judge(row: &[String], column: usize, tests: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let promise = row.first().map_or("", String::as_str);
    let named: Vec<&str> = row.get(column).map(|cell| named(cell)).unwrap_or_default();
    if named.is_empty() {
        return vec![format!("nothing proves '{}'; name `<file>::<function>`", row.join(" | "))];
    }
    let there = |name: &&str| {
        name.split_once("::").is_some_and(|(file, function)| tests.get(file).is_some_and(|all| all.contains(function)))
    };
    named.into_iter().filter(|name| !there(name)).map(|name| format!("'{promise}': there is no test {name}")).collect()
}

/// What stands in backquotes.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The tests of a file: what `#[test]` marks, and in a file of machine tests what those call.
fn of(file: &str, text: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = text.lines().collect();
    let among_tests = file.starts_with("tests/");
    let marked = |start: usize| {
        let before = lines[..start - 1].iter().rev().map(|line| line.trim());
        before
            .take_while(|line| line.starts_with('#') || line.starts_with("//"))
            .any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
    };
    let functions = sizes::functions(&lines).into_iter();
    functions.filter(|(start, ..)| among_tests || marked(*start)).map(|(_, name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "fn helper() {}\n\n/// Words.\n#[test]\n#[ignore]\nfn proves_it() {\n}\n\n#[tokio::test]\nasync fn waits() {\n}\n";

    fn tree() -> BTreeMap<String, BTreeSet<String>> {
        ["crates/a/src/lib.rs", "tests/boot/a.rs"].map(|file| (file.to_owned(), of(file, SOURCE))).into()
    }

    fn wrong(cell: &str) -> Vec<String> {
        judge(&["It holds".to_owned(), "because".to_owned(), cell.to_owned()], 2, &tree())
    }

    #[test]
    fn finds_tests_by_file_and_name() {
        let good = "`crates/a/src/lib.rs::proves_it`, `crates/a/src/lib.rs::waits` and `tests/boot/a.rs::helper`";
        assert_eq!(wrong(good), [""; 0]);
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        assert_eq!(wrong(""), ["nothing proves 'It holds | because | '; name `<file>::<function>`"]);
        assert_eq!(wrong("none of its own yet").len(), 1);
        for name in [
            "crates/a/src/lib.rs::helper",
            "crates/a/src/lib.rs::proves",
            "crates/b.rs::proves_it",
            "crates/a/src/lib.rs",
        ] {
            assert_eq!(wrong(&format!("`{name}`")), [format!("'It holds': there is no test {name}")]);
        }
    }
}
