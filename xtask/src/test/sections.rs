//! `test --long`: a row of results for each section of machines in which every test passed, those included that an ordinary run leaves out.

use std::time::Duration;

use anyhow::Result;
use rocketos_tests::{Progress, Tools, results};

/// How the page begins.
const HEAD: &str = "# Sections of machines, whole\n\nA row for each run in which every test of a section passed, those included that \
    an ordinary run leaves out.\nOne more: `cargo xtask test --long <section>`.\n\n\
    | date | commit | machines | section | tests | minutes |\n|---|---|---|---|---|---|\n";
/// What cargo says of a program of tests.
const PASSED: &str = "test result: ok. ";

/// Writes that a section passed, by what cargo printed of it.
pub(super) fn add(progress: &Progress, tools: &Tools, section: &str, printed: &str, took: Duration) -> Result<()> {
    let (date, commit, minutes) = (results::today()?, results::commit()?, took.as_secs().div_ceil(60));
    let row = format!("| {date} | {commit} | {:?} | {section} | {} | {minutes} |", tools.accel(), passed(printed));
    let file = results::add("sections", HEAD, &row)?;
    progress.say(&format!("written: {}", file.display()));
    Ok(())
}

fn passed(printed: &str) -> u32 {
    let count = |line: &str| line.strip_prefix(PASSED)?.split(' ').next()?.parse::<u32>().ok();
    printed.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_the_tests_of_all_programs() {
        let printed =
            "test a ... ok\ntest result: ok. 9 passed; 0 failed\nwords\ntest result: ok. 3 passed; 0 failed\n";
        assert_eq!(super::passed(printed), 12);
    }
}
