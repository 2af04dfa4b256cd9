//! Settings of the deployment that ran last, brought along to the one that runs now.
//!
//! Changes of a node are numbered (`Content::revision`), and bringing them along is one more: so the highest number is that of the
//! deployment that ran last, and once it is that of the one that runs nothing is left to bring.

use chrono::Utc;
use rocketos_deploy::SettingsFolders;
use rocketos_settings::{
    migrate::{Since, carry, replay},
    model::refusal,
    store::{Generation, Store},
};

use super::ConfigureError;
use crate::exit;

/// What was brought.
pub(super) struct Brought {
    /// What is stored now, the newest first. It has what was brought even where that could not be stored.
    pub history: Vec<Generation>,
    /// What was done, and what could not be.
    pub notes: Vec<String>,
}

/// Brings settings along, where another deployment ran last.
pub(super) fn bring_along(folders: &SettingsFolders) -> Result<Brought, ConfigureError> {
    let mut notes = Vec::new();
    let at = Store::at(&folders.own());
    let current = at.current()?;
    for (path, problem) in &current.damaged {
        notes.push(format!("{} is damaged and does not count: {problem}", path.display()));
    }
    let (own, mut history) = (current.generation, at.history()?);
    let Some((from, ran)) = ran_last(folders, own.content.revision, &mut notes)? else {
        return Ok(Brought { history, notes });
    };
    let (mut content, doing) = match own.number {
        0 => (carry(&ran.content, refusal), "brought along from"),
        _ => (replay(&own.content, &ran.content, Since::All, refusal), "with what was changed in"),
    };
    content.revision = content.revision.max(ran.content.revision) + 1;
    let why = format!("{doing} deployment {from}");
    notes.push(format!("the settings are those {why}"));
    let stored = Store::open(&folders.own())
        .and_then(|store| store.commit(own.number, content.clone(), "rocketctl", &why, Utc::now()));
    let generation = stored.unwrap_or_else(|error| {
        // The node still comes up with them, and the next boot tries again.
        notes.push(format!("they could not be stored: {}", exit::causes(&error)));
        Generation { content, by: "rocketctl".to_owned(), why, written: Utc::now(), number: own.number + 1 }
    });
    history.insert(0, generation);
    Ok(Brought { history, notes })
}

/// What is stored for the deployment that ran last, where that is another than the one with this number of changes.
fn ran_last(
    folders: &SettingsFolders,
    revision: u64,
    notes: &mut Vec<String>,
) -> Result<Option<(String, Generation)>, ConfigureError> {
    let mut last: Option<(String, Generation)> = None;
    for (id, folder) in folders.others()? {
        let newest = match Store::at(&folder).current() {
            Ok(current) => current.generation,
            // The others may still be read.
            Err(error) => {
                notes.push(format!("the settings of deployment {id} cannot be read: {}", exit::causes(&error)));
                continue;
            }
        };
        let most = last.as_ref().map_or(revision, |(_, generation)| generation.content.revision);
        if newest.number > 0 && newest.content.revision > most {
            last = Some((id.to_string(), newest));
        }
    }
    Ok(last)
}
