//! Bootstrap containers: units that are started together, and waited for until each ended.

use std::{
    thread,
    time::{Duration, Instant},
};

use rocketos_settings::{
    bootstrap::Task,
    render::{bootstrap_image, bootstrap_unit},
};

use crate::{
    adapters::{
        journalctl,
        systemctl::{self, Ended, Run},
    },
    configure::{Ending, Ran},
    exit,
};

/// Lines of a unit's journal in a receipt.
const LINES: usize = 12;

/// What is done with units.
pub(super) trait Units {
    /// Has them started together, and does not wait.
    fn start(&self, units: &[String]) -> Result<(), String>;
    /// How each of them stands.
    fn runs(&self, units: &[String]) -> Result<Vec<Run>, String>;
    /// Has them stopped, and what they stand on taken away.
    fn stop(&self, units: &[String]) -> Result<(), String>;
    /// The last lines that one said.
    fn last(&self, unit: &str) -> String;
}

/// systemd.
pub(super) struct Systemd;

impl Systemd {
    fn have(verb: &[&str], units: &[String]) -> Result<(), String> {
        let arguments: Vec<&str> = verb.iter().copied().chain(units.iter().map(String::as_str)).collect();
        systemctl::have(&arguments).map_err(|error| exit::chain(&error))?
    }
}

impl Units for Systemd {
    fn start(&self, units: &[String]) -> Result<(), String> {
        // How often they failed before does not count; one that never failed has nothing to forget.
        let _ = Self::have(&["reset-failed", "--"], units);
        Self::have(&["start", "--no-block", "--"], units)
    }

    fn runs(&self, units: &[String]) -> Result<Vec<Run>, String> {
        systemctl::runs(units).map_err(|error| exit::chain(&error))
    }

    fn stop(&self, units: &[String]) -> Result<(), String> {
        Self::have(&["stop", "--"], units)
    }

    fn last(&self, unit: &str) -> String {
        // What cannot be read was said to nobody.
        journalctl::last(unit, LINES).unwrap_or_default()
    }
}

/// Runs containers side by side, and hands on what came of each when it ended.
pub(super) fn run(
    units: &dyn Units,
    tasks: &[Task],
    patience: Duration,
    look: Duration,
    mut ended: impl FnMut(&Task, Ran),
) {
    let began = Instant::now();
    let mut open: Vec<&Task> = tasks.iter().collect();
    let names = |tasks: &[&Task]| tasks.iter().map(|task| bootstrap_unit(&task.name)).collect::<Vec<_>>();
    // What was not started is seen to have ended.
    let mut complaint = if open.is_empty() { None } else { units.start(&names(&open)).err() };
    while !open.is_empty() {
        let runs = units.runs(&names(&open));
        if let Err(said) = &runs {
            complaint = Some(said.clone());
        }
        let late = began.elapsed() >= patience;
        let mut still = Vec::new();
        // Where systemd did not answer nobody has ended.
        for (task, run) in open.iter().zip(runs.unwrap_or_else(|_| vec![running(); open.len()])) {
            let ran = match (came(task, &run), late) {
                (Some(ran), _) => ran,
                (None, false) => {
                    still.push(*task);
                    continue;
                }
                (None, true) => failed(task, format!("it had not ended after {} s", patience.as_secs())),
            };
            ended(task, finish(units, task, ran, complaint.as_deref()));
        }
        open = still;
        if !open.is_empty() {
            thread::sleep(look);
        }
    }
}

/// A unit of which nothing else is known.
fn running() -> Run {
    Run { has_job: true, ..Run::default() }
}

fn failed(task: &Task, why: String) -> Ran {
    Ran { why, ..Ran::of(task, Ending::Failed) }
}

/// What came of one; none where it has not ended.
fn came(task: &Task, run: &Run) -> Option<Ran> {
    let exit = match run.ended {
        Some(Ended::With(code)) => Some(code),
        _ => None,
    };
    let milliseconds = u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX);
    let ran = |ran: Ran| Some(Ran { exit, milliseconds, ..ran });
    match (run.state.active.as_str(), run.has_job) {
        ("activating" | "deactivating" | "reloading", _) | (_, true) => None,
        ("active", false) => ran(Ran::of(task, Ending::Done)),
        ("failed", false) => ran(failed(
            task,
            match run.ended {
                Some(Ended::With(code)) if run.state.result == "exit-code" => format!("it ended with {code}"),
                Some(Ended::By(signal)) if run.state.result == "signal" => format!("it was ended by signal {signal}"),
                _ => format!("systemd says {}", run.state.result),
            },
        )),
        _ if run.state.load != "loaded" => ran(failed(task, format!("its unit is {}", run.state.load))),
        // It was asked for, and what it needs did not come.
        _ => ran(failed(task, format!("it was not started: {} says why", bootstrap_image(&task.name)))),
    }
}

/// Takes away what it ran on, and adds what it said.
fn finish(units: &dyn Units, task: &Task, ran: Ran, complaint: Option<&str>) -> Ran {
    let (unit, image) = (bootstrap_unit(&task.name), bootstrap_image(&task.name));
    let said = |ran: &Ran| match units.last(&unit) {
        words if words.is_empty() && ran.outcome == Ending::Failed => units.last(&image),
        words => words,
    };
    let mut said = said(&ran);
    if let Some(complaint) = complaint.filter(|_| ran.outcome == Ending::Failed && said.is_empty()) {
        complaint.clone_into(&mut said);
    }
    // What does not go is gone with the boot.
    if let Err(error) = units.stop(&[unit.clone(), image]) {
        eprintln!("stopping {unit}: {error}");
    }
    Ran { said, ..ran }
}
