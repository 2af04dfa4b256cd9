//! No faster than it may, and never in the way of who waits for the store.

use std::{
    io,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::Watch;
use crate::{Store, StoreError};

/// How long the store's lock is held at a stretch: less than a prune waits.
const HOLD: Duration = Duration::from_secs(5);
/// How long it is let go between: longer than a prune that waits sleeps.
const PAUSE: Duration = Duration::from_millis(150);
/// Longest sleep at once, so that a stop is heard.
const NAP: Duration = Duration::from_millis(250);

/// Keeps a scrub to its rate, and lets others have the store.
pub(crate) struct Pace<'a> {
    store: &'a Store,
    rate: Option<NonZeroU64>,
    begun: Instant,
    bytes: u64,
    held: Instant,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(store: &'a Store, rate: Option<NonZeroU64>) -> Self {
        let now = Instant::now();
        Self { store, rate, begun: now, bytes: 0, held: now }
    }

    /// Accounts for bytes that were read, and waits until they may have been; false where it is to stop.
    pub(super) fn passed(&mut self, bytes: usize, watch: &dyn Watch) -> Result<bool, StoreError> {
        self.bytes += bytes as u64;
        loop {
            if watch.stop() {
                return Ok(false);
            }
            if self.held.elapsed() > HOLD {
                self.store.breathe()?;
                self.held = Instant::now();
            }
            let due = self.rate.map_or(0.0, |rate| self.bytes as f64 / rate.get() as f64);
            let left = Duration::from_secs_f64(due).saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
        // What was not read while the machine slept, or the disk was slow, is not caught up.
        if self.begun.elapsed() > HOLD {
            (self.begun, self.bytes) = (Instant::now(), 0);
        }
        Ok(true)
    }
}

impl Store {
    /// Lets whoever waits for the store alone have it, and takes the shared lock again.
    fn breathe(&self) -> Result<(), StoreError> {
        let lock = |how| flock(self.repository.repo_fd(), how).map_err(|error| StoreError::Look(error.into()));
        lock(FlockOperation::Unlock)?;
        std::thread::sleep(PAUSE);
        loop {
            match lock(FlockOperation::LockShared) {
                Err(StoreError::Look(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
