//! Replays a recording by hand: `replay <disk before, raw> <log> <states> <name>=<first request>..<request behind the last>…`.

use std::error::Error;
use std::path::Path;

use rocketos_replay::disk::Recording;
use rocketos_replay::log::Log;
use rocketos_replay::oracle::Oracle;
use rocketos_replay::replay::{Fallback, Operation, judge, learn};

/// Violations shown of an operation.
const SHOWN: usize = 5;
/// Where chance begins.
const SEED: u64 = 1;

fn operation(text: &str) -> Option<Operation> {
    let (name, range) = text.split_once('=')?;
    let (start, end) = range.split_once("..")?;
    let entries = start.parse().ok()?..end.parse().ok()?;
    Some(Operation { name: name.to_owned(), returned: entries.end, entries, fallback: Fallback::Never })
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [base, log, count, rest @ ..] = words.as_slice() else {
        return Err("usage: replay <disk before, raw> <log> <states> <name>=<first>..<behind the last>…".into());
    };
    let log = Log::open(Path::new(log))?;
    let operations: Vec<Operation> = rest.iter().filter_map(|text| operation(text)).collect();
    if operations.len() != rest.len() || operations.iter().any(|operation| operation.entries.end > log.entries.len()) {
        return Err(
            format!("an operation is <name>=<first>..<behind the last>, of {} requests", log.entries.len()).into()
        );
    }
    let recording = Recording::new(Path::new(base), log)?;
    let mut oracle = Oracle::new();
    let ends = learn(&recording, &mut oracle, &operations)?;
    for (operation, ends) in operations.iter().zip(&ends) {
        let outcome = judge(&recording, &mut oracle, operation, ends, count.parse()?, SEED)?;
        let (states, wrong, torn) = (outcome.states, outcome.violations.len(), outcome.torn_superblocks);
        println!("{}: {states} states, {wrong} violations; {torn} torn superblocks", operation.name);
        for violation in outcome.violations.iter().take(SHOWN) {
            println!("  {}: {}", violation.state, violation.what);
        }
    }
    Ok(())
}
