//! Boot entries (UAPI Group, Boot Loader Specification, type 1) and the order in which systemd-boot takes them.

use std::cmp::Reverse;

use rocketos_model::{DeploymentId, EntryName, Tries, layout, limits};

use crate::{BootError, Esp, files};

/// Groups our entries; the loader sorts by it before it looks at versions.
const SORT_KEY: &str = "rocketos";

/// A boot entry on the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file name.
    pub name: EntryName,
}

impl Entry {
    /// True when the loader may still boot it by itself, and nobody doubts it.
    pub fn is_good(&self) -> bool {
        self.name.tries.is_none()
    }
}

/// Sorts as systemd-boot does: entries without tries left go last, then the highest sequence comes first.
pub fn loader_order(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| (!entry.name.bootable(), Reverse(entry.name.sequence)));
}

/// An entry's text. `version` is the sequence: the loader compares versions, and ours must only grow.
fn text(name: &EntryName, title: &str, uki: &str) -> String {
    let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(
        "title {title}\nsort-key {SORT_KEY}\nversion {}\nefi /{}/{uki}\n",
        name.sequence,
        layout::uki_dir(&name.deployment)
    )
}

impl Esp {
    /// Our boot entries, in the loader's order; what is not ours is passed over.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, BootError> {
        let names = files::names(&self.top, layout::esp::ENTRIES)?;
        let mut entries: Vec<Entry> =
            names.iter().filter_map(|name| Some(Entry { name: name.parse().ok()? })).collect();
        loader_order(&mut entries);
        Ok(entries)
    }

    /// Adds an entry that boots before all others: counted when `tries` says so, otherwise known good.
    ///
    /// # Errors
    /// When the ESP is full or cannot be written, or an entry has the highest sequence; then nothing has changed.
    pub fn add_entry(
        &self,
        deployment: DeploymentId,
        title: &str,
        uki: &str,
        tries: Option<Tries>,
    ) -> Result<Entry, BootError> {
        let entries = self.entries()?;
        let sequence = match entries.iter().max_by_key(|entry| entry.name.sequence) {
            Some(last) => last.name.sequence.checked_add(1).ok_or_else(|| BootError::LastSequence(last.name.path()))?,
            None => 1,
        };
        let name = EntryName { sequence, deployment, tries };
        files::write(&self.top, &name.path(), &mut text(&name, title, uki).as_bytes())?;
        Ok(Entry { name })
    }

    /// Makes a counted entry known good: an uncounted one with the next sequence is added, then the counted one goes.
    ///
    /// `identifier` is the loader's (`LoaderEntrySelected`). An entry that is good already stays as it is. Where the entry that
    /// booted is gone, since its deployment was chosen again while it ran, the newest one of that deployment stands for it.
    ///
    /// # Errors
    /// When its deployment has no entry, or the ESP cannot be written. A power cut between the two steps leaves both, the
    /// good one first.
    pub fn bless(&self, identifier: &str, title: &str, uki: &str) -> Result<Entry, BootError> {
        let missing = || BootError::NoEntry(identifier.to_owned());
        let booted: EntryName = identifier.parse().map_err(|_| missing())?;
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.name.deployment == booted.deployment);
        let newest = |good: bool| {
            let alike = entries.iter().filter(|entry| entry.is_good() == good);
            alike.max_by_key(|entry| entry.name.sequence)
        };
        let named = entries.iter().find(|entry| entry.name.identifier() == identifier);
        let entry = named.or_else(|| newest(true)).or_else(|| newest(false)).ok_or_else(missing)?;
        if entry.is_good() {
            return Ok(entry.clone());
        }
        let good = match newest(true) {
            Some(good) if good.name.sequence > entry.name.sequence => good.clone(),
            _ => self.add_entry(entry.name.deployment, title, uki, None)?,
        };
        self.remove_entry(entry)?;
        Ok(good)
    }

    /// Gives back the try that this boot took: a counted entry with one more is added, then the one that booted goes. Nothing
    /// happens where another entry boots next, or the one that booted is good.
    ///
    /// # Errors
    /// When the ESP cannot be written. A power cut between the two steps leaves both, the one with more tries first.
    pub fn give_back(&self, identifier: &str, title: &str, uki: &str) -> Result<Option<Entry>, BootError> {
        let entries = self.entries()?;
        let newest = entries.iter().max_by_key(|entry| entry.name.sequence);
        let Some((entry, tries)) = newest
            .filter(|entry| same_entry(&entry.name, identifier))
            .and_then(|entry| Some((entry, entry.name.tries?)))
        else {
            return Ok(None);
        };
        let tries = Tries { left: tries.left.saturating_add(1), done: tries.done.saturating_sub(1) };
        let given = self.add_entry(entry.name.deployment, title, uki, Some(tries))?;
        self.remove_entry(entry)?;
        Ok(Some(given))
    }

    /// Removes an entry; absence is success.
    ///
    /// # Errors
    /// When the ESP cannot be written.
    pub fn remove_entry(&self, entry: &Entry) -> Result<(), BootError> {
        files::remove(&self.top, &entry.name.path())
    }

    /// True when an entry is what [`Esp::add_entry`] would write for this kernel, whatever its title: no later hand, and no
    /// damage, is in it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_sound(&self, entry: &Entry, uki: &str) -> Result<bool, BootError> {
        let found = files::read(&self.top, &entry.name.path(), limits::ENTRY_BYTES)?;
        let title = self.title(entry)?.unwrap_or_default();
        Ok(found == text(&entry.name, &title, uki).as_bytes())
    }

    /// The title of an entry, for people.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn title(&self, entry: &Entry) -> Result<Option<String>, BootError> {
        let bytes = files::read(&self.top, &entry.name.path(), limits::ENTRY_BYTES)?;
        Ok(String::from_utf8_lossy(&bytes).lines().find_map(|line| Some(line.strip_prefix("title ")?.to_owned())))
    }
}

