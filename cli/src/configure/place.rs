//! Files below a root: which are there, which settings placed, and putting others in their place.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use rocketos_model::layout;
use rocketos_settings::{
    plan::{Manifest, Seen},
    render::Files,
};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{ConfigureError, error::io_at};

/// Bytes of a file that stands where settings place one.
const FILE_BYTES: u64 = 8 << 20;
/// Bytes of what is written down of files that are in place.
const MANIFEST_BYTES: u64 = 8 << 20;
/// What settings placed, in [`layout::node::PLACED`].
const MANIFEST: &str = "placed.json";
/// What was there before settings placed something, below it by the same paths.
const KEPT: &str = "kept";
/// Where files are whole before they are in place; on the file system that they go to.
const FRESH: &str = "fresh";
/// Whose turn it is, in [`layout::node::SETTINGS`].
const TURN: &str = "turn";
/// What is in memory and not in /etc.
const RUN: &str = "run/";

/// What a path has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A file.
    File { bytes: Vec<u8>, mode: u32 },
    /// A link: an image's own.
    Link(PathBuf),
}

impl Content {
    fn seen(&self) -> Seen {
        match self {
            Self::File { bytes, mode } => Seen::of(bytes, *mode),
            // Never as a rendered file is: no file has this mode.
            Self::Link(target) => Seen::of(target.as_os_str().as_encoded_bytes(), u32::MAX),
        }
    }
}

/// The files of a root.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: PathBuf,
}

/// Whose turn it is to change something, as long as it is there.
pub(super) struct Turn(#[allow(dead_code, reason = "held for its lock")] File);

impl Place {
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path of the node below the root.
    pub fn beneath(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The folder of receipts.
    pub fn receipts(&self) -> PathBuf {
        self.beneath(layout::node::SETTINGS)
    }

    fn placed(&self) -> PathBuf {
        self.beneath(layout::node::PLACED)
    }

    /// Waits until nobody else changes anything.
    pub fn turn(&self) -> Result<Turn, ConfigureError> {
        let folder = self.receipts();
        folder_at(&folder, 0o755)?;
        let path = folder.join(TURN);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(io_at("opening", &path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| io_at("locking", &path)(error.into()))?;
        Ok(Turn(file))
    }

    /// What settings placed.
    pub fn manifest(&self) -> Result<Manifest, ConfigureError> {
        let path = self.placed().join(MANIFEST);
        let Some(bytes) = read_file(&path, MANIFEST_BYTES)? else { return Ok(Manifest::default()) };
        serde_json::from_slice(&bytes).map_err(|source| ConfigureError::Format { path, source })
    }

    /// Writes down what settings placed; where that is nothing, and was, there is no file.
    pub fn set_manifest(&self, manifest: &Manifest) -> Result<(), ConfigureError> {
        let path = self.placed().join(MANIFEST);
        if *manifest == Manifest::default() && !path.exists() {
            return Ok(());
        }
        folder_at(&self.placed(), 0o700)?;
        write_document(&path, manifest, 0o600)
    }

    /// What is at each of these paths.
    pub fn found<'a>(&self, paths: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, Seen>, ConfigureError> {
        let seen = |path: &String| Ok(self.read(path)?.map(|content| (path.clone(), content.seen())));
        paths.filter_map(|path| seen(path).transpose()).collect()
    }

    /// What is at a path.
    pub fn read(&self, path: &str) -> Result<Option<Content>, ConfigureError> {
        read_content(&self.root.join(path))
    }

    /// What was at a path before settings placed something.
    pub fn kept(&self, path: &str) -> Result<Option<Content>, ConfigureError> {
        read_content(&self.placed().join(KEPT).join(path))
    }

    /// The bytes of the file to which a link in a folder leads; absent where there is none.
    pub fn linked(&self, folder: &Path, target: &Path) -> Result<Option<Vec<u8>>, ConfigureError> {
        let path = match target.strip_prefix("/") {
            Ok(below) => self.root.join(below),
            Err(_) => folder.join(target),
        };
        read_file(&path, FILE_BYTES)
    }

    /// Keeps what is at a path.
    pub fn keep(&self, path: &str) -> Result<(), ConfigureError> {
        let Some(content) = self.read(path)? else { return Ok(()) };
        folder_at(&self.placed(), 0o700)?;
        write_content(&self.placed().join(KEPT).join(path), &content)
    }

    /// Forgets what was kept of these paths.
    pub fn forget(&self, paths: &[String]) {
        for path in paths {
            // What is left over is written again before it is read.
            let _ = fs::remove_file(self.placed().join(KEPT).join(path));
        }
    }

    /// Where what goes to `path` is whole before it is in place.
    fn fresh(&self, path: &str) -> PathBuf {
        self.fresh_folder(path).join(path)
    }

    fn fresh_folder(&self, path: &str) -> PathBuf {
        if path.starts_with(RUN) { self.receipts().join(FRESH) } else { self.placed().join(FRESH) }
    }

    /// The folder in which fresh files of /etc lie by their paths.
    pub fn fresh_etc(&self) -> PathBuf {
        self.fresh_folder("etc")
    }

    /// Empties the folders of fresh files.
    pub fn clear_fresh(&self) -> Result<(), ConfigureError> {
        for folder in [self.fresh_folder(RUN), self.fresh_etc()] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at("emptying", folder)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes files where nobody reads them yet.
    pub fn stage(&self, files: &Files, paths: &[String]) -> Result<(), ConfigureError> {
        for path in paths {
            let Some(file) = files.all().get(path) else { continue };
            self.stage_one(path, &Content::File { bytes: file.bytes.clone(), mode: file.mode })?;
        }
        Ok(())
    }

    fn stage_one(&self, path: &str, content: &Content) -> Result<(), ConfigureError> {
        if !path.starts_with(RUN) {
            folder_at(&self.placed(), 0o700)?;
        }
        folder_at(&self.fresh_folder(path), 0o700)?;
        write_content(&self.fresh(path), content)
    }

    /// Puts what was staged for a path in its place, at once.
    pub fn swap(&self, path: &str, private: bool) -> Result<(), ConfigureError> {
        let to = self.root.join(path);
        if let Some(above) = to.parent() {
            // What holds a secret is its reader's alone, as podman makes it.
            folder_at(above, if private { 0o700 } else { 0o755 })?;
        }
        fs::rename(self.fresh(path), &to).map_err(io_at("writing", to))
    }

    /// Gives a path this content, or none.
    pub fn put(&self, path: &str, content: Option<&Content>) -> Result<(), ConfigureError> {
        let at = self.root.join(path);
        match content {
            Some(content) => {
                self.stage_one(path, content)?;
                let private = matches!(content, Content::File { mode, .. } if Manifest::is_secret(*mode));
                self.swap(path, private)
            }
            None => match fs::remove_file(&at) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at("removing", at)(error)),
                _ => Ok(()),
            },
        }
    }
}

/// Makes a folder and those above it. One that is there stays as it is.
fn folder_at(path: &Path, mode: u32) -> Result<(), ConfigureError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        folder_at(above, 0o755)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_at("making", path)(error)),
        _ => Ok(()),
    }
}

