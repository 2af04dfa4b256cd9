//! What is drafted, in words, and who still has to sign it.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use rocketos_trust::{
    Policy,
    tuf::{
        TargetName,
        author::{Repository, Standing, Top, root_changes},
    },
};
use rocketos_update::{
    Channel,
    change::{Change, changes, plain},
};
use serde_json::{Value, json};

use super::{CHANNEL, POLICY};

/// Lines of a policy that are compared line by line.
const LINES: usize = 2000;

/// A draft for people.
#[derive(Debug)]
pub struct Report {
    sections: Vec<Section>,
    standings: Vec<Standing>,
    lost: usize,
}

/// What happens in one document.
#[derive(Debug)]
struct Section {
    role: Top,
    version: u64,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Text(String),
    Change(Change),
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Change(change) => change.to_string(),
        }
    }
}

fn date(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Report {
    /// Of what is drafted; `lost` signatures of an earlier draft no longer hold.
    pub fn new(repository: &Repository, lost: usize) -> anyhow::Result<Self> {
        let mut sections = Vec::new();
        if repository.draft().root.is_some() {
            let root = repository.root()?;
            let lines = root_changes(repository.published_root()?.as_ref(), &root);
            let lines = lines.into_iter().map(Line::Text).collect();
            sections.push(Section { role: Top::Root, version: root.version, lines });
        }
        if repository.draft().targets.is_some() {
            sections.extend(targets(repository)?);
        }
        Ok(Self { sections, standings: repository.standings()?, lost })
    }

    /// The same, for programs.
    pub fn document(&self) -> Value {
        let sections: Vec<_> = self
            .sections
            .iter()
            .map(|section| {
                let lines: Vec<_> = section.lines.iter().map(line_document).collect();
                json!({"role": section.role, "version": section.version, "changes": lines})
            })
            .collect();
        let signatures: Vec<_> = self
            .standings
            .iter()
            .map(|standing| {
                let mut value = json!(standing);
                value["missing"] = json!(standing.missing());
                value
            })
            .collect();
        json!({"draft": sections, "signatures": signatures, "discardedSignatures": self.lost})
    }

    /// For people.
    pub fn text(&self) -> String {
        if self.sections.is_empty() {
            return "Nothing is drafted.\n".to_owned();
        }
        let mut text = String::new();
        for section in &self.sections {
            text += &format!("Draft of {} version {}:\n", section.role, section.version);
            for line in &section.lines {
                text += &format!("  {}\n", line.text());
            }
        }
        if self.lost > 0 {
            text += &format!("The draft changed: {} signatures of the one before are discarded.\n", self.lost);
        }
        text + &self.signatures()
    }

    /// Who signed, and who still has to.
    fn signatures(&self) -> String {
        let lines: String = self.standings.iter().map(|standing| format!("  {standing}\n")).collect();
        format!("Signatures:\n{lines}")
    }

    /// Prints only who signed, for whoever read the rest before; programs get all of it.
    pub fn print_signatures(&self, json: bool) {
        match json {
            true => println!("{:#}", self.document()),
            false => print!("{}", self.signatures()),
        }
    }

    /// Prints it.
    pub fn print(&self, json: bool) {
        match json {
            true => println!("{:#}", self.document()),
            false => print!("{}", self.text()),
        }
    }
}

fn line_document(line: &Line) -> Value {
    let mut value = match line {
        Line::Text(_) => json!({}),
        Line::Change(change) => json!(change),
    };
    value["text"] = json!(line.text());
    value
}

/// What differs among the targets, each read as what it is.
fn targets(repository: &Repository) -> anyhow::Result<Option<Section>> {
    let (before, after) = (repository.published_targets()?, repository.targets()?);
    let Some(next) = &after else { return Ok(None) };
    let names: BTreeSet<&TargetName> =
        [&before, &after].into_iter().flatten().flat_map(|document| document.targets.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let old = repository.content(before.as_ref(), name)?;
        let new = repository.content(Some(next), name)?;
        if old == new {
            continue;
        }
        let shown = plain(name.as_str());
        if name.as_str() == POLICY {
            lines.extend(policy(old, new)?.into_iter().map(Line::Text));
        } else if let Some(channel) = name.as_str().strip_suffix(CHANNEL) {
            let read = |bytes: Option<&[u8]>| -> anyhow::Result<Option<Channel>> {
                let document = bytes.map(Channel::parse).transpose().with_context(|| format!("reading {shown}"))?;
                if let Some(other) = document.as_ref().filter(|document| document.channel != channel) {
                    anyhow::bail!("{shown} is the document of the channel {}", other.channel);
                }
                Ok(document)
            };
            lines.extend(changes(read(old)?.as_ref(), read(new)?.as_ref()).into_iter().map(Line::Change));
        } else {
            lines.push(Line::Text(match (old, new) {
                (None, _) => format!("adds the file {shown}"),
                (_, None) => format!("removes the file {shown}"),
                _ => format!("changes the file {shown}"),
            }));
        }
    }
    lines.push(Line::Text(match &before {
        Some(before) if date(before.expires) == date(next.expires) => {
            format!("targets hold until {}, as before", date(next.expires))
        }
        Some(before) => format!("targets hold until {}, not {}", date(next.expires), date(before.expires)),
        None => format!("targets hold until {}", date(next.expires)),
    }));
    Ok(Some(Section { role: Top::Targets, version: next.version, lines }))
}

/// A policy's changes by lines, and that nodes can read it.
fn policy(old: Option<&[u8]>, new: Option<&[u8]>) -> anyhow::Result<Vec<String>> {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let (before, after) = (text(old), text(new));
    if new.is_some() {
        Policy::parse(Path::new(POLICY), &after).context("reading the drafted policy")?;
    }
    let mut lines = vec![match (old, new) {
        (None, _) => "adds the policy that nodes follow".to_owned(),
        (_, None) => "removes the policy: nodes follow their image's again".to_owned(),
        _ => "changes the policy that nodes follow".to_owned(),
    }];
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    lines.extend(differing(&before, &after).into_iter().map(|(sign, line)| format!("  {sign} {}", plain(line))));
    Ok(lines)
}

/// Lines that only one of both has, in order: the longest common sequence is left out.
fn differing<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    if before.len() > LINES || after.len() > LINES {
        return before.iter().map(|line| ('-', *line)).chain(after.iter().map(|line| ('+', *line))).collect();
    }
    let width = after.len() + 1;
    let mut longest = vec![0_u32; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            longest[i * width + j] = match before[i] == after[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            found.push(('-', before[i]));
            i += 1;
        } else {
            found.push(('+', after[j]));
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_lines_that_differ() {
        for (before, after, expected) in [
            ("a b c", "a x c", "-b +x"),
            ("", "a b", "+a +b"),
            ("a b", "", "-a -b"),
            ("a b c d", "b d e", "-a -c +e"),
            ("a", "a", ""),
        ] {
            let words = |text: &'static str| text.split_whitespace().collect::<Vec<_>>();
            let found: Vec<String> =
                differing(&words(before), &words(after)).iter().map(|(sign, line)| format!("{sign}{line}")).collect();
            assert_eq!(found.join(" "), expected);
        }
    }
}