/// True where an entry is the one that the loader named, however it has counted since.
fn same_entry(name: &EntryName, identifier: &str) -> bool {
    let named: Option<EntryName> = identifier.parse().ok();
    named.is_some_and(|named| named.sequence == name.sequence && named.deployment == name.deployment)
}

/// The tries a new entry starts with.
pub fn new_tries() -> Tries {
    Tries { left: u32::from(limits::TRIES), done: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: &str) -> DeploymentId {
        byte.repeat(16).parse().unwrap()
    }

    fn esp() -> (tempfile::TempDir, Esp) {
        let directory = tempfile::tempdir().unwrap();
        let esp = Esp::at(directory.path());
        (directory, esp)
    }

    #[test]
    fn appends_and_never_edits() {
        let (_keep, esp) = esp();
        let first = esp.add_entry(id("aa"), "Rocket OS 1", "k.efi", None).unwrap();
        let second = esp.add_entry(id("bb"), "Rocket OS 2", "k.efi", Some(new_tries())).unwrap();
        assert_eq!(esp.entries().unwrap(), [second.clone(), first.clone()]);
        assert_eq!(second.name.to_string(), format!("rocketos-000002-{}+3.conf", id("bb")));
        assert_eq!(esp.title(&first).unwrap().as_deref(), Some("Rocket OS 1"));
        assert!(esp.is_sound(&first, "k.efi").unwrap());
        assert!(!esp.is_sound(&first, "other.efi").unwrap());
    }

    #[test]
    fn blessing_adds_a_good_entry_and_removes_the_counted_one() {
        let (_keep, esp) = esp();
        let old = esp.add_entry(id("aa"), "1", "k.efi", None).unwrap();
        let tried = esp.add_entry(id("bb"), "2", "k.efi", Some(new_tries())).unwrap();
        let good = esp.bless(&tried.name.identifier(), "2", "k.efi").unwrap();
        assert_eq!(good.name.sequence, 3);
        assert_eq!(esp.entries().unwrap(), [good.clone(), old]);
        assert_eq!(esp.bless(&good.name.identifier(), "2", "k.efi").unwrap(), good, "blessing twice changes nothing");
        assert!(matches!(esp.bless("rocketos-9.conf", "", ""), Err(BootError::NoEntry(_))));
    }

    #[test]
    fn a_newer_entry_stands_for_the_one_that_booted_and_is_gone() {
        let (_keep, esp) = esp();
        let old = esp.add_entry(id("aa"), "1", "k.efi", None).unwrap();
        let tried = esp.add_entry(id("bb"), "2", "k.efi", Some(new_tries())).unwrap();
        let newer = esp.add_entry(id("bb"), "2", "k.efi", Some(new_tries())).unwrap();
        esp.remove_entry(&tried).unwrap();
        let good = esp.bless(&tried.name.identifier(), "2", "k.efi").unwrap();
        assert!(good.is_good() && good.name.sequence > newer.name.sequence);
        assert_eq!(esp.entries().unwrap(), [good, old]);
    }

    #[test]
    fn a_try_is_given_back_only_to_what_boots_next() {
        let (_keep, esp) = esp();
        let old = esp.add_entry(id("aa"), "1", "k.efi", None).unwrap();
        assert_eq!(esp.give_back(&old.name.identifier(), "1", "k.efi").unwrap(), None, "it is good");
        let tried = esp.add_entry(id("bb"), "2", "k.efi", Some(Tries { left: 0, done: 3 })).unwrap();
        assert_eq!(esp.give_back(&old.name.identifier(), "1", "k.efi").unwrap(), None);
        let given = esp.give_back(&tried.name.identifier(), "2", "k.efi").unwrap().unwrap();
        assert_eq!((given.name.sequence, given.name.tries), (3, Some(Tries { left: 1, done: 2 })));
        assert_eq!(esp.entries().unwrap(), [given.clone(), old]);
        let newer = esp.add_entry(id("cc"), "3", "k.efi", Some(new_tries())).unwrap();
        assert_eq!(esp.give_back(&given.name.identifier(), "2", "k.efi").unwrap(), None, "another boots next");
        assert_eq!(esp.entries().unwrap()[0], newer);
    }

    #[test]
    fn refuses_to_begin_again_behind_the_highest_sequence() {
        let (keep, esp) = esp();
        let directory = keep.path().join(layout::esp::ENTRIES);
        std::fs::create_dir_all(&directory).unwrap();
        let name = format!("rocketos-{}-{}.conf", u64::MAX, id("aa"));
        std::fs::write(directory.join(&name), "").unwrap();
        let error = esp.add_entry(id("bb"), "2", "k.efi", None).unwrap_err().to_string();
        assert!(error.contains(&name) && error.contains("remove"), "{error}");
        assert_eq!(esp.entries().unwrap().len(), 1);
    }

    #[test]
    fn exhausted_entries_go_last() {
        let (_keep, esp) = esp();
        let old = esp.add_entry(id("aa"), "1", "k.efi", None).unwrap();
        let failed = esp.add_entry(id("bb"), "2", "k.efi", Some(Tries { left: 0, done: 3 })).unwrap();
        assert_eq!(esp.entries().unwrap(), [old, failed]);
    }

    #[test]
    fn keeps_unrelated_files_on_esp() {
        let (keep, esp) = esp();
        let directory = keep.path().join(layout::esp::ENTRIES);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("windows.conf"), "x").unwrap();
        std::fs::write(directory.join(format!("rocketos-000001-{}.conf{}", id("aa"), files::UNFINISHED)), "x").unwrap();
        assert_eq!(esp.entries().unwrap(), []);
        esp.tidy().unwrap();
        assert!(directory.join("windows.conf").exists());
        assert_eq!(files::names(keep.path(), layout::esp::ENTRIES).unwrap(), ["windows.conf"]);
    }

    #[test]
    fn titles_cannot_add_lines() {
        let (_keep, esp) = esp();
        let entry = esp.add_entry(id("aa"), "x\noptions init=/bin/sh", "k.efi", None).unwrap();
        assert_eq!(esp.title(&entry).unwrap().as_deref(), Some("x options init=/bin/sh"));
    }
}
