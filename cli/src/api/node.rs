//! What the API asks of a node, done by the engine of settings, by what was written down in /run, and by the updater: this process opens
//! neither the store nor the ESP, not even to look.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, OnceLock, TryLockError},
};

use anyhow::Context as _;
use rocketos_api::{
    Kind, Node, Problem,
    node::{Change, Hear, How, Started},
    wire::{Changed, HostImage, HostUnit, Locked, Past, Receipt, Running, Standing, Step, Terminal},
};
use rocketos_health::Report;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::exec;
use crate::{
    adapters::systemctl,
    configure,
    configure::{ConfigureError, Engine, Undo},
    exit, health, host_containers, report,
    updater::{self, Done, Unanswered},
};

/// The report that there is.
const BOOT: &str = "boot";
/// Where `status` says what runs.
const BOOTED: &str = "/status/booted/rocketos/deployment";
/// Where it says how host containers stand.
const CONTAINERS: &str = "/status/rocketos/hostContainers";
/// Where it says what was brought and is not activated.
const DOWNLOADED: &str = "/status/rocketos/downloaded";

/// This node. Its engine is opened when it is needed first: a machine without one still says how it is.
#[derive(Default)]
pub struct ThisNode {
    engine: OnceLock<Engine>,
}

impl ThisNode {
    /// One whose engine is open.
    pub(super) fn of(engine: Engine) -> Self {
        Self { engine: OnceLock::from(engine) }
    }

    fn engine(&self) -> Result<&Engine, Problem> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let opened = Engine::open().map_err(of_engine)?;
        Ok(self.engine.get_or_init(|| opened))
    }
}

impl Node for ThisNode {
    fn standing(&self) -> Result<Standing, Problem> {
        told(&self.engine()?.standing().map_err(of_engine)?)
    }

    fn history(&self) -> Result<Vec<Past>, Problem> {
        told(&self.engine()?.history().map_err(of_engine)?)
    }

    fn diff(&self, from: u64, to: u64) -> Result<Vec<Changed>, Problem> {
        told(&self.engine()?.diff(from, to).map_err(of_engine)?)
    }

    fn change(&self, change: &Change, how: &How) -> Result<Receipt, Problem> {
        let change = configure::Change {
            set: change.set.clone(),
            unset: change.unset.clone(),
            if_match: how.base,
            who: how.by.clone(),
            why: how.why.clone(),
            dry_run: how.dry_run,
        };
        told(&self.engine()?.change(&change).map_err(of_engine)?)
    }

    fn undo(&self, to: Option<u64>, how: &How) -> Result<Receipt, Problem> {
        let undo = Undo { to, if_match: how.base, who: how.by.clone(), dry_run: how.dry_run };
        told(&self.engine()?.undo(&undo).map_err(of_engine)?)
    }

    fn apply(&self, by: &str, dry_run: bool) -> Result<Receipt, Problem> {
        told(&self.engine()?.apply(by, dry_run).map_err(of_engine)?)
    }

    fn lock(&self, by: &str) -> Result<Locked, Problem> {
        told(&self.engine()?.lock(by).map_err(of_engine)?)
    }

    fn status(&self) -> Result<Value, Problem> {
        updated(&["status", "--json"], None)
    }

    fn health(&self) -> Result<Option<Report>, Problem> {
        Ok(health::newest())
    }

    fn report(&self, name: &str) -> Result<Option<Value>, Problem> {
        let boot = || -> anyhow::Result<Value> {
            serde_json::from_str(&report::boot(0)?.document()?).context("reading the numbers")
        };
        (name == BOOT).then(boot).transpose().map_err(of_error)
    }

    fn host_containers(&self) -> Result<Running, Problem> {
        match Node::status(self) {
            Ok(status) => running(&status),
            // Who looks into the store is not there, and settings are shown all the same.
            Err(problem) if problem.kind == Kind::NotYet => Ok(Running::default()),
            Err(problem) => Err(problem),
        }
    }

