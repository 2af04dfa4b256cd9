//! Kernels on the ESP.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rocketos_model::{DeploymentId, layout, limits};

use crate::{BootError, files};

/// Bytes we leave free, for the entry, the directories and FAT's own rounding.
const RESERVE: u64 = 1 << 20;

/// A mounted EFI system partition.
#[derive(Debug)]
pub struct Esp {
    pub(crate) top: PathBuf,
}

impl Esp {
    /// The ESP mounted at `top`.
    pub fn at(top: &Path) -> Self {
        Self { top: top.to_owned() }
    }

    /// Where it is mounted.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// When the disk says that it is not.
    pub fn flush(&self) -> Result<(), BootError> {
        files::flush(&self.top).map_err(BootError::io("flushing", "/"))
    }

    /// Bytes free.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free_bytes(&self) -> Result<u64, BootError> {
        let stat = rustix::fs::statvfs(&self.top)
            .map_err(|error| BootError::io("asking for free space of", "/")(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Fails when a kernel of `size` bytes has no room.
    ///
    /// # Errors
    /// [`BootError::Full`].
    pub fn check_room(&self, size: u64) -> Result<(), BootError> {
        let (needed, free) = (size + RESERVE, self.free_bytes()?);
        match needed > free {
            true => Err(BootError::Full { what: "the kernel".to_owned(), needed, free }),
            false => Ok(()),
        }
    }

    /// Writes a deployment's kernel from its beginning, unless the very same file is there.
    ///
    /// # Errors
    /// When there is no room or the ESP cannot be written; then no file of that name is there.
    pub fn write_uki<K: Read + Seek + ?Sized>(
        &self,
        deployment: &DeploymentId,
        name: &str,
        kernel: &mut K,
    ) -> Result<(), BootError> {
        let path = uki_path(deployment, name);
        let failed = |error| BootError::io("reading what goes to", &path)(error);
        let length = kernel.seek(SeekFrom::End(0)).map_err(failed)?;
        kernel.rewind().map_err(failed)?;
        if files::same(&self.top, &path, &mut *kernel, length)? {
            return Ok(());
        }
        self.check_room(length)?;
        kernel.rewind().map_err(failed)?;
        files::write(&self.top, &path, &mut ByRef(kernel))
    }

    /// True when a deployment's kernel is here.
    pub fn has_uki(&self, deployment: &DeploymentId, name: &str) -> bool {
        self.top.join(uki_path(deployment, name)).is_file()
    }

    /// True when a deployment's kernel is here, byte by byte.
    ///
    /// # Errors
    /// When the ESP or `kernel` cannot be read.
    pub fn holds_uki<K: Read + Seek + ?Sized>(
        &self,
        deployment: &DeploymentId,
        name: &str,
        kernel: &mut K,
    ) -> Result<bool, BootError> {
        let path = uki_path(deployment, name);
        let failed = |error| BootError::io("reading what went to", &path)(error);
        let length = kernel.seek(SeekFrom::End(0)).map_err(failed)?;
        kernel.rewind().map_err(failed)?;
        files::same(&self.top, &path, kernel, length)
    }

    /// Reads a deployment's kernel.
    ///
    /// # Errors
    /// When it is not there or longer than any kernel.
    pub fn read_uki(&self, deployment: &DeploymentId, name: &str) -> Result<Vec<u8>, BootError> {
        files::read(&self.top, &uki_path(deployment, name), limits::UKI_BYTES)
    }

    /// Removes a deployment's kernel; absence is success.
    ///
    /// # Errors
    /// When the ESP cannot be written.
    pub fn remove_uki(&self, deployment: &DeploymentId) -> Result<(), BootError> {
        files::remove(&self.top, &layout::uki_dir(deployment))
    }

    /// Deployments that have a kernel here.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn ukis(&self) -> Result<Vec<DeploymentId>, BootError> {
        Ok(files::names(&self.top, layout::esp::UKIS)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Removes what an interrupted write left behind.
    ///
    /// # Errors
    /// When the ESP cannot be read or written.
    pub fn tidy(&self) -> Result<(), BootError> {
        let mut directories: Vec<String> =
            [layout::esp::ENTRIES, layout::esp::ADDONS, layout::esp::KEYS].map(str::to_owned).to_vec();
        directories.extend(self.ukis()?.iter().map(layout::uki_dir));
        for directory in directories {
            for name in files::names(&self.top, &directory)? {
                if name.ends_with(files::UNFINISHED) {
                    files::remove(&self.top, &format!("{directory}/{name}"))?;
                }
            }
        }
        Ok(())
    }
}

/// Lets a reader of any kind be read through a trait object.
struct ByRef<'a, K: ?Sized>(&'a mut K);

impl<K: Read + ?Sized> Read for ByRef<'_, K> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

fn uki_path(deployment: &DeploymentId, name: &str) -> String {
    format!("{}/{name}", layout::uki_dir(deployment))
}
