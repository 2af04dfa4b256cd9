//! When a node does what by itself: `update.toml`.

use std::{fmt, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use rocketos_deploy::Roles;
use rocketos_model::Followed;
use rocketos_update::{Version, Window, Wish, wave, window};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tz::TimeZone;

use crate::{
    channel::{date, require_name},
    config,
};

/// The name of the files.
const NAME: &str = "update";
/// The zone that needs no description.
const UTC: &str = "UTC";
/// The lock that is none.
const LATEST: &str = "latest";
/// Characters of a reboot lock's group.
const GROUP_CHARS: usize = 64;

/// What is done without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing.
    Off,
    /// Looking, and saying what there is.
    Check,
    /// Bringing it, but not making it boot next.
    Download,
    /// Bringing it, making it boot next within a window, and rebooting into it.
    Apply,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Check => "check",
            Self::Download => "download",
            Self::Apply => "apply",
        })
    }
}

/// A service that hands out reboot locks (FleetLock).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootLock {
    /// Its base URL.
    pub url: url::Url,
    /// The group of nodes that this one is in.
    #[serde(default = "default_group")]
    pub group: String,
}

fn default_group() -> String {
    "default".to_owned()
}

/// A node's schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    mode: Option<Mode>,
    #[serde(default, rename = "window")]
    windows: Vec<Window>,
    /// What is asked before a reboot.
    #[serde(rename = "reboot-lock")]
    pub reboot_lock: Option<RebootLock>,
    /// The channel that the node is to follow, whatever it was installed from or switched to.
    pub channel: Option<Followed>,
    ignore_waves: Option<bool>,
    /// Its place in every curve.
    pub seed: Option<u16>,
    version_lock: Option<Version>,
}

impl Schedule {
    /// The one of the running node.
    pub fn of_node() -> anyhow::Result<Self> {
        Self::read(Path::new("/"))
    }

    /// That of a node below a root.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let schedule: Self =
            config::read(root, NAME)?.try_into().context("reading when this node updates itself (update.toml)")?;
        ensure!(schedule.windows.len() <= window::WINDOWS, "update.toml has more than {} windows", window::WINDOWS);
        if let Some(channel) = &schedule.channel {
            require_name(&channel.name)?;
        }
        if let Some(seed) = schedule.seed {
            ensure!(seed < wave::PLACES, "{seed} is no place of a node in a curve: 0 to {}", wave::PLACES - 1);
        }
        if let Some(RebootLock { url, group }) = &schedule.reboot_lock {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            ensure!(
                !group.is_empty() && group.len() <= GROUP_CHARS && group.chars().all(allowed),
                "'{group}' is no group of a reboot lock: letters, digits, '.' and '-'"
            );
            ensure!(
                matches!(url.scheme(), "http" | "https"),
                "the reboot lock '{url}' is neither http:// nor https://"
            );
        }
        // A zone that is not known is said when somebody reads the file, not in the night it is needed.
        schedule.is_open(DateTime::UNIX_EPOCH)?;
        Ok(schedule)
    }

    /// What is done: as the files say, else `apply` on a channel, which says what fits when, and `check` on a reference.
    pub fn mode(&self, roles: &Roles) -> Mode {
        let followed = || roles.followed().is_some_and(|followed| followed.origin.channel.is_some());
        let channel = self.channel.is_some() || followed();
        self.mode.unwrap_or(if channel { Mode::Apply } else { Mode::Check })
    }

    /// What is wished of a channel, as the files say as well.
    pub fn wish(&self, wish: Wish) -> Wish {
        Wish { now: wish.now || self.ignore_waves == Some(true), ..wish }
    }

    /// The only version that is taken.
    pub fn lock(&self) -> Option<&Version> {
        self.version_lock.as_ref().filter(|version| version.as_str() != LATEST)
    }

    /// True while the node may reboot by itself.
    pub fn is_open(&self, now: DateTime<Utc>) -> anyhow::Result<bool> {
        window::is_open(&self.windows, now, local)
    }

    /// What is done, and when the node may reboot next where windows say so: for people and for programs.
    pub fn outlook(&self, roles: &Roles, now: DateTime<Utc>) -> anyhow::Result<(String, Value)> {
        let mode = self.mode(roles);
        let opens = match mode == Mode::Apply && !self.windows.is_empty() {
            true => window::next_opening(&self.windows, now, local)?,
            false => None,
        };
        let text = match opens {
            Some(at) if at == now => format!("{mode}, a window is open"),
            Some(at) => format!("{mode}, a window opens {}", date(at)),
            None => mode.to_string(),
        };
        Ok((text, json!({ "mode": mode, "windowOpens": opens.map(date) })))
    }
}

