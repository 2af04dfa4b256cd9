//! The mark of a fleet's reboot lock: there while this node may hold it.

use rocketos_model::layout;

use crate::{DeployError, Node, files};

impl Node {
    /// True while this node may hold its fleet's reboot lock.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn may_hold_reboot_lock(&self) -> Result<bool, DeployError> {
        Ok(files::read(&self.root.join(layout::root::REBOOT_LOCK))?.is_some())
    }

    /// Remembers that it may, or that it does not.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn mark_reboot_lock(&self, held: bool) -> Result<(), DeployError> {
        let path = self.root.join(layout::root::REBOOT_LOCK);
        match held {
            true => files::write(&path, b""),
            false => files::remove(&path),
        }
    }
}
