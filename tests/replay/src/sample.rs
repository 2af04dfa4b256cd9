//! Which states a power cut may leave: what was flushed, and any part of what was written since.
//!
//! A cut comes after a request. All requests up to the last flush before it are on the medium; of the writes since, each
//! may be there, or not, or the first of its sectors alone: a sector is never torn. Writes to one place keep their order,
//! because the later one was made when the earlier one was done.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use crate::log::{Action, Entry, SECTOR};

/// Writes of an epoch up to which all of its subsets are taken.
const EXHAUSTIVE: usize = 6;
/// How often a state that was had before is drawn, for one that was not.
const PATIENCE: usize = 50;

/// A state: where the power goes, and what of the writes since the last flush is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Requests before the cut.
    pub cut: usize,
    /// Of the writes since the flush before it: which are there, and how many sectors where not all.
    pub kept: Vec<(usize, Option<u64>)>,
}

impl State {
    /// True when a write is there in part.
    pub fn is_torn(&self) -> bool {
        self.kept.iter().any(|(_, sectors)| sectors.is_some())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cut before request {}, of the unflushed writes are there:", self.cut)?;
        for (index, sectors) in &self.kept {
            match sectors {
                None => write!(f, " {index}")?,
                Some(sectors) => write!(f, " {index} (first {sectors} sectors)")?,
            }
        }
        if self.kept.is_empty() { f.write_str(" none") } else { Ok(()) }
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, or zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or(0)
    }
}

/// First request of the epoch that a cut falls into: the one behind the last flush.
pub fn epoch_start(entries: &[Entry], cut: usize) -> usize {
    entries[..cut.min(entries.len())].iter().rposition(|entry| entry.flush).map_or(0, |flush| flush + 1)
}

/// The states of an operation that were not `seen`, at most `count` of them.
///
/// First what every flush leaves and what is there at the operation's end, with all of its last writes and with none; then
/// all parts of small epochs; then parts of all epochs, drawn by chance.
pub fn states(
    entries: &[Entry],
    operation: &Range<usize>,
    count: usize,
    random: &mut Random,
    seen: &mut HashSet<State>,
) -> Vec<State> {
    let mut drawn = Drawn { states: Vec::new(), seen, count };
    let end = operation.end.min(entries.len());
    let start = operation.start.min(end);
    let mut cuts: Vec<usize> = (start..end).filter(|index| entries[*index].flush).map(|index| index + 1).collect();
    for cut in cuts.iter().copied().chain([end]) {
        drawn.add(State { cut, kept: whole(entries, epoch_start(entries, cut)..cut) });
    }
    drawn.add(State { cut: end, kept: forced(entries, epoch_start(entries, end)..end) });
    // The cut just before each flush, and the operation's end, have all of an epoch's writes open.
    for cut in &mut cuts {
        *cut -= 1;
    }
    cuts.push(end);
    for cut in cuts.iter().copied() {
        let open = open(entries, epoch_start(entries, cut)..cut);
        if open.len() <= EXHAUSTIVE {
            for set in 0..1_usize << open.len() {
                let part = open.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
                let kept = part.map(|(_, index)| (*index, None)).collect();
                drawn.add(State { cut, kept: with_forced(entries, epoch_start(entries, cut)..cut, kept) });
            }
        }
    }
    let mut vain = 0;
    while drawn.states.len() < count && vain < PATIENCE * 20 && !cuts.is_empty() {
        let last = cuts[random.below(cuts.len())];
        let first = epoch_start(entries, last);
        let from = first.max(start);
        // Half of all cuts come when the whole epoch is written, the others within it.
        let cut = if random.below(2) == 0 || last <= from { last } else { from + random.below(last - from + 1) };
        let state = draw(entries, cut, random);
        vain = if drawn.add(state) { 0 } else { vain + 1 };
    }
    drawn.states
}

struct Drawn<'a> {
    states: Vec<State>,
    seen: &'a mut HashSet<State>,
    count: usize,
}

impl Drawn<'_> {
    fn add(&mut self, state: State) -> bool {
        let new = self.states.len() < self.count && self.seen.insert(state.clone());
        if new {
            self.states.push(state);
        }
        new
    }
}

fn writes(entry: &Entry) -> bool {
    entry.action != Action::Nothing
}

