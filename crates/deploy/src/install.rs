//! A new disk: the directories a node needs and the loader.

use std::path::Path;

use rocketos_boot::Esp;
use rocketos_model::layout;
use rocketos_store::{Store, Verity};

use crate::{DeployError, Node, files};

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
