//! Every state that a power cut may leave of recorded operations: the old release or the new one, whole, with the settings before
//! or the new ones.
//!
//! A few are looked at by fsck and by the harness' other judge, which reads with e2fsprogs and mtools, a few by a guest's
//! kernel, and a few boot and take the upgrade. Then the oracle is tried: what is done wrong must not pass.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rocketos_model::DeploymentId;
use rocketos_replay::disk::Recording;
use rocketos_replay::fault::Fault;
use rocketos_replay::oracle::{Found, Oracle, Partitions};
use rocketos_replay::replay::{Ends, Operation, Replay, judge, learn};
use rocketos_replay::sample::{Random, State, states};
use rocketos_tests::command::Run;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Disk, Guest, OfflineDisk, Progress};

use crate::kernel::{self, Written};
use crate::long::Journal;
use crate::record::{Recorded, folder};
use crate::seeded;

/// Violations that are shown of an operation.
const SHOWN: usize = 8;
/// Where chance begins; another number, other states.
const SEED: u64 = 0x5eed;
/// States that chance picks those from that are looked at more closely.
const PICKED_FROM: usize = 400;

/// How much is done.
struct Amount {
    /// States that are judged.
    states: usize,
    /// States of each operation that fsck looks at.
    checked: usize,
    /// States that are booted, in all; each guest looks at another state.
    booted: usize,
}

const ORDINARY: Amount = Amount { states: 1000, checked: 1, booted: 2 };
const LONG: Amount = Amount { states: 24_000, checked: 4, booted: 24 };
/// States that the long run must come to.
const LONG_LEAST: usize = 20_000;

/// A recording, and what has been learnt of it.
struct Bench<'a> {
    progress: &'a Progress,
    fixture: &'a Fixture,
    recorded: &'a Recorded,
    recording: &'a Recording,
    oracle: Oracle,
    ends: Vec<Ends>,
    /// What the long run knows already.
    journal: Option<&'a mut Journal>,
}

#[test]
fn every_state_boots_the_old_release_or_the_new_one() -> Result<()> {
    let progress = Progress::new();
    let long = std::env::var_os("ROCKETOS_TESTS_LONG").is_some();
    let amount = if long { LONG } else { ORDINARY };
    let fixture = Fixture::ready(&progress)?;
    let mut journal = if long { Some(Journal::open(&fixture)?) } else { None };
    let recordings = match &journal {
        Some(journal) => Recorded::long(&fixture, &progress, journal.folder())?,
        None => vec![Recorded::fresh(&fixture, &progress, &folder())?],
    };
    let operations: usize = recordings.iter().map(|recorded| recorded.operations.len()).sum();
    let mut judged = 0;
    for recorded in &recordings {
        let share = |of: usize| (of * recorded.operations.len()).div_ceil(operations);
        let amount = Amount { states: share(amount.states), booted: share(amount.booted), ..amount };
        judged += replayed(&progress, &fixture, recorded, &amount, journal.as_mut())?;
    }
    ensure!(!long || judged >= LONG_LEAST, "only {judged} states were judged, fewer than {LONG_LEAST}");
    if let Some(journal) = journal {
        let accelerator = format!("{:?}", fixture.tools.accel()).to_uppercase();
        progress.say(&format!("written: {}", journal.finish(&accelerator, &fixture.digests)?.display()));
    }
    Ok(())
}

/// Replays one recording; returns how many states were judged.
fn replayed(
    progress: &Progress,
    fixture: &Fixture,
    recorded: &Recorded,
    amount: &Amount,
    journal: Option<&mut Journal>,
) -> Result<usize> {
    let recording = &recorded.open()?;
    let mut oracle = Oracle::new();
    recorded.damaged.iter().for_each(|object| oracle.watch(object));
    let ends = progress.step("reading the disk", || Ok(learn(recording, &mut oracle, &recorded.operations)?))?;
    let ordinary = journal.is_none();
    let mut bench = Bench { progress, fixture, recorded, recording, oracle, ends, journal };
    bench.releases()?;
    let judged = bench.every_state(amount.states)?;
    if ordinary {
        progress.step("what is done wrong is caught", || seeded::caught(recorded, &bench.ends))?;
    }
    let sampled = bench.sample(amount.checked)?;
    for (name, state) in &sampled {
        bench.fsck(name, state)?;
    }
    let step = (sampled.len() / amount.booted.max(1)).max(1);
    for (place, (name, state)) in sampled.iter().enumerate().step_by(step).take(amount.booted) {
        // Reading a whole image takes an emulated guest a minute: once is enough for an ordinary run.
        let beside = (!ordinary || place == 0).then(|| &sampled[(place + 1) % sampled.len()]);
        bench.boot(name, state, beside)?;
    }
    Ok(judged)
}

