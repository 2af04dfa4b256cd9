//! Mounting an image as a root.
//!
//! The store's own word about itself is not asked: an image opens only by its digest, with fs-verity enforced for the image
//! and, by overlayfs, for every file in it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use composefs::{
    fsverity::{FsVerityHashValue, MeasureVerityError, Sha512HashValue, measure_verity},
    mount::{MountOptions, VerityRequirement, composefs_fsmount},
};
use rocketos_model::{ComposefsDigest, layout::root};
use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

/// An image that does not mount.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The store does not have it.
    #[error("image {0} is not in the store")]
    Missing(ComposefsDigest),
    /// The file under its name is another one.
    #[error("the file of image {expected} measures {found}")]
    Digest {
        /// What was asked for.
        expected: ComposefsDigest,
        /// What the kernel measures.
        found: String,
    },
    /// The file under its name is not sealed.
    #[error("the file of image {0} has no fs-verity")]
    Unsealed(ComposefsDigest),
    /// Anything else.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn doing<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> MountError {
    move |error| MountError::Io { doing, source: error.into() }
}

/// Mounts the image `digest` of the store on the root partition `sysroot`, read-only and attached nowhere.
///
/// # Errors
/// When the image is missing, is not the one its name says, or the kernel cannot enforce fs-verity.
pub fn mount_image(sysroot: impl AsFd, digest: &ComposefsDigest) -> Result<OwnedFd, MountError> {
    let path = format!("{}/{digest}", root::STORE_IMAGES);
    let image = match openat(&sysroot, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(image) => image,
        Err(Errno::NOENT) => return Err(MountError::Missing(*digest)),
        Err(error) => return Err(doing("opening the image")(error)),
    };
    match measure_verity::<Sha512HashValue>(&image) {
        Ok(found) if found.to_hex() == digest.to_hex() => {}
        Ok(found) => {
            return Err(MountError::Digest { expected: *digest, found: found.to_hex() });
        }
        Err(MeasureVerityError::VerityMissing) => return Err(MountError::Unsealed(*digest)),
        Err(error) => return Err(doing("measuring the image")(io::Error::other(error))),
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let objects = openat(&sysroot, root::STORE_OBJECTS, directory, Mode::empty())
        .map_err(doing("opening the store's objects"))?;
    composefs_fsmount(
        image,
        &digest.to_hex(),
        &[objects.as_fd()],
        VerityRequirement::Required,
        &MountOptions::default(),
    )
    .map_err(doing("mounting the image"))
}
