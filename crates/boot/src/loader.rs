//! The loader itself, as installed.

use rocketos_model::layout::esp;

use crate::{BootError, Esp, files};

/// No `default`: it would make the loader pass over exhausted tries. No editor: it would change what a kernel is told.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

impl Esp {
    /// Writes the loader where firmware finds it by itself and where boot variables name it, and its configuration.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written.
    pub fn install_loader(&self, loader: &[u8]) -> Result<(), BootError> {
        for path in [esp::LOADER, esp::LOADER_FALLBACK] {
            files::write(&self.top, path, &mut { loader })?;
        }
        files::write(&self.top, esp::LOADER_CONF, &mut LOADER_CONF.as_bytes())
    }
}
