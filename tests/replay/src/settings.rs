//! What is stored of a deployment's settings: every generation whole, and which of them may count.
//!
//! Whoever boots counts the newest generation that is whole, and passes over one that is damaged. Here a damaged one is a fault:
//! a generation has its name only once it is on the medium, so that no power cut leaves half of one. Each carries the hash of
//! all its keys, so that none is half there where it parses; and its number is given once, so that it has the same bytes ever
//! after. What is not finished has another name and is passed over, as the next who opens the folder removes it.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use openssl::sha::sha256;
use rocketos_model::{DeploymentId, layout};
use rocketos_settings::store::{GENERATION_BYTES, KEPT, number_of, parse};

use crate::disk::{Map, Mix};
use crate::ext4::{Ext4, Kind, Memory as Files};
use crate::fault::Fault;

/// SHA-256 of generations, by where they lie, what the blocks there hold, and which they are to be.
pub type Memory = Map<u64, [u8; 32]>;

/// The generations of one deployment: number and SHA-256 of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored(BTreeMap<u64, [u8; 32]>);

impl Stored {
    /// Finds them; none where there is no folder.
    ///
    /// # Errors
    /// When one is not whole, or the folder is damaged.
    pub fn of(root: &Ext4<'_>, id: &DeploymentId, files: &mut Files, memory: &mut Memory) -> Result<Self, Fault> {
        let path = layout::deployment_settings(id);
        let Some(folder) = root.find(&path, files)? else { return Ok(Self::default()) };
        if folder.kind != Kind::Directory {
            return Err(Fault::disk(format!("{path} is no folder")));
        }
        let mut found = BTreeMap::new();
        for name in root.directory(&folder, files).map_err(|fault| fault.of(&path))?.keys() {
            let Some(name) = std::str::from_utf8(name).ok() else { continue };
            if let Some(number) = number_of(name) {
                let path = format!("{path}/{name}");
                let digest = generation(root, &path, number, files, memory).map_err(|fault| fault.of(&path))?;
                found.insert(number, digest);
            }
        }
        Ok(Self(found))
    }

    /// The one that counts; 0 where there is none.
    pub fn newest(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Judges what a cut left of an operation, by what was there before it and is there after; a deployment that is in neither
    /// is whole, and more cannot be said.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn judge(&self, before: Option<&Self>, after: Option<&Self>, returned: bool) -> Result<(), String> {
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        let nothing = Self::default();
        let before = before.unwrap_or(&nothing);
        // What is removed has its settings as long as it may boot.
        let after = after.unwrap_or(before);
        let (newest, first, last) = (self.newest(), before.newest(), after.newest());
        if returned && newest != last {
            return Err(format!("generation {newest} counts, and {last} was stored"));
        }
        if !(first..=last).contains(&newest) {
            return Err(format!("generation {newest} counts, expected {first} to {last}"));
        }
        for (number, digest) in &self.0 {
            if [before, after].iter().any(|end| end.0.get(number).is_some_and(|known| known != digest)) {
                return Err(format!("generation {number} is another than it was"));
            }
        }
        let mut kept = newest.saturating_sub(KEPT as u64) + 1..=newest;
        let had = |number: &u64| *number > first || before.0.contains_key(number);
        match kept.find(|number| had(number) && !self.0.contains_key(number)) {
            Some(lost) => Err(format!("generation {lost} is lost, and {newest} counts")),
            None => Ok(()),
        }
    }
}

fn generation(
    root: &Ext4<'_>,
    path: &str,
    number: u64,
    files: &mut Files,
    memory: &mut Memory,
) -> Result<[u8; 32], Fault> {
    let inode = root.find(path, files)?.filter(|inode| inode.kind == Kind::File);
    let inode = inode.ok_or_else(|| Fault::disk("it is no file"))?;
    let mut hasher = Mix::default();
    hasher.write_u64(root.name_of(&inode)?);
    hasher.write_u64(number);
    let key = hasher.finish();
    if let Some(known) = memory.get(&key) {
        return Ok(*known);
    }
    if inode.size > GENERATION_BYTES as u64 {
        return Err(Fault::disk("it is longer than any"));
    }
    let bytes = root.content(&inode)?;
    parse(number, &bytes).map_err(Fault::disk)?;
    let digest = sha256(&bytes);
    memory.insert(key, digest);
    Ok(digest)
}

#[cfg(test)]
mod tests;
