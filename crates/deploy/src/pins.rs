//! Pins: deployments that prune keeps.

use rocketos_model::{DeploymentId, layout};

use crate::{DeployError, Node, files};

impl Node {
    /// Keeps a deployment until [`Node::unpin`].
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn pin(&self, deployment: &DeploymentId) -> Result<(), DeployError> {
        files::directory(&self.root.join(layout::root::PINS))?;
        files::write(&self.root.join(layout::pin(deployment)), b"")
    }

    /// Takes a pin away; absence is success.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn unpin(&self, deployment: &DeploymentId) -> Result<(), DeployError> {
        files::remove(&self.root.join(layout::pin(deployment)))
    }

    /// All pins.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn pins(&self) -> Result<Vec<DeploymentId>, DeployError> {
        let names = files::names(&self.root.join(layout::root::PINS))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