/// A zone's time, as the image's zone descriptions have it.
fn local(zone: &str, now: DateTime<Utc>) -> anyhow::Result<NaiveDateTime> {
    if zone == UTC {
        return Ok(now.naive_utc());
    }
    let unknown = || anyhow!("the time zone '{zone}' is not known here; 'UTC' always is");
    let sound = zone.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) && !zone.starts_with(':');
    ensure!(sound, unknown());
    let described = TimeZone::from_posix_tz(&format!(":{zone}")).with_context(unknown)?;
    let offset = described.find_local_time_type(now.timestamp()).with_context(unknown)?.ut_offset();
    Ok(now.naive_utc() + TimeDelta::seconds(offset.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> anyhow::Result<Schedule> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/rocketos")).unwrap();
        fs::write(root.path().join("etc/rocketos/update.toml"), text).unwrap();
        Schedule::read(root.path())
    }

    #[test]
    fn reads_what_the_page_shows() {
        let page = include_str!("../../../docs/releases.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let schedule = read(example).unwrap();
        assert_eq!(schedule.mode, Some(Mode::Apply));
        assert!(schedule.reboot_lock.is_some() && !schedule.windows.is_empty());
        assert_eq!(schedule.lock().map(Version::as_str), Some("1.4.0"));
        assert!(schedule.wish(Wish::default()).now && schedule.seed == Some(12));
        assert_eq!(
            schedule.channel.unwrap().to_string(),
            "channel stable of docker://registry.example/rocketos/standalone"
        );
    }

    #[test]
    fn a_zone_has_its_summer() {
        for (utc, hour) in [("2026-07-01T10:00:00Z", "12:00:00"), ("2026-12-01T10:00:00Z", "11:00:00")] {
            let found = local("Europe/Berlin", utc.parse().unwrap()).unwrap();
            assert!(found.to_string().ends_with(hour), "{found}");
        }
    }

    #[test]
    fn does_by_itself_what_fits_what_is_followed() {
        assert_eq!(Schedule::default().mode(&Roles::default()), Mode::Check);
        assert_eq!(read("mode = 'off'").unwrap().mode(&Roles::default()), Mode::Off);
        let channel = "[channel]\nname = 'stable'\nfrom = 'dir:/srv/a'";
        assert_eq!(read(channel).unwrap().mode(&Roles::default()), Mode::Apply);
    }

    #[test]
    fn takes_what_is_newest_in_its_turn_where_nothing_else_is_said() {
        for text in ["", "version-lock = 'latest'\nignore-waves = false"] {
            let schedule = read(text).unwrap();
            assert_eq!((schedule.lock(), schedule.wish(Wish::default())), (None, Wish::default()), "{text}");
        }
        assert!(read("").unwrap().wish(Wish { now: true, ..Wish::default() }).now);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (text, says) in [
            ("mode = 'never'", "never"),
            ("modes = 'off'", "modes"),
            ("[[window]]\nstart = '02:00'\nlength = '3h'\nzone = 'Atlantis/City'", "Atlantis/City"),
            ("[[window]]\nstart = '02:00'\nlength = '3h'\nzone = '../../etc/passwd'", "not known"),
            ("[reboot-lock]\nurl = 'ftp://lock.example'", "neither"),
            ("[reboot-lock]\nurl = 'https://lock.example'\ngroup = 'a b'", "no group"),
            ("[reboot-lock]\nurl = 'lock'", "URL"),
            ("seed = 2048", "0 to 2047"),
            ("version-lock = '1 2'", "not a version"),
            ("[channel]\nname = 'A'\nfrom = 'dir:/srv/a'", "not a channel's name"),
            ("[channel]\nname = 'a'", "from"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
