//! Every state that a power cut may leave of recorded operations: the old release or the new one, whole.
//!
//! A few are looked at by fsck and by the harness' other judge, which reads with e2fsprogs and mtools, and a few boot and take
//! the upgrade. Then the oracle is tried: recordings of operations that do it wrong must not pass.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rocketos_model::DeploymentId;
use rocketos_replay::disk::Recording;
use rocketos_replay::oracle::Oracle;
use rocketos_replay::replay::{Ends, Operation, Replay, judge, learn};
use rocketos_replay::sample::{Random, State, states};
use rocketos_tests::command::Run;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Disk, OfflineDisk, Progress};

use crate::long::Journal;
use crate::record::{Recorded, folder};
use crate::seeded;

/// States in the ordinary run.
const STATES: usize = 600;
/// States in the long run.
const LONG_STATES: usize = 24_000;
/// States that fsck looks at, of each operation.
const CHECKED: usize = 1;
const LONG_CHECKED: usize = 8;
/// States that are booted, in all.
const BOOTED: usize = 2;
const LONG_BOOTED: usize = 24;
/// Violations that are shown of an operation.
const SHOWN: usize = 8;
/// Where chance begins; another number, other states.
const SEED: u64 = 0x5eed;

/// How much is done.
struct Amount {
    states: usize,
    checked: usize,
    booted: usize,
}

#[test]
fn every_state_boots_the_old_release_or_the_new_one() -> Result<()> {
    let progress = Progress::new();
    let long = std::env::var_os("ROCKETOS_TESTS_LONG").is_some();
    let amount = match long {
        true => Amount { states: LONG_STATES, checked: LONG_CHECKED, booted: LONG_BOOTED },
        false => Amount { states: STATES, checked: CHECKED, booted: BOOTED },
    };
    let fixture = Fixture::ready(&progress)?;
    let mut journal = if long { Some(Journal::open(&fixture)?) } else { None };
    let recorded = match &journal {
        Some(journal) => Recorded::kept(&fixture, &progress, journal.folder())?,
        None => Recorded::fresh(&fixture, &progress, &folder())?,
    };
    let recording = recorded.open()?;
    let mut oracle = Oracle::new();
    let ends = progress.step("reading the disk", || Ok(learn(&recording, &mut oracle, &recorded.operations)?))?;
    for (operation, ends) in recorded.operations.iter().zip(&ends) {
        progress.say(&format!("{}: {} requests, {:?}", operation.name, operation.entries.len(), ends.after.boots()));
    }
    every_state(&progress, &recorded, &recording, &mut oracle, &ends, amount.states, journal.as_mut())?;
    if !long {
        progress.step("what is done wrong is caught", || seeded::caught(&recorded, &ends))?;
    }
    let sampled = sample(&recorded.operations, &recording, amount.checked);
    for (name, state) in &sampled {
        let key = format!("fsck of {name}, {state}");
        if journal.as_ref().is_some_and(|journal| journal.known(&key).is_some()) {
            continue;
        }
        let said = progress.step(&format!("fsck: {name}"), || {
            let disk = written(&fixture, &recorded, &recording, state)?;
            let said = checked(&fixture, &recording, &mut oracle, state, &disk);
            said.with_context(|| format!("{name}, {state}"))
        })?;
        if let Some(journal) = &mut journal {
            journal.add(&key, &said)?;
        }
    }
    let step = (sampled.len() / amount.booted.max(1)).max(1);
    for (name, state) in sampled.iter().step_by(step).take(amount.booted) {
        let key = format!("boot of {name}, {state}");
        if journal.as_ref().is_some_and(|journal| journal.known(&key).is_some()) {
            continue;
        }
        let found = Replay::new(&recording).state(state, |view| oracle.judge(view))?;
        let version = version(&fixture, &found.boots())?;
        progress.step(&format!("boot: {name}, {version}"), || {
            let disk = written(&fixture, &recorded, &recording, state)?;
            boot(&fixture, &disk, version).with_context(|| format!("{name}, {state}"))
        })?;
        if let Some(journal) = &mut journal {
            journal.add(&key, &format!("{version}, upgraded"))?;
        }
    }
    if let Some(journal) = journal {
        let accelerator = format!("{:?}", fixture.tools.accel()).to_uppercase();
        progress.say(&format!("written: {}", journal.finish(&accelerator, &fixture.digests)?.display()));
    }
    Ok(())
}

