//! An ESP that a power cut left mounted.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rocketos_model::fat;
use rustix::fs::OFlags;

use crate::{DeployError, files};

/// An ESP that is to be mended. Nobody mounts it while this lives.
#[derive(Debug)]
pub struct UncleanEsp {
    path: PathBuf,
    _claim: File,
}

impl UncleanEsp {
    /// Its device.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The ESP that this machine booted from, where it was not unmounted; absent where it was, and where it is mounted now.
///
/// # Errors
/// When the machine was not booted from a deployment, or its ESP cannot be read.
pub fn unclean_esp() -> Result<Option<UncleanEsp>, DeployError> {
    let esp = PathBuf::from(files::booted()?.esp);
    // Opened so, a block device is nobody else's, and cannot be while it is mounted (open(2)).
    let exclusive = File::options().read(true).custom_flags(OFlags::EXCL.bits().cast_signed()).open(&esp);
    let mut claim = match exclusive {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(None),
        other => other.map_err(DeployError::io("opening", &esp))?,
    };
    let mut sector = [0; fat::SECTOR];
    claim.read_exact(&mut sector).map_err(DeployError::io("reading", &esp))?;
    Ok(fat::was_mounted(&sector).then_some(UncleanEsp { path: esp, _claim: claim }))
}
