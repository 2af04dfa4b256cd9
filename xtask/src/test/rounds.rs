//! `test --long failures`: what fails in machines, again and again, with a row of results for each round.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use rocketos_tests::command::Run;
use rocketos_tests::{Progress, Tools, results};

/// How often each shape is booted beside the ordinary run.
const ROUNDS: u32 = 2;
/// Tests whose machines fail on purpose, in `tests/boot`.
const SHAPES: [&str; 5] = ["failing", "surroundings", "health", "loader", "scrub"];

/// Runs them, and writes what came of each round; `test` runs one by its name.
pub(super) fn run(progress: &Progress, tools: &Tools, test: impl Fn(&str) -> Run) -> Result<()> {
    let commit = results::commit()?;
    let head = format!(
        "# Releases and loaders that fail\n\nA row for each round in which every shape came back to a release at work: the seconds \
         that each test of `tests/boot` took.\nOne more round: `cargo xtask test --long failures`.\n\n\
         | date | commit | machines | {} |\n|---|---|---|{}\n",
        SHAPES.join(" | "),
        "---|".repeat(SHAPES.len())
    );
    for round in 1..=ROUNDS {
        let mut row = format!("| {} | {commit} | {:?} |", results::today()?, tools.accel());
        for shape in SHAPES {
            let began = Instant::now();
            progress.step(&format!("round {round}: {shape}"), || test(shape).attached())?;
            write!(row, " {} |", began.elapsed().as_secs())?;
        }
        let file = results::add("failures", &head, &row)?;
        progress.say(&format!("written: {}", file.display()));
    }
    Ok(())
}
