//! What differs between two documents of a channel, in words: what people read before they sign.

use std::fmt;

use serde::Serialize;

use crate::{
    Channel, Release,
    channel::{Curve, Point},
};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happens.
    pub kind: Kind,
    /// To what: a channel, or a release of it.
    pub subject: String,
    /// The rest of the sentence; may be empty.
    pub detail: String,
}

/// Kinds of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It was not there.
    Adds,
    /// It is there no more.
    Removes,
    /// Nodes that have not taken it are to wait.
    Halts,
    /// They wait no longer.
    Resumes,
    /// Nodes that have it are to leave it.
    Recalls,
    /// It is no longer recalled.
    Reinstates,
    /// A fact of it is another.
    Changes,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            Kind::Adds => "adds",
            Kind::Removes => "removes",
            Kind::Halts => "halts",
            Kind::Resumes => "resumes",
            Kind::Recalls => "recalls",
            Kind::Reinstates => "takes back the recall of",
            Kind::Changes => "changes",
        };
        write!(f, "{verb} {}", self.subject)?;
        match self.detail.as_str() {
            "" => Ok(()),
            detail => write!(f, ": {detail}"),
        }
    }
}

/// What differs; without `before` all is new, without `after` all is gone.
pub fn changes(before: Option<&Channel>, after: Option<&Channel>) -> Vec<Change> {
    let change = |kind, subject: String, detail: String| Change { kind, subject, detail };
    let name = |channel: &Channel| format!("channel {}", channel.channel);
    let mut found = Vec::new();
    match (before, after) {
        (None, Some(after)) => found.push(change(Kind::Adds, name(after), String::new())),
        (Some(before), None) => found.push(change(Kind::Removes, name(before), String::new())),
        _ => {}
    }
    let none = Vec::new();
    let old = before.map_or(&none, |channel| &channel.releases);
    let new = after.map_or(&none, |channel| &channel.releases);
    let Some(channel) = after.or(before) else { return found };
    let subject = |release: &Release| {
        let Release { version, variant, architecture, .. } = release;
        format!("{version} {} {} in {}", plain(variant), plain(architecture), name(channel))
    };
    for release in new {
        match old.iter().find(|other| other.is_same(release)) {
            None => found.push(change(Kind::Adds, subject(release), describe(release))),
            Some(before) => {
                let of = differences(before, release);
                found.extend(of.into_iter().map(|(kind, detail)| change(kind, subject(release), detail)));
            }
        }
    }
    for release in old.iter().filter(|release| !new.iter().any(|other| other.is_same(release))) {
        found.push(change(Kind::Removes, subject(release), String::new()));
    }
    found
}

/// A new release, in full.
fn describe(release: &Release) -> String {
    let mut parts = vec![format!("{}@{}", release.image, release.digest), curve(&release.curve)];
    parts.push(format!("counted from {}", date(release)));
    if let Some(earliest) = &release.earliest {
        parts.push(format!("for nodes at {earliest} or newer"));
    }
    if release.halted {
        parts.push("halted".to_owned());
    }
    if let Some(reason) = &release.recalled {
        parts.push(format!("recalled because \"{}\"", plain(reason)));
    }
    if let Some(notes) = &release.notes {
        parts.push(format!("notes \"{}\"", plain(notes)));
    }
    parts.join("; ")
}

fn date(release: &Release) -> String {
    release.published.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// What happens to a release that stays.
fn differences(before: &Release, after: &Release) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    match (before.halted, after.halted) {
        (false, true) => found.push((Kind::Halts, String::new())),
        (true, false) => found.push((Kind::Resumes, String::new())),
        _ => {}
    }
    match (&before.recalled, &after.recalled) {
        (Some(_), None) => found.push((Kind::Reinstates, String::new())),
        (old, Some(reason)) if old.as_ref() != Some(reason) => found.push((Kind::Recalls, plain(reason))),
        _ => {}
    }
    let image = |release: &Release| format!("{}@{}", release.image, release.digest);
    let quoted = |text: &Option<String>| text.as_ref().map_or("none".to_owned(), |text| format!("\"{}\"", plain(text)));
    let earliest = |release: &Release| match &release.earliest {
        Some(version) => format!("nodes at {version} or newer"),
        None => "any node".to_owned(),
    };
    for (what, old, new) in [
        ("its version is now written", before.version.to_string(), after.version.to_string()),
        ("it is another image", image(before), image(after)),
        ("it opens", curve(&before.curve), curve(&after.curve)),
        ("it is counted from", date(before), date(after)),
        ("it is for", earliest(before), earliest(after)),
        ("its notes are", quoted(&before.notes), quoted(&after.notes)),
    ] {
        if old != new {
            found.push((Kind::Changes, format!("{what} {new}, not {old}")));
        }
    }
    found
}

