//! What is done once settings are in place: that it is to be done, what of it was done before, and what came of it, in the boot's receipt.
//!
//! ```text
//! begin_bootstrap   something is due: `waiting` in the receipt, and who does it is started (`crate::bootstrap`)
//! bootstrapped      `done` in the receipt, with what came of each; what is essential and failed makes the receipt fail
//! ```
//!
//! Whoever ends in between leaves `waiting`, and the health check that reads the receipt does not pass where something is essential.

use rocketos_settings::{
    Settings,
    bootstrap::{Kind, Memory, Task, UNIT, due},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    ConfigureError, Engine, Order,
    engine::BOOT,
    place::{read_document, write_document},
};
use crate::exit;

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// As it should.
    Done,
    /// It had, at an earlier boot, and is not done again.
    DoneBefore,
    /// It failed.
    Failed,
}

/// What came of something that was to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ran {
    /// What.
    pub kind: Kind,
    /// Its name in settings.
    pub name: String,
    /// The boot fails where it failed.
    pub essential: bool,
    /// How it ended.
    pub outcome: Ending,
    /// Why it failed, or when it had been done, in a line.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why: String,
    /// The code with which its program ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit: Option<i32>,
    /// The last lines that it said.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub said: String,
    /// How long it took.
    pub milliseconds: u64,
}

impl Ran {
    /// Of a task, with nothing to say.
    pub fn of(task: &Task, outcome: Ending) -> Self {
        let (name, why, said) = (task.name.clone(), String::new(), String::new());
        Self { kind: task.kind, name, essential: task.essential, outcome, why, exit: None, said, milliseconds: 0 }
    }

    /// What settings call it.
    pub fn key(&self) -> String {
        match self.kind {
            Kind::Commands => format!("bootstrap-commands.{}", self.name),
            Kind::Container => format!("bootstrap-containers.{}", self.name),
        }
    }

    /// That it failed, in a line; none where it did not.
    pub fn failure(&self) -> Option<String> {
        (self.outcome == Ending::Failed).then(|| format!("{} failed: {}", self.key(), self.why))
    }
}

/// Whether it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// Not yet.
    Waiting,
    /// By now.
    Done,
}

/// What the boot's receipt has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Shown {
    pub state: State,
    /// True where something of it is.
    pub essential: bool,
    /// What came of it.
    #[serde(default)]
    pub ran: Vec<Ran>,
}

impl Engine {
    /// What was done at earlier boots, of whichever deployment; it is this one's afterwards. And what is not as it should be.
    pub fn remembered(&self) -> (Memory, Vec<String>) {
        let mut notes = Vec::new();
        let mut read = |folder: &std::path::Path| {
            Memory::read(folder).unwrap_or_else(|error| {
                notes.push(format!("what was done before is not known from there: {}", exit::causes(&error)));
                Memory::default()
            })
        };
        let own = read(&self.folders.own());
        let others = self.folders.others().unwrap_or_default();
        let newest = others.iter().map(|(_, folder)| read(folder)).max_by_key(|memory| memory.revision);
        match newest.filter(|newest| newest.revision > own.revision) {
            None => (own, notes),
            Some(newest) => {
                // The other deployment may go.
                if let Err(error) = self.remember(&newest) {
                    notes.push(format!("what was done before is not kept here: {}", exit::causes(&error)));
                }
                (newest, notes)
            }
        }
    }

    /// Writes down what was done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, memory: &Memory) -> Result<(), ConfigureError> {
        Ok(memory.write(&self.folders.own())?)
    }

    /// Has what is due at this boot done, by who is started for it; nothing where nothing is.
    pub(super) fn begin_bootstrap(&self, settings: &Settings, told: &mut Vec<String>) -> Option<Shown> {
        let (memory, notes) = self.remembered();
        told.extend(notes);
        let due = due(settings, &memory);
        if due.is_empty() {
            return None;
        }
        if let Err(said) = self.services.tell(&Order::StartLater(UNIT.to_owned())) {
            told.push(format!("what is done before the node is configured was not started: {said}"));
        }
        let essential = due.iter().any(|task| task.essential);
        Some(Shown { state: State::Waiting, essential, ran: Vec::new() })
    }

    /// The same for what came to settings since the boot's receipt was written.
    pub(super) fn begin_later(&self, told: &mut Vec<String>) -> Result<(), ConfigureError> {
        let Some(shown) = self.begin_bootstrap(&self.settings()?, told) else { return Ok(()) };
        self.amend(|receipt| receipt.insert("bootstrap".to_owned(), json!(shown)))
    }

    /// Writes into the boot's receipt what came of all of it.
    ///
    /// # Errors
    /// When that cannot be read or written.
    pub fn bootstrapped(&self, ran: &[Ran]) -> Result<(), ConfigureError> {
        let _turn = self.place.turn()?;
        self.amend(|receipt| add(receipt, ran))
    }

    fn amend<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> Result<(), ConfigureError> {
        let path = self.place.receipts().join(BOOT);
        // Without a receipt no boot is good, whatever else was done.
        let Some(mut receipt) = read_document(&path)? else { return Ok(()) };
        change(&mut receipt);
        write_document(&path, &receipt, 0o644)
    }
}

