//! `publisher.toml`.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use rocketos_trust::tuf::author::Top;
use serde::{Deserialize, Serialize};

/// Days that a document may hold at most.
const DAYS: u64 = 3650;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    days: Days,
}

/// How long documents hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Days {
    root: u64,
    targets: u64,
    snapshot: u64,
    timestamp: u64,
}

impl Default for Days {
    /// A node that hears nothing for a week notices; a year passes between ceremonies.
    fn default() -> Self {
        Self { root: 365, targets: 90, snapshot: 7, timestamp: 7 }
    }
}

impl Settings {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let settings: Self = toml::from_str(std::str::from_utf8(bytes)?)?;
        for role in Top::ALL {
            settings.check(role)?;
        }
        Ok(settings)
    }

    /// The file.
    pub fn text(&self) -> anyhow::Result<String> {
        let text = toml::to_string(self).context("writing the settings")?;
        Ok(format!("# How many days each role's documents hold.\n{text}"))
    }

    fn days(&self, role: Top) -> u64 {
        match role {
            Top::Root => self.days.root,
            Top::Targets => self.days.targets,
            Top::Snapshot => self.days.snapshot,
            Top::Timestamp => self.days.timestamp,
        }
    }

    fn check(&self, role: Top) -> anyhow::Result<()> {
        let days = self.days(role);
        ensure!((1..=DAYS).contains(&days), "{role} cannot hold for {days} days; from 1 to {DAYS} are taken");
        Ok(())
    }

    /// Lets a role's documents hold so long.
    pub fn set(&mut self, role: Top, days: u64) -> anyhow::Result<()> {
        match role {
            Top::Root => self.days.root = days,
            Top::Targets => self.days.targets = days,
            Top::Snapshot => self.days.snapshot = days,
            Top::Timestamp => self.days.timestamp = days,
        }
        self.check(role)
    }

    /// When a document of the role expires that is made now.
    pub fn expiry(&self, role: Top, now: SystemTime) -> anyhow::Result<SystemTime> {
        let holds = Duration::from_secs(self.days(role) * 24 * 60 * 60);
        now.checked_add(holds).context("the clock is off: no expiry can be told")
    }
}