impl Bench<'_> {
    /// What boots before and after each operation is a release of the fixture's.
    fn releases(&self) -> Result<()> {
        for (operation, ends) in self.recorded.operations.iter().zip(&self.ends) {
            let before = ends.before.as_ref().map_or(Ok("nothing"), |before| self.version(&before.boots()))?;
            let after = self.version(&ends.after.boots())?;
            let requests = operation.entries.len();
            self.progress.say(&format!("{}: {before} to {after}, {requests} requests", operation.name));
        }
        Ok(())
    }

    fn version(&self, boots: &DeploymentId) -> Result<&'static str> {
        let named = |digest: &String| digest.trim_start_matches("sha256:").starts_with(&boots.to_string());
        let found = VERSIONS.iter().zip(&self.fixture.digests).find(|(_, digest)| named(digest));
        found.map(|(version, _)| *version).context("what boots is no release of the fixture")
    }

    fn known(&self, key: &str) -> Option<&str> {
        self.journal.as_ref()?.known(key)
    }

    fn keep(&mut self, key: &str, outcome: &str) -> Result<()> {
        self.journal.as_deref_mut().map_or(Ok(()), |journal| journal.add(key, outcome))
    }

    /// Judges `count` states of all operations together; what an operation does not have, the longer ones give.
    fn every_state(&mut self, count: usize) -> Result<usize> {
        let mut order: Vec<usize> = (0..self.ends.len()).collect();
        order.sort_by_key(|index| self.recorded.operations[*index].entries.len());
        let (mut left, mut violations) = (count, 0);
        for (place, index) in order.iter().enumerate() {
            let operation = &self.recorded.operations[*index];
            let key = format!("states of {}", operation.name);
            let said = match self.known(&key) {
                Some(known) => known.to_owned(),
                None => {
                    let said = self.states(operation, *index, left / (order.len() - place))?;
                    self.keep(&key, &said)?;
                    said
                }
            };
            let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
            left = left.saturating_sub(numbers.next().unwrap_or(0));
            violations += numbers.next().unwrap_or(0);
            println!("{}: {said}", operation.name);
        }
        println!("all operations: {} states, {violations} violations", count - left);
        ensure!(
            violations == 0,
            "{violations} states boot neither the old release nor the new one, or have other settings"
        );
        Ok(count - left)
    }

    fn states(&mut self, operation: &Operation, index: usize, count: usize) -> Result<String> {
        let (recording, oracle, ends) = (self.recording, &mut self.oracle, &self.ends[index]);
        let outcome = self.progress.step(&format!("states of {}", operation.name), || {
            Ok(judge(recording, oracle, operation, ends, count, SEED)?)
        })?;
        for violation in outcome.violations.iter().take(SHOWN) {
            self.progress.say(&format!("VIOLATION in {}: {}: {}", operation.name, violation.state, violation.what));
        }
        let wrong = outcome.violations.len();
        let (old, torn) = (outcome.old, outcome.torn_superblocks);
        Ok(format!("{} states, {wrong} violations; {old} as before, {torn} torn superblocks", outcome.states))
    }

    /// States that boot something, to be looked at more closely: some of each operation.
    fn sample(&mut self, each: usize) -> Result<Vec<(String, State)>> {
        let mut sampled = Vec::new();
        for operation in &self.recorded.operations {
            let (mut random, mut seen) = (Random::new(SEED ^ 1), HashSet::new());
            let mut all = states(&self.recording.entries, &operation.entries, PICKED_FROM, &mut random, &mut seen);
            let mut left = each;
            while left > 0 && !all.is_empty() {
                let state = all.swap_remove(random.below(all.len()));
                match Replay::new(self.recording).state(&state, |view| self.oracle.judge(view)) {
                    Err(Fault::Nothing(_) | Fault::Superblock) => {}
                    // Firmware that knows no variables finds no loader there.
                    Ok(Found { lost_loader: Some(_), .. }) => {}
                    other => {
                        other?;
                        sampled.push((operation.name.clone(), state));
                        left -= 1;
                    }
                }
            }
        }
        Ok(sampled)
    }

    /// A copy of the disk in a state, raw, and what the oracle finds on it.
    fn written(&mut self, name: &str, state: &State, file: &str) -> Result<Written> {
        let disk = self.fixture.scratch().join(format!("{file}.raw"));
        Run::new("cp").args(["--sparse=always"]).arg(&self.recorded.base).arg(&disk).quiet()?;
        let copy = std::fs::File::options().write(true).open(&disk)?;
        let mut replay = Replay::new(self.recording);
        replay.state(state, |view| Ok(view.write_changes(&copy)?))?;
        let found = replay.state(state, |view| self.oracle.judge(view))?;
        let partitions = replay.state(state, Partitions::of)?;
        Ok(Written { name: name.to_owned(), disk, partitions, found })
    }

    /// Has e2fsck and fsck.fat mend what they find; the harness' other judge must find then what the oracle found before.
    fn fsck(&mut self, name: &str, state: &State) -> Result<()> {
        let key = format!("fsck of {name}, {state}");
        if self.known(&key).is_some() {
            return Ok(());
        }
        let progress = self.progress;
        let said = progress.step(&format!("fsck: {name}"), || {
            let written = self.written(name, state, "checked")?;
            let folder = self.fixture.scratch().join("checked");
            let said = mended(self.fixture, &written, &folder).with_context(|| format!("{name}, {state}"))?;
            std::fs::remove_dir_all(&folder)?;
            Ok(format!("{}; {said}", self.version(&written.found.boots())?))
        })?;
        progress.say(&said);
        self.keep(&key, &said)
    }

    /// Boots a state, has the guest's kernel look at the one `beside`, and upgrades to a release that neither is.
    fn boot(&mut self, name: &str, state: &State, beside: Option<&(String, State)>) -> Result<()> {
        let key = format!("boot of {name}, {state}");
        if self.known(&key).is_some() {
            return Ok(());
        }
        let progress = self.progress;
        let seen = beside.map_or(String::new(), |(name, _)| format!("; and the kernel looks at: {name}"));
        let version = progress.step(&format!("boot: {name}{seen}"), || {
            let written = self.written(name, state, "booted")?;
            let others = beside.map(|(name, state)| self.written(name, state, "beside")).transpose()?;
            let version = self.version(&written.found.boots())?;
            self.guest(&written.disk, others.as_slice(), version).with_context(|| format!("{name}, {state}"))?;
            Ok(version)
        })?;
        self.keep(&key, &format!("{version}, and took the upgrade{seen}"))
    }

    fn guest(&self, disk: &Path, others: &[Written], version: &str) -> Result<()> {
        let offered = if version == VERSIONS[1] { 2 } else { 1 };
        self.fixture.tag(VERSIONS[offered])?;
        let machine = self.fixture.machine_with("after-cut", Disk::raw(disk));
        let mut machine = kernel::attach(machine, others).start()?;
        let mut guest = machine.wait_for_shell(BOOT)?;
        guest.wait_booted(BOOT)?;
        let found = guest.release()?;
        ensure!(found == version, "release {found} runs, the disk said {version}");
        let esp = machine_esp(&mut guest)?;
        guest.ask(&format!("fsck.vfat -n {esp}")).context("the ESP was not mended")?;
        if self.recorded.damaged.is_some() {
            // A repair that was cut may have mended nothing yet.
            guest.check("rocketctl scrub", UPGRADE)?;
        }
        guest.check("rocketctl upgrade && rocketctl prune", UPGRADE)?;
        let status = guest.ask("rocketctl status")?;
        ensure!(
            status.contains(&self.fixture.digests[offered]),
            "the upgrade after the cut brought nothing:\n{status}"
        );
        kernel::judge(&mut guest, others)?;
        drop(guest);
        machine.cut_power()
    }
}

/// The device that the guest's ESP is on.
fn machine_esp(guest: &mut Guest) -> Result<String> {
    let booted = guest.ask("cat /run/rocketos/booted.toml")?;
    let line = booted.lines().find_map(|line| line.strip_prefix("esp = \"")).context("booted.toml names no ESP")?;
    Ok(line.trim_end_matches('"').to_owned())
}

/// A file that was not written to its end is no trouble for firmware, but mtools copy none of an ESP that has one: so fsck first.
fn mended(fixture: &Fixture, written: &Written, folder: &Path) -> Result<String> {
    let offline = OfflineDisk::copy(&fixture.tools, &written.disk, folder)?;
    offline.replay()?;
    let said = offline.fsck()?;
    let verdict = offline.judge().context("after fsck")?;
    let (found, ours) = (&verdict.entry.name, &written.found.order[0]);
    ensure!(found == ours, "after fsck {found} boots, the oracle found {ours}");
    Ok(said)
}
