//! What the loader boots and what each command makes of it, in some lines that share nothing with what they judge.

use std::collections::{BTreeMap, BTreeSet};

use rocketos_model::DeploymentId;

use crate::support::Shape;

/// What a machine may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Stage(usize),
    Download(usize),
    Activate,
    /// A reset: it takes a try.
    Boot,
    Bless,
    Rollback,
    /// Keeps what runs.
    Pin,
    Prune,
}
use Command::*;

/// Tries of a new entry, as docs/boot.md says.
const TRIES: u32 = 3;

/// What a machine is, in the fewest words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// By sequence: what it boots, and the tries left where it is counted.
    pub entries: BTreeMap<u64, (usize, Option<u32>)>,
    pub booted: usize,
    /// The entry that booted.
    pub entry: u64,
    pub installed: BTreeSet<usize>,
    pub pinned: BTreeSet<usize>,
    pub downloaded: Option<usize>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            entries: [(1, (0, None))].into(),
            booted: 0,
            entry: 1,
            installed: [0].into(),
            pinned: BTreeSet::new(),
            downloaded: None,
        }
    }

    /// As systemd-boot sorts: what has no tries left last, then the highest sequence first.
    pub fn order(&self) -> Vec<u64> {
        let (may, may_not): (Vec<u64>, Vec<u64>) =
            self.entries.keys().rev().partition(|sequence| self.entries[sequence].1 != Some(0));
        [may, may_not].concat()
    }

    pub fn next(&self) -> usize {
        self.entries[&self.order()[0]].0
    }

    pub fn is_good(&self, release: usize) -> bool {
        self.entries.values().any(|entry| *entry == (release, None))
    }

    pub fn add(&mut self, release: usize, left: Option<u32>) {
        let sequence = self.entries.keys().last().unwrap() + 1;
        self.entries.insert(sequence, (release, left));
    }

    /// Makes it boot next.
    pub fn prefer(&mut self, release: usize) {
        if self.next() != release {
            let left = (!self.is_good(release)).then_some(TRIES);
            self.add(release, left);
        }
    }

    pub fn staged(&self) -> Option<usize> {
        Some(self.next()).filter(|next| *next != self.booted && !self.is_good(*next))
    }

    pub fn rollback(&self) -> Option<usize> {
        let order = self.order();
        let mut all = order.iter().map(|sequence| self.entries[sequence].0);
        all.find(|release| *release != self.booted && self.is_good(*release))
    }

    /// What `rollback` goes to: the one before, or back.
    pub fn target(&self) -> Option<usize> {
        match self.rollback() {
            Some(rollback) if self.next() == rollback => Some(self.booted),
            Some(rollback) => Some(rollback),
            None => self.staged().map(|_| self.booted),
        }
    }

    pub fn shape(&self, ids: &[DeploymentId]) -> Shape {
        let named = [Some(self.booted), self.staged(), self.rollback()];
        let mut others: Vec<usize> = Vec::new();
        let entries = self.order().into_iter().map(|sequence| self.entries[&sequence].0);
        let mut idle: Vec<usize> = self.installed.iter().copied().collect();
        idle.sort_by_key(|release| ids[*release]);
        for release in entries.chain(idle) {
            if !named.contains(&Some(release)) && !others.contains(&release) {
                others.push(release);
            }
        }
        let id = |release: usize| ids[release];
        Shape {
            booted: Some(id(self.booted)),
            staged: self.staged().map(id),
            rollback: self.rollback().map(id),
            next: Some(id(self.next())),
            others: others.into_iter().map(id).collect(),
        }
    }

    /// What a command makes of it; absent where it is refused.
    pub fn after(&self, command: Command) -> Option<Self> {
        let mut after = self.clone();
        match command {
            Stage(release) => {
                after.installed.insert(release);
                after.prefer(release);
                after.downloaded = None;
            }
            Download(release) => {
                after.installed.insert(release);
                after.downloaded = Some(release);
            }
            Activate => {
                after.prefer(self.downloaded?);
                after.downloaded = None;
            }
            Boot => {
                after.entry = self.order()[0];
                let entry = after.entries.get_mut(&after.entry).unwrap();
                after.booted = entry.0;
                entry.1 = entry.1.map(|left| left - 1);
            }
            Bless => {
                let of_it = |sequence: &&u64| self.entries[*sequence].0 == self.booted;
                let newest = self.entries.keys().rev().find(of_it);
                let named = self.entries.contains_key(&self.entry).then_some(&self.entry);
                let good_one = self.is_good(self.booted) && named.is_none();
                let entry = named.or(newest)?;
                if !good_one && self.entries[entry].1.is_some() {
                    if !self.entries.range(*entry..).any(|(_, found)| *found == (self.booted, None)) {
                        after.add(self.booted, None);
                    }
                    after.entries.remove(entry);
                }
            }
            Rollback => after.prefer(self.target()?),
            Pin => drop(after.pinned.insert(self.booted)),
            Prune => {
                let mut kept: BTreeSet<usize> = self.pinned.iter().copied().chain([self.booted]).collect();
                kept.extend(self.staged().into_iter().chain(self.rollback()).chain(self.downloaded));
                let mut seen = BTreeSet::new();
                let order = self.order();
                let stays = order.into_iter().filter(|sequence| {
                    let release = self.entries[sequence].0;
                    kept.contains(&release) && seen.insert(release)
                });
                let stays: BTreeSet<u64> = stays.collect();
                after.entries.retain(|sequence, _| stays.contains(sequence));
                after.installed.retain(|release| kept.contains(release));
            }
        }
        Some(after)
    }

    pub fn marks(&self) -> usize {
        self.entries.len() + self.pinned.len() + usize::from(self.downloaded.is_some())
    }

    /// The same but for how high sequences are.
    pub fn key(&self) -> String {
        let entries: Vec<_> = self.entries.values().collect();
        let entry = self.entries.keys().position(|sequence| *sequence == self.entry);
        format!("{entries:?} {} {entry:?} {:?} {:?} {:?}", self.booted, self.installed, self.pinned, self.downloaded)
    }
}
