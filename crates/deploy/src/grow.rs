//! Growing the root file system to the end of its partition.

use std::{fs::File, path::Path};

use rocketos_model::layout;
use rocketos_sys::{
    block, ext4,
    mount::{Access, clone_tree, fd_path},
};

use crate::{DeployError, files};

/// Grows the root file system where its partition has grown; returns the bytes it has now.
///
/// # Errors
/// When the machine was not booted from a deployment, or the file system cannot be grown.
pub fn grow_root() -> Result<u64, DeployError> {
    let booted = files::booted()?;
    let device = File::open(&booted.root).map_err(DeployError::io("opening", &booted.root))?;
    let size = block::size(&device).map_err(DeployError::io("asking for the size of", &booted.root))?;
    // Everybody else sees it read-only, and growing wants a writable mount.
    let mount = clone_tree(Path::new(layout::node::SYSROOT), Access::Writable)
        .map_err(|error| DeployError::Mount { doing: "mounting the root partition", source: error.into() })?;
    let top = fd_path(&mount);
    let directory = File::open(&top).map_err(DeployError::io("opening", &top))?;
    let failed =
        |error: rustix::io::Errno| DeployError::io("asking for the size of", layout::node::SYSROOT)(error.into());
    let now = rustix::fs::fstatvfs(&directory).map_err(failed)?;
    ext4::grow(&directory, size / now.f_frsize).map_err(DeployError::io("growing", layout::node::SYSROOT))?;
    let grown = rustix::fs::fstatvfs(&directory).map_err(failed)?;
    Ok(grown.f_blocks * grown.f_frsize)
}
