//! This machine's clock: release metadata is as fresh as the clock is right.

use std::time::SystemTime;

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// How far this clock and a server's may differ before it is said.
const SLACK: TimeDelta = TimeDelta::minutes(10);
/// How long before the running image was made the clock may be: builders' clocks differ too.
const BEFORE: TimeDelta = TimeDelta::days(1);

fn words(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What there is to say, where the server's clock (`Date`, RFC 9110, 5.6.7) says something else. It is not trusted; it
/// only helps people.
pub fn doubt(now: SystemTime, server: Option<&str>) -> Option<String> {
    let server = DateTime::parse_from_rfc2822(server?).ok()?.to_utc();
    let now = DateTime::<Utc>::from(now);
    let differ = (now - server).abs() > SLACK;
    differ.then(|| format!("this machine's clock says {}, the server's {}: one is wrong", words(now), words(server)))
}

/// Refuses a clock that is before the running image was made (`made`, RFC 3339): with it, anything would seem fresh.
pub fn require(now: SystemTime, made: Option<&str>) -> anyhow::Result<()> {
    let Some(made) = made.and_then(|made| DateTime::parse_from_rfc3339(made).ok()) else { return Ok(()) };
    let (now, made) = (DateTime::<Utc>::from(now), made.to_utc());
    ensure!(
        made - now <= BEFORE,
        "this machine's clock says {}, but what runs was made at {}; expired metadata would seem fresh: set the clock, or \
         let time synchronisation set it",
        words(now),
        words(made)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> SystemTime {
        DateTime::parse_from_rfc3339(text).unwrap().into()
    }

    #[test]
    fn says_when_a_server_disagrees() {
        let server = Some("Sun, 22 Nov 2026 10:00:00 GMT");
        for (now, doubted) in
            [("2026-11-22T10:09:59Z", false), ("2026-11-22T10:11:00Z", true), ("2020-01-01T00:00:00Z", true)]
        {
            assert_eq!(doubt(at(now), server).is_some(), doubted, "{now}");
        }
        for unknown in [None, Some(""), Some("yesterday")] {
            assert_eq!(doubt(at("2026-11-22T10:00:00Z"), unknown), None);
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        let made = "2026-11-22T10:00:00Z";
        require(at(made) - Duration::from_secs(86_400), Some(made)).unwrap();
        let error = require(at("1970-01-01T00:00:09Z"), Some(made)).unwrap_err().to_string();
        assert!(error.contains("says 1970-01-01T00:00:09Z, but what runs was made at 2026-11-22T10:00:00Z"), "{error}");
        require(at("1970-01-01T00:00:09Z"), None).unwrap();
    }
}
