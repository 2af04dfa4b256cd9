//! Names of boot entries: `rocketos-<sequence>-<id>[+<left>[-<done>]].conf`.
//!
//! The suffix is systemd's boot counting (Boot Loader Specification, "Boot counting"): no suffix means known good.
//! Sequences only grow, so the newest entry sorts first and nothing that boots today is ever edited.

use std::{fmt, str::FromStr};

use crate::{DeploymentId, layout};

/// Digits a sequence is padded to, so that names sort as numbers do.
const SEQUENCE_DIGITS: usize = 6;

/// What is left of a counted entry's tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Tries left; at 0 the loader boots it only when nothing better is there.
    pub left: u32,
    /// Tries used.
    pub done: u32,
}

/// A boot entry's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryName {
    /// Place in the boot order; the highest boots first.
    pub sequence: u64,
    /// What it boots.
    pub deployment: DeploymentId,
    /// Absent on an entry that is known to be good.
    pub tries: Option<Tries>,
}

/// A file name that is not one of our boot entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the name of a Rocket OS boot entry")]
pub struct EntryNameError(pub String);

impl EntryName {
    /// The entry's identifier, as the loader reports it in `LoaderEntrySelected`: the file's name without the tries.
    pub fn identifier(&self) -> String {
        format!("{}.conf", self.stem())
    }

    fn stem(&self) -> String {
        format!("rocketos-{:0width$}-{}", self.sequence, self.deployment, width = SEQUENCE_DIGITS)
    }

    /// The file's path on the ESP.
    pub fn path(&self) -> String {
        format!("{}/{self}", layout::esp::ENTRIES)
    }

    /// True when a boot of this entry still counts, or it is known good.
    pub fn bootable(&self) -> bool {
        self.tries.is_none_or(|tries| tries.left > 0)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stem())?;
        match self.tries {
            None => {}
            Some(Tries { left, done: 0 }) => write!(f, "+{left}")?,
            Some(Tries { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".conf")
    }
}

/// A number in plain decimal.
fn number<T: FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parse(name: &str) -> Option<EntryName> {
    let stem = name.strip_prefix("rocketos-")?.strip_suffix(".conf")?;
    let (stem, tries) = match stem.split_once('+') {
        None => (stem, None),
        Some((stem, tries)) => {
            let (left, done) = tries.split_once('-').unwrap_or((tries, "0"));
            (stem, Some(Tries { left: number(left)?, done: number(done)? }))
        }
    };
    let (sequence, id) = stem.split_once('-')?;
    Some(EntryName { sequence: number(sequence)?, deployment: id.parse().ok()?, tries })
}

impl FromStr for EntryName {
    type Err = EntryNameError;
    fn from_str(name: &str) -> Result<Self, EntryNameError> {
        // Only what we and the loader write: of any other spelling of the same numbers the file would not be found again.
        parse(name).filter(|entry| entry.to_string() == name).ok_or_else(|| EntryNameError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_the_loader_makes() {
        let id = "0f".repeat(16);
        for (name, sequence, tries) in [
            (format!("rocketos-000001-{id}.conf"), 1, None),
            (format!("rocketos-000002-{id}+3.conf"), 2, Some((3, 0))),
            (format!("rocketos-000002-{id}+2-1.conf"), 2, Some((2, 1))),
            (format!("rocketos-1000000-{id}+0-3.conf"), 1_000_000, Some((0, 3))),
        ] {
            let entry: EntryName = name.parse().unwrap();
            assert_eq!(entry.sequence, sequence);
            assert_eq!(entry.tries, tries.map(|(left, done)| Tries { left, done }));
            assert_eq!(entry.to_string(), name);
            assert!(!entry.identifier().contains('+'));
        }
    }

    #[test]
    fn leaves_the_entries_of_others_alone() {
        let id = "0f".repeat(16);
        for name in [
            "arch.conf".to_owned(),
            format!("rocketos-000001-{id}"),
            format!("rocketos-+00001-{id}.conf"),
            format!("rocketos-000001-{id}+.conf"),
            format!("rocketos-000001-{id}+1-.conf"),
            format!("rocketos-x-{id}.conf"),
            "rocketos-1-0f.conf".to_owned(),
            format!("rocketos-1-{id}.conf"),
            format!("rocketos-0000001-{id}.conf"),
            format!("rocketos-000001-{id}+03.conf"),
            format!("rocketos-000001-{id}+3-0.conf"),
        ] {
            assert!(name.parse::<EntryName>().is_err(), "{name}");
        }
    }
}