/// Judges `count` states of all operations together; what an operation does not have, the others give.
fn every_state(
    progress: &Progress,
    recorded: &Recorded,
    recording: &Recording,
    oracle: &mut Oracle,
    ends: &[Ends],
    count: usize,
    mut journal: Option<&mut Journal>,
) -> Result<()> {
    let mut order: Vec<(&Operation, &Ends)> = recorded.operations.iter().zip(ends).collect();
    order.sort_by_key(|(operation, _)| operation.entries.len());
    let (mut left, mut violations) = (count, 0);
    for (place, (operation, ends)) in order.iter().enumerate() {
        let key = format!("states of {}", operation.name);
        let said = match journal.as_ref().and_then(|journal| journal.known(&key)) {
            Some(known) => known.to_owned(),
            None => {
                let share = left / (order.len() - place);
                let outcome = progress.step(&format!("states of {}", operation.name), || {
                    Ok(judge(recording, oracle, operation, ends, share, SEED)?)
                })?;
                for violation in outcome.violations.iter().take(SHOWN) {
                    progress.say(&format!("VIOLATION in {}: {}: {}", operation.name, violation.state, violation.what));
                }
                let (states, wrong) = (outcome.states, outcome.violations.len());
                let said = format!("{states} states, {wrong} violations; {} boot what booted before", outcome.old);
                if let Some(journal) = journal.as_deref_mut() {
                    journal.add(&key, &said)?;
                }
                said
            }
        };
        let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
        left = left.saturating_sub(numbers.next().unwrap_or(0));
        violations += numbers.next().unwrap_or(0);
        println!("{}: {said}", operation.name);
    }
    println!("all operations: {} states, {violations} violations", count - left);
    ensure!(violations == 0, "{violations} states boot neither the old release nor the new one");
    Ok(())
}

/// States to be looked at more closely, some of each operation.
fn sample(operations: &[Operation], recording: &Recording, each: usize) -> Vec<(String, State)> {
    let mut sampled = Vec::new();
    for operation in operations {
        let mut random = Random::new(SEED ^ 1);
        let all = states(&recording.entries, &operation.entries, STATES, &mut random, &mut HashSet::new());
        let picked = (0..each).filter_map(|_| all.get(random.below(all.len())).cloned());
        sampled.extend(picked.map(|state| (operation.name.clone(), state)));
    }
    sampled
}

/// A copy of the disk in a state, raw.
fn written(fixture: &Fixture, recorded: &Recorded, recording: &Recording, state: &State) -> Result<PathBuf> {
    let disk = fixture.scratch().join("state.raw");
    Run::new("cp").args(["--sparse=always"]).arg(&recorded.base).arg(&disk).quiet()?;
    let copy = std::fs::File::options().write(true).open(&disk)?;
    Replay::new(recording).state(state, |view| Ok(view.write_changes(&copy)?))?;
    Ok(disk)
}

/// Has e2fsck and fsck.fat mend what they find, and judges again: with the harness' other judge, and with the oracle.
fn checked(
    fixture: &Fixture,
    recording: &Recording,
    oracle: &mut Oracle,
    state: &State,
    disk: &Path,
) -> Result<String> {
    let found = Replay::new(recording).state(state, |view| oracle.judge(view))?;
    let folder = fixture.scratch().join("state");
    let offline = OfflineDisk::copy(&fixture.tools, disk, &folder)?;
    let verdict = offline.judge()?;
    ensure!(verdict.entry.name == found.order[0], "e2fsprogs and mtools find {:?}, the oracle {:?}", verdict, found);
    let said = offline.fsck()?;
    let again = offline.judge().context("after fsck")?;
    ensure!(again == verdict, "after fsck {again:?} boots, before {verdict:?}");
    std::fs::remove_dir_all(&folder)?;
    Ok(format!("{}; {said}", found.boots()))
}

fn version(fixture: &Fixture, boots: &DeploymentId) -> Result<&'static str> {
    let named = |digest: &String| digest.trim_start_matches("sha256:").starts_with(&boots.to_string());
    let found = VERSIONS.iter().zip(&fixture.digests).find(|(_, digest)| named(digest));
    found.map(|(version, _)| *version).context("what boots is no release of the fixture")
}

/// Boots a state, and upgrades to the newest release.
fn boot(fixture: &Fixture, disk: &Path, version: &str) -> Result<()> {
    let offered = if version == VERSIONS[1] { 2 } else { 1 };
    fixture.tag(VERSIONS[offered])?;
    let mut machine = fixture.machine_with("after-cut", Disk::raw(disk)).start()?;
    let mut guest = machine.wait_for_shell(BOOT)?;
    guest.wait_booted(BOOT)?;
    let found = guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
    ensure!(found == version, "release {found} runs, the disk said {version}");
    guest.check("rocketctl upgrade && rocketctl prune", UPGRADE)?;
    let status = guest.ask("rocketctl status")?;
    if !status.contains(&fixture.digests[offered]) {
        bail!("the upgrade after the cut brought nothing:\n{status}");
    }
    drop(guest);
    machine.cut_power()?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}
