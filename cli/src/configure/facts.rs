//! What is so on the node that runs, for what settings come to.

use std::{
    fs, io,
    path::{Component, Path},
};

use rocketos_settings::{
    Settings,
    render::{Facts, TRUST},
};

use super::{
    ConfigureError,
    error::io_at,
    place::{Content, Place},
};

/// Files of certificates that an image may have.
const TRUSTED_FILES: usize = 2048;

impl Place {
    /// What goes into files beside these settings.
    pub fn facts(&self, settings: &Settings) -> Result<Facts, ConfigureError> {
        let mut facts = Facts::default();
        // Otherwise nothing of what the image trusts is asked for.
        if settings.pki.values().any(|certificate| certificate.trusted.is_some()) {
            self.trusted(&mut facts)?;
        }
        Ok(facts)
    }

    /// Certificates that the image trusts: what settings placed is none of it, what they stand in the place of is.
    fn trusted(&self, facts: &mut Facts) -> Result<(), ConfigureError> {
        let folder = self.root().join(TRUST);
        let entries = match fs::read_dir(&folder) {
            // An image without any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(io_at("reading", &folder))?,
        };
        let placed = self.manifest()?.files;
        for (at, entry) in entries.enumerate() {
            if at >= TRUSTED_FILES {
                let error = io::Error::other(format!("it has more than {TRUSTED_FILES} files"));
                return Err(io_at("reading", folder)(error));
            }
            let name = entry.map_err(io_at("reading", &folder))?.file_name();
            // Nothing of ours, nor of Debian's, has another name.
            let Some(path) = name.to_str().map(|name| format!("{TRUST}/{name}")) else { continue };
            let content = if placed.contains_key(&path) { self.kept(&path)? } else { self.read(&path)? };
            let bytes = match content {
                Some(Content::File { bytes, .. }) => bytes,
                // Another name, by the certificate's hash, of a file beside it.
                Some(Content::Link(target)) if is_beside(&target) => continue,
                Some(Content::Link(target)) => match self.linked(&folder, &target)? {
                    Some(bytes) => bytes,
                    None => continue,
                },
                // Settings brought it.
                None => continue,
            };
            facts.trusts(&path, &bytes).map_err(|source| ConfigureError::Trust { path: path.into(), source })?;
        }
        Ok(())
    }
}

fn is_beside(target: &Path) -> bool {
    let mut components = target.components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}
