//! What a node does by itself: look, bring, and reboot when it may.

mod lock;
mod schedule;

use std::path::Path;

use anyhow::Context as _;
use chrono::Utc;
use rocketos_deploy::{Activation, Node, Roles, roles};
use rocketos_model::layout;
use rocketos_update::{Version, Wish};

use crate::{
    adapters::systemctl,
    advance::{Advanced, Arrived, Step, advance},
    bring::Outcome,
    host_containers::look_again,
    journal,
    output::Reporter,
    pull::Puller,
    trust::Guard,
};

pub use self::schedule::{Mode, Schedule};

/// What one look led to.
pub enum Looked {
    /// Nothing is done by itself here.
    Off,
    /// The node looked, and perhaps something boots next, but no reboot is due.
    Stayed(Advanced),
    /// It reboots.
    Rebooting(Advanced),
    /// It would reboot, and may not: for people.
    Waits(Advanced, String),
}

/// Looks once, and does what the schedule says.
///
/// # Errors
/// When the schedule cannot be read, or any of it fails.
pub fn look(reporter: &Reporter) -> anyhow::Result<Looked> {
    let schedule = Schedule::of_node()?;
    let (node, holds) = Node::locked("the update timer")?;
    let current = roles(&node)?;
    let lock = schedule.reboot_lock.as_ref().map(|lock| lock::Client::new(lock, &node)).transpose()?;
    // A person's reboot ends the lock as well, so whoever runs what boots next, and it is good, gives it back.
    let settled = current.next().map(|next| next.id) == node.booted_deployment();
    if let Some(lock) =
        lock.as_ref().filter(|_| settled && current.booted.as_ref().is_some_and(|booted| booted.is_good()))
    {
        // Others wait for it then; that is no reason to miss a release.
        if let Err(error) = lock.release() {
            eprintln!("rocketctl: {}", crate::exit::chain(&error));
        }
    }
    let mode = schedule.mode(&current);
    let open = schedule.is_open(Utc::now())?;
    let (check, activation) = match mode {
        Mode::Off => return Ok(Looked::Off),
        Mode::Check => (true, Activation::Later),
        Mode::Download => (false, Activation::Later),
        Mode::Apply if open => (false, Activation::Tried),
        Mode::Apply => (false, Activation::Later),
    };
    let step = Step { wish: Wish::default(), activation, check, retain: false };
    let advanced = advance(&node, &current, &schedule, step, reporter);
    // They have nothing to do with whether a release could be had.
    if !check && let Err(error) = look_at_containers(&node, &current, reporter) {
        reporter.note(&format!("No host container was looked at: {}.", crate::exit::chain(&error)));
    }
    let advanced = advanced?;
    let current = roles(&node)?;
    let Some(staged) = due(&current, mode, open, schedule.lock()) else { return Ok(Looked::Stayed(advanced)) };
    let text = format!("Deployment {staged} boots next.");
    if advanced.arrived == Arrived::Brought(Outcome::Staged) {
        journal::say(journal::STAGED, &text, &[("ROCKETOS_DEPLOYMENT", &staged)]);
    }
    if let Some(lock) = &lock
        && let Some(refusal) = lock.take().context("asking for the reboot lock")?
    {
        return Ok(Looked::Waits(advanced, refusal));
    }
    journal::say(journal::REBOOTING, &format!("Rebooting: {text}"), &[("ROCKETOS_DEPLOYMENT", &staged)]);
    drop((node, holds));
    systemctl::reboot()?;
    Ok(Looked::Rebooting(advanced))
}

/// Brings what tags of host containers lead to by now.
fn look_at_containers(node: &Node, current: &Roles, reporter: &Reporter) -> anyhow::Result<()> {
    let (guard, puller) = (Guard::of_roles(node, current)?, Puller::new()?);
    look_again(node, &guard, &puller, Path::new(layout::node::HOST_CONTAINERS), reporter);
    Ok(())
}

/// What is to be rebooted into: only what is staged, never what a person went back to, nor what was staged before the node was
/// locked to another version.
fn due(current: &Roles, mode: Mode, open: bool, lock: Option<&Version>) -> Option<String> {
    let staged = current.staged.as_ref().filter(|_| mode == Mode::Apply && open)?;
    let version = || staged.origin.version.as_deref()?.parse::<Version>().ok();
    if lock.is_some_and(|lock| version().as_ref() != Some(lock)) {
        return None;
    }
    (current.next()?.id == staged.id).then(|| staged.id.to_string())
}
