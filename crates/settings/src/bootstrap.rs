//! What is done once a node's settings are in place, and before it counts as configured: calls of the API, then containers. Pure, but for
//! the file in which it is remembered what was done.
//!
//! ```text
//! commands(settings)     lists of calls, in the order of their names
//! containers(settings)   containers, which run side by side
//! Task::is_due(memory)   whether it is done at this boot: always, or because it did not succeed as it is
//! Memory::mark           that it did
//! ```
//!
//! Who does it, waits for it and writes down what came of it is `rocketctl`, once in a boot ([`UNIT`]).

mod call;
mod memory;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use call::Call;
pub use memory::{FILE, MEMORY_BYTES, Mark, Memory, MemoryError};

use crate::{
    Key, Problem, Settings,
    model::{Mode, value::Word},
};

/// The unit that does it. It is started by name, and only at boots at which there is something to do.
pub const UNIT: &str = "rocketos-bootstrap.service";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A list of calls of the API.
    Commands,
    /// A container.
    Container,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What.
    pub kind: Kind,
    /// Its name in settings.
    pub name: String,
    /// It is done at each boot.
    pub always: bool,
    /// The boot fails where it fails.
    pub essential: bool,
    /// What it is given, as a hash: by it is known that it is another.
    pub definition: String,
}

impl Task {
    fn new(kind: Kind, name: &str, mode: Option<Mode>, essential: Option<bool>, given: &str) -> Option<Self> {
        let always = match mode? {
            Mode::Off => return None,
            Mode::Once => false,
            Mode::Always => true,
        };
        let definition = hex::encode(Sha256::digest(given));
        Some(Self { kind, name: name.to_owned(), always, essential: essential == Some(true), definition })
    }

    /// Whether it is done at this boot.
    pub fn is_due(&self, memory: &Memory) -> bool {
        self.always || !memory.has(self)
    }
}

/// Lists of calls that settings ask for, in the order of their names, each with what is called.
pub fn commands(settings: &Settings) -> Vec<(Task, Vec<Vec<Word>>)> {
    let all = settings.bootstrap_commands.iter().filter_map(|(name, list)| {
        let commands = list.commands.clone().unwrap_or_default();
        let given = json!(commands).to_string();
        let task = Task::new(Kind::Commands, name.as_str(), list.mode, list.essential, &given)?;
        Some((task, commands))
    });
    all.collect()
}

/// Containers that settings ask for. What they may use, and when they run, is no part of what they are.
pub fn containers(settings: &Settings) -> Vec<Task> {
    let all = settings.bootstrap_containers.iter().filter_map(|(name, container)| {
        // There in settings that are sound.
        let source = container.source.as_ref()?.placed().to_string();
        let data = container.user_data.as_ref().map(|data| hex::encode(Sha256::digest(data.reveal())));
        let given = json!({ "source": source, "command": container.command, "env": container.env, "user-data": data });
        Task::new(Kind::Container, name.as_str(), container.mode, container.essential, &given.to_string())
    });
    all.collect()
}

/// What is no call, in whatever settings have.
pub(crate) fn wrong(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, list) in &settings.bootstrap_commands {
        for (at, words) in list.commands.iter().flatten().enumerate() {
            if let Err(why) = Call::parse(words) {
                let key = Key::new(["bootstrap-commands", name.as_str(), "commands"]).ok();
                problems.push(Problem { key, set_by: None, message: format!("command {} {why}", at + 1) });
            }
        }
    }
    problems
}

/// Everything that is done at a boot with these settings.
pub fn due(settings: &Settings, memory: &Memory) -> Vec<Task> {
    let all = commands(settings).into_iter().map(|(task, _)| task).chain(containers(settings));
    all.filter(|task| task.is_due(memory)).collect()
}

#[cfg(test)]
mod tests;
