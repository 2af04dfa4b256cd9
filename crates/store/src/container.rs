//! Images of host containers: what they mount as, and who keeps it.
//!
//! They lie in the store like a system's: the same layers, objects, names and garbage collection. What differs is the tree that is
//! mounted: it has no kernel, every file of it bears one label, and it has what is mounted on from outside, for nothing can be made
//! in it later.

use std::{collections::BTreeMap, ffi::OsStr};

use composefs::{
    fsverity::Sha512HashValue,
    generic_tree::{ImageError, Stat, is_allowed_container_xattr},
    tree::{Directory, FileSystem, Inode, LeafContent, RegularFile},
};
use composefs_oci::IMAGE_REF_KEY_V1;
use oci_spec::image::ImageConfiguration;
use rocketos_model::{ComposefsDigest, ManifestDigest, layout::inside};

use crate::{
    Store, StoreError,
    commit::{Documents, parse_error},
    open::object_id,
    tree::{TreeFacts, mountable, weigh},
};

/// The label of every file: containers read and run it, and nobody writes it (`base/selinux`).
pub const CONTAINER_LABEL: &str = "system_u:object_r:container_image_t:s0";
/// Where it stands.
const LABEL: &str = "security.selinux";
/// Permissions of a folder, and of a file, that something is mounted on.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o600;
/// What an image that can boot has.
const SYSTEM: &str = "boot/EFI/Linux";

/// A container's image in the store.
#[derive(Debug, Clone)]
pub struct ContainerImage {
    /// What it is named by.
    pub manifest_digest: ManifestDigest,
    /// Digest, objects and bytes of what it mounts as.
    pub facts: TreeFacts,
    /// Its configuration, as the registry serves it.
    pub config: ImageConfiguration,
}

impl Store {
    /// Names a container's image whose layers are all here, and makes it mountable. As [`Store::commit_image`] otherwise.
    ///
    /// # Errors
    /// When a layer is missing, when the image is a system or lacks room for what is mounted on it, when the disk is full.
    pub fn commit_container(&self, manifest: &[u8], config: &[u8]) -> Result<ContainerImage, StoreError> {
        self.commit_container_into(self, manifest, config)
    }

    /// The same, of layers that are here, into a store that need not have them.
    pub(crate) fn commit_container_into(
        &self,
        into: &Self,
        manifest: &[u8],
        config: &[u8],
    ) -> Result<ContainerImage, StoreError> {
        let configuration = ImageConfiguration::from_reader(config).map_err(parse_error("configuration"))?;
        let layers = self.layers(&configuration)?;
        let mut tree = self.tree(&layers)?;
        furnish(&mut tree)?;
        let mountable = mountable(tree)?;
        let documents = Documents { manifest, config, layers: &layers, key: IMAGE_REF_KEY_V1 };
        let manifest_digest = into.name_image(&documents, &mountable)?;
        Ok(ContainerImage { manifest_digest, facts: mountable.facts, config: configuration })
    }

    /// Opens a container's image that [`Store::commit_container`] named, where it is whole; absent where it is not, so that it has to come
    /// again.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn open_container(&self, manifest: &ManifestDigest) -> Result<Option<ContainerImage>, StoreError> {
        if !self.has_image(manifest)? {
            return Ok(None);
        }
        let Some((_, config)) = self.documents(manifest)? else { return Ok(None) };
        let config = ImageConfiguration::from_reader(&config[..]).map_err(parse_error("configuration"))?;
        for id in config.rootfs().diff_ids() {
            if !self.has_layer(&id.parse().map_err(parse_error("configuration"))?)? {
                return Ok(None);
            }
        }
        let digest = manifest.to_string().parse().map_err(parse_error("manifest digest"))?;
        let opened = composefs_oci::OciImage::open(&self.repository, &digest, None)
            .map_err(StoreError::composefs("opening an image in the store"))?;
        let Some(image) = opened.image_ref_v1().cloned() else { return Ok(None) };
        if !crate::object::is_good(self, &image)? || !self.path.join("images").join(hex(&image)).exists() {
            return Ok(None);
        }
        let mut tree = self.tree(&self.layers(&config)?)?;
        furnish(&mut tree)?;
        let (objects, bytes) = weigh(&tree);
        let digest = ComposefsDigest::from_bytes(*object_id(&image).as_bytes());
        let facts = TreeFacts { digest, objects, bytes };
        Ok(Some(ContainerImage { manifest_digest: *manifest, facts, config }))
    }
}

fn hex(image: &Sha512HashValue) -> String {
    object_id(image).to_hex()
}

/// Makes a container's tree one that can be run on as it is.
fn furnish(tree: &mut FileSystem<Sha512HashValue>) -> Result<(), StoreError> {
    if tree.root.get_directory_opt(SYSTEM.as_ref()).is_ok_and(|found| found.is_some()) {
        return Err(StoreError::NoContainer("it is a system, with a kernel in /boot".to_owned()));
    }
    // Layers need not have a root.
    tree.set_root_stat(stat(FOLDER_MODE));
    for path in inside::FOLDERS {
        let folder = folder(&mut tree.root, path)?;
        folder.clear();
    }
    tree.compact();
    for path in inside::FILES {
        let id = tree.push_leaf(stat(FILE_MODE), LeafContent::Regular(RegularFile::Inline(Box::from([]))));
        let (above, name) = split(path);
        folder(&mut tree.root, above)?.insert(name, Inode::leaf(id));
    }
    tree.filter_xattrs(is_allowed_container_xattr);
    tree.for_each_stat_mut(|stat| {
        stat.xattrs.insert(Box::from(OsStr::new(LABEL)), Box::from(CONTAINER_LABEL.as_bytes()));
    });
    Ok(())
}

/// The folder at a path, made where it is missing.
fn folder<'a>(
    root: &'a mut Directory<Sha512HashValue>,
    path: &str,
) -> Result<&'a mut Directory<Sha512HashValue>, StoreError> {
    if root.get_directory_opt(path.as_ref()).map_err(|error| in_the_way(path, &error))?.is_none() {
        let (above, name) = split(path);
        let new = Inode::Directory(Box::new(Directory::new(stat(FOLDER_MODE))));
        let above = if above.is_empty() { &mut *root } else { folder(root, above)? };
        above.insert(name, new);
    }
    root.get_directory_mut(path.as_ref()).map_err(|error| in_the_way(path, &error))
}

fn in_the_way(path: &str, error: &ImageError) -> StoreError {
    StoreError::NoContainer(format!("its /{path} is no folder ({error})"))
}

/// What is above, and the last name.
fn split(path: &str) -> (&str, &OsStr) {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    (above, name.as_ref())
}

/// Root's, from the beginning of time: the same in every image.
fn stat(mode: u32) -> Stat {
    Stat { st_mode: mode, st_uid: 0, st_gid: 0, st_mtim_sec: 0, st_mtim_nsec: 0, xattrs: BTreeMap::new() }
}
