//! `selinux`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Context as _;
use rocketos_denial::{Denial, Policy, explain};
use serde_json::{Value, json};

use crate::adapters::journalctl;
use crate::args::{Explain, Selinux};

/// Denials that differ; more of them are a flood, which the first ones explain.
const KINDS: usize = 1000;

/// Says it.
pub fn run(Selinux::Explain(Explain { log, boot, json }): &Selinux) -> anyhow::Result<()> {
    let policy = Policy::of_image().context("reading the policy's words")?;
    let mut denials = BTreeMap::new();
    let mut take = |line: &str| {
        if let Some(denial) = Denial::parse(line)
            && (denials.len() < KINDS || denials.contains_key(&denial))
        {
            *denials.entry(denial).or_insert(0_u64) += 1;
        }
    };
    match log {
        Some(file) => lines(file)?.try_for_each(|line| line.map(|line| take(&line))).context("reading the log")?,
        None => journalctl::of_boot(*boot, &["MESSAGE"], |entry| {
            let entry: Value = serde_json::from_str(entry).unwrap_or_default();
            take(entry["MESSAGE"].as_str().unwrap_or_default());
            ControlFlow::Continue(())
        })?,
    }
    let explained = denials.iter().map(|(denial, times)| (denial, times, explain(&policy, denial)));
    if *json {
        let all: Vec<Value> = explained
            .map(|(denial, times, explanation)| json!({ "times": times, "denial": denial, "explanation": explanation }))
            .collect();
        println!("{}", json!(all));
        return Ok(());
    }
    if denials.is_empty() {
        println!("SELinux refused nothing.");
    }
    explained.for_each(|(_, times, explanation)| println!("{times} times: {explanation}"));
    Ok(())
}

/// The lines of a file, or of standard input; what is not UTF-8 in them is replaced.
fn lines(file: &Path) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>>> {
    let from: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("opening {}", file.display()))?))
    };
    Ok(from.split(b'\n').map(|line| line.map(|line| String::from_utf8_lossy(&line).into_owned())))
}
