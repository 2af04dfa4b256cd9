//! Sections that run one after the other beside those of machines; what they print is shown when they have ended.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rocketos_tests::Progress;
use rocketos_tests::command::Run;

use super::causes;

/// What came of a section.
pub(super) struct Ended {
    title: &'static str,
    took: Duration,
    outcome: Result<Outcome>,
}

struct Outcome {
    well: bool,
    out: String,
    err: String,
}

/// Runs sections up to the first that fails.
pub(super) fn run(sections: impl Iterator<Item = (&'static str, Run)>) -> Vec<Ended> {
    let mut all = Vec::new();
    for (title, run) in sections {
        let began = Instant::now();
        let outcome = run.outcome().map(|(status, out, err)| Outcome { well: status.success(), out, err });
        let well = matches!(outcome, Ok(Outcome { well: true, .. }));
        all.push(Ended { title, took: began.elapsed(), outcome });
        if !well {
            break;
        }
    }
    all
}

/// Shows what they printed; an error where one failed.
pub(super) fn tell(all: Vec<Ended>, progress: &Progress) -> Result<()> {
    for Ended { title, took, outcome } in all {
        println!("\n== {title} (beside the machines)");
        let Outcome { well, out, err } = outcome.with_context(|| format!("running: {title}"))?;
        print!("{err}{out}");
        if !well {
            bail!("failed: {title}\n{}", causes::of(&err));
        }
        progress.took(title, took);
    }
    Ok(())
}