/// A curve in words.
pub fn curve(curve: &Curve) -> String {
    let points = curve.points();
    if let Some(Point { after: 0, share: 1.0 }) = points.first() {
        return "to all at once".to_owned();
    }
    let mut parts: Vec<String> = points
        .iter()
        .map(|point| {
            let share = if point.share >= 1.0 { "all".to_owned() } else { percent(point.share) };
            match point.after {
                0 => format!("{share} at once"),
                seconds => format!("{share} after {}", duration(seconds)),
            }
        })
        .collect();
    if points.last().is_some_and(|point| point.share < 1.0) {
        parts.push("no more".to_owned());
    }
    parts.join(", ")
}

/// A share, with as many digits as it has.
fn percent(share: f64) -> String {
    let text = format!("{:.6}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn duration(seconds: u32) -> String {
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")] {
        if left >= length {
            parts.push(format!("{} {unit}", left / length));
            left %= length;
        }
    }
    parts.join(" ")
}

/// Text of others, without what would move a terminal's cursor or turn its line around.
pub fn plain(text: &str) -> String {
    let show = |c: char| match c {
        // Direction marks are no control characters, and make a line read otherwise than it is.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => c.escape_unicode().to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(releases: &str) -> Channel {
        Channel::parse(format!(r#"{{"format": 1, "channel": "stable", "releases": [{releases}]}}"#).as_bytes()).unwrap()
    }

    fn release(version: &str, more: &str) -> String {
        format!(
            r#"{{"version": "{version}", "variant": "standalone", "architecture": "amd64",
                "image": "docker://registry.example/os", "digest": "sha256:{}",
                "published": "2026-11-22T10:00:00Z"{more}}}"#,
            "5".repeat(64)
        )
    }

    fn said(before: &str, after: &str) -> Vec<String> {
        changes(Some(&channel(before)), Some(&channel(after))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn says_each_change_of_a_release() {
        let one = release("1", "");
        for (more, expected) in [
            (r#", "halted": true"#, "halts 1 standalone amd64 in channel stable"),
            (
                r#", "recalled": "eats\u001b[2J disks""#,
                "recalls 1 standalone amd64 in channel stable: eats\\u{1b}[2J disks",
            ),
            (
                r#", "curve": [{"after": 0, "share": 0.01}, {"after": 90000, "share": 0.5}]"#,
                "changes 1 standalone amd64 in channel stable: it opens 1 % at once, 50 % after 1 d 1 h, no more, not to all at once",
            ),
            (
                r#", "earliest": "0.9""#,
                "changes 1 standalone amd64 in channel stable: it is for nodes at 0.9 or newer, not any node",
            ),
            (r#", "notes": "n""#, "changes 1 standalone amd64 in channel stable: its notes are \"n\", not none"),
        ] {
            assert_eq!(said(&one, &release("1", more)), [expected]);
            assert!(said(&release("1", more), &release("1", more)).is_empty());
        }
        assert_eq!(said(&release("1", r#", "halted": true"#), &one), ["resumes 1 standalone amd64 in channel stable"]);
        let recalled = release("1", r#", "recalled": "a""#);
        assert_eq!(said(&recalled, &one), ["takes back the recall of 1 standalone amd64 in channel stable"]);
        let moved = release("1", "").replace(&"5".repeat(64), &"6".repeat(64));
        assert!(said(&one, &moved)[0].contains("it is another image docker://registry.example/os@sha256:666"));
    }

    #[test]
    fn says_what_comes_and_goes() {
        let (one, two) = (release("1", ""), release("2", ""));
        let added = &said(&one, &format!("{one}, {two}"))[0];
        assert!(
            added.starts_with("adds 2 standalone amd64 in channel stable: docker://registry.example/os@sha256:555")
        );
        assert!(added.ends_with("; to all at once; counted from 2026-11-22T10:00:00Z"), "{added}");
        assert_eq!(said(&format!("{one}, {two}"), &one), ["removes 2 standalone amd64 in channel stable"]);
        let new: Vec<_> = changes(None, Some(&channel(&one))).iter().map(|change| change.kind).collect();
        assert_eq!(new, [Kind::Adds, Kind::Adds]);
        assert_eq!(changes(Some(&channel("")), None)[0].to_string(), "removes channel stable");
    }
}
