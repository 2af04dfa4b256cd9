//! `test --long failures`: what fails in machines, again and again, with a row of results for each round.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use rocketos_tests::command::Run;
use rocketos_tests::{Progress, Tools, results};

/// How often each shape is booted beside the ordinary run.
const ROUNDS: u32 = 2;
/// Tests whose machines fail on purpose, in `tests/boot`.
const SHAPES: [&str; 5] = ["failing", "surroundings", "health", "loader", "scrub"];

/// Runs them, and writes what came of each round; `test` runs one by its name.
pub(super) fn run(progress: &Progress, tools: &Tools, test: impl Fn(&str) -> Run) -> Result<()> {
    let file = page()?;
    let said = |program: &str, words: &[&str]| {
        Ok::<_, anyhow::Error>(Run::new(program).args(words).output()?.trim().to_owned())
    };
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    for round in 1..=ROUNDS {
        let mut row = format!("| {} | {commit} | {:?} |", said("date", &["-u", "+%F"])?, tools.accel());
        for shape in SHAPES {
            let began = Instant::now();
            progress.step(&format!("round {round}: {shape}"), || test(shape).attached())?;
            write!(row, " {} |", began.elapsed().as_secs())?;
        }
        let written = File::options().append(true).open(&file).and_then(|mut page| writeln!(page, "{row}"));
        written.with_context(|| format!("writing {}", file.display()))?;
        progress.say(&format!("written: {}", file.display()));
    }
    Ok(())
}

/// The page of results, which one run after the other adds to.
fn page() -> Result<PathBuf> {
    let file = results::kept("failures")?;
    if !file.exists() {
        let text = format!(
            "# Releases and loaders that fail\n\nA row for each round in which every shape came back to a release at work: the seconds \
             that each test of `tests/boot` took.\nOne more round: `cargo xtask test --long failures`.\n\n\
             | date | commit | machines | {} |\n|---|---|---|{}\n",
            SHAPES.join(" | "),
            "---|".repeat(SHAPES.len())
        );
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(file)
}
