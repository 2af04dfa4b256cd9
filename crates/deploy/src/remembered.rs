//! What the node remembers of a place of release metadata: `state/rocketos/trust/<place>/`.
//!
//! Texts alone: what they mean is for those to say who wrote them. Each is replaced as a whole.

use std::path::PathBuf;

use rocketos_model::{Place, layout};

use crate::{DeployError, Node, files};

/// The memory of one place.
#[derive(Debug)]
pub struct Remembered {
    directory: PathBuf,
    place: Place,
}

impl Node {
    /// What is remembered of a place.
    pub fn remembered(&self, place: &Place) -> Remembered {
        Remembered { directory: self.root.join(layout::trust_dir(place)), place: place.clone() }
    }
}

impl Remembered {
    /// The folder of the trusted metadata.
    pub fn metadata(&self) -> PathBuf {
        self.directory.join(layout::trust::METADATA)
    }

    /// The newest policy from there.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn policy(&self) -> Result<Option<String>, DeployError> {
        files::read(&self.directory.join(layout::trust::POLICY))
    }

    /// Keeps a policy in place of the one before; none, where there is none any more.
    ///
    /// # Errors
    /// When the disk cannot be written; then the one before is kept.
    pub fn keep_policy(&self, text: Option<&str>) -> Result<(), DeployError> {
        let path = self.directory.join(layout::trust::POLICY);
        match text {
            Some(text) => self.keep(path, text),
            None => files::remove(&path),
        }
    }

    /// The root metadata that somebody gave for the place.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn root(&self) -> Result<Option<String>, DeployError> {
        files::read(&self.directory.join(layout::trust::ROOT))
    }

    /// Keeps root metadata that somebody gave. Nothing of what another root vouched for is trusted any longer.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn keep_root(&self, text: &str) -> Result<(), DeployError> {
        if self.root()?.as_deref() == Some(text) {
            return Ok(());
        }
        files::remove(&self.directory)?;
        self.keep(self.directory.join(layout::trust::ROOT), text)
    }

    /// A channel's newest document, as it was published.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn document(&self, channel: &str) -> Result<Option<String>, DeployError> {
        files::read(&self.document_path(channel))
    }

    /// The file of a channel's newest document: written whenever the channel was read.
    pub fn document_path(&self, channel: &str) -> PathBuf {
        self.channel(channel, layout::trust::DOCUMENT)
    }

    /// Keeps a channel's document.
    ///
    /// # Errors
    /// When the disk cannot be written; then the one before is kept.
    pub fn keep_document(&self, channel: &str, text: &str) -> Result<(), DeployError> {
        self.keep(self.document_path(channel), text)
    }

    /// The newest release that was accepted from a channel.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn accepted(&self, channel: &str) -> Result<Option<String>, DeployError> {
        files::read(&self.channel(channel, layout::trust::ACCEPTED))
    }

    /// Keeps which release was accepted.
    ///
    /// # Errors
    /// When the disk cannot be written; then the one before is kept.
    pub fn keep_accepted(&self, channel: &str, text: &str) -> Result<(), DeployError> {
        self.keep(self.channel(channel, layout::trust::ACCEPTED), text)
    }

    fn channel(&self, name: &str, file: &str) -> PathBuf {
        self.directory.join(layout::trust::CHANNELS).join(name).join(file)
    }

    fn keep(&self, path: PathBuf, text: &str) -> Result<(), DeployError> {
        if let Some(parent) = path.parent() {
            files::directory(parent)?;
        }
        let place = self.directory.join(layout::trust::PLACE);
        if files::read(&place)?.is_none() {
            files::write(&place, format!("{}\n", self.place).as_bytes())?;
        }
        files::write(&path, text.as_bytes())
    }
}
