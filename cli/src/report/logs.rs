//! What a node has to say of itself, for who is to find out what is wrong with it: one archive, without secrets.
//!
//! ```text
//! built in      what status, settings, receipts, health checks and the boot's times say
//! report.d      files, lines of the journal, programs: declared by image, run time and administrator
//!   -> each read to a limit -> secrets taken out -> a member, or why there is none -> manifest, archive
//! ```
//!
//! What cannot be had is no error: a report is wanted most where much is wrong. That secrets are not known is one: nothing is taken then.

mod archive;
mod declared;
mod limits;
mod withheld;

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    declared::{Command, Declaration, Files, Journal},
    withheld::Withheld,
};
use crate::{
    adapters::{journalctl, kept::Kept, transient::Unit},
    exit,
};

pub use self::archive::manifest;

/// The version of a manifest's form.
const FORM: u32 = 1;

/// What is in an archive, and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Of this form.
    pub version: u32,
    /// When it was taken, by the node's clock.
    pub taken: DateTime<Utc>,
    /// Everything that was to be taken, in order.
    pub entries: Vec<Entry>,
}

/// Something that was to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its path in the archive; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// What it is, in words.
    pub what: String,
    /// Who wants it: `built-in`, or the name of a file in report.d.
    pub by: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is not there or not whole, or what a program ended with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Bytes that there are of it in the archive.
    pub bytes: u64,
    /// How many secrets were taken out.
    pub withheld: usize,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is there, whole.
    Taken,
    /// Its end is there.
    Truncated,
    /// There is no such thing.
    Absent,
    /// It could not be had.
    Failed,
}

/// A file of the archive.
pub struct Member {
    path: String,
    bytes: Vec<u8>,
}

/// Where what a report has is from.
pub trait Sources {
    /// Every text that is shown to nobody.
    fn hidden(&self) -> anyhow::Result<BTreeSet<String>>;
    /// Documents that every report has, by name, in order.
    fn documents(&self) -> Vec<(&'static str, anyhow::Result<Option<Value>>)>;
    /// The root of files.
    fn root(&self) -> &Path;
    /// Has lines of the journal taken in; false where there is no such boot.
    fn journal(&self, lines: &journalctl::Lines<'_>, out: &mut Kept) -> anyhow::Result<bool> {
        journalctl::take(lines, out)
    }
    /// Has a program's words taken in, and says with what it ended.
    fn command(&self, command: &Command, out: &mut Kept) -> anyhow::Result<i32> {
        let unit = Unit::new("report", &format!("Report: {}", command.command[0]), &command.command);
        unit.literally().run(command.timeout, out)
    }
}

/// Takes a report.
///
/// # Errors
/// When nobody knows what is secret, or it cannot be packed.
pub fn take(sources: &dyn Sources) -> anyhow::Result<Vec<u8>> {
    let hidden =
        sources.hidden().context("asking which texts of settings are secret; without that nothing is taken")?;
    let withheld = Withheld::new(&hidden).context("reading what looks like a secret")?;
    let mut taking =
        Taking { sources, withheld, members: Vec::new(), entries: Vec::new(), bytes: 0, began: Instant::now() };
    for (name, document) in sources.documents() {
        taking.document(name, document);
    }
    let declared = declared::all(sources.root()).context("looking for what is declared")?;
    for (name, declaration) in declared {
        match declaration {
            Ok(declaration) => taking.declaration(&name, &declaration),
            Err(why) => taking.none(&format!("report.d/{name}.toml"), &name, Outcome::Failed, &why),
        }
    }
    let manifest = Manifest { version: FORM, taken: Utc::now(), entries: taking.entries };
    archive::pack(&manifest, &taking.members)
}

/// A report that is being taken.
struct Taking<'a> {
    sources: &'a dyn Sources,
    withheld: Withheld,
    members: Vec<Member>,
    entries: Vec<Entry>,
    bytes: u64,
    began: Instant,
}

