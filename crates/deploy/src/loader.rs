//! Updating the loader: written beside the old one, started once by the firmware's BootNext, made the first of its order when
//! that boot was good. Until then the order names the old one, so whatever goes wrong, it boots.
//!
//! ```text
//! the image's loader is another -> on the ESP, BootNext --reboot--> it runs, the boot is good -> kept
//!                                                      \--reboot--> the old one runs: tried again, then given up
//! ```

use rocketos_boot::loader::{Firmware, is_older, loader_path};
use rocketos_model::layout;
use rocketos_sys::efivar::EfivarError;
use serde::{Deserialize, Serialize};

use crate::{DeployError, Node, files};

/// Boots that a loader is given. The second is for a power cut between the note of the first and BootNext.
pub const ATTEMPTS: u32 = 2;

/// What is with the image's loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoaderState {
    /// It is what starts every boot.
    Current,
    /// It starts the next boot, once.
    Trying,
    /// It runs, and is kept once this boot is good.
    Proving,
    /// It is another than the one in use, and not tried yet.
    Available,
    /// It is older than the one in use, which stays.
    Older,
    /// It did not come up; the one in use stays.
    Failed,
    /// The firmware keeps no variables, so there is no way to try it; the one in use stays.
    NoVariables,
}

/// The node's note of what was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Tried {
    /// Where it lies on the ESP.
    path: String,
    /// In how many boots it was made to be next.
    attempts: u32,
    /// The last of them.
    boot: String,
}

/// The machine's boot manager, the image's loader, and this boot's identifier.
#[derive(Debug, Clone, Copy)]
pub struct LoaderUpdate<'a> {
    /// Absent where firmware shows no variables.
    pub firmware: Option<&'a Firmware>,
    /// The loader in the running image.
    pub loader: &'a [u8],
    /// The kernel's name of this boot.
    pub boot: &'a str,
}

/// A firmware that keeps nothing says so by these.
fn keeps_nothing(error: &rocketos_boot::BootError) -> bool {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, StorageFull, Unsupported};
    match error {
        rocketos_boot::BootError::Variable(EfivarError::Io { source, .. }) => {
            matches!(source.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem | StorageFull | Unsupported)
        }
        rocketos_boot::BootError::NoOption => true,
        _ => false,
    }
}

impl LoaderUpdate<'_> {
    /// What is with the loader now; nothing is changed.
    ///
    /// # Errors
    /// When ESP, firmware or the node's note cannot be read.
    pub fn state(&self, node: &Node) -> Result<LoaderState, DeployError> {
        let path = loader_path(self.loader);
        let fallback = node.esp.loader(layout::esp::LOADER_FALLBACK)?;
        let is_fallback = fallback.as_deref() == Some(self.loader);
        let Some(firmware) = self.firmware else {
            return Ok(if is_fallback { LoaderState::Current } else { LoaderState::NoVariables });
        };
        // What runs is what lies there, unless this very boot replaced it, which only `Proving` does.
        let running = match firmware.running()? {
            Some(running) => node.esp.loader(&running)?.or(fallback),
            None => fallback,
        };
        if running.as_deref() == Some(self.loader) {
            let kept = firmware.is_kept(&path)? && is_fallback;
            return Ok(if kept { LoaderState::Current } else { LoaderState::Proving });
        }
        if running.is_some_and(|running| is_older(self.loader, &running)) {
            return Ok(LoaderState::Older);
        }
        let tried = self.tried(node)?;
        Ok(match (firmware.is_next(&path)?, tried.attempts) {
            (true, _) => LoaderState::Trying,
            (false, attempts) if attempts >= ATTEMPTS && tried.boot != self.boot => LoaderState::Failed,
            (false, _) => LoaderState::Available,
        })
    }

    /// Goes one step on, in a boot that is good.
    ///
    /// # Errors
    /// When ESP, firmware or the node's note cannot be read or written; what booted before still boots.
    pub fn advance(&self, node: &Node) -> Result<LoaderState, DeployError> {
        let done = match (self.state(node)?, self.firmware) {
            (LoaderState::Available, Some(firmware)) => self.try_next(node, firmware).map(|()| LoaderState::Trying),
            (LoaderState::Proving, Some(firmware)) => self.keep(node, firmware).map(|()| LoaderState::Current),
            (other, _) => Ok(other),
        };
        match done {
            Err(DeployError::Boot(error)) if keeps_nothing(&error) => Ok(LoaderState::NoVariables),
            other => other,
        }
    }

    /// Makes it start the next boot.
    fn try_next(&self, node: &Node, firmware: &Firmware) -> Result<(), DeployError> {
        let path = node.esp.add_loader(self.loader)?;
        let before = self.tried(node)?;
        let again = before.boot == self.boot;
        let attempts = if again { before.attempts } else { before.attempts.saturating_add(1) };
        self.note(node, &Tried { path: path.clone(), attempts, boot: self.boot.to_owned() })?;
        Ok(firmware.set_next(&path)?)
    }

    /// Makes it start every boot; then the others may go. What firmware finds by itself is replaced last: until the order
    /// has the new one, it is what boots.
    fn keep(&self, node: &Node, firmware: &Firmware) -> Result<(), DeployError> {
        let path = node.esp.add_loader(self.loader)?;
        firmware.keep(&path)?;
        node.esp.replace_fallback(self.loader)?;
        for other in node.esp.loaders()?.into_iter().filter(|other| *other != path) {
            firmware.forget(&other)?;
            node.esp.remove_loader(&other)?;
        }
        files::remove(&node.root.join(layout::root::LOADER))
    }

    /// What was tried of this very loader. A note that does not parse counts as none: it is a memory, and no reason to stop.
    fn tried(&self, node: &Node) -> Result<Tried, DeployError> {
        let text = files::read(&node.root.join(layout::root::LOADER))?.unwrap_or_default();
        let tried = toml::from_str::<Tried>(&text).unwrap_or_default();
        Ok(if tried.path == loader_path(self.loader) { tried } else { Tried::default() })
    }

    fn note(&self, node: &Node, tried: &Tried) -> Result<(), DeployError> {
        let path = node.root.join(layout::root::LOADER);
        let text = toml::to_string(tried);
        let text = text.map_err(|error| DeployError::Format { path: path.clone(), source: error.into() })?;
        files::write(&path, text.as_bytes())
    }
}