fn read_content(path: &Path) -> Result<Option<Content>, ConfigureError> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.map_err(io_at("reading", path))?,
    };
    if meta.is_symlink() {
        return Ok(Some(Content::Link(fs::read_link(path).map_err(io_at("reading", path))?)));
    }
    if !meta.is_file() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no file, and settings place one there");
        return Err(io_at("reading", path)(error));
    }
    let bytes = read_file(path, FILE_BYTES)?.unwrap_or_default();
    Ok(Some(Content::File { bytes, mode: meta.permissions().mode() & 0o7777 }))
}

/// The bytes of a file; absent where there is none.
fn read_file(path: &Path, most: u64) -> Result<Option<Vec<u8>>, ConfigureError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io_at("reading", path))?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(io_at("reading", path))?;
    if bytes.len() as u64 > most {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"));
        return Err(io_at("reading", path)(error));
    }
    Ok(Some(bytes))
}

/// Writes a file that nobody reads yet, in the place of one that was left over.
fn write_content(path: &Path, content: &Content) -> Result<(), ConfigureError> {
    if let Some(above) = path.parent() {
        folder_at(above, 0o700)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at("removing", path)(error)),
        _ => {}
    }
    let write = || match content {
        Content::Link(target) => symlink(target, path),
        Content::File { bytes, mode } => {
            // Nobody else's before it has its permissions.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            file.set_permissions(Permissions::from_mode(*mode))
        }
    };
    write().map_err(io_at("writing", path))
}

/// Writes a document, whole or not at all.
pub(super) fn write_document(path: &Path, document: &impl Serialize, mode: u32) -> Result<(), ConfigureError> {
    let bytes =
        serde_json::to_vec(document).map_err(|source| ConfigureError::Format { path: path.to_owned(), source })?;
    let unfinished = path.with_extension("unfinished");
    write_content(&unfinished, &Content::File { bytes, mode })?;
    fs::rename(&unfinished, path).map_err(io_at("writing", path))
}

/// Reads a document; absent where there is none.
pub(super) fn read_document<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ConfigureError> {
    let Some(bytes) = read_file(path, MANIFEST_BYTES)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| ConfigureError::Format { path: path.to_owned(), source })
}