fn whole(entries: &[Entry], range: Range<usize>) -> Vec<(usize, Option<u64>)> {
    range.filter(|index| writes(&entries[*index])).map(|index| (index, None)).collect()
}

/// What is on the medium without a flush.
fn forced(entries: &[Entry], range: Range<usize>) -> Vec<(usize, Option<u64>)> {
    range.filter(|index| writes(&entries[*index]) && entries[*index].fua).map(|index| (index, None)).collect()
}

/// What may be lost.
fn open(entries: &[Entry], range: Range<usize>) -> Vec<usize> {
    range.filter(|index| writes(&entries[*index]) && !entries[*index].fua).collect()
}

fn with_forced(
    entries: &[Entry],
    range: Range<usize>,
    mut kept: Vec<(usize, Option<u64>)>,
) -> Vec<(usize, Option<u64>)> {
    kept.extend(forced(entries, range));
    kept.sort_unstable();
    kept
}

fn draw(entries: &[Entry], cut: usize, random: &mut Random) -> State {
    let range = epoch_start(entries, cut)..cut;
    let open = open(entries, range.clone());
    let some = |random: &mut Random, of_hundred: usize| -> Vec<usize> {
        open.iter().copied().filter(|_| random.below(100) < of_hundred).collect()
    };
    let part: Vec<usize> = match random.below(7) {
        0 => open.clone(),
        1 => some(random, 50),
        2 => some(random, 10),
        3 => some(random, 90),
        4 => {
            let lost = random.below(open.len());
            open.iter().enumerate().filter(|(place, _)| *place != lost).map(|(_, index)| *index).collect()
        }
        5 => open.get(random.below(open.len())).copied().into_iter().collect(),
        _ => {
            // A run of writes is lost, what came later is there.
            let from = random.below(open.len());
            let to = from + random.below(open.len() - from.min(open.len()));
            open.iter().enumerate().filter(|(place, _)| !(from..=to).contains(place)).map(|(_, index)| *index).collect()
        }
    };
    let tearing = [0, 25, 100][random.below(3)];
    let kept = part
        .into_iter()
        .map(|index| {
            let sectors = entries[index].length / SECTOR;
            let torn = sectors > 1 && entries[index].action != Action::Discard && random.below(100) < tearing;
            let first = 1 + random.below(usize::try_from(sectors).unwrap_or(1).saturating_sub(1)) as u64;
            (index, torn.then_some(first))
        })
        .collect();
    State { cut, kept: with_forced(entries, range, kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sectors: u64) -> Entry {
        Entry { start: 0, length: sectors * SECTOR, action: Action::Write(0), flush: false, fua: false }
    }

    fn flush() -> Entry {
        Entry { start: 0, length: 0, action: Action::Nothing, flush: true, fua: false }
    }

    #[test]
    fn what_was_flushed_is_never_lost_and_nothing_is_there_before_it_was_written() {
        let entries = [write(1), write(8), flush(), write(8), write(1), Entry { fua: true, ..write(1) }, write(2)];
        let states = states(&entries, &(1..7), 500, &mut Random::new(1), &mut HashSet::new());
        assert!(states.len() > 50, "{}", states.len());
        for state in &states {
            let epoch = epoch_start(&entries, state.cut);
            assert!(state.kept.iter().all(|(index, _)| (epoch..state.cut).contains(index)), "{state}");
            assert!(state.cut <= 5 || state.kept.contains(&(5, None)), "{state}");
            assert!(
                state.kept.iter().all(|(index, torn)| torn.is_none_or(|torn| torn < entries[*index].length / SECTOR))
            );
            assert!(state.cut >= 1);
        }
    }

    #[test]
    fn small_epochs_are_taken_whole_and_runs_are_alike() {
        let entries = [write(1), write(1), write(1), flush(), write(1), flush()];
        let take = |count, seen: &mut HashSet<State>| states(&entries, &(0..6), count, &mut Random::new(7), seen);
        let mut seen = HashSet::new();
        let all = take(1000, &mut seen);
        // Eight parts of the first epoch before its flush, and what the flush leaves; two and one; the end.
        let before_first_flush = all.iter().filter(|state| state.cut == 3).count();
        assert_eq!(before_first_flush, 8);
        assert_eq!(all, take(1000, &mut HashSet::new()));
        assert_eq!(take(3, &mut HashSet::new()).len(), 3);
        assert_eq!(take(3, &mut seen), []);
    }
}