    fn logs(&self) -> Result<Vec<u8>, Problem> {
        static TAKING: Mutex<()> = Mutex::new(());
        let _turn = match TAKING.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Problem::new(Kind::Busy, "somebody else has a report taken: try again when it is done"));
            }
        };
        report::logs::take(self).map_err(of_error)
    }

    fn exec(
        &self,
        container: &str,
        command: &[String],
        terminal: Option<&Terminal>,
        by: &str,
    ) -> Result<Started, Problem> {
        exec::start(&self.engine()?.settings().map_err(of_engine)?, container, command, terminal, by)
    }

    fn update(&self, step: Step, hear: Hear<'_>) -> Result<Value, Problem> {
        match step {
            Step::Refresh => updated(&["upgrade", "--check", "--json"], Some(hear)),
            Step::Prepare => updated(&["upgrade", "--download-only", "--json"], Some(hear)),
            Step::Activate => updated(activation(&self.status()?)?, Some(hear)),
            Step::Deactivate => {
                let status = self.status()?;
                let booted = status.pointer(BOOTED).and_then(Value::as_str);
                let booted = booted.ok_or_else(|| Problem::new(Kind::NothingToDo, "what runs is no deployment"))?;
                updated(&["rollback", "--to", booted, "--json"], None)
            }
            Step::Reboot => {
                systemctl::reboot().map_err(of_error)?;
                Ok(json!({ "rebooting": true }))
            }
        }
    }

    fn rollback(&self, to: Option<&str>) -> Result<Value, Problem> {
        let to = way_back(to, &self.status()?)?;
        let to = to.iter().flat_map(|to| ["--to", to]);
        updated(&["rollback", "--json"].into_iter().chain(to).collect::<Vec<_>>(), None)
    }

    fn generation(&self) -> Result<u64, Problem> {
        Ok(self.standing()?.generation)
    }
}

impl report::logs::Sources for ThisNode {
    fn hidden(&self) -> anyhow::Result<BTreeSet<String>> {
        Ok(self.engine()?.hidden()?)
    }

    fn documents(&self) -> Vec<(&'static str, anyhow::Result<Option<Value>>)> {
        let some = |asked: Result<Value, Problem>| asked.map(Some).map_err(anyhow::Error::from);
        let standing = Node::standing(self).and_then(|standing| told(&standing));
        let receipts = Node::standing(self).map(|standing| json!({ "boot": standing.boot, "last": standing.receipt }));
        let checks = Node::health(self).and_then(|report| report.map(|report| told(&report)).transpose());
        vec![
            ("status", some(Node::status(self))),
            // Every key with who set it, and no secret.
            ("settings", some(standing)),
            ("receipts", some(receipts)),
            ("health", checks.map_err(anyhow::Error::from)),
            (BOOT, Node::report(self, BOOT).map_err(anyhow::Error::from)),
        ]
    }

    fn root(&self) -> &Path {
        Path::new("/")
    }
}

/// How host containers stand, by what status says.
fn running(status: &Value) -> Result<Running, Problem> {
    let stand: Vec<host_containers::Standing> = told(status.pointer(CONTAINERS).unwrap_or(&json!([])))?;
    let stands = |container: host_containers::Standing| {
        let image = container.image.map(|kept| HostImage {
            reference: kept.image.to_string(),
            manifest_digest: kept.image_digest.to_string(),
            composefs_digest: kept.composefs_digest.to_string(),
        });
        let unit = container.unit.map(|unit| {
            let host_containers::Unit { state, result, since, restarts } = unit;
            HostUnit { state, result, since, restarts }
        });
        (container.name, (image, unit))
    };
    Ok(stand.into_iter().map(stands).collect())
}

/// How what was brought comes to boot.
fn activation(status: &Value) -> Result<&'static [&'static str], Problem> {
    match status.pointer(DOWNLOADED).is_some_and(Value::is_string) {
        true => Ok(&["upgrade", "--from-downloaded", "--json"]),
        false => Err(Problem::new(Kind::NothingToDo, "nothing was brought that could boot: prepare first")),
    }
}

