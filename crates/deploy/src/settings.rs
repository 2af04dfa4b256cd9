//! Where settings are stored: a folder in each deployment's directory.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rocketos_model::{DeploymentId, layout};
use rocketos_sys::mount::{Access, clone_tree, fd_path};

use crate::{DeployError, files};

/// The folders of settings of all deployments; those of the one that runs can be written.
#[derive(Debug)]
pub struct SettingsFolders {
    top: PathBuf,
    deployment: DeploymentId,
    // A mount that nobody else sees; it ends with this.
    _mount: Option<OwnedFd>,
}

impl SettingsFolders {
    /// Those of the machine that runs; none where the loader did not say which deployment that is. Everybody else sees the root
    /// partition read-only.
    ///
    /// # Errors
    /// When the machine was not booted from a deployment, or its root partition cannot be mounted once more.
    pub fn running() -> Result<Option<Self>, DeployError> {
        let Some(deployment) = files::booted()?.deployment else { return Ok(None) };
        let mount = clone_tree(Path::new(layout::node::SYSROOT), Access::Writable)
            .map_err(|error| DeployError::Mount { doing: "mounting the root partition", source: error.into() })?;
        Ok(Some(Self { top: fd_path(&mount), deployment, _mount: Some(mount) }))
    }

    /// Those of a root partition that the caller has mounted.
    pub fn at(top: &Path, deployment: DeploymentId) -> Self {
        Self { top: top.to_owned(), deployment, _mount: None }
    }

    /// Whose settings are in force.
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// The folder of the deployment that runs.
    pub fn own(&self) -> PathBuf {
        self.top.join(layout::deployment_settings(&self.deployment))
    }

    /// The folders of the others, by their ids; whether there is one is not asked.
    ///
    /// # Errors
    /// When deployments cannot be listed.
    pub fn others(&self) -> Result<Vec<(DeploymentId, PathBuf)>, DeployError> {
        let names = files::names(&self.top.join(layout::root::DEPLOY))?;
        let others = names.iter().filter_map(|name| name.parse::<DeploymentId>().ok());
        let others = others.filter(|id| *id != self.deployment);
        Ok(others.map(|id| (id, self.top.join(layout::deployment_settings(&id)))).collect())
    }
}
