//! A release on trial, and leaving it.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rocketos_deploy::{
    DeployError, Deployment, Failure, Lock, Lost, Node, Roles, Verdict, lost, roles, rollback, withdraw,
};
use rocketos_model::{DeploymentId, ManifestDigest};

use super::Unhealthy;
use crate::{adapters::systemctl, channel::date, exit, journal};

/// How long another rocketctl is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(500);
/// How long the reason stands on the console before the machine reboots.
const PAUSE: Duration = Duration::from_secs(5);
/// Where people look first.
const CONSOLE: &str = "/dev/console";

/// What is on trial.
#[derive(Debug, Clone)]
pub struct Trial {
    pub id: DeploymentId,
    pub digest: ManifestDigest,
    /// True once it was found to fail.
    pub failed: bool,
}

impl Trial {
    /// What runs, unless it is good already.
    pub fn of_this_boot() -> anyhow::Result<Option<Self>> {
        let node = Node::running()?;
        let Some(booted) = roles(&node)?.booted.filter(|booted| !booted.is_good()) else { return Ok(None) };
        let digest = booted.origin.manifest_digest;
        let failed = node.failures()?.iter().any(|failure| failure.manifest_digest == digest);
        Ok(Some(Self { id: booted.id, digest, failed }))
    }
}

/// The node and its lock; whoever has it is waited for.
pub fn locked(verb: &str) -> anyhow::Result<(Node, Lock)> {
    let began = Instant::now();
    loop {
        match Node::locked(verb) {
            Err(DeployError::Locked(_)) if began.elapsed() < PATIENCE => thread::sleep(LOOK),
            other => return Ok(other?),
        }
    }
}

/// Remembers why releases that were to boot are not there: nobody was left to say it.
pub fn remember_what_never_came_up() -> anyhow::Result<()> {
    let node = Node::running()?;
    let known = node.failures()?;
    let unknown =
        |lost: &Lost| !known.iter().any(|failure| failure.manifest_digest == lost.deployment.origin.manifest_digest);
    let new: Vec<Lost> = lost(&node)?.into_iter().filter(unknown).collect();
    drop(node);
    if new.is_empty() {
        return Ok(());
    }
    let (node, _lock) = locked("remembering a failure")?;
    for Lost { deployment, reason, passed_over } in new {
        record(&node, &deployment, &reason)?;
        if passed_over {
            // It would be said to boot next for ever.
            withdraw(&node, &deployment)?;
        }
    }
    Ok(())
}

fn record(node: &Node, deployment: &Deployment, reason: &str) -> anyhow::Result<()> {
    let (when, origin) = (date(chrono::Utc::now()), &deployment.origin);
    let failure = Failure {
        manifest_digest: origin.manifest_digest,
        version: origin.version.clone(),
        when: when.clone(),
        reason: reason.to_owned(),
    };
    let name = origin.version.as_deref().unwrap_or("without a version");
    let text = format!("Release {name} (deployment {}) failed: {reason}.", deployment.id);
    say(journal::RELEASE_FAILED, &text, &deployment.id);
    node.record_failure(&failure)?;
    let verdict = Verdict { good: false, when, reason: Some(reason.to_owned()) };
    Ok(node.keep_verdict(&deployment.id, &verdict)?)
}

/// Says it where everybody looks.
fn say(id: &str, text: &str, deployment: &DeploymentId) {
    eprintln!("{text}");
    journal::say_loudly(id, text, &[("ROCKETOS_DEPLOYMENT", &deployment.to_string())]);
    // A machine without a console has its journal.
    if let Ok(mut console) = std::fs::File::options().write(true).open(CONSOLE) {
        let _ = writeln!(console, "\nrocketctl: {text}");
    }
}

/// The other deployment that is good and did not fail later.
fn way_back(node: &Node, current: &Roles) -> Vec<Deployment> {
    // Where the memory cannot be read, a release that once proved itself is better than one that does not do its work.
    let failed = node.failures().unwrap_or_else(|error| {
        eprintln!("rocketctl: {}", exit::chain(&error.into()));
        Vec::new()
    });
    let sound = |deployment: &&Deployment| {
        deployment.is_good()
            && !failed.iter().any(|failure| failure.manifest_digest == deployment.origin.manifest_digest)
    };
    current.rollback.iter().chain(&current.others).filter(sound).cloned().collect()
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Another deployment boots next.
    For(DeploymentId),
    /// There is none that could; what runs stays.
    Nowhere(DeploymentId),
    /// What runs proved itself before, and stays.
    Not(DeploymentId),
}

