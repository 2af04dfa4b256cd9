//! How long things may take: `health.toml`.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Deserializer, de};

use crate::config;

/// The name of the files.
const NAME: &str = "health";
/// The longest soak.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a release is on trial, and how it is watched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// From the moment the boot is complete.
    #[serde(default = "soak", deserialize_with = "time")]
    pub soak: Duration,
    /// Between two looks.
    #[serde(default = "interval", deserialize_with = "time")]
    pub interval: Duration,
    /// From the start of the system until the boot has to be complete.
    #[serde(default = "deadline", deserialize_with = "time")]
    pub deadline: Duration,
}

fn soak() -> Duration {
    Duration::from_secs(600)
}

fn interval() -> Duration {
    Duration::from_secs(20)
}

fn deadline() -> Duration {
    Duration::from_secs(900)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| de::Error::custom(format!("'{text}' is no length of time, such as '10min'")))
}

impl Settings {
    /// Those of the running node.
    pub fn of_node() -> anyhow::Result<Self> {
        Self::read(Path::new("/"))
    }

    fn read(root: &Path) -> anyhow::Result<Self> {
        let settings: Self =
            config::read(root, NAME)?.try_into().context("reading how this node is watched (health.toml)")?;
        ensure!(settings.soak <= LONGEST, "a soak lasts at most {} days", LONGEST.as_secs() / 86_400);
        ensure!(!settings.interval.is_zero(), "an interval of nothing leaves no time for work");
        ensure!(!settings.deadline.is_zero(), "a deadline of nothing lets no boot be complete");
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_defaults_and_refuses_what_makes_no_sense() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/rocketos");
        std::fs::create_dir_all(&folder).unwrap();
        let read = |text: &str| {
            std::fs::write(folder.join("health.toml"), text).unwrap();
            Settings::read(root.path())
        };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let default = read("").unwrap();
        assert_eq!((default.soak, default.deadline), (minutes(10), minutes(15)));
        assert_eq!(read("soak = '0s'").unwrap().soak, Duration::ZERO);
        for (text, says) in [
            ("soak = 'long'", "no length"),
            ("soak = '8days'", "at most 7 days"),
            ("interval = '0s'", "interval of nothing"),
            ("deadline = '0s'", "deadline of nothing"),
            ("soaks = '1s'", "soaks"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
