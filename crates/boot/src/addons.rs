//! Kernel arguments of this machine: addons on the ESP, and keys that the loader enrols.
//!
//! An addon lies where the stub of every kernel finds it, and counts from the next boot on. It is written whole or not at
//! all, under a name that is not there; one that is there is removed, never edited.

use rocketos_model::{layout::esp, limits};

use crate::{BootError, Esp, files, uki};

/// How the stub knows an addon (systemd-stub(7)).
const ADDON: &str = ".addon.efi";
/// Characters of a name: FAT has 255 for all of it.
const NAME_CHARACTERS: usize = 64;
/// What the loader's configuration says where keys are to be enrolled (loader.conf(5)).
const ENROLL: &str = "secure-boot-enroll force\n";

/// Arguments that were added on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addon {
    /// Its file's name without its ending.
    pub name: String,
    /// What it adds, or why it cannot be read.
    pub arguments: Result<String, uki::UkiError>,
}

fn path(name: &str) -> String {
    format!("{}/{name}{ADDON}", esp::ADDONS)
}

impl Esp {
    /// The addons that are there, sorted by their names, in which order the stub takes them.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn addons(&self) -> Result<Vec<Addon>, BootError> {
        let mut found = Vec::new();
        for file in files::names(&self.top, esp::ADDONS)? {
            let Some(name) = file.strip_suffix(ADDON) else { continue };
            let bytes = files::read(&self.top, &path(name), limits::LOADER_BYTES)?;
            found.push(Addon { name: name.to_owned(), arguments: uki::cmdline(&bytes) });
        }
        Ok(found)
    }

    /// Adds an addon; the very same again changes nothing.
    ///
    /// # Errors
    /// When another of that name is there, when the name is none, when the ESP is full or cannot be written.
    pub fn add_addon(&self, name: &str, addon: &[u8]) -> Result<(), BootError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_CHARACTERS || name.starts_with('.') || !name.chars().all(plain) {
            return Err(BootError::AddonName(name.to_owned()));
        }
        let path = path(name);
        if files::same(&self.top, &path, &mut { addon }, addon.len() as u64)? {
            return Ok(());
        }
        if self.top.join(&path).exists() {
            return Err(BootError::AddonTaken(name.to_owned()));
        }
        self.check_room(addon.len() as u64)?;
        files::write(&self.top, &path, &mut { addon })
    }

    /// Removes an addon; false where there is none.
    ///
    /// # Errors
    /// When the ESP cannot be written.
    pub fn remove_addon(&self, name: &str) -> Result<bool, BootError> {
        let there = self.addons()?.iter().any(|addon| addon.name == name);
        if there {
            files::remove(&self.top, &path(name))?;
        }
        Ok(there)
    }

    /// Leaves keys for the loader, which enrols them where firmware is in setup mode, once: then that is over.
    ///
    /// `updates` are names such as `PK` and what `<name>.auth` holds.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written.
    pub fn leave_keys<'a>(&self, updates: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<(), BootError> {
        for (name, update) in updates {
            self.check_room(update.len() as u64)?;
            files::write(&self.top, &format!("{}/{name}.auth", esp::KEYS), &mut { update })?;
        }
        let mut settings = files::read(&self.top, esp::LOADER_CONF, limits::ENTRY_BYTES)?;
        if !settings.windows(ENROLL.len()).any(|window| window == ENROLL.as_bytes()) {
            settings.extend(ENROLL.as_bytes());
            files::write(&self.top, esp::LOADER_CONF, &mut settings.as_slice())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uki::{assemble, tests::stub};

    #[test]
    fn addons_are_added_and_removed_and_never_edited() {
        let directory = tempfile::tempdir().unwrap();
        let esp = Esp::at(directory.path());
        assert_eq!(esp.addons().unwrap(), []);
        let addon = |text: &str| assemble(&stub(), &[(".cmdline", text.as_bytes())]).unwrap();
        esp.add_addon("20-b", &addon("b=1")).unwrap();
        esp.add_addon("10-a", &addon("a")).unwrap();
        esp.add_addon("10-a", &addon("a")).unwrap();
        assert!(matches!(esp.add_addon("10-a", &addon("c")), Err(BootError::AddonTaken(_))));
        for name in ["", ".a", "a/b", "..", "a b", &"a".repeat(65)] {
            assert!(matches!(esp.add_addon(name, &addon("c")), Err(BootError::AddonName(_))), "{name}");
        }
        std::fs::write(directory.path().join("loader/addons/bad.addon.efi"), "MZ").unwrap();
        let found = esp.addons().unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.arguments.as_deref().ok())).collect();
        assert_eq!(found, [("10-a", Some("a")), ("20-b", Some("b=1")), ("bad", None)]);
        assert!(esp.remove_addon("bad").unwrap() && !esp.remove_addon("bad").unwrap());
        assert_eq!(esp.addons().unwrap().len(), 2);
    }

    #[test]
    fn keys_are_left_where_the_loader_looks() {
        let directory = tempfile::tempdir().unwrap();
        let esp = Esp::at(directory.path());
        esp.install_loader(b"loader").unwrap();
        for _ in 0..2 {
            esp.leave_keys([("db", &b"1"[..]), ("PK", b"2")]).unwrap();
        }
        assert_eq!(std::fs::read(directory.path().join("loader/keys/auto/PK.auth")).unwrap(), b"2");
        let settings = std::fs::read_to_string(directory.path().join("loader/loader.conf")).unwrap();
        assert_eq!(settings, format!("timeout 0\neditor no\n{ENROLL}"));
    }
}
