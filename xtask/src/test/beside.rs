//! Sections that run one after the other beside those of machines; what they print is shown when they have ended.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rocketos_tests::Progress;
use rocketos_tests::command::Run;

/// What came of a section.
pub(super) struct Ended {
    title: &'static str,
    took: Duration,
    printed: Result<(bool, String)>,
}

/// Runs sections up to the first that fails.
pub(super) fn run(sections: impl Iterator<Item = (&'static str, Run)>) -> Vec<Ended> {
    let mut all = Vec::new();
    for (title, run) in sections {
        let began = Instant::now();
        let printed = run.outcome().map(|(status, out, err)| (status.success(), format!("{err}{out}")));
        let well = matches!(printed, Ok((true, _)));
        all.push(Ended { title, took: began.elapsed(), printed });
        if !well {
            break;
        }
    }
    all
}

/// Shows what they printed; an error where one failed.
pub(super) fn tell(all: Vec<Ended>, progress: &Progress) -> Result<()> {
    for Ended { title, took, printed } in all {
        println!("\n== {title} (beside the machines)");
        let (well, text) = printed.with_context(|| format!("running: {title}"))?;
        print!("{text}");
        if !well {
            bail!("failed: {title}");
        }
        progress.took(title, took);
    }
    Ok(())
}
