//! A commit as a kernel writes it, made with e2fsprogs, and every state that a cut may leave of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use chrono::DateTime;
use rocketos_settings::store::Store;

use super::*;
use crate::bytes::be32;
use crate::disk::{BLOCK, Recording};
use crate::log::{Action, Entry};
use crate::replay::Replay;
use crate::sample::{Random, State, states};

const SIZE: u64 = 16 << 20;
const ID: &str = "0123456789abcdef0123456789abcdef";
/// First bytes of a journal's block, and the kind of one that ends a transaction.
const JOURNAL: u32 = 0xc03b_3998;
const COMMIT: u32 = 2;
/// States that are judged.
const STATES: usize = 400;
/// Sectors of a generation: enough to be torn.
const LONG: usize = 3000;

fn run(program: &str, arguments: &[&str], file: &Path) {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // debugfs says that something failed, and ends well.
    let failed = said.lines().skip(1).any(|line| line.contains(": "));
    assert!(output.status.success() && !(program == "debugfs" && failed), "{program}: {said}");
}

fn debugfs(commands: &str, file: &Path) {
    let list = file.with_extension("commands");
    std::fs::write(&list, commands).unwrap();
    run("debugfs", &["-w", "-f", &list.display().to_string()], file);
}

/// Stores one more generation.
fn set(store: &Store, motd: &str) -> u64 {
    let generation = store.current().unwrap().generation;
    let mut content = generation.content;
    content.set(&"motd".parse().unwrap(), motd.repeat(LONG).into(), "uid 0", DateTime::UNIX_EPOCH).unwrap();
    store.commit(generation.number, content, "uid 0", "", DateTime::UNIX_EPOCH).unwrap().number
}

fn file_of(number: u64) -> String {
    format!("{number:010}.json")
}

/// What differs, by block.
fn changed(before: &Path, after: &Path) -> Vec<(u64, Vec<u8>)> {
    let (before, after) = (std::fs::read(before).unwrap(), std::fs::read(after).unwrap());
    let blocks = before.chunks(BLOCK).zip(after.chunks(BLOCK)).zip(0..);
    blocks.filter(|((before, after), _)| before != after).map(|((_, after), number)| (number, after.to_vec())).collect()
}

fn write(number: u64, bytes: &[u8]) -> Entry {
    let (length, action) = (bytes.len() as u64, Action::Bytes(Rc::from(bytes)));
    Entry { start: number * BLOCK as u64, length, action, flush: false, fua: false }
}

fn flush() -> Entry {
    Entry { start: 0, length: 0, action: Action::Nothing, flush: true, fua: false }
}

/// A commit of the third generation, in requests: the journal is opened, flushed; the document; what the journal holds; its end.
struct Commit {
    folder: tempfile::TempDir,
    base: PathBuf,
    opened: Vec<Entry>,
    document: Vec<Entry>,
    journal: Vec<Entry>,
    end: Vec<Entry>,
}

