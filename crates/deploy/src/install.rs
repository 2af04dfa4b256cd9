//! A new disk: the directories a node needs and the loader.

use std::{fs::File, path::Path};

use rocketos_boot::Esp;
use rocketos_model::layout;
use rocketos_store::{Store, Verity};
use rocketos_sys::{
    mount::{Access, MountOption, fd_path, mount_device},
    verity::{Support, verity_supported},
};

use crate::{DeployError, Node, disk, files};

/// Mounts the partitions of a disk that has just been partitioned, attached nowhere, and makes them a node's.
///
/// # Errors
/// When the partitions do not come up or do not mount; otherwise as [`populate`].
pub fn open_new_disk(device: &Path, loader: &[u8]) -> Result<Node, DeployError> {
    let _undisturbed = disk::keep_udev_away(device)?;
    let (esp, root) = disk::partitions(device)?;
    let failed = |error: rocketos_sys::mount::MountError| DeployError::Mount {
        doing: "mounting the new partitions",
        source: error.into(),
    };
    let root = mount_device("ext4", &root, Access::Writable, &[]).map_err(failed)?;
    let esp = mount_device("vfat", &esp, Access::Writable, &[MountOption::Value("umask", "0077")]).map_err(failed)?;
    let mut node = populate(&fd_path(&root), &fd_path(&esp), loader, Verity::Required)?;
    node.mounts = vec![root, esp];
    Ok(node)
}

/// Refuses a root file system without fs-verity; nothing of the probe remains.
///
/// # Errors
/// [`rocketos_store::StoreError::NoVerity`], or when the probe cannot run.
pub fn check_filesystem(root: &Path) -> Result<(), DeployError> {
    let directory = File::open(root).map_err(DeployError::io("opening", root))?;
    match verity_supported(&directory) {
        Ok(Support::Yes) => Ok(()),
        Ok(Support::No) => Err(rocketos_store::StoreError::NoVerity { path: root.to_owned() }.into()),
        Err(error) => {
            Err(DeployError::Mount { doing: "probing the root file system for fs-verity", source: error.into() })
        }
    }
}

/// Makes freshly formatted, mounted file systems a node's: directories, an empty store, the loader.
///
/// Deployments come with [`crate::stage`]. Done again, it changes nothing but the loader.
///
/// # Errors
/// When the root file system lacks fs-verity and it is required; when a disk is full.
pub fn populate(root: &Path, esp: &Path, loader: &[u8], verity: Verity) -> Result<Node, DeployError> {
    for directory in [layout::root::DEPLOY, layout::root::NODE, layout::root::PINS, layout::root::VAR] {
        files::directory(&root.join(directory))?;
    }
    Store::init(&root.join(layout::root::STORE), verity)?;
    Esp::at(esp).install_loader(loader)?;
    Node::at(root, esp, verity, None)
}
