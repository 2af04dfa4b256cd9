//! Windows: when a node may reboot by itself.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, NaiveDateTime, NaiveTime, TimeDelta, Utc, Weekday};
use serde::{Deserialize, de};

/// The shortest window: a shorter one could pass between two looks.
pub const SHORTEST: TimeDelta = TimeDelta::minutes(90);
/// The longest, which is always.
pub const LONGEST: TimeDelta = TimeDelta::days(7);
/// Windows of a node.
pub const WINDOWS: usize = 64;
/// How finely the next opening is looked for.
const STEP: TimeDelta = TimeDelta::minutes(5);

/// A window: on these days it opens at a time of the clock of its zone, and stays open for so long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it opens; every day where there is none.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// When it opens, `hh:mm`.
    #[serde(deserialize_with = "time")]
    pub start: NaiveTime,
    /// How long it stays open, such as `3h`.
    #[serde(deserialize_with = "length")]
    pub length: TimeDelta,
    /// The zone of its clock, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn time<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    NaiveTime::parse_from_str(&text, "%H:%M")
        .map_err(|_| de::Error::custom(format!("'{text}' is no time of day: 'hh:mm', from 00:00 to 23:59")))
}

fn length<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = humantime::Duration::from_str(&text).ok().and_then(|found| TimeDelta::from_std(*found).ok());
    match found {
        Some(length) if (SHORTEST..=LONGEST).contains(&length) => Ok(length),
        Some(_) => Err(de::Error::custom(format!(
            "a window is open for at least {} minutes, which no look can miss, and at most {} days, not for {text}",
            SHORTEST.num_minutes(),
            LONGEST.num_days()
        ))),
        None => Err(de::Error::custom(format!("'{text}' is no length of time, such as '3h' or '90min'"))),
    }
}

impl Window {
    /// True while it is open at a local time.
    pub fn contains(&self, local: NaiveDateTime) -> bool {
        (0..=LONGEST.num_days() as u64).any(|back| {
            let Some(day) = local.date().checked_sub_days(Days::new(back)) else { return false };
            let opens = day.and_time(self.start);
            let on = self.days.is_empty() || self.days.contains(&day.weekday());
            on && opens <= local && local - opens < self.length
        })
    }
}

/// True while one of the windows is open, or where there is none. `local` tells a zone's time.
///
/// # Errors
/// When a zone is not known.
pub fn is_open<E>(
    windows: &[Window],
    now: DateTime<Utc>,
    local: impl Fn(&str, DateTime<Utc>) -> Result<NaiveDateTime, E>,
) -> Result<bool, E> {
    if windows.is_empty() {
        return Ok(true);
    }
    let mut open = false;
    for window in windows {
        open |= window.contains(local(&window.zone, now)?);
    }
    Ok(open)
}

/// When the next one opens; now, where one is open.
///
/// # Errors
/// When a zone is not known.
pub fn next_opening<E>(
    windows: &[Window],
    now: DateTime<Utc>,
    local: impl Fn(&str, DateTime<Utc>) -> Result<NaiveDateTime, E>,
) -> Result<Option<DateTime<Utc>>, E> {
    let mut at = now;
    while at - now <= LONGEST + STEP {
        if is_open(windows, at, &local)? {
            return Ok(Some(at));
        }
        at += STEP;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn window(text: &str) -> Window {
        toml::from_str(text).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn utc(_: &str, now: DateTime<Utc>) -> Result<NaiveDateTime, Infallible> {
        Ok(now.naive_utc())
    }

    #[test]
    fn is_open_from_its_start_for_its_length() {
        // 2026-11-21 is a Saturday.
        let night = window("days = ['Sat']\nstart = '22:30'\nlength = '3h'");
        for (time, open) in [
            ("2026-11-21T22:29:59Z", false),
            ("2026-11-21T22:30:00Z", true),
            ("2026-11-22T01:29:59Z", true),
            ("2026-11-22T01:30:00Z", false),
            ("2026-11-22T23:00:00Z", false),
            ("2026-11-20T23:00:00Z", false),
        ] {
            assert_eq!(night.contains(at(time).naive_utc()), open, "{time}");
        }
        let daily = window("start = '00:00'\nlength = '2h'");
        assert!(daily.contains(at("2026-11-24T01:59:59Z").naive_utc()));
        let week = window("days = ['Mon']\nstart = '12:00'\nlength = '7days'");
        assert!(week.contains(at("2026-11-23T11:59:59Z").naive_utc()));
    }

    #[test]
    fn any_of_several_will_do_each_in_its_zone() {
        let windows = [
            window("days = ['Mon']\nstart = '02:00'\nlength = '2h'\nzone = 'east'"),
            window("days = ['Tue']\nstart = '02:00'\nlength = '2h'"),
        ];
        let local = |zone: &str, now: DateTime<Utc>| {
            Ok::<_, Infallible>(now.naive_utc() + TimeDelta::hours(if zone == "east" { 5 } else { 0 }))
        };
        assert_eq!(is_open(&windows, at("2026-11-22T21:00:00Z"), local), Ok(true));
        assert_eq!(is_open(&windows, at("2026-11-23T02:30:00Z"), local), Ok(false));
        assert_eq!(next_opening(&windows, at("2026-11-23T02:30:00Z"), local), Ok(Some(at("2026-11-24T02:00:00Z"))));
        assert_eq!(is_open(&[], at("2026-11-23T02:30:00Z"), local), Ok(true));
        let rare = [window("days = ['Sun']\nstart = '03:00'\nlength = '90min'")];
        assert_eq!(next_opening(&rare, at("2026-11-22T04:31:00Z"), utc), Ok(Some(at("2026-11-29T03:01:00Z"))));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (text, says) in [
            ("start = '24:00'\nlength = '3h'", "no time of day"),
            ("start = '02:00'\nlength = '30min'", "at least 90 minutes"),
            ("start = '02:00'\nlength = '8days'", "at most 7 days"),
            ("start = '02:00'\nlength = 'long'", "no length"),
            ("start = '02:00'", "length"),
            ("days = ['Someday']\nstart = '02:00'\nlength = '3h'", "Someday"),
            ("start = '02:00'\nlength = '3h'\nday = 'Mon'", "unknown field"),
        ] {
            let error = toml::from_str::<Window>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