/// To which deployment, whole, to go back; none for the one before.
fn way_back(to: Option<&str>, status: &Value) -> Result<Option<String>, Problem> {
    let role = |name: &str| status.pointer(&format!("/status/{name}")).filter(|role| role.is_object());
    let Some(to) = to else {
        return match role("rollback").or_else(|| role("staged")) {
            Some(_) => Ok(None),
            None => Err(Problem::new(Kind::NothingToDo, "there is no deployment to go back to")),
        };
    };
    let others = status.pointer("/status/otherDeployments").and_then(Value::as_array).into_iter().flatten();
    let all = ["booted", "staged", "rollback"].into_iter().filter_map(role).chain(others);
    let ids = all.filter_map(|role| role.pointer("/rocketos/deployment")?.as_str());
    let found: Vec<&str> = ids.filter(|id| id.starts_with(&to.to_ascii_lowercase())).collect();
    match found.as_slice() {
        [one] => Ok(Some((*one).to_owned())),
        [] => Err(Problem::new(Kind::NotFound, format!("there is no deployment '{to}'; /v1/status has them"))),
        more => Err(Problem::new(Kind::Malformed, format!("{} deployments begin with '{to}'", more.len()))),
    }
}

/// Has the updater do a verb, and reads the document that it prints.
fn updated(arguments: &[&str], hear: Option<Hear<'_>>) -> Result<Value, Problem> {
    let pass = |event| {
        if let Some(hear) = hear {
            hear(event);
        }
    };
    let done = updater::have_done(arguments, hear.is_some().then_some(&pass));
    let done = done.map_err(|error| match error {
        Unanswered::Nobody => Problem::new(Kind::NotYet, error.to_string()),
        Unanswered::Failed(error) => of_error(error),
    })?;
    came_to(&done)
}

/// What a verb came to: its document, or what its exit code means.
fn came_to(done: &Done) -> Result<Value, Problem> {
    if done.code == 0 {
        return serde_json::from_str(&done.out)
            .map_err(|error| Problem::new(Kind::Failed, format!("what the updater said is no document: {error}")));
    }
    let said = done.err.trim().trim_start_matches("rocketctl: ");
    let detail = if said.is_empty() { format!("the updater ended with {}", done.code) } else { said.to_owned() };
    Err(Problem::new(exit::kind(done.code), detail))
}

/// A document of the engine's as the API has it: both are of one form, which a test holds together.
fn told<T: DeserializeOwned>(document: &impl Serialize) -> Result<T, Problem> {
    let read = serde_json::to_value(document).and_then(serde_json::from_value);
    read.map_err(|error| Problem::new(Kind::Failed, format!("writing the answer: {error}")))
}

fn of_error(error: anyhow::Error) -> Problem {
    Problem::new(exit::kind_of(&error), exit::chain(&error))
}

fn of_engine(error: ConfigureError) -> Problem {
    use configure::{Kind as Of, Outcome};
    let kind = match (error.kind(), error.receipt()) {
        (_, Some(receipt)) if receipt.outcome == Outcome::Failed => Kind::NotPutBack,
        (Of::Invalid | Of::Refused, _) => Kind::Invalid,
        (Of::Stale, _) => Kind::Stale,
        (Of::NoSuch, _) => Kind::NotFound,
        (Of::Locked, _) => Kind::Locked,
        (Of::Failed, _) => Kind::NotApplied,
        (Of::Full, _) => Kind::Full,
        (Of::System, _) => Kind::Failed,
    };
    let receipt = error.receipt().and_then(|receipt| told::<Receipt>(receipt).ok()).map(Box::new);
    match error {
        ConfigureError::Invalid(problems) => Problem::invalid(&problems),
        ConfigureError::Value(error) => error.into(),
        ConfigureError::Store(error) => error.into(),
        error => Problem { receipt, ..Problem::new(kind, exit::causes(&error)) },
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
