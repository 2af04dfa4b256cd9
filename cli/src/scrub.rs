//! Scrubbing a node: reads the store, mends what is damaged, and sees to it that what boots next is whole.
//!
//! Nothing is said here; the verb does that. The node's lock is taken for the boot order alone.

mod coming;
mod in_use;
mod mend;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rocketos_deploy::{DeployError, Deployment, Health, Node, has_to_leave, healths, note_mended, prefer_whole, roles};
use rocketos_model::{DeploymentId, ObjectId};
use rocketos_oci::ReaderConfig;
use rocketos_store::{Damage, FINDINGS, Scrubbed, Watch};

pub use self::coming::Coming;
use self::mend::{Mended, mend};
use crate::output::Reporter;

/// Time between two notes of how far a scrub is: so much is read again after a power cut.
const REMEMBER: Duration = Duration::from_secs(10);
/// How long somebody else may work on the deployments before the boot order is left as it is: longer than most upgrades.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How often the lock is asked for meanwhile.
const RETRY: Duration = Duration::from_secs(5);

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
    /// What runs is damaged for good, and something that is whole boots next.
    pub leave: bool,
}

impl Outcome {
    /// True where what runs cannot be relied on until the next boot.
    pub fn reboot_needed(&self) -> bool {
        self.leave || !self.in_use.is_empty()
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
    let unsaved = node.remember_scrub(&scrubbed).err();
    let found = scrubbed.damage.clone();
    let roles = roles(node)?;
    let before = healths(node, &roles, &found)?;
    let all_whole = |healths: &[Health]| healths.iter().all(|health| health.contents.is_whole());
    let mended = match wish.repair && !(found.is_empty() && all_whole(&before)) {
        true => mend(node, &roles, &found, &wish.reader, reporter),
        false => Mended::default(),
    };
    let mut failures = mended.failures;
    let left = match found.is_empty() {
        true => found.clone(),
        false => node.store.look_at_damage(found.clone()).context("looking at what was mended")?,
    };
    match (node.remember_scrub(&Scrubbed { damage: left.clone(), ..scrubbed }).err().or(unsaved), left.is_empty()) {
        (Some(error), true) => return Err(error.into()),
        (error, _) => failures.extend(error.map(anyhow::Error::new)),
    }
    let needed = node.store.in_use(&mended.objects).context("looking for what is mounted").unwrap_or_else(|error| {
        failures.push(error);
        mended.objects.clone()
    });
    let in_use = in_use::still_in_use(node, needed);
    if node.booted.is_some() && !in_use.is_empty() {
        failures.extend(note_mended(&in_use).err().map(anyhow::Error::new));
    }
    let after = healths(node, &roles, &left)?;
    let damaged: Vec<DeploymentId> =
        after.iter().filter(|health| !health.contents.is_whole()).map(|health| health.deployment.id).collect();
    let (mut next, mut leave) = (None, false);
    if wish.repair && !damaged.is_empty() {
        match change_order(node, &left) {
            Ok(chosen) => next = chosen.map(|chosen| chosen.id),
            Err(error) => failures.push(anyhow::Error::new(error).context("making a whole deployment boot next")),
        }
        leave = has_to_leave(node, &left)?;
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
        leave,
    })
}

/// Has a whole deployment boot next, once whoever works on the deployments is done.
fn change_order(node: &Node, left: &Damage) -> Result<Option<Deployment>, DeployError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match prefer_whole(node, left) {
            Err(DeployError::Locked(_)) if Instant::now() < until => thread::sleep(RETRY),
            other => return other,
        }
    }
}
