//! Steps with durations: a spinner on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// The steps of one run, in the order they ended.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    done: RefCell<Vec<(String, Duration)>>,
    start: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Starts counting.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), done: RefCell::new(Vec::new()), start: Instant::now() }
    }

    /// Does one step, showing its name while it lasts and its duration when it ended.
    ///
    /// A step within a step is shown, and counted for both.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let spinner = self.terminal.then(|| spinner(name));
        if spinner.is_none() {
            eprintln!("   … {name}");
        }
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let mark = if outcome.is_ok() { "ok" } else { "FAILED" };
        eprintln!("{:>8.1} s  {mark:<6}  {name}", took.as_secs_f64());
        if outcome.is_ok() {
            self.done.borrow_mut().push((name.to_owned(), took));
        }
        outcome
    }

    /// Counts a step that was done elsewhere.
    pub fn took(&self, name: &str, time: Duration) {
        self.done.borrow_mut().push((name.to_owned(), time));
    }

    /// Says one thing on a line of its own.
    pub fn say(&self, text: &str) {
        eprintln!("   {text}");
    }

    /// Returns a table of the steps done and the time since the start.
    pub fn table(&self) -> String {
        let done = self.done.borrow();
        let total = ("total".to_owned(), self.start.elapsed());
        let rows = done.iter().chain(std::iter::once(&total));
        let width = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let rule = format!("{}  {}\n", "-".repeat(width), "-".repeat(9));
        let mut table = format!("{:<width$}  {:>9}\n{rule}", "step", "seconds");
        for (index, (name, took)) in rows.enumerate() {
            if index == done.len() {
                table.push_str(&rule);
            }
            table.push_str(&format!("{name:<width$}  {:>9.1}\n", took.as_secs_f64()));
        }
        table
    }
}

fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}
