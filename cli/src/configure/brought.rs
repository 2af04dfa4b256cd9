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

/// Who brings settings along.
pub(super) const BY: &str = "rocketctl";

/// What there is for the deployment that runs.
pub(super) struct Found {
    /// What counts for it: the newest first. Where another deployment ran last its settings are the newest, stored or not.
    pub history: Vec<Generation>,
    /// What was found out on the way.
    pub notes: Vec<String>,
    /// True where the newest is not stored yet.
    pub to_store: bool,
}

/// Looks for what counts, and stores nothing.
pub(super) fn look(folders: &SettingsFolders) -> Result<Found, ConfigureError> {
    let mut notes = Vec::new();
    let at = Store::at(&folders.own());
    let current = at.current()?;
    for (path, problem) in &current.damaged {
        notes.push(format!("{} is damaged and does not count: {problem}", path.display()));
    }
    let (own, mut history) = (current.generation, at.history()?);
    let Some((from, ran)) = ran_last(folders, own.content.revision, &mut notes)? else {
        return Ok(Found { history, notes, to_store: false });
    };
    let (mut content, doing) = match own.number {
        0 => (carry(&ran.content, refusal), "brought along from"),
        _ => (replay(&own.content, &ran.content, Since::All, refusal), "with what was changed in"),
    };
    content.revision = content.revision.max(ran.content.revision) + 1;
    let why = format!("{doing} deployment {from}");
    notes.push(format!("the settings are those {why}"));
    history.insert(0, Generation { content, by: BY.to_owned(), why, written: Utc::now(), number: own.number });
    Ok(Found { history, notes, to_store: true })
}

/// Brings settings along, where another deployment ran last: afterwards they are stored.
pub(super) fn bring_along(folders: &SettingsFolders) -> Result<Found, ConfigureError> {
    let mut found = look(folders)?;
    if found.to_store
        && let Some(newest) = found.history.first_mut()
    {
        let store = Store::open(&folders.own())?;
        *newest = store.commit(newest.number, newest.content.clone(), BY, &newest.why, Utc::now())?;
        found.to_store = false;
    }
    Ok(found)
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
