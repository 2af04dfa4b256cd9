//! The oracle's own test: the same upgrade and the same change of settings, done wrong in the ways that programs do it wrong,
//! must not pass.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use rocketos_replay::disk::Recording;
use rocketos_replay::fat::Fat;
use rocketos_replay::log::{Action, Entry};
use rocketos_replay::oracle::{Oracle, Partitions};
use rocketos_replay::replay::{Ends, Operation, Replay, judge, learn};

use crate::record::{Recorded, SETTINGS_SET, SETTINGS_UNDO, UPGRADE_STEP};

/// States that are judged of each.
const STATES: usize = 120;
/// Where chance begins.
const SEED: u64 = 0xbad;
/// A write of at least so many bytes is content, not bookkeeping.
const CONTENT: u64 = 64 << 10;
/// How a generation of settings begins.
const GENERATION: &[u8] = b"{\"format\":1,\"sha256\":\"";

/// Where a file of the ESP begins on the disk, by the beginning of its path.
fn place(recording: &Recording, at: usize, folder: &str, like: &str) -> Result<u64> {
    let found = Replay::new(recording).at(at, |view| {
        let (start, size) = Partitions::of(view)?.esp;
        let fat = Fat::open(view, start, size)?;
        let item = fat.list(folder)?.into_iter().find(|item| item.name.contains(like));
        item.map(|item| fat.first_byte(&item)).transpose()
    })?;
    found.with_context(|| format!("{folder} has no {like}"))
}

fn booted(ends: &Ends) -> Result<String> {
    ends.before.as_ref().map(|before| before.boots().to_string()).context("nothing booted before")
}

fn flush() -> Entry {
    Entry { start: 0, length: 0, action: Action::Nothing, flush: true, fua: false }
}

/// Changes a recording; how many requests there are now in `operation`.
type Bug = fn(&mut Recording, &Operation, &Ends) -> Result<usize>;

const BUGS: &[(&str, &str, Bug)] = &[
    ("no sync", UPGRADE_STEP, no_sync),
    ("an entry before its kernel", UPGRADE_STEP, entry_before_kernel),
    ("a kernel overwritten", UPGRADE_STEP, kernel_overwritten),
    ("an entry edited", UPGRADE_STEP, entry_edited),
    ("the loader overwritten", UPGRADE_STEP, loader_overwritten),
    ("objects that were never written", UPGRADE_STEP, objects_not_written),
    ("an ESP that is not marked as mounted", UPGRADE_STEP, not_marked),
    ("settings without a sync", SETTINGS_SET, no_sync),
    ("a generation named before it is flushed", SETTINGS_SET, name_before_generation),
    ("a generation overwritten", SETTINGS_UNDO, generation_overwritten),
];

fn no_sync(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    for entry in &mut recording.entries[operation.entries.clone()] {
        entry.flush = false;
    }
    Ok(operation.entries.len())
}

/// The kernel's content comes when all else is there.
fn entry_before_kernel(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let (start, size) = Replay::new(recording).at(operation.entries.start, Partitions::of)?.esp;
    let own = recording.entries[operation.entries.clone()].to_vec();
    let content = |entry: &Entry| entry.length >= CONTENT && (start..start + size).contains(&entry.start);
    let (late, early): (Vec<Entry>, Vec<Entry>) = own.into_iter().partition(content);
    ensure!(!late.is_empty(), "the upgrade wrote no kernel");
    recording.entries.splice(operation.entries.clone(), early.into_iter().chain([flush()]).chain(late));
    Ok(operation.entries.len() + 1)
}

fn overwrite(recording: &mut Recording, operation: &Operation, at: u64, bytes: Vec<u8>) -> usize {
    let length = bytes.len() as u64;
    let write = Entry { start: at, length, action: Action::Bytes(Rc::from(bytes)), flush: false, fua: false };
    let middle = operation.entries.start + operation.entries.len() / 2;
    recording.entries.splice(middle..middle, [write, flush()]);
    operation.entries.len() + 2
}

