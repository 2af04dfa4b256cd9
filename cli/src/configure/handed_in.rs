//! User data: taken before services start, and what waits for the network when that is there.
//!
//! What a machine is handed is no fault of the release: a document that does not count is told, and fails no check.

use std::{path::Path, time::Instant};

use chrono::Utc;
use rocketos_settings::{
    provider::{Handed, Refused, collect, take},
    store::{Content, Generation, Store},
};
use serde::Serialize;

use super::{
    ConfigureError, Engine, Receipt, RefusedShown, Verb,
    boot::tell,
    brought::BY,
    engine::{Wanted, current},
    place::write_document,
};
use crate::{
    exit,
    user_data::{Http, Patience, Running, set_waiting, waiting},
};

/// What handing in came to once the network was there, in [`rocketos_model::layout::node::SETTINGS`].
const NETWORK: &str = "network.json";

/// What handing in came to.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Came {
    /// Whose document differs from what was there.
    pub changed: Vec<&'static str>,
    /// What does not count.
    pub refused: Vec<RefusedShown>,
    /// Who waits for the network.
    pub waiting: Vec<&'static str>,
    /// What people have to know.
    pub told: Vec<String>,
}

impl Came {
    fn of(changed: Vec<&'static str>, refused: Vec<Refused>, waiting: Vec<&'static str>) -> Self {
        let shown = |Refused { provider, problems }| RefusedShown { what: format!("user data ({provider})"), problems };
        let refused: Vec<RefusedShown> = refused.into_iter().map(shown).collect();
        let told = |refused: &RefusedShown| {
            let problems: Vec<String> = refused.problems.iter().map(ToString::to_string).collect();
            format!("{} does not count: {}", refused.what, problems.join("; "))
        };
        Self { told: refused.iter().map(told).collect(), changed, refused, waiting }
    }
}

/// Who is asked before services start.
pub(super) fn early(stored: &Content) -> Vec<Handed> {
    collect(&mut Running, None, stored, None)
}

/// When the network is there: takes the user data that waited for it, and applies it. It fails nothing: what does not count is told.
pub fn with_network() -> anyhow::Result<()> {
    let root = Path::new("/");
    let names = waiting(root)?;
    // Once in a boot, whatever becomes of it.
    set_waiting(root, &[])?;
    let engine = Engine::open()?;
    let mut http = Http::new(Patience::default())?;
    let came = engine.hand_in(|stored| collect(&mut Running, Some(&mut http), stored, Some(&names)))?;
    for name in &came.changed {
        println!("User data ({name}) is in force.");
    }
    Ok(())
}

impl Engine {
    /// Takes user data over what was there, before services start. It counts for this boot even where it cannot be stored.
    pub(super) fn take(
        &self,
        collect: impl FnOnce(&Content) -> Vec<Handed>,
        history: &mut Vec<Generation>,
    ) -> Result<Came, ConfigureError> {
        let (number, stored) =
            history.first().map_or((0, Content::default()), |newest| (newest.number, newest.content.clone()));
        let taken = take(&stored, &self.below()?, collect(&stored));
        let mut came = Came::of(taken.changed, taken.refused, taken.waiting);
        if let Err(error) = set_waiting(self.place.root(), &came.waiting) {
            came.told.push(format!("user data that waits for the network is not taken: {error:#}"));
        }
        if came.changed.is_empty() {
            return Ok(came);
        }
        let (why, content) = (why(&came), taken.content);
        let stored = Store::open(&self.folders.own())
            .and_then(|store| store.commit(number, content.clone(), BY, &why, Utc::now()));
        let generation = stored.unwrap_or_else(|error| {
            // It is handed in again at the next boot.
            came.told.push(format!("{why} could not be stored: {}", exit::causes(&error)));
            Generation { number, written: Utc::now(), by: BY.to_owned(), why, content }
        });
        history.insert(0, generation);
        Ok(came)
    }

    /// Takes user data over what is stored, and applies it, while services run. Nobody waits while it is fetched.
    pub(super) fn hand_in(&self, collect: impl FnOnce(&Content) -> Vec<Handed>) -> Result<Came, ConfigureError> {
        let handed = collect(&self.store()?.current()?.generation.content);
        let started = Instant::now();
        let _turn = self.place.turn()?;
        let store = self.store()?;
        let before = current(&store, None)?;
        let taken = take(&before.content, &self.below()?, handed);
        let mut came = Came::of(taken.changed, taken.refused, taken.waiting);
        if !came.changed.is_empty() {
            let why = why(&came);
            match self.bring(&store, before, taken.content, why, started) {
                // What it asks for is done in this boot.
                Ok(_) => self.begin_later(&mut came.told)?,
                // Everything is as before.
                Err(error) => {
                    came.changed.clear();
                    came.told.push(format!("user data is not in force: {}", exit::causes(&error)));
                }
            }
        }
        if !came.told.is_empty() {
            tell(&self.place, &came.told);
        }
        write_document(&self.place.receipts().join(NETWORK), &came, 0o644)?;
        Ok(came)
    }

    fn bring(
        &self,
        store: &Store,
        before: Generation,
        content: Content,
        why: String,
        started: Instant,
    ) -> Result<Receipt, ConfigureError> {
        let in_force = self.resolved(&before, &content)?;
        let (verb, by, after) = (Verb::Change, BY.to_owned(), Some(content));
        self.bring_about(store, Wanted { verb, by, why, dry_run: false, before, after, in_force }, started)
    }
}

fn why(came: &Came) -> String {
    format!("user data ({})", came.changed.join(", "))
}
