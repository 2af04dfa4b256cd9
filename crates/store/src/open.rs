//! Making and opening a store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use composefs::{
    erofs::format::FormatVersion,
    fsverity::{Algorithm, Sha512HashValue},
    repository::{Repository, RepositoryConfig},
};
use composefs_oci::LAYER_CONTENT_TYPE;
use rocketos_model::{DiffId, ObjectId};
use rustix::fs::CWD;

use crate::{StoreError, object};

/// EROFS format of every image, as [`rocketos_model::cmdline::FORMAT`] says.
pub(crate) const FORMAT: FormatVersion = FormatVersion::V1;

/// Whether files in the store are sealed by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verity {
    /// Every file has fs-verity, or the operation fails. What nodes use.
    Required,
    /// Digests are computed and files are not sealed: for building and looking at images on any machine.
    Optional,
}

/// An open store. Holds a shared lock on it, which keeps garbage collection away.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) repository: Arc<Repository<Sha512HashValue>>,
    pub(crate) verity: Verity,
    pub(crate) path: PathBuf,
}

fn config(verity: Verity) -> RepositoryConfig {
    let config = RepositoryConfig::new(Algorithm::SHA512);
    match verity {
        Verity::Required => config,
        Verity::Optional => config.set_insecure(),
    }
}

impl Store {
    /// Makes a store at `path`, or opens the one that is there.
    ///
    /// # Errors
    /// When the file system lacks fs-verity and it is required; when something else is at `path`.
    pub fn init(path: &Path, verity: Verity) -> Result<Self, StoreError> {
        Repository::<Sha512HashValue>::init_path(CWD, path, config(verity)).map_err(|error| {
            let unsupported = error.chain().any(|cause| {
                cause.downcast_ref::<composefs::fsverity::EnableVerityError>().is_some_and(|error| {
                    matches!(error, composefs::fsverity::EnableVerityError::FilesystemNotSupported)
                })
            });
            match unsupported {
                true => StoreError::NoVerity { path: path.to_owned() },
                false => StoreError::Open { path: path.to_owned(), source: error.into() },
            }
        })?;
        Self::open(path, verity)
    }

    /// Opens the store at `path`.
    ///
    /// The mode is the caller's; the disk's word about itself only ever makes it stricter.
    ///
    /// # Errors
    /// When there is none, or it was made without fs-verity where that is required.
    pub fn open(path: &Path, verity: Verity) -> Result<Self, StoreError> {
        let mut repository = Repository::<Sha512HashValue>::open_path(CWD, path)
            .map_err(|error| StoreError::Open { path: path.to_owned(), source: error.into() })?;
        match verity {
            Verity::Required if repository.is_insecure() => {
                return Err(StoreError::Insecure { path: path.to_owned() });
            }
            Verity::Required => {}
            Verity::Optional => {
                repository.set_insecure();
            }
        }
        repository.set_erofs_version(FORMAT);
        Ok(Self { repository: Arc::new(repository), verity, path: path.to_owned() })
    }

    /// True when the layer with this content is in the store, whole: a layer that has lost an object, or whose object
    /// the kernel does not seal under its name, has to come again. No content is read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_layer(&self, layer: &DiffId) -> Result<bool, StoreError> {
        let Some(stream) = self.layer_object(layer)? else {
            return Ok(false);
        };
        if !object::is_good(self, &stream)? {
            return Ok(false);
        }
        let doing = "reading a layer in the store";
        let mut objects = Vec::new();
        self.repository
            .open_stream("", Some(&stream), Some(LAYER_CONTENT_TYPE))
            .and_then(|mut reader| reader.get_object_refs(|id| objects.push(id.clone())))
            .map_err(StoreError::composefs(doing))?;
        for id in &objects {
            if !object::is_good(self, id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The stream of a layer, if it is in the store.
    pub(crate) fn layer_object(&self, layer: &DiffId) -> Result<Option<Sha512HashValue>, StoreError> {
        self.repository
            .has_stream(&layer_name(layer))
            .map_err(StoreError::composefs("looking for a layer in the store"))
    }

    /// Bytes free for objects on the store's file system.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::fstatvfs(self.repository.repo_fd()).map_err(|error| StoreError::Read(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// When the disk says that it is not.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.repository.sync().map_err(StoreError::composefs("writing the store to the disk"))
    }
}

/// A layer's name among the streams, as composefs-oci writes it.
pub(crate) fn layer_name(layer: &DiffId) -> String {
    format!("oci-layer-{layer}")
}

/// Our word for the store's object id.
pub(crate) fn object_id(hash: &Sha512HashValue) -> ObjectId {
    use composefs::fsverity::FsVerityHashValue as _;
    hash.to_hex().parse().expect("a SHA-512 value prints as 128 hex digits")
}
