//! `test --long failures`: what fails in machines, again and again.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use rocketos_tests::command::Run;
use rocketos_tests::{Progress, Tools, results};

/// How often each shape is booted beside the ordinary run.
const ROUNDS: u32 = 2;
/// Tests whose machines fail on purpose, in `tests/boot`.
const SHAPES: [&str; 5] = ["failing", "surroundings", "health", "loader", "scrub"];

/// Runs them, then writes the result; `test` runs one by its name.
pub(super) fn run(progress: &Progress, tools: &Tools, test: impl Fn(&str) -> Run) -> Result<()> {
    let mut text = format!(
        "Seconds that each test took, its machines run with {:?}; \
         what each does is said in `tests/boot`.\n\n| round | {} |\n|---|{}\n",
        tools.accel(),
        SHAPES.join(" | "),
        "---|".repeat(SHAPES.len())
    );
    for round in 1..=ROUNDS {
        write!(text, "| {round} |")?;
        for shape in SHAPES {
            let began = Instant::now();
            progress.step(&format!("round {round}: {shape}"), || test(shape).attached())?;
            write!(text, " {} |", began.elapsed().as_secs())?;
        }
        text.push('\n');
    }
    let file = results::write("failures", "Releases and loaders that fail", &text)?;
    progress.say(&format!("written: {}", file.display()));
    Ok(())
}
