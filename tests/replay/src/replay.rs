//! Doing recorded requests again, state by state, and having each judged.

use std::collections::HashSet;
use std::ops::Range;

use rocketos_model::DeploymentId;

use crate::disk::{Layer, Recording, View};
use crate::fault::Fault;
use crate::oracle::{Found, Oracle};
use crate::sample::{Random, State, epoch_start, states};
use crate::settings::Stored;

/// How often states are drawn for an operation that has fewer than were asked for.
const ROUNDS: usize = 12;
/// A round that finds fewer than this part of what was missing is the last.
const FRUITLESS: usize = 20;

/// Something that was done to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the report.
    pub name: String,
    /// The requests from its start until all that it began was on the disk.
    pub entries: Range<usize>,
    /// Requests that were done when it returned: from here on its outcome is final.
    pub returned: usize,
    /// Whether what the loader falls back to is an outcome too.
    pub fallback: Fallback,
}

/// Whether the loader may fall back while something is done: only where something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// What boots is what boots before or after.
    Never,
    /// It may be anything that the loader could have fallen back to before.
    Allowed,
}

/// A state that boots neither what it should nor what it did, or boots it with other settings.
#[derive(Debug)]
pub struct Violation {
    /// The state.
    pub state: State,
    /// What is wrong.
    pub what: String,
}

/// What came of an operation.
#[derive(Debug, Default)]
pub struct Outcome {
    /// States that were judged; no two are equal.
    pub states: usize,
    /// Of them, those that boot what booted before, with the settings that counted before.
    pub old: usize,
    /// Of them, those where one write of ext4's superblock, which has two sectors and one checksum, is torn. Linux writes it in
    /// place as the root is mounted and unmounted, whatever we do.
    pub torn_superblocks: usize,
    /// The wrong ones.
    pub violations: Vec<Violation>,
}

/// A recording, replayed from its beginning to its end.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    /// What all requests before `at` left.
    durable: Layer,
    at: usize,
}

impl<'a> Replay<'a> {
    /// Begins with the disk before the first request.
    pub fn new(recording: &'a Recording) -> Self {
        Self { recording, durable: Layer::default(), at: 0 }
    }

    /// Does all requests before `to`.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn advance(&mut self, to: usize) -> Result<(), Fault> {
        while self.at < to {
            let entry = &self.recording.entries[self.at];
            self.recording.apply(entry, None, &[], &mut self.durable)?;
            self.at += 1;
        }
        Ok(())
    }

    /// Calls `look` with the disk as it is after the requests before `to`.
    ///
    /// # Errors
    /// As `look`, or when the recording cannot be read.
    pub fn at<T>(&mut self, to: usize, look: impl FnOnce(View<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.advance(to)?;
        look(self.recording.view(&[&self.durable]))
    }

    /// Calls `look` with a state; states come in the order of their epochs.
    ///
    /// # Errors
    /// As `look`, or when the recording cannot be read.
    pub fn state<T>(&mut self, state: &State, look: impl FnOnce(View<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.advance(epoch_start(&self.recording.entries, state.cut))?;
        let mut top = Layer::default();
        for (index, sectors) in &state.kept {
            self.recording.apply(&self.recording.entries[*index], *sectors, &[&self.durable], &mut top)?;
        }
        look(self.recording.view(&[&self.durable, &top]))
    }
}

/// What an operation begins with and ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// What boots before; nothing where something is installed.
    pub before: Option<Found>,
    /// What boots once it returned.
    pub after: Found,
}

/// Learns what each operation begins with and ends in: the only things that may boot.
///
/// # Errors
/// When one of them does not boot, or the recording cannot be read.
pub fn learn(recording: &Recording, oracle: &mut Oracle, operations: &[Operation]) -> Result<Vec<Ends>, Fault> {
    let mut replay = Replay::new(recording);
    let mut ends = Vec::new();
    for operation in operations {
        let before = match replay.at(operation.entries.start, |view| oracle.learn(view)) {
            Err(Fault::Nothing(_)) => Ok(None),
            other => other.map(Some),
        };
        let before = before.map_err(|fault| fault.of(&format!("before {}", operation.name)))?;
        let after = replay.at(operation.entries.end, |view| oracle.learn(view));
        let after = after.map_err(|fault| fault.of(&format!("after {}", operation.name)))?;
        ends.push(Ends { before, after });
    }
    Ok(ends)
}