impl Commit {
    fn recorded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [tree, base, done, journaled] = ["tree", "base", "done", "journaled"].map(|name| folder.path().join(name));
        let inside = layout::deployment_settings(&ID.parse().unwrap());
        let store = Store::open(&tree.join(&inside)).unwrap();
        assert_eq!((set(&store, "a"), set(&store, "b")), (1, 2));
        std::fs::File::create(&base).unwrap().set_len(SIZE).unwrap();
        let features = "verity,metadata_csum,64bit";
        let from = tree.display().to_string();
        run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "4096", "-O", features, "-d", &from], &base);
        assert_eq!(set(&store, "c"), 3);
        let document = tree.join(&inside).join(file_of(3));
        let bytes = std::fs::metadata(&document).unwrap().len();
        assert!(bytes > 512 && bytes < BLOCK as u64);
        std::fs::copy(&base, &done).unwrap();
        debugfs(&format!("cd /{inside}\nwrite {} {}\n", document.display(), file_of(3)), &done);

        let text = std::fs::read(&document).unwrap();
        let (document, meta): (Vec<_>, Vec<_>) =
            changed(&base, &done).into_iter().partition(|(_, bytes)| bytes.starts_with(&text));
        assert_eq!(document.len(), 1);
        let (content, numbers) = (folder.path().join("meta"), meta.iter().map(|(number, _)| number.to_string()));
        let numbers = numbers.collect::<Vec<_>>().join(",");
        std::fs::write(&content, meta.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>()).unwrap();
        std::fs::copy(&base, &journaled).unwrap();
        debugfs(&format!("jo -c\njw -b {numbers} {}\njc\n", content.display()), &journaled);

        let all = |blocks: Vec<(u64, Vec<u8>)>| -> Vec<Entry> {
            blocks.iter().map(|(number, bytes)| write(*number, bytes)).collect()
        };
        let ends = |bytes: &[u8]| be32(bytes, 0) == JOURNAL && be32(bytes, 4) == COMMIT;
        let opens = |number: u64, bytes: &[u8]| number == 0 || (be32(bytes, 0) == JOURNAL && be32(bytes, 4) > COMMIT);
        let (end, rest): (Vec<_>, Vec<_>) = changed(&base, &journaled).into_iter().partition(|(_, bytes)| ends(bytes));
        let (opened, journal): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(number, bytes)| opens(*number, bytes));
        assert!(end.len() == 1 && !opened.is_empty() && journal.len() > meta.len(), "{} {}", end.len(), journal.len());
        // First the journal says what it holds, then the file system that there is something in it.
        let opened = all(opened).into_iter().rev().flat_map(|one| [one, flush()]).collect();
        let document = all(document);
        Self { folder, base, opened, document, journal: all(journal), end: all(end) }
    }

    /// As it is done right.
    fn requests(&self) -> Vec<Entry> {
        let Self { opened, document, journal, end, .. } = self;
        let parts = [opened, document, journal, end];
        parts.iter().flat_map(|part| part.iter().cloned().chain([flush()])).collect()
    }

    /// Judges the states of some requests; which generations counted, and what was wrong.
    fn judged(&self, requests: Vec<Entry>) -> (BTreeMap<u64, usize>, Vec<String>) {
        assert!(self.folder.path().exists());
        let mut recording = Recording::without_requests(&self.base).unwrap();
        recording.entries = self.requests();
        let (mut files, mut memory) = (Files::default(), Memory::default());
        let mut look = |recording: &Recording, state: &State| {
            Replay::new(recording).state(state, |view| {
                let root = Ext4::mount(view, 0, SIZE, &mut files)?;
                Stored::of(&root, &ID.parse().unwrap(), &mut files, &mut memory)
            })
        };
        let nothing = |cut| State { cut, kept: Vec::new() };
        let before = look(&recording, &nothing(0)).unwrap();
        let after = look(&recording, &nothing(recording.entries.len())).unwrap();
        assert_eq!((before.newest(), after.newest()), (2, 3));

        recording.entries = requests;
        let all = 0..recording.entries.len();
        let (mut counted, mut wrong) = (BTreeMap::new(), Vec::new());
        for state in states(&recording.entries, &all, STATES, &mut Random::new(5), &mut HashSet::new()) {
            match look(&recording, &state) {
                Ok(found) => {
                    *counted.entry(found.newest()).or_default() += 1;
                    wrong.extend(found.judge(Some(&before), Some(&after), state.cut >= all.end).err());
                }
                Err(Fault::Superblock) if state.is_torn() => {}
                Err(fault) => wrong.push(fault.to_string()),
            }
        }
        (counted, wrong)
    }
}

#[test]
fn a_cut_leaves_the_generation_before_or_the_new_one() {
    let commit = Commit::recorded();
    let (counted, wrong) = commit.judged(commit.requests());
    assert_eq!(wrong, [""; 0]);
    assert_eq!(counted.keys().copied().collect::<Vec<_>>(), [2, 3]);
    assert!(counted.values().all(|times| *times > 1), "{counted:?}");
}

