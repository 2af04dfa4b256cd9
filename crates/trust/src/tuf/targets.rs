//! Targets: the bytes that metadata speaks of (specification 5.7).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    Fresh, Role, TargetName, TufError, limits,
    metadata::TargetFile,
    state::{Unfinished, disk},
    transport::{Check, Place, Transport, read},
};

/// What a trusted role says of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// Its length and digests, and what its owner says besides.
    pub file: TargetFile,
    /// Who says so.
    pub role: Role,
    /// Where the repository has it.
    pub(super) path: String,
}

/// Where a target is after [`Fresh::save`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It was there already; nothing was asked of the repository.
    Present(PathBuf),
    /// It was fetched.
    Fetched(PathBuf),
}

impl<T: Transport> Fresh<'_, T> {
    /// Reads a small target into memory.
    ///
    /// # Errors
    /// When it is not there, not what was signed, or larger than [`limits::TARGET_BYTES_IN_MEMORY`].
    pub async fn fetch(&self, target: &Target) -> Result<Vec<u8>, TufError> {
        let mut bytes = Vec::new();
        let take = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        self.stream(target, limits::TARGET_BYTES_IN_MEMORY, take).await?;
        Ok(bytes)
    }

    /// Puts a target into a folder under one name, [`TargetName::file_name`]; it has that name only when it is complete
    /// and verified. One that is there already and is the right one is not fetched.
    ///
    /// # Errors
    /// When it is not there, not what was signed, or cannot be written.
    pub async fn save(&self, target: &Target, folder: &Path) -> Result<Saved, TufError> {
        let name = target.name.file_name()?;
        let path = folder.join(&name);
        if matches(&path, target)? {
            return Ok(Saved::Present(path));
        }
        let handle = File::open(folder).map_err(disk("opening", folder))?;
        let mut file = Unfinished::new(folder, &handle, &name)?;
        self.stream(target, limits::TARGET_BYTES, |piece| file.write(|file| file.write_all(piece))).await?;
        file.finish()?;
        Ok(Saved::Fetched(path))
    }

    async fn stream(
        &self,
        target: &Target,
        limit: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), TufError> + Send,
    ) -> Result<(), TufError> {
        let file = target.name.to_string();
        if target.file.length > limit {
            return Err(TufError::TooLarge { file, limit });
        }
        let mut check = Check::new(&file, Some(target.file.length), &target.file.digests);
        let take = |piece: &[u8]| {
            check.update(piece);
            sink(piece)
        };
        match read(&self.client.transport, Place::Target(&target.path), target.file.length, take).await? {
            true => check.finish(),
            false => Err(TufError::Missing { file }),
        }
    }
}

/// True where a regular file with exactly the target's bytes is there.
fn matches(path: &Path, target: &Target) -> Result<bool, TufError> {
    const PIECE: usize = 64 << 10;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(disk("reading", path)(error)),
    };
    let kind = file.metadata().map_err(disk("reading", path))?;
    if !kind.is_file() || kind.len() != target.file.length {
        return Ok(false);
    }
    let name = target.name.to_string();
    let mut check = Check::new(&name, Some(target.file.length), &target.file.digests);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(disk("reading", path))? {
            0 => return Ok(check.finish().is_ok()),
            read => check.update(&piece[..read]),
        }
    }
}
