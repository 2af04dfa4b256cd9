//! What was done at earlier boots and is not done again: a file beside the generations of a deployment's settings.
//!
//! ```text
//! <folder of settings>/bootstrap.json    mode 0600; written whole under another name, flushed, renamed, the folder flushed
//! ```
//!
//! It is no setting: what operators set stays as they set it. Documents are numbered on a node, whichever deployment is booted, so that
//! of several the newest counts: so it goes along with an upgrade and with a rollback.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Kind, Task};

/// Its name, in a folder of settings.
pub const FILE: &str = "bootstrap.json";
/// Its name until it is whole. No generation is called so, nor what becomes one.
const FRESH: &str = "bootstrap.fresh";
/// Bytes of it: more than all names there can be come to.
pub const MEMORY_BYTES: u64 = 256 << 10;

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no such document.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where it broke.
        source: serde_json::Error,
    },
}

/// That something succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mark {
    /// As it was then ([`Task::definition`]).
    pub definition: String,
    /// When, by the node's clock.
    pub at: DateTime<Utc>,
}

/// What succeeded, by kind and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// Which of several is the newest.
    pub revision: u64,
    #[serde(default)]
    commands: BTreeMap<String, Mark>,
    #[serde(default)]
    containers: BTreeMap<String, Mark>,
}

impl Memory {
    /// Whether this succeeded as it is.
    pub fn has(&self, task: &Task) -> bool {
        self.of(task.kind).get(&task.name).is_some_and(|mark| mark.definition == task.definition)
    }

    /// When it last succeeded as it is.
    pub fn when(&self, task: &Task) -> Option<DateTime<Utc>> {
        self.of(task.kind).get(&task.name).filter(|mark| mark.definition == task.definition).map(|mark| mark.at)
    }

    /// Remembers that it succeeded.
    pub fn mark(&mut self, task: &Task, at: DateTime<Utc>) {
        let all = match task.kind {
            Kind::Commands => &mut self.commands,
            Kind::Container => &mut self.containers,
        };
        all.insert(task.name.clone(), Mark { definition: task.definition.clone(), at });
        self.revision += 1;
    }

    /// Forgets what settings do not name any more.
    pub fn retain(&mut self, named: impl Fn(Kind, &str) -> bool) {
        self.commands.retain(|name, _| named(Kind::Commands, name));
        self.containers.retain(|name, _| named(Kind::Container, name));
    }

    fn of(&self, kind: Kind) -> &BTreeMap<String, Mark> {
        match kind {
            Kind::Commands => &self.commands,
            Kind::Container => &self.containers,
        }
    }

    /// Reads what is remembered in a folder; nothing where nothing is.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(folder: &Path) -> Result<Self, MemoryError> {
        let path = folder.join(FILE);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(io_at("reading", &path))?,
        };
        let mut bytes = Vec::new();
        // One that is longer is cut, and no document then.
        file.take(MEMORY_BYTES).read_to_end(&mut bytes).map_err(io_at("reading", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| MemoryError::Damaged { path, source })
    }

    /// Writes it down in a folder, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written: what was there before is there still.
    pub fn write(&self, folder: &Path) -> Result<(), MemoryError> {
        let (path, fresh) = (folder.join(FILE), folder.join(FRESH));
        let bytes = serde_json::to_vec(self).map_err(|source| MemoryError::Damaged { path: path.clone(), source })?;
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // What a power cut left.
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(io_at("writing", &path))
    }
}

fn io_at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> MemoryError + 'a {
    move |source| MemoryError::Io { doing, path: path.to_owned(), source }
}