#[test]
fn a_document_that_is_flushed_after_its_name_is_caught() {
    let commit = Commit::recorded();
    let Commit { opened, document, journal, end, .. } = &commit;
    let parts = [opened, journal, end, document];
    let (_, wrong) = commit.judged(parts.iter().flat_map(|part| part.iter().cloned().chain([flush()])).collect());
    assert!(wrong.iter().any(|wrong| wrong.contains(&file_of(3)) && wrong.contains("cut off")), "{wrong:?}");
    // Not flushed at all, and so in any order.
    let (_, wrong) = commit.judged([opened, document, journal, end].into_iter().flatten().cloned().collect());
    assert!(wrong.iter().any(|wrong| wrong.contains("cut off")), "{wrong:?}");
}

#[test]
fn a_name_that_is_not_flushed_when_the_change_returns_is_caught() {
    let commit = Commit::recorded();
    let mut requests = commit.requests();
    requests.pop();
    let (_, wrong) = commit.judged(requests);
    assert_eq!(wrong.iter().collect::<HashSet<_>>().len(), 1);
    assert_eq!(wrong[0], "generation 2 counts, and 3 was stored");
}

#[test]
fn a_generation_that_is_written_again_where_it_lies_is_caught() {
    let commit = Commit::recorded();
    let base = std::fs::read(&commit.base).unwrap();
    let second = (0..).zip(base.chunks(BLOCK)).find_map(|(number, bytes)| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        (text.starts_with("{\"format\"") && text.contains("\"generation\":2,")).then_some(number)
    });
    // One that is whole, but for another deployment or with other words.
    let other = tempfile::tempdir().unwrap();
    let store = Store::open(other.path()).unwrap();
    assert_eq!((set(&store, "x"), set(&store, "y")), (1, 2));
    let mut bytes = std::fs::read(other.path().join(file_of(2))).unwrap();
    bytes.resize(BLOCK, 0);
    let requests = commit.requests().into_iter().chain([write(second.unwrap(), &bytes), flush()]);
    let (_, wrong) = commit.judged(requests.collect());
    assert!(wrong.iter().any(|wrong| wrong == "generation 2 is another than it was"), "{wrong:?}");
    assert!(wrong.iter().any(|wrong| wrong.contains("its SHA-256 is another")), "{wrong:?}");
}

#[test]
fn what_counts_is_between_before_and_after_and_its_history_is_there() {
    let of = |numbers: std::ops::RangeInclusive<u64>| Stored(numbers.map(|number| (number, [0; 32])).collect());
    let judged = |found: &Stored, before: Option<&Stored>, after: Option<&Stored>, returned| {
        found.judge(before, after, returned).err().unwrap_or_default()
    };
    let (before, after) = (of(5..=36), of(9..=40));
    for newest in 36..=40 {
        assert_eq!(judged(&of(newest - 31..=newest), Some(&before), Some(&after), false), "");
        // What was to go may still be there.
        assert_eq!(judged(&of(5..=newest), Some(&before), Some(&after), false), "");
    }
    for (found, says) in [
        (of(5..=35), "generation 35 counts, expected 36 to 40"),
        (of(9..=41), "generation 41 counts, expected 36 to 40"),
        (of(8..=38), "generation 7 is lost, and 38 counts"),
        (Stored::default(), "generation 0 counts, expected 36 to 40"),
    ] {
        assert_eq!(judged(&found, Some(&before), Some(&after), false), says);
    }
    let mut gap = of(5..=39);
    gap.0.remove(&38);
    assert_eq!(judged(&gap, Some(&before), Some(&after), false), "generation 38 is lost, and 39 counts");
    assert_eq!(judged(&of(8..=39), Some(&before), Some(&after), true), "generation 39 counts, and 40 was stored");
    // The first of a deployment, one that is removed, and one of which nothing is known.
    assert_eq!(judged(&of(1..=1), None, Some(&of(1..=1)), false), "");
    assert_eq!(judged(&before, Some(&before), None, true), "");
    assert_eq!(judged(&of(5..=35), Some(&before), None, false), "generation 35 counts, expected 36 to 36");
    assert_eq!(judged(&of(1..=7), None, None, true), "");
}