/// Adds what was done to a receipt, in the place of what was added before.
fn add(receipt: &mut Map<String, Value>, ran: &[Ran]) {
    let before: Option<Shown> = receipt.get("bootstrap").and_then(|shown| Shown::deserialize(shown).ok());
    let failures = |ran: &[Ran], essential: bool| -> Vec<String> {
        ran.iter().filter(|ran| ran.essential == essential).filter_map(Ran::failure).collect()
    };
    let gone = before.map(|shown| shown.ran).unwrap_or_default();
    let lines = |receipt: &Map<String, Value>, name: &str, essential: bool| -> Vec<String> {
        let there = receipt.get(name).and_then(|lines| Vec::<String>::deserialize(lines).ok()).unwrap_or_default();
        let gone = failures(&gone, essential);
        let left = there.into_iter().filter(|line| !gone.contains(line));
        left.chain(failures(ran, essential)).collect()
    };
    let (because, notes) = (lines(receipt, "because", true), lines(receipt, "notes", false));
    // A receipt of a boot fails where it says because of what, and nowhere else.
    receipt.insert("outcome".to_owned(), json!(if because.is_empty() { "applied" } else { "failed" }));
    receipt.insert("because".to_owned(), json!(because));
    receipt.insert("notes".to_owned(), json!(notes));
    let essential = ran.iter().any(|ran| ran.essential);
    receipt.insert("bootstrap".to_owned(), json!(Shown { state: State::Done, essential, ran: ran.to_vec() }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(name: &str, essential: bool, outcome: Ending) -> Ran {
        let (always, definition, name) = (false, String::new(), name.to_owned());
        let task = Task { kind: Kind::Container, name, always, essential, definition };
        Ran { why: "it ended with 3".to_owned(), ..Ran::of(&task, outcome) }
    }

    fn receipt(because: &[&str]) -> Map<String, Value> {
        let outcome = if because.is_empty() { "applied" } else { "failed" };
        let document = json!({"verb": "boot", "outcome": outcome, "because": because, "notes": ["a note"]});
        document.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_essential_makes_the_receipt_fail_and_what_is_not_is_a_note() {
        let failed = "bootstrap-containers.a failed: it ended with 3";
        for (essential, outcome, because, notes) in
            [(true, "failed", vec![failed], vec!["a note"]), (false, "applied", vec![], vec!["a note", failed])]
        {
            let mut receipt = receipt(&[]);
            add(&mut receipt, &[ran("a", essential, Ending::Failed), ran("b", true, Ending::Done)]);
            assert_eq!(receipt["outcome"], outcome);
            assert_eq!((&receipt["because"], &receipt["notes"]), (&json!(because), &json!(notes)));
            assert_eq!((&receipt["bootstrap"]["state"], &receipt["verb"]), (&json!("done"), &json!("boot")));
            assert_eq!(receipt["bootstrap"]["ran"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn what_succeeds_later_takes_back_its_own_failure_and_nothing_else() {
        let mut receipt = receipt(&["the image's settings are wrong"]);
        add(&mut receipt, &[ran("a", true, Ending::Failed), ran("b", false, Ending::Failed)]);
        assert_eq!(receipt["because"].as_array().unwrap().len(), 2);
        add(&mut receipt, &[ran("a", true, Ending::Done), ran("b", false, Ending::DoneBefore)]);
        assert_eq!(receipt["because"], json!(["the image's settings are wrong"]));
        assert_eq!((&receipt["outcome"], &receipt["notes"]), (&json!("failed"), &json!(["a note"])));
    }
}
