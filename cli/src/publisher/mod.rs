//! A publisher's directory.
//!
//! ```text
//! publisher.toml                     how long each role's documents hold
//! metadata/ targets/                 exactly what is published, to be served as it lies here
//! draft/root.json, draft/targets.json   the next documents, with the signatures they have so far
//! draft/targets/<sha256>.<name>      what the next targets document names and is not published yet
//! ```
//!
//! There is nothing secret in it: it may be copied to whoever signs.

mod disk;
mod report;
mod settings;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, bail, ensure};
use rocketos_trust::tuf::{
    TargetName,
    author::{Draft, Envelope, Publication, Repository, RootDocument, Top},
};
use rocketos_update::Channel;

pub use self::disk::{read as read_file, write_publication};
pub use self::report::Report;
pub use self::settings::Settings;

/// The settings.
const SETTINGS: &str = "publisher.toml";
/// The folder of what is not published.
const DRAFT: &str = "draft";
/// The target that is the policy nodes follow.
pub const POLICY: &str = "policy.toml";
/// What ends the name of a channel's document.
const CHANNEL: &str = ".json";
/// Bytes of the settings.
const SETTINGS_BYTES: u64 = 64 << 10;

/// The directory, held by one process at a time.
#[derive(Debug)]
pub struct Publisher {
    dir: PathBuf,
    /// How long documents hold.
    pub settings: Settings,
    /// What is published and drafted.
    pub repository: Repository,
    _lock: File,
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let handle = File::open(dir).with_context(|| format!("opening {}", dir.display()))?;
    match rustix::fs::flock(&handle, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(handle),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("another rocketctl is at work in {}", dir.display()),
        Err(error) => Err(io::Error::from(error)).with_context(|| format!("locking {}", dir.display())),
    }
}

impl Publisher {
    /// Begins one in a directory that has none.
    pub fn create(dir: &Path, settings: Settings) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let lock = lock(dir)?;
        for name in [SETTINGS, DRAFT, "metadata", "targets"] {
            let path = dir.join(name);
            ensure!(!path.exists(), "{} is there already; 'init' begins in a directory without it", path.display());
        }
        let repository = Repository::new(Publication::default(), Draft::default())?;
        Ok(Self { dir: dir.to_owned(), settings, repository, _lock: lock })
    }

    /// Reads one.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(SETTINGS);
        let text = disk::read(&path, SETTINGS_BYTES)?.with_context(|| {
            format!("{} is not there: 'release init' begins a publisher's directory, --dir names it", path.display())
        })?;
        let settings = Settings::parse(&text).with_context(|| format!("reading {}", path.display()))?;
        let lock = lock(dir)?;
        let reading = || format!("reading {}", dir.display());
        let published = Publication::new(disk::read_publication(dir)?);
        let draft = draft(&dir.join(DRAFT)).with_context(reading)?;
        let repository = Repository::new(published, draft).with_context(reading)?;
        Ok(Self { dir: dir.to_owned(), settings, repository, _lock: lock })
    }

    /// Writes the settings, for [`Publisher::create`]: last, so that there is all of it or nothing to open.
    pub fn save_settings(&self) -> anyhow::Result<()> {
        disk::write(&self.dir.join(SETTINGS), self.settings.text()?.as_bytes())
    }

    /// Writes what is drafted; what is drafted no more goes.
    pub fn save_draft(&self) -> anyhow::Result<()> {
        let folder = self.dir.join(DRAFT);
        let draft = self.repository.draft();
        for (path, bytes) in &draft.contents {
            disk::write_new(&folder.join("targets").join(path), bytes)?;
        }
        for (name, document) in [("root.json", &draft.root), ("targets.json", &draft.targets)] {
            match document {
                Some(document) => disk::write_new(&folder.join(name), &document.bytes())?,
                None => disk::remove(&folder.join(name))?,
            }
        }
        for name in disk::names(&folder.join("targets"))? {
            if !draft.contents.contains_key(&name) {
                disk::remove(&folder.join("targets").join(name))?;
            }
        }
        Ok(())
    }

    /// Makes `next` what is published, and drops the draft that it was made of.
    pub fn save_publication(&mut self, next: Publication) -> anyhow::Result<()> {
        write_publication(&self.dir, &next)?;
        self.repository = Repository::new(next, Draft::default())?;
        self.save_draft()
    }

    /// A channel as it is drafted, else as it is published.
    pub fn channel(&self, name: &str) -> anyhow::Result<Option<Channel>> {
        ensure!(
            Channel::is_name(name),
            "'{name}' is not a channel's name: lower-case letters, digits and inner hyphens"
        );
        let target = TargetName::new(&format!("{name}{CHANNEL}"))?;
        let bytes = self.repository.content(self.repository.targets()?.as_ref(), &target)?;
        bytes.map(Channel::parse).transpose().with_context(|| format!("reading the channel {name}"))
    }

    /// The same, where it has to be there.
    pub fn existing_channel(&self, name: &str) -> anyhow::Result<Channel> {
        self.channel(name)?.with_context(|| format!("there is no channel {name}; 'release add' begins one"))
    }

    /// Drafts a channel.
    pub fn draft_channel(&mut self, channel: &Channel) -> anyhow::Result<usize> {
        let bytes = channel.to_bytes()?;
        self.draft_target(&format!("{}{CHANNEL}", channel.channel), Some(bytes))
    }

    /// Drafts a target, or that there is none any more; returns how many signatures that costs.
    pub fn draft_target(&mut self, name: &str, bytes: Option<Vec<u8>>) -> anyhow::Result<usize> {
        self.repository.root()?;
        let expires = self.settings.expiry(Top::Targets, SystemTime::now())?;
        Ok(self.repository.draft_targets(vec![(TargetName::new(name)?, bytes)], expires)?)
    }

    /// Drafts a root that holds for as long as roots do.
    pub fn draft_root(&mut self, mut root: RootDocument) -> anyhow::Result<usize> {
        root.expires = self.settings.expiry(Top::Root, SystemTime::now())?;
        Ok(self.repository.draft_root(root)?)
    }

    /// Writes the draft, and says what it is now.
    pub fn finish(&self, lost: usize, json: bool) -> anyhow::Result<()> {
        let report = Report::new(&self.repository, lost)?;
        self.save_draft()?;
        report.print(json);
        Ok(())
    }
}

fn draft(folder: &Path) -> anyhow::Result<Draft> {
    let read = |role: Top| -> anyhow::Result<Option<Envelope>> {
        let path = folder.join(format!("{role}.json"));
        let bytes = disk::read(&path, disk::FILE_BYTES)?;
        bytes.map(|bytes| Envelope::parse(role, &bytes)).transpose().with_context(|| path.display().to_string())
    };
    let mut draft = Draft { root: read(Top::Root)?, targets: read(Top::Targets)?, ..Draft::default() };
    for name in disk::names(&folder.join("targets"))? {
        if let Some(bytes) = disk::read(&folder.join("targets").join(&name), disk::FILE_BYTES)? {
            draft.contents.insert(name, bytes);
        }
    }
    Ok(draft)
}