fn kernel_overwritten(recording: &mut Recording, operation: &Operation, ends: &Ends) -> Result<usize> {
    let folder = format!("EFI/rocketos/{}", booted(ends)?);
    let at = place(recording, operation.entries.start, &folder, ".efi")?;
    // Behind the headers, so that it is a kernel still.
    Ok(overwrite(recording, operation, at + (8 << 20), vec![0xa5; 512]))
}

fn entry_edited(recording: &mut Recording, operation: &Operation, ends: &Ends) -> Result<usize> {
    let boots = booted(ends)?;
    let at = place(recording, operation.entries.start, "loader/entries", &boots)?;
    let mut text = format!("title Rocket OS\nsort-key rocketos\nversion 1\nefi /EFI/rocketos/{boots}/other.efi\n");
    text.extend(std::iter::repeat_n('\n', 512 - text.len()));
    Ok(overwrite(recording, operation, at, text.into_bytes()))
}

fn loader_overwritten(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let at = place(recording, operation.entries.start, "EFI/BOOT", "BOOT")?;
    Ok(overwrite(recording, operation, at + (64 << 10), vec![0xa5; 512]))
}

fn objects_not_written(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let (start, size) = Replay::new(recording).at(operation.entries.start, Partitions::of)?.esp;
    let mut lost = 0;
    for entry in &mut recording.entries[operation.entries.clone()] {
        // Behind the ESP lies the root; its journal is written in smaller pieces than large objects are.
        if entry.length >= CONTENT && entry.start >= start + size {
            entry.action = Action::Nothing;
            lost += 1;
        }
    }
    ensure!(lost > 0, "the upgrade wrote no large object");
    Ok(operation.entries.len())
}

/// The boot sector, which has the mark, stays as it is.
fn not_marked(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let start = Replay::new(recording).at(operation.entries.start, Partitions::of)?.esp.0;
    let mut marks = 0;
    for entry in &mut recording.entries[operation.entries.clone()] {
        if entry.start == start {
            entry.action = Action::Nothing;
            marks += 1;
        }
    }
    ensure!(marks > 0, "the upgrade did not mark the ESP");
    Ok(operation.entries.len())
}

/// The document's bytes come when its name, and all else, is there.
fn name_before_generation(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let own = recording.entries[operation.entries.clone()].to_vec();
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for entry in own {
        let holds = recording.block_like(&entry, GENERATION)?.is_some();
        if holds { late.push(entry) } else { early.push(entry) }
    }
    ensure!(!late.is_empty(), "the change wrote no generation");
    recording.entries.splice(operation.entries.clone(), early.into_iter().chain([flush()]).chain(late));
    Ok(operation.entries.len() + 1)
}

/// The generation that counts before is no longer what it was.
fn generation_overwritten(recording: &mut Recording, operation: &Operation, _: &Ends) -> Result<usize> {
    let mut last = None;
    for entry in &recording.entries[..operation.entries.start] {
        last = recording.block_like(entry, GENERATION)?.or(last);
    }
    let at = last.context("nothing before wrote a generation")?;
    Ok(overwrite(recording, operation, at, vec![0xa5; 512]))
}

/// Judges recorded operations with each bug; none may pass.
pub fn caught(recorded: &Recorded, ends: &[Ends]) -> Result<()> {
    for (name, of, bug) in BUGS {
        let found = recorded.operations.iter().zip(ends).find(|(operation, _)| operation.name == *of);
        let (operation, ends) = found.with_context(|| format!("no {of} was recorded"))?;
        let mut oracle = Oracle::new();
        learn(&recorded.open()?, &mut oracle, std::slice::from_ref(operation))?;
        let mut recording = recorded.open()?;
        let length = bug(&mut recording, operation, ends)?;
        let end = operation.entries.start + length;
        let wrong = Operation { entries: operation.entries.start..end, returned: end, ..operation.clone() };
        let outcome = judge(&recording, &mut oracle, &wrong, ends, STATES, SEED)?;
        println!("seeded, {name}: {} states, {} violations", outcome.states, outcome.violations.len());
        let shown = outcome.violations.first().with_context(|| format!("{name} was not caught"))?;
        println!("  such as: {}", shown.what);
    }
    Ok(())
}
