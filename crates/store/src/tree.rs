//! From a tree of files to the mountable image and its digest.
//!
//! [`finish`] is the one function that does it, for a directory that is being sealed and for layers from a registry.

use std::{fs::File, os::fd::OwnedFd, path::Path};

use composefs::{
    fs::read_filesystem,
    fsverity::{FsVerityHasher, Sha512HashValue},
    generic_tree::OciTransformOptions,
    tree::{FileSystem, LeafContent, RegularFile},
};
use composefs_boot::BootOps as _;
use rocketos_model::ComposefsDigest;

use crate::{StoreError, open::FORMAT};

/// What a tree comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeFacts {
    /// fs-verity digest of the mountable image.
    pub digest: ComposefsDigest,
    /// Files that are objects of their own in the store.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
}

/// A mountable image.
pub(crate) struct Mountable {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) facts: TreeFacts,
}

/// What composefs needs to read the SELinux policy of a tree.
pub(crate) enum Policy<'a> {
    /// The tree's files are in this store.
    Store(&'a crate::Store),
    /// The tree's files are in this directory.
    Directory(&'a OwnedFd),
}

/// Makes the image of a whole root: root metadata from /usr, /run, /boot and /sysroot emptied, labelled by the tree's own
/// SELinux policy where it has one, no extended attributes of the host.
pub(crate) fn finish(mut tree: FileSystem<Sha512HashValue>, policy: &Policy<'_>) -> Result<Mountable, StoreError> {
    let failed = StoreError::composefs("making the mountable image");
    let transformed: anyhow::Result<()> = (|| {
        tree.transform_for_oci(&OciTransformOptions::default())?;
        match policy {
            Policy::Store(store) => tree.transform_for_boot(&store.repository).map(drop),
            Policy::Directory(directory) => tree.transform_for_boot_from_dir(directory),
        }
    })();
    transformed.map_err(failed)?;
    mountable(tree)
}

/// The image of a tree as it is.
pub(crate) fn mountable(tree: FileSystem<Sha512HashValue>) -> Result<Mountable, StoreError> {
    let (objects, size) = weigh(&tree);
    let bytes = composefs::erofs::writer::mkfs_erofs_versioned(
        &composefs::erofs::writer::ValidatedFileSystem::new(tree)
            .map_err(StoreError::composefs("checking the image's tree"))?,
        FORMAT,
    );
    let digest = FsVerityHasher::<Sha512HashValue>::hash(&bytes);
    let facts = TreeFacts {
        digest: ComposefsDigest::from_bytes(*crate::open::object_id(&digest).as_bytes()),
        objects,
        bytes: size,
    };
    Ok(Mountable { bytes, facts })
}

/// Files of a tree that are objects of their own, and their bytes.
pub(crate) fn weigh(tree: &FileSystem<Sha512HashValue>) -> (u64, u64) {
    tree.leaves.iter().fold((0, 0), |(objects, size), leaf| match &leaf.content {
        LeafContent::Regular(RegularFile::External(_, bytes)) => (objects + 1, size + bytes),
        _ => (objects, size),
    })
}

/// Computes what the root in `directory` comes to, using every core; nothing is stored.
///
/// # Errors
/// When something in it cannot be read, or it lacks `/usr`, `/boot` or `/sysroot`.
pub fn digest_of_directory(directory: &Path) -> Result<TreeFacts, StoreError> {
    let opened: OwnedFd = File::open(directory).map_err(StoreError::Read)?.into();
    let again = opened.try_clone().map_err(StoreError::Read)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build().map_err(StoreError::Read)?;
    let tree = runtime
        .block_on(read_filesystem::<Sha512HashValue>(again, ".".into(), None))
        .map_err(StoreError::composefs("reading the tree to seal"))?;
    Ok(finish(tree, &Policy::Directory(&opened))?.facts)
}

/// The id a file with this content has in the store.
pub fn object_id_of(bytes: &[u8]) -> rocketos_model::ObjectId {
    crate::open::object_id(&FsVerityHasher::<Sha512HashValue>::hash(bytes))
}
