//! What is done once settings are in place, and before the node counts as configured: calls of the API, one after the other, then
//! containers, side by side.
//!
//! ```text
//! commands as they are now -> in the order of their names, each until a call fails
//! containers as they are then -> the units of all that are due started -> each waited for, stopped, and remembered where it succeeded
//! -> what came of all of it, in the boot's receipt
//! ```
//!
//! `rocketos-bootstrap.service` asks for it, in the domain of settings, at boots at which something is due. It fails no boot by itself:
//! what is essential makes the boot's receipt fail, which a required health check reads. What it does not come to is told there, too.

mod containers;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use chrono::Utc;
use rocketos_api::Inside;
use rocketos_model::layout;
use rocketos_settings::{
    Settings,
    bootstrap::{self, Call, Kind, Memory, Task},
    model::value::Word,
};
use tokio::runtime::Runtime;

use self::containers::{Systemd, Units};
use crate::{
    api,
    configure::{ConfigureError, Ending, Engine, Ran},
    exit, journal,
    pull::runtime,
};

/// How long all containers together may take: less than a boot has until it is given up (`health.toml`, `deadline`).
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(250);

/// Does what settings of this node ask for.
///
/// # Errors
/// When what settings say cannot be read, or what came of it not be written down.
pub fn run() -> anyhow::Result<()> {
    let open = || match Engine::open() {
        // Nothing can be stored: nothing was asked for.
        Err(ConfigureError::NoDeployment) => Ok(None),
        other => other.map(Some),
    };
    let (Some(engine), Some(asked)) = (open()?, open()?) else { return Ok(()) };
    let calls = Calls { inside: api::inside(asked, Path::new(layout::node::TRANSACTIONS)), runtime: runtime()? };
    let ran = Bootstrap { engine: &engine, calls: &calls, units: &Systemd, patience: PATIENCE, look: LOOK }.run()?;
    for one in &ran {
        tell(one);
    }
    Ok(())
}

fn tell(ran: &Ran) {
    match ran.failure() {
        Some(text) => {
            eprintln!("{text}");
            journal::say_loudly(journal::BOOTSTRAP_FAILED, &text, &[]);
        }
        None if ran.outcome == Ending::DoneBefore => println!("{} was done {}", ran.key(), ran.why),
        None => println!("{} is done ({} ms) {}", ran.key(), ran.milliseconds, ran.why),
    }
}

/// The API, without its socket.
struct Calls {
    inside: Inside,
    runtime: Runtime,
}

impl Calls {
    /// Makes a call; who history names, and what went wrong.
    fn make(&self, by: &str, call: &Call) -> Result<(), String> {
        let Call { method, path, body } = call;
        let done = self.runtime.block_on(self.inside.ask(by, method, path, body.as_ref()));
        done.map(drop).map_err(|problem| format!("{method} {path}: {}", exit::causes(&problem)))
    }
}

/// What is done, by whom.
struct Bootstrap<'a> {
    engine: &'a Engine,
    calls: &'a Calls,
    units: &'a dyn Units,
    patience: Duration,
    look: Duration,
}

impl Bootstrap<'_> {
    /// Does it, and writes down what came of it.
    fn run(&self) -> anyhow::Result<Vec<Ran>> {
        let settings = self.engine.settings()?;
        let (mut memory, notes) = self.engine.remembered();
        notes.iter().for_each(|note| eprintln!("{note}"));
        memory.retain(|kind, name| names(&settings, kind, name));
        let mut ran = Vec::new();
        // As they are now. What calls make of lists of calls is done at the next boot: so there is an end to it.
        for (task, commands) in bootstrap::commands(&settings) {
            let mut one = match before(&task, &memory) {
                Some(before) => before,
                None => self.commands(&task, &commands),
            };
            self.keep(&task, &mut one, &mut memory);
            ran.push(one);
        }
        // What calls make of containers is done at once.
        let tasks = bootstrap::containers(&self.engine.settings()?);
        let (due, others): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(|task| task.is_due(&memory));
        ran.extend(others.iter().filter_map(|task| before(task, &memory)));
        containers::run(self.units, &due, self.patience, self.look, |task, mut one| {
            self.keep(task, &mut one, &mut memory);
            ran.push(one);
        });
        ran.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        self.engine.bootstrapped(&ran)?;
        Ok(ran)
    }

    /// Makes calls until one fails.
    fn commands(&self, task: &Task, commands: &[Vec<Word>]) -> Ran {
        let (began, by) = (Instant::now(), format!("bootstrap-commands.{}", task.name));
        let failed = commands.iter().enumerate().find_map(|(at, words)| {
            // Settings in force are sound, and so is each of them.
            let done = Call::parse(words).and_then(|call| self.calls.make(&by, &call));
            done.err().map(|why| format!("command {}: {why}", at + 1))
        });
        let outcome = if failed.is_some() { Ending::Failed } else { Ending::Done };
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ran { why: failed.unwrap_or_default(), milliseconds, ..Ran::of(task, outcome) }
    }

    /// Remembers what succeeded, where it is not done at each boot.
    fn keep(&self, task: &Task, ran: &mut Ran, memory: &mut Memory) {
        if task.always || ran.outcome != Ending::Done {
            return;
        }
        memory.mark(task, Utc::now());
        if let Err(error) = self.engine.remember(memory) {
            ran.why = format!("this could not be remembered, and it is done again: {}", exit::causes(&error));
        }
    }
}

/// What was done at an earlier boot, and is not due.
fn before(task: &Task, memory: &Memory) -> Option<Ran> {
    let at = memory.when(task).filter(|_| !task.is_due(memory))?;
    Some(Ran { why: format!("at {at}"), ..Ran::of(task, Ending::DoneBefore) })
}

/// Whether settings have something of this name.
fn names(settings: &Settings, kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Commands => settings.bootstrap_commands.keys().any(|there| there.as_str() == name),
        Kind::Container => settings.bootstrap_containers.keys().any(|there| there.as_str() == name),
    }
}

#[cfg(test)]
mod tests;