/// Judges up to `count` states of an operation: each boots what booted before or what boots after, whole; and once the
/// operation returned, what boots after. So with the settings of all that may boot.
///
/// # Errors
/// When the recording cannot be read.
pub fn judge(
    recording: &Recording,
    oracle: &mut Oracle,
    operation: &Operation,
    ends: &Ends,
    count: usize,
    seed: u64,
) -> Result<Outcome, Fault> {
    let mut random = Random::new(seed);
    let mut outcome = Outcome::default();
    let (mut drawn, mut seen) = (HashSet::new(), HashSet::new());
    // Different parts of the same writes may be one state: what is missing then is drawn anew.
    for _ in 0..ROUNDS {
        let missing = count - outcome.states;
        let before = outcome.states;
        let wanted = if before == 0 { missing } else { missing * 2 };
        let mut all = states(&recording.entries, &operation.entries, wanted, &mut random, &mut drawn);
        all.sort_by_key(|state| epoch_start(&recording.entries, state.cut));
        let mut replay = Replay::new(recording);
        for state in all {
            if outcome.states == count {
                break;
            }
            let returned = state.cut >= operation.returned;
            let judged = replay.state(&state, |view| {
                // A state that was had before is judged again only where more is asked of it.
                Ok(seen.insert((view.fingerprint(), returned)).then(|| oracle.judge(view)))
            })?;
            if let Some(judged) = judged {
                let allowed = allowed(operation, ends, returned);
                outcome.take(state, judged, operation, ends, &allowed)?;
            }
        }
        if outcome.states == count || outcome.states - before < missing / FRUITLESS {
            break;
        }
    }
    Ok(outcome)
}

impl Operation {
    /// True where a loader that a boot variable names was whole before, and is: a boot that finds it good replaces the others.
    fn has_another_loader(&self, ends: &Ends, found: &Found) -> bool {
        let before = ends.before.as_ref().filter(|_| self.fallback == Fallback::Allowed);
        before.is_some_and(|before| !before.named_loaders.is_disjoint(&found.named_loaders))
    }
}

impl Outcome {
    fn take(
        &mut self,
        state: State,
        judged: Result<Found, Fault>,
        operation: &Operation,
        ends: &Ends,
        allowed: &[Option<DeploymentId>],
    ) -> Result<(), Fault> {
        self.states += 1;
        let what = match judged {
            Err(Fault::Host(error)) => return Err(Fault::Host(error)),
            Err(Fault::Nothing(what)) if !allowed.contains(&None) => Some(what),
            Err(Fault::Nothing(_)) => {
                self.old += 1;
                None
            }
            Err(Fault::Superblock) if state.is_torn() => {
                self.torn_superblocks += 1;
                None
            }
            Err(wrong) => Some(wrong.to_string()),
            Ok(found) => {
                let boots = found.boots();
                let counts = |found: &Found| (found.boots(), found.settings.get(&boots).map(Stored::newest));
                self.old += usize::from(ends.before.as_ref().is_some_and(|before| counts(before) == counts(&found)));
                let loader = found.lost_loader.filter(|_| !operation.has_another_loader(ends, &found));
                let loader = loader.map(|path| format!("{path} is neither the old nor the new one"));
                let other = (!allowed.contains(&Some(boots))).then(|| {
                    let expected = allowed.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
                    format!("{boots} boots, expected {expected}")
                });
                loader.or(other).or_else(|| settings(ends, &found, state.cut >= operation.returned))
            }
        };
        self.violations.extend(what.map(|what| Violation { state, what }));
        Ok(())
    }
}

/// What is wrong with the settings of what may boot.
fn settings(ends: &Ends, found: &Found, returned: bool) -> Option<String> {
    found.settings.iter().find_map(|(id, stored)| {
        let before = ends.before.as_ref().and_then(|before| before.settings.get(id));
        let wrong = stored.judge(before, ends.after.settings.get(id), returned).err()?;
        Some(format!("settings of {id}: {wrong}"))
    })
}

/// What may boot, nothing being one of it: before the operation returned what booted before, too.
fn allowed(operation: &Operation, ends: &Ends, returned: bool) -> Vec<Option<DeploymentId>> {
    let mut allowed = vec![Some(ends.after.boots())];
    if !returned {
        allowed.push(ends.before.as_ref().map(Found::boots));
    }
    if let (Fallback::Allowed, Some(before)) = (operation.fallback, &ends.before) {
        allowed.extend(before.order.iter().map(|entry| Some(entry.deployment)));
    }
    allowed
}
