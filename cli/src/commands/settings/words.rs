//! What came of it, for people.

use std::fmt::Write as _;

use anyhow::Context as _;
use rocketos_api::wire::{Changed, FileChange, History, Past, Receipt, Shown, Told};
use rocketos_settings::{SetBy, facts};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is read of a boot's receipt.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Boot {
    outcome: String,
    #[serde(default)]
    because: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    bootstrap: Option<Bootstrap>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bootstrap {
    state: String,
    ran: Vec<Ran>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ran {
    kind: String,
    name: String,
    essential: bool,
    outcome: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    said: String,
    milliseconds: u64,
}

/// What is in force, as a document that could be user data; with origins, who set each key stands behind it. Facts, which nobody sets,
/// are no part of the document.
pub(super) fn shown(shown: &Shown) -> anyhow::Result<String> {
    let mut text = String::new();
    match &shown.origins {
        None => {
            let mut settings = shown.settings.clone();
            let facts = settings.remove(facts::GROUP);
            text += &toml::to_string(&json!({ "settings": settings })).context("writing TOML")?;
            for (name, fact) in facts.iter().filter_map(Value::as_object).flatten() {
                let _ = writeln!(text, "# fact: {}.{name} = {}", facts::GROUP, value(fact));
            }
        }
        Some(origins) => {
            text += "[settings]\n";
            for set in origins {
                let fact = if matches!(set.set_by, SetBy::Fact { .. }) { "# " } else { "" };
                let _ = writeln!(text, "{fact}{} = {}  # {}", set.key, value(&set.value), set.set_by);
            }
        }
    }
    for parked in &shown.parked {
        let _ = writeln!(text, "# parked: {}: {}", parked.key, parked.why);
    }
    for refused in &shown.refused {
        let _ = writeln!(text, "# left out: {}:", refused.what);
        for problem in &refused.problems {
            let _ = writeln!(text, "#   {}", problem.to_string().replace('\n', "\n#   "));
        }
    }
    for damaged in &shown.damaged {
        let _ = writeln!(text, "# damaged: {}: {}", damaged.path, damaged.problem);
    }
    if let Some(locked) = &shown.locked {
        let _ = writeln!(text, "# locked until the next boot, by {} since {}", locked.by, locked.at);
    }
    let _ = writeln!(text, "# {}", shown.in_force.words);
    Ok(text)
}

/// What a change came to.
pub(super) fn receipt(receipt: &Receipt) -> String {
    let mut text = changes(&receipt.settings);
    for file in &receipt.files {
        text += &of_file(file);
    }
    for (steps, before) in [(&receipt.steps, ""), (&receipt.put_back, "put back: ")] {
        for step in steps {
            let _ = writeln!(text, "{before}{}", of_step(step));
        }
    }
    for refused in &receipt.refused {
        let _ = writeln!(text, "left out: {}", refused.what);
    }
    for note in &receipt.notes {
        let _ = writeln!(text, "{note}");
    }
    let _ = match (receipt.dry_run, receipt.before == receipt.after) {
        (true, _) => writeln!(text, "Nothing was changed: generation {} counts.", receipt.after),
        (false, true) if receipt.files.is_empty() => {
            writeln!(text, "Everything is so already: generation {} counts.", receipt.after)
        }
        (false, _) => writeln!(text, "Generation {} counts ({} ms).", receipt.after, receipt.milliseconds),
    };
    text
}

/// What a boot came to.
pub(super) fn boot(boot: &Boot) -> String {
    let mut text = match boot.outcome.as_str() {
        "applied" => "Settings were put in place at this boot.\n".to_owned(),
        outcome => format!("Settings were not put in place at this boot as they are stored: {outcome}\n"),
    };
    for line in boot.because.iter().chain(&boot.notes) {
        let _ = writeln!(text, "{line}");
    }
    let Some(Bootstrap { state, ran }) = &boot.bootstrap else { return text };
    let _ = writeln!(text, "before the node counts as configured: {state}");
    for Ran { kind, name, essential, outcome, why, said, milliseconds } in ran {
        let essential = if *essential { " (essential)" } else { "" };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let _ = writeln!(text, "{kind} {name}{essential}: {outcome}{why} ({milliseconds} ms)");
        for line in said.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// What differs, a line each.
pub(super) fn changes(changes: &[Changed]) -> String {
    let mut text = String::new();
    for Changed { key, user_data, before, after } in changes {
        let whose = if *user_data { " (user data)" } else { "" };
        let _ = match (before, after) {
            (None, Some(after)) => writeln!(text, "+ {key} = {}{whose}", value(after)),
            (Some(before), None) => writeln!(text, "- {key} = {}{whose}", value(before)),
            (Some(before), Some(after)) => writeln!(text, "~ {key} = {} -> {}{whose}", value(before), value(after)),
            (None, None) => Ok(()),
        };
    }
    text
}

/// Every generation with what came with it.
pub(super) fn history(history: &History) -> String {
    let mut text = String::new();
    for Past { generation, written, by, why, settings } in &history.generations {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let _ = writeln!(text, "generation {generation}, {written} by {by}{why}");
        for line in changes(settings).lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn of_file(file: &FileChange) -> String {
    let mut text = format!("/{} {}\n", file.path, file.change);
    for line in file.diff.iter().flat_map(|diff| diff.lines()) {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn of_step(step: &Told) -> String {
    let Told { what, unit, outcome, said, milliseconds } = step;
    let unit = unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.trim()) };
    match outcome.as_str() {
        "done" => format!("{what}{unit}: done ({milliseconds} ms){said}"),
        outcome => format!("{what}{unit}: {outcome}{said}"),
    }
}

/// A value as TOML writes it.
fn value(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_lines_that_people_read() {
        let changed = |key: &str, before, after| Changed { key: key.parse().unwrap(), user_data: false, before, after };
        let text = changes(&[
            changed("motd", Some(json!("a")), Some(json!("b"))),
            changed("ntp.time-servers", None, Some(json!(["a.example"]))),
            changed("kernel.sysctl.\"vm.x\"", Some(json!("1")), None),
        ]);
        let expected =
            "~ motd = \"a\" -> \"b\"\n+ ntp.time-servers = [\"a.example\"]\n- kernel.sysctl.\"vm.x\" = \"1\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_done_at_boot_is_lines_that_people_read() {
        let document = json!({
            "verb": "boot", "outcome": "failed", "because": ["bootstrap-containers.a failed: it ended with 3"],
            "bootstrap": { "state": "done", "essential": true, "ran": [
                { "kind": "commands", "name": "c", "essential": false, "outcome": "done", "milliseconds": 7 },
                { "kind": "container", "name": "a", "essential": true, "outcome": "failed", "why": "it ended with 3",
                  "exit": 3, "said": "no\ndisk", "milliseconds": 1200 },
            ] },
        });
        let expected = "Settings were not put in place at this boot as they are stored: failed\n\
                        bootstrap-containers.a failed: it ended with 3\nbefore the node counts as configured: done\n\
                        commands c: done (7 ms)\ncontainer a (essential): failed: it ended with 3 (1200 ms)\n    no\n    disk\n";
        assert_eq!(boot(&serde_json::from_value(document).unwrap()), expected);
        let plain = boot(&serde_json::from_value(json!({"outcome": "applied"})).unwrap());
        assert_eq!(plain, "Settings were put in place at this boot.\n");
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let document = json!({
            "generation": 3,
            "in-force": { "kind": "generation", "generation": 3, "words": "generation 3 of the settings" },
            "settings": {
                "motd": "a\nb", "kernel": { "sysctl": { "vm.x": "1" } }, "facts": { "hostname": "of-dhcp" },
            },
            "origins": [
                {
                    "key": "motd",
                    "value": "a\nb",
                    "set-by": { "layer": "operator", "by": "uid 0", "at": "2026-11-23T01:02:03Z" },
                },
                { "key": "facts.hostname", "value": "of-dhcp", "set-by": { "layer": "fact", "name": "kernel" } },
            ],
        });
        let mut all: Shown = serde_json::from_value(document).unwrap();
        let text = shown(&all).unwrap();
        assert!(text.contains("# uid 0 at 2026-11-23T01:02:03Z\n"), "{text}");
        assert!(text.contains("\n# facts.hostname = \"of-dhcp\"  # the fact kernel\n"), "{text}");
        let read = rocketos_settings::userdata::parse(text.as_bytes()).unwrap();
        assert_eq!(read.tree.to_value(), json!({ "motd": "a\nb" }));
        all.origins = None;
        let text = shown(&all).unwrap();
        assert!(text.contains("# fact: facts.hostname = \"of-dhcp\"\n"), "{text}");
        let read = rocketos_settings::userdata::parse(text.as_bytes()).unwrap();
        all.settings.remove("facts");
        assert_eq!(read.tree.to_value(), Value::Object(all.settings));
    }
}
