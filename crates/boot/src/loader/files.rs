//! Loaders on the ESP: the one that firmware finds by itself, and those that boot variables name.

use rocketos_model::{layout::esp, limits};
use sha2::{Digest as _, Sha256};

use crate::{BootError, Esp, files};

/// No `default`: it would make the loader pass over exhausted tries. No editor: it would change what a kernel is told.
const LOADER_CONF: &str = "timeout 0\neditor no\n";
/// Bytes of a digest in a name.
const NAME_BYTES: usize = 8;
/// Stands before the digest, and after it.
const AROUND: (&str, &str) = ("systemd-boot-", ".efi");

/// Where a loader lies that a boot variable names, relative to the ESP: two of different bytes never have one name.
pub fn loader_path(loader: &[u8]) -> String {
    let digest: String = Sha256::digest(loader)[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{}{digest}{}", esp::LOADERS, AROUND.0, AROUND.1)
}

fn is_ours(name: &str) -> bool {
    let digest = name.strip_prefix(AROUND.0).and_then(|rest| rest.strip_suffix(AROUND.1));
    digest.is_some_and(|digest| digest.len() == 2 * NAME_BYTES && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Esp {
    /// Writes the loader where firmware finds it by itself, and its configuration.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written.
    pub fn install_loader(&self, loader: &[u8]) -> Result<(), BootError> {
        self.replace_fallback(loader)?;
        files::write(&self.top, esp::LOADER_CONF, &mut LOADER_CONF.as_bytes())
    }

    /// Replaces the loader that firmware finds by itself, unless it is the very same.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written.
    pub fn replace_fallback(&self, loader: &[u8]) -> Result<(), BootError> {
        for path in [esp::LOADER, esp::LOADER_FALLBACK] {
            self.write_loader(path, loader)?;
        }
        Ok(())
    }

    /// Writes a loader beside the others, unless it is there; returns where.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written.
    pub fn add_loader(&self, loader: &[u8]) -> Result<String, BootError> {
        let path = loader_path(loader);
        self.write_loader(&path, loader)?;
        Ok(path)
    }

    fn write_loader(&self, path: &str, loader: &[u8]) -> Result<(), BootError> {
        if self.loader(path)?.as_deref() == Some(loader) {
            return Ok(());
        }
        self.check_room(loader.len() as u64)?;
        files::write(&self.top, path, &mut { loader })
    }

    /// A loader's bytes; absent where there is none.
    ///
    /// # Errors
    /// When the ESP cannot be read, or what is there is longer than any loader.
    pub fn loader(&self, path: &str) -> Result<Option<Vec<u8>>, BootError> {
        match files::read(&self.top, path, limits::LOADER_BYTES) {
            Err(BootError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// The loaders that boot variables may name.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn loaders(&self) -> Result<Vec<String>, BootError> {
        let names = files::names(&self.top, esp::LOADERS)?;
        Ok(names.iter().filter(|name| is_ours(name)).map(|name| format!("{}/{name}", esp::LOADERS)).collect())
    }

    /// Removes a loader that no boot variable names any more; absence is success.
    ///
    /// # Errors
    /// When the ESP cannot be written.
    pub fn remove_loader(&self, path: &str) -> Result<(), BootError> {
        files::remove(&self.top, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_stand_beside_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let esp = Esp::at(directory.path());
        esp.install_loader(b"one").unwrap();
        assert_eq!(esp.loaders().unwrap(), Vec::<String>::new());
        let (one, two) = (esp.add_loader(b"one").unwrap(), esp.add_loader(b"two").unwrap());
        assert_eq!(esp.add_loader(b"two").unwrap(), two);
        assert_eq!(esp.loaders().unwrap().len(), 2);
        assert_eq!(esp.loader(esp::LOADER_FALLBACK).unwrap().unwrap(), b"one");
        esp.replace_fallback(b"two").unwrap();
        assert_eq!(esp.loader(esp::LOADER).unwrap().unwrap(), b"two");
        esp.remove_loader(&one).unwrap();
        esp.remove_loader(&one).unwrap();
        assert_eq!((esp.loaders().unwrap(), esp.loader(&one).unwrap()), (vec![two], None));
    }
}