impl Taking<'_> {
    /// That something is not there.
    fn none(&mut self, what: &str, by: &str, outcome: Outcome, why: &str) {
        if self.entries.len() < limits::MEMBERS {
            let why = Some(self.withheld.told_text(why)).filter(|why| !why.is_empty());
            let (what, by) = (self.withheld.told_text(what), by.to_owned());
            self.entries.push(Entry { path: None, what, by, outcome, why, bytes: 0, withheld: 0 });
        }
    }

    /// That something is there: the end of it, of which so many bytes are wanted.
    fn some(&mut self, path: String, what: &str, by: &str, kept: Kept, most: u64, why: Option<String>) {
        let came = kept.came;
        let bytes = kept.into_bytes();
        let from = bytes.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        let told = self.withheld.told(&bytes, from);
        let size = told.bytes.len() as u64;
        if self.entries.len() >= limits::MEMBERS || self.bytes + size > limits::BYTES {
            let most = format!("a report has at most {} members and {} bytes", limits::MEMBERS, limits::BYTES);
            return self.none(what, by, Outcome::Failed, &most);
        }
        let (outcome, cut) = match came > most {
            true => (Outcome::Truncated, Some(format!("the end of {came} bytes"))),
            false => (Outcome::Taken, None),
        };
        let why: Vec<String> = [cut, why.map(|why| self.withheld.told_text(&why))].into_iter().flatten().collect();
        self.bytes += size;
        self.entries.push(Entry {
            path: Some(path.clone()),
            what: self.withheld.told_text(what),
            by: by.to_owned(),
            outcome,
            why: (!why.is_empty()).then(|| why.join("; ")),
            bytes: size,
            withheld: told.withheld,
        });
        self.members.push(Member { path, bytes: told.bytes });
    }

    /// Something to take in the last `most` bytes of, with enough before them that no secret is cut.
    fn kept(&self, most: u64) -> Kept {
        Kept::of(usize::try_from(most).unwrap_or(usize::MAX).saturating_add(self.withheld.longest()))
    }

    fn document(&mut self, name: &str, document: anyhow::Result<Option<Value>>) {
        const BY: &str = "built-in";
        match document {
            Ok(Some(value)) => {
                let mut kept = self.kept(limits::MEMBER_BYTES);
                kept.add(format!("{value:#}\n").as_bytes());
                self.some(format!("{name}.json"), name, BY, kept, limits::MEMBER_BYTES, None);
            }
            Ok(None) => self.none(name, BY, Outcome::Absent, ""),
            Err(error) => self.none(name, BY, Outcome::Failed, &exit::chain(&error)),
        }
    }

    fn declaration(&mut self, by: &str, Declaration { file, journal, command }: &Declaration) {
        for files in file {
            self.files(by, files);
        }
        for journal in journal {
            self.journal(by, journal);
        }
        for command in command {
            self.command(by, command);
        }
    }

    fn files(&mut self, by: &str, Files { paths, bytes }: &Files) {
        for path in paths {
            let mut kept = self.kept(*bytes);
            match read(&self.sources.root().join(&path[1..]), &mut kept, *bytes, self.withheld.longest()) {
                Ok(()) => self.some(format!("{by}/files{path}"), path, by, kept, *bytes, None),
                Err(error) if error.kind() == ErrorKind::NotFound => self.none(path, by, Outcome::Absent, ""),
                Err(error) => self.none(path, by, Outcome::Failed, &error.to_string()),
            }
        }
    }

    fn journal(&mut self, by: &str, journal: &Journal) {
        let what = format!("journal {}", journal.name);
        let lines = journalctl::Lines {
            unit: journal.unit.as_deref(),
            boot: journal.boot,
            priority: journal.priority.map(declared::Priority::name),
            lines: journal.lines,
        };
        let mut kept = self.kept(limits::MEMBER_BYTES);
        match self.sources.journal(&lines, &mut kept) {
            Ok(true) => {
                self.some(format!("{by}/journal/{}.log", journal.name), &what, by, kept, limits::MEMBER_BYTES, None)
            }
            Ok(false) => self.none(&what, by, Outcome::Absent, "there is no such boot"),
            Err(error) => self.none(&what, by, Outcome::Failed, &exit::chain(&error)),
        }
    }

    fn command(&mut self, by: &str, command: &Command) {
        let what = command.command.join(" ");
        if !self.sources.root().join(&command.command[0][1..]).exists() {
            return self.none(&what, by, Outcome::Absent, "there is no such program");
        }
        if self.began.elapsed() >= limits::TIME_OF_ALL {
            let why = format!("programs took {} s together", limits::TIME_OF_ALL.as_secs());
            return self.none(&what, by, Outcome::Failed, &why);
        }
        let mut kept = self.kept(command.bytes);
        let (ended, why) = match self.sources.command(command, &mut kept) {
            Ok(0) => (true, None),
            Ok(code) => (true, Some(format!("it ended with {code}"))),
            Err(error) => (false, Some(exit::chain(&error))),
        };
        match ended || kept.came > 0 {
            true => self.some(format!("{by}/commands/{}.txt", command.name), &what, by, kept, command.bytes, why),
            false => self.none(&what, by, Outcome::Failed, &why.unwrap_or_default()),
        }
    }
}

/// Takes the end of a file in: `most` bytes, and `before` of those before them.
fn read(path: &Path, kept: &mut Kept, most: u64, before: usize) -> io::Result<()> {
    // A pipe that nobody writes to is not waited for.
    let mut file =
        OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let wanted = most.saturating_add(before as u64);
    // What the kernel makes when it is read says that it is empty.
    if let Some(passed) = facts.len().checked_sub(wanted) {
        file.seek(SeekFrom::Start(passed))?;
        kept.came = passed;
    }
    let mut file: io::Take<File> = file.take(limits::BYTES);
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            read => kept.add(&chunk[..read]),
        }
    }
}

/// Where a report goes that nobody named a file for.
pub fn usual_name(taken: DateTime<Utc>) -> PathBuf {
    format!("{}-{}.tar.gz", archive::FOLDER, taken.format("%Y%m%dT%H%M%SZ")).into()
}

#[cfg(test)]
mod tests;