/// What runs does not do its work, for this reason: on trial it is left for the deployment before.
fn leave(node: &Node, reason: &str) -> anyhow::Result<Leaving> {
    let current = roles(node)?;
    let booted = current.booted.as_ref().context("the loader did not say what it booted")?;
    if booted.is_good() {
        return Ok(Leaving::Not(booted.id));
    }
    // A full disk is no reason to stay.
    if let Err(error) = record(node, booted, reason) {
        eprintln!("rocketctl: {}", exit::chain(&error));
    }
    for target in way_back(node, &current) {
        match rollback(node, Some(&target.id)) {
            Ok(_) => return Ok(Leaving::For(target.id)),
            // It lost its kernel; there may be another.
            Err(error) => eprintln!("rocketctl: {error}"),
        }
    }
    Ok(Leaving::Nowhere(booted.id))
}

/// What runs does not do its work, for this reason. On trial it is left for the deployment before, at once; otherwise,
/// and where there is none to go to, it stays, and that is said.
///
/// # Errors
/// [`Unhealthy`], unless the machine reboots.
pub fn fail(reason: &str) -> anyhow::Result<()> {
    let (node, lock) = locked("leaving a release")?;
    match leave(&node, reason)? {
        Leaving::For(id) => {
            say(journal::ROLLED_BACK, &format!("Back to deployment {id}."), &id);
            node.flush()?;
            drop((node, lock));
            thread::sleep(PAUSE);
            return systemctl::reboot_surely();
        }
        Leaving::Nowhere(id) => {
            let text = format!("There is no deployment to go back to; {id} keeps running as it is.");
            say(journal::NO_WAY_BACK, &text, &id);
        }
        Leaving::Not(id) => {
            let text = format!("Deployment {id}, which proved itself before, does not do its work: {reason}.");
            say(journal::UNHEALTHY, &text, &id);
        }
    }
    Err(Unhealthy(reason.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use rocketos_deploy::Activation;

    use super::*;
    use crate::machine::{
        Machine,
        made::{Release, release},
    };

    const FROM: &str = "docker://registry.example/os:stable";

    /// `new` runs, on trial, and came after `old`.
    fn on_trial(new: &Release, old: &[&Release]) -> Machine {
        let all: Vec<_> = old.iter().map(|release| (*release, FROM)).collect();
        let mut machine = Machine::new(&all);
        machine.stage(new, FROM, Activation::Tried);
        machine.node.booted.as_mut().unwrap().deployment = Some(new.id());
        machine
    }

    fn failures(machine: &Machine) -> Vec<String> {
        machine.node.failures().unwrap().into_iter().map(|failure| failure.reason).collect()
    }

    #[test]
    fn a_release_on_trial_gives_way_to_the_one_before() {
        let [new, old] = ["new", "old"].map(release);
        let machine = on_trial(&new, &[&old]);
        assert_eq!(leave(&machine.node, "it is slow").unwrap(), Leaving::For(old.id()));
        assert_eq!((machine.next(), failures(&machine)), (old.id(), vec!["it is slow".to_owned()]));
        assert!(!machine.node.verdict(&new.id()).unwrap().unwrap().good);
    }

    #[test]
    fn one_that_lost_its_kernel_is_passed_over() {
        let [new, old, older] = ["new", "old", "older"].map(release);
        let machine = on_trial(&new, &[&old, &older]);
        machine.node.esp.remove_uki(&old.id()).unwrap();
        assert_eq!(leave(&machine.node, "a").unwrap(), Leaving::For(older.id()));
        assert_eq!(machine.next(), older.id());
    }

    #[test]
    fn nothing_reboots_where_nothing_is_better() {
        let [new, old] = ["new", "old"].map(release);
        // The one before failed as well, later.
        let machine = on_trial(&new, &[&old]);
        let other = roles(&machine.node).unwrap().rollback.unwrap();
        record(&machine.node, &other, "b").unwrap();
        let order = machine.node.esp.entries().unwrap();
        assert_eq!(leave(&machine.node, "a").unwrap(), Leaving::Nowhere(new.id()));
        assert_eq!(machine.node.esp.entries().unwrap(), order);
        // And what proved itself is no release on trial.
        let machine = Machine::new(&[(&new, FROM), (&old, FROM)]);
        let order = machine.node.esp.entries().unwrap();
        assert_eq!(leave(&machine.node, "a").unwrap(), Leaving::Not(new.id()));
        assert_eq!((machine.node.esp.entries().unwrap(), failures(&machine)), (order, Vec::new()));
    }

    #[test]
    fn a_disk_without_room_for_the_reason_keeps_nobody() {
        let [new, old] = ["new", "old"].map(release);
        let machine = on_trial(&new, &[&old]);
        // A file in the directory's place, as good as a full disk.
        std::fs::write(machine.node.root.join(rocketos_model::layout::root::FAILED), "").unwrap();
        assert_eq!(leave(&machine.node, "a").unwrap(), Leaving::For(old.id()));
        assert_eq!(machine.next(), old.id());
    }
}
