//! The page of results: a row for each target, written when it has had its time, so that a run that is stopped, or goes on
//! on another machine, leaves out what is done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rocketos_tests::{command::Run, results};

use super::journal::Slice;

/// How old a row may be before its target is due again, as date(1) takes it.
const STALE: &str = "30 days ago";
const HEADING: &str = "# Fuzzing

What libFuzzer did to each target: overflow checks and debug assertions on, an input may take 5 s and all of them 512 MiB.
Coverage is its count of edges of the whole program, the corpus what it kept; findings are mended. A target is due again
after thirty days, or when its row is taken out: `cargo xtask test --long fuzz`.

| target | date | commit | CPU-minutes | executions | coverage | corpus | findings |
|---|---|---|---|---|---|---|---|
";
/// What stands above the findings.
const FOUND: &str = "\nWhat was found:\n\n";

/// The page, shared by those who fuzz.
#[derive(Debug)]
pub(super) struct Page {
    file: PathBuf,
    budget: Duration,
    today: String,
    stale: String,
    commit: String,
    text: Mutex<Text>,
}

/// What the page says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Text {
    rows: BTreeMap<String, Row>,
    found: Vec<String>,
}

/// What was done to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    date: String,
    minutes: String,
    /// All columns behind the target's.
    columns: String,
}

impl Page {
    /// Reads the page of this checkout, if there is one.
    pub(super) fn open(budget: Duration) -> Result<Self> {
        let file = results::kept("fuzz")?;
        let text = if file.exists() {
            Text::read(&fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?)
        } else {
            Text::default()
        };
        let stale = Run::new("date").args(["-u", "+%F", "-d", STALE]).output()?.trim().to_owned();
        let (commit, today) = (results::commit()?, results::today()?);
        Ok(Self { file, budget, today, stale, commit, text: Mutex::new(text) })
    }

    /// Whether a target has had its time not long ago.
    pub(super) fn has(&self, target: &str) -> bool {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.rows.get(target).is_some_and(|row| {
            let minutes: f64 = row.minutes.parse().unwrap_or(0.0);
            row.date > self.stale && minutes + 0.05 >= minutes_of(self.budget)
        })
    }

    /// Writes the row of a target that has had its time, with what was found on the way.
    pub(super) fn add(&self, target: &str, done: &Slice, found: &[String]) -> Result<()> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let Slice { cpu, executions, coverage, corpus, .. } = done;
        let minutes = format!("{:.1}", minutes_of(*cpu));
        let (date, commit, count) = (self.today.clone(), &self.commit, found.len());
        let columns = format!("{date} | {commit} | {minutes} | {executions} | {coverage} | {corpus} | {count}");
        text.rows.insert(target.to_owned(), Row { date, minutes, columns });
        text.found.extend(found.iter().cloned());
        fs::write(&self.file, text.write()?).with_context(|| format!("writing {}", self.file.display()))
    }
}

impl Text {
    fn read(page: &str) -> Self {
        let mut text = Self::default();
        for line in page.lines() {
            if let Some(found) = line.strip_prefix("* ") {
                text.found.push(found.to_owned());
            }
            let Some((target, columns)) =
                line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")?.split_once(" | "))
            else {
                continue;
            };
            if let [date, _, minutes, ..] = columns.split(" | ").collect::<Vec<_>>()[..]
                && date.starts_with("20")
            {
                let (date, minutes, columns) = (date.to_owned(), minutes.to_owned(), columns.to_owned());
                text.rows.insert(target.to_owned(), Row { date, minutes, columns });
            }
        }
        text
    }

    fn write(&self) -> Result<String> {
        let mut page = HEADING.to_owned();
        for (target, Row { columns, .. }) in &self.rows {
            writeln!(page, "| {target} | {columns} |")?;
        }
        if !self.found.is_empty() {
            page.push_str(FOUND);
            self.found.iter().try_for_each(|found| writeln!(page, "* {found}"))?;
        }
        Ok(page)
    }
}

fn minutes_of(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(folder: &tempfile::TempDir, text: Text) -> Page {
        Page {
            file: folder.path().join("fuzz.md"),
            budget: Duration::from_secs(1800),
            today: "2026-11-20".to_owned(),
            stale: "2026-10-21".to_owned(),
            commit: "abc".to_owned(),
            text: Mutex::new(text),
        }
    }

    #[test]
    fn what_is_written_is_read_and_counts_while_it_is_fresh() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let done = Slice { cpu: Duration::from_secs(1801), executions: 7, ..Slice::default() };
        let before = page(&folder, Text::default());
        assert!(!before.has("layer"));
        before.add("layer", &done, &["layer: it panicked".to_owned()])?;
        before.add("uki", &Slice { cpu: Duration::from_secs(60), ..done }, &[])?;
        let read = Text::read(&fs::read_to_string(&before.file)?);
        assert_eq!(read.found, ["layer: it panicked"]);
        let after = page(&folder, read);
        assert!(after.has("layer"));
        assert!(!after.has("uki"), "a minute is not half an hour");
        let later = Page { stale: "2026-11-20".to_owned(), ..after };
        assert!(!later.has("layer"), "thirty days ago");
        Ok(())
    }
}
