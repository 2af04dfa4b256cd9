//! Scrubbing a node: reads the store, mends what is damaged, and sees to it that what boots next is whole.
//!
//! Nothing is said here; the verb does that. The node's lock is taken for the boot order alone.

mod in_use;
mod mend;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rocketos_deploy::{Health, Node, healths, note_mended, prefer_whole, roles};
use rocketos_model::{DeploymentId, ObjectId};
use rocketos_oci::ReaderConfig;
use rocketos_store::{Damage, FINDINGS, Scrubbed, Watch};

use self::mend::{Mended, mend};
use crate::output::Reporter;

/// Time between two notes of how far a scrub is: so much is read again after a power cut.
const REMEMBER: Duration = Duration::from_secs(10);

/// How to scrub.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Mend what is found.
    pub repair: bool,
    /// Bytes a second; absent for as fast as it goes.
    pub rate: Option<NonZeroU64>,
    /// How origins are read.
    pub reader: ReaderConfig,
}

/// What a scrub came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was read.
    pub objects: u64,
    /// Bytes of it.
    pub bytes: u64,
    pub seconds: f64,
    /// False where it stopped because it had found too much.
    pub complete: bool,
    /// What was wrong.
    pub found: Damage,
    /// What that meant for each deployment.
    pub healths: Vec<Health>,
    pub mended: BTreeSet<ObjectId>,
    /// Damaged, needed by nobody, and removed.
    pub dropped: BTreeSet<ObjectId>,
    /// What is still wrong.
    pub left: Damage,
    /// Deployments that it is wrong with.
    pub damaged: Vec<DeploymentId>,
    /// Mended objects that what runs may still have open as they were.
    pub in_use: BTreeSet<ObjectId>,
    /// Why something was not mended.
    pub failures: Vec<anyhow::Error>,
    /// What boots next instead of what is damaged.
    pub next: Option<DeploymentId>,
}

impl Outcome {
    /// True where what runs cannot be relied on until the next boot.
    pub fn reboot_needed(&self) -> bool {
        !self.in_use.is_empty()
    }
}

/// Keeps a scrub in mind, and stops it at the end of its time.
struct Remember<'a> {
    node: &'a Node,
    last: Instant,
}

impl Watch for Remember<'_> {
    fn passed(&mut self, so_far: &Scrubbed) {
        if self.last.elapsed() > REMEMBER {
            // What is not remembered is read again, no more.
            let _ = self.node.remember_scrub(so_far);
            self.last = Instant::now();
        }
    }
}

/// Reads everything, mends, remembers.
///
/// # Errors
/// When the store cannot be looked at. That something stays damaged is no error but an outcome.
pub fn scrub(node: &Node, wish: &Wish, reporter: &Reporter) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let earlier = node.scrubbed()?;
    // A run that was cut off goes on; what an ended one left is looked at again.
    let from = match earlier.complete {
        true => Scrubbed { damage: earlier.damage, ..Scrubbed::default() },
        false => earlier,
    };
    let read_before = (from.objects, from.bytes);
    reporter.step("Reading");
    let mut watch = Remember { node, last: Instant::now() };
    let scrubbed = node.store.scrub(from, wish.rate, &mut watch).context("scrubbing the store")?;
    node.remember_scrub(&scrubbed)?;
    let found = scrubbed.damage.clone();
    let roles = roles(node)?;
    let before = healths(node, &roles, &found)?;
    let mended = match wish.repair && !found.is_empty() {
        true => mend(node, &roles, &found, &wish.reader, reporter)?,
        false => Mended::default(),
    };
    let left = match found.is_empty() {
        true => found.clone(),
        false => node.store.look_at_damage(found.clone()).context("looking at what was mended")?,
    };
    node.remember_scrub(&Scrubbed { damage: left.clone(), ..scrubbed })?;
    let in_use = in_use::still_in_use(node, node.store.in_use(&mended.objects)?);
    if node.booted.is_some() && !in_use.is_empty() {
        note_mended(&in_use)?;
    }
    let after = healths(node, &roles, &left)?;
    let damaged: Vec<DeploymentId> =
        after.iter().filter(|health| !health.contents.is_whole()).map(|health| health.deployment.id).collect();
    let mut failures = mended.failures;
    let mut next = None;
    if wish.repair && !damaged.is_empty() {
        match prefer_whole(node, &after) {
            Ok(chosen) => next = chosen.map(|chosen| chosen.id),
            Err(error) => failures.push(anyhow::Error::new(error).context("making a whole deployment boot next")),
        }
    }
    Ok(Outcome {
        objects: scrubbed.objects - read_before.0.min(scrubbed.objects),
        bytes: scrubbed.bytes - read_before.1.min(scrubbed.bytes),
        seconds: begun.elapsed().as_secs_f64(),
        complete: scrubbed.complete || found.len() < FINDINGS,
        found,
        healths: before,
        mended: mended.objects,
        dropped: mended.dropped,
        left,
        damaged,
        in_use,
        failures,
        next,
    })
}
