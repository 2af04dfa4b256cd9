//! Reading and changing the settings of a deployment.

use std::{collections::BTreeSet, path::Path, time::Instant};

use chrono::{DateTime, Utc};
use rocketos_deploy::SettingsFolders;
use rocketos_settings::{
    Choice, InForce, Layers, Schema, Settings, in_force,
    render::{Files, render},
    store::{self, Content, Generation, Store, StoreError},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Change, ConfigureError, DamagedShown, InForceShown, Outcome, ParkedShown, Past, Receipt, RefusedShown, Services,
    Standing, Undo, Verb,
    apply::{Ready, When},
    brought::{bring_along, look},
    place::{Place, read_document, write_document},
    system::System,
};

/// What the newest apply came to, in [`layout::node::SETTINGS`].
const LAST: &str = "last.json";
/// What the boot came to.
pub(super) const BOOT: &str = "boot.json";
/// There where nobody changes settings until the next boot.
const LOCK: &str = "locked.json";

/// Who locked settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Locked {
    /// Who.
    pub by: String,
    /// When, by the node's clock.
    pub at: DateTime<Utc>,
}

/// The settings of the deployment that runs.
pub struct Engine {
    pub(super) place: Place,
    pub(super) folders: SettingsFolders,
    pub(super) services: Box<dyn Services>,
}

/// What is to be in force.
pub(super) struct Wanted {
    pub verb: Verb,
    pub by: String,
    pub why: String,
    pub dry_run: bool,
    pub before: Generation,
    /// What is stored when it has been applied; absent where nothing differs.
    pub after: Option<Content>,
    pub in_force: InForce,
}

impl Engine {
    /// This node's.
    ///
    /// # Errors
    /// When the machine was not booted from a deployment, or nobody knows which.
    pub fn open() -> Result<Self, ConfigureError> {
        let folders = SettingsFolders::running()?.ok_or(ConfigureError::NoDeployment)?;
        let root = Path::new("/");
        Ok(Self::of(root, folders, Box::new(System::new(root))))
    }

    /// Those of a deployment, with /etc, /run and /usr below a root.
    pub fn of(root: &Path, folders: SettingsFolders, services: Box<dyn Services>) -> Self {
        Self { place: Place::at(root), folders, services }
    }

    /// How things stand. Nothing is written.
    ///
    /// # Errors
    /// When what is stored, or the image's settings, cannot be read.
    pub fn standing(&self) -> Result<Standing, ConfigureError> {
        let store = Store::at(&self.folders.own());
        let current = store.current()?;
        let InForce { effective, from, refused } = in_force(&self.below()?, &look(&self.folders)?.history);
        let content = &current.generation.content;
        let user_data = content.user_data.iter().flat_map(|data| &data.parked);
        let user_data = user_data.map(|(key, parked)| (key, &parked.why, true));
        let parked = content.parked.iter().map(|(key, parked)| (key, &parked.why, false)).chain(user_data);
        let shown = |(key, why, user_data): (&rocketos_settings::Key, &String, bool)| ParkedShown {
            key: key.clone(),
            user_data,
            why: why.clone(),
        };
        Ok(Standing {
            deployment: self.folders.deployment(),
            generation: current.generation.number,
            in_force: from.into(),
            settings: effective.shown(None),
            parked: parked.map(shown).collect(),
            refused: refused.iter().map(|(choice, problems)| RefusedShown::of(*choice, problems)).collect(),
            damaged: current.damaged.into_iter().map(|(path, problem)| DamagedShown { path, problem }).collect(),
            locked: self.locked()?,
            raw: effective.settings.raw.keys().map(ToString::to_string).collect(),
            receipt: self.last_receipt(),
            boot: self.boot_receipt(),
        })
    }

    /// Every text of settings that is shown to nobody: of those in force, and of every generation that is kept.
    ///
    /// # Errors
    /// As [`Engine::standing`].
    pub fn hidden(&self) -> Result<BTreeSet<String>, ConfigureError> {
        let history = look(&self.folders)?.history;
        let InForce { effective, .. } = in_force(&self.below()?, &history);
        let in_force = effective.tree.leaves().into_iter();
        let in_force = in_force.flat_map(|(key, value)| Schema::get().hidden_at(&key, &value));
        Ok(in_force.chain(history.iter().flat_map(|generation| generation.content.hidden())).collect())
    }

    /// The settings in force.
    ///
    /// # Errors
    /// As [`Engine::standing`].
    pub fn settings(&self) -> Result<Settings, ConfigureError> {
        Ok(in_force(&self.below()?, &look(&self.folders)?.history).effective.settings)
    }

    /// Changes settings, and applies them. They are stored when they have been applied.
    ///
    /// # Errors
    /// Where they are not in force afterwards: [`ConfigureError::kind`] says why.
    pub fn change(&self, change: &Change) -> Result<Receipt, ConfigureError> {
        let started = Instant::now();
        let _turn = self.place.turn()?;
        self.unlocked()?;
        let store = self.store()?;
        let before = current(&store, change.if_match)?;
        let content = change.made_to(&before.content, Utc::now())?;
        let wanted = Wanted {
            verb: Verb::Change,
            by: change.who.clone(),
            why: change.why.clone(),
            dry_run: change.dry_run,
            in_force: self.resolved(&before, &content)?,
            after: differs(&before.content, &content).then_some(content),
            before,
        };
        self.bring_about(&store, wanted, started)
    }

    /// Has an older generation in force again, as a new one.
    ///
    /// # Errors
    /// As [`Engine::change`]; when there is no such generation.
    pub fn undo(&self, undo: &Undo) -> Result<Receipt, ConfigureError> {
        let started = Instant::now();
        let _turn = self.place.turn()?;
        self.unlocked()?;
        let store = self.store()?;
        let before = current(&store, undo.if_match)?;
        let to = match undo.to {
            Some(to) => to,
            None => {
                let older = store.history()?.into_iter().map(|generation| generation.number);
                // Before the first there was nothing.
                let older = older.filter(|number| *number < before.number).max();
                if before.number == 0 {
                    return Err(ConfigureError::NothingBefore);
                }
                older.unwrap_or(0)
            }
        };
        let content = store.back(before.number, to)?;
        let wanted = Wanted {
            verb: Verb::Undo,
            by: undo.who.clone(),
            why: format!("back to generation {to}"),
            dry_run: undo.dry_run,
            in_force: self.resolved(&before, &content)?,
            after: differs(&before.content, &content).then_some(content),
            before,
        };
        self.bring_about(&store, wanted, started)
    }

    /// Has everything in place that is stored, and whoever differs told. What is as it should be is left alone.
    ///
    /// # Errors
    /// As [`Engine::change`].
    pub fn apply(&self, who: &str, dry_run: bool) -> Result<Receipt, ConfigureError> {
        let started = Instant::now();
        let _turn = self.place.turn()?;
        if !dry_run {
            bring_along(&self.folders)?;
        }
        let store = Store::at(&self.folders.own());
        let before = store.current()?.generation;
        let in_force = in_force(&self.below()?, &look(&self.folders)?.history);
        let (by, why) = (who.to_owned(), String::new());
        let wanted = Wanted { verb: Verb::Apply, by, why, dry_run, before, after: None, in_force };
        self.bring_about(&store, wanted, started)
    }

    /// Every generation that is kept, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn history(&self) -> Result<Vec<Past>, ConfigureError> {
        let history = Store::at(&self.folders.own()).history()?;
        let nothing = Content::default();
        let older = history.iter().skip(1).map(|generation| &generation.content).chain([&nothing]);
        let past = history.iter().zip(older).map(|(generation, older)| Past {
            generation: generation.number,
            written: generation.written,
            by: generation.by.clone(),
            why: generation.why.clone(),
            settings: store::diff(older, &generation.content),
        });
        Ok(past.collect())
    }

    /// What differs between two generations; 0 is nothing stored.
    ///
    /// # Errors
    /// When one is not there, or cannot be read.
    pub fn diff(&self, before: u64, after: u64) -> Result<Vec<store::Change>, ConfigureError> {
        let store = Store::at(&self.folders.own());
        let content = |number: u64| match number {
            0 => Ok(Content::default()),
            number => store.read(number).map(|generation| generation.content),
        };
        Ok(store::diff(&content(before)?, &content(after)?))
    }

    /// Locks settings until the next boot. Who was first stays.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn lock(&self, who: &str) -> Result<Locked, ConfigureError> {
        let _turn = self.place.turn()?;
        if let Some(locked) = self.locked()? {
            return Ok(locked);
        }
        let locked = Locked { by: who.to_owned(), at: Utc::now() };
        write_document(&self.place.receipts().join(LOCK), &locked, 0o644)?;
        Ok(locked)
    }

    /// Who locked settings.
    ///
    /// # Errors
    /// When it cannot be read: then they count as locked.
    pub fn locked(&self) -> Result<Option<Locked>, ConfigureError> {
        read_document(&self.place.receipts().join(LOCK))
    }

    /// What the newest apply came to.
    pub fn last_receipt(&self) -> Option<Value> {
        // One that cannot be read is none; it was written for people.
        read_document(&self.place.receipts().join(LAST)).ok()?
    }

    /// What the boot came to.
    pub fn boot_receipt(&self) -> Option<Value> {
        read_document(&self.place.receipts().join(BOOT)).ok()?
    }

    /// What is stored, with what the deployment that ran last had.
    pub(super) fn store(&self) -> Result<Store, ConfigureError> {
        bring_along(&self.folders)?;
        Ok(Store::open(&self.folders.own())?)
    }

    fn unlocked(&self) -> Result<(), ConfigureError> {
        self.locked()?.map_or(Ok(()), |locked| Err(ConfigureError::Locked(locked)))
    }

    /// What lies below everything that is stored: the image's settings, and facts as they are now.
    pub(super) fn below(&self) -> Result<Layers, ConfigureError> {
        let mut layers = Layers::of_image(self.place.root())?;
        self.place.found_out().add_to(&mut layers);
        Ok(layers)
    }

    /// What a content comes to, where it is sound. User data that is not sound as it is stands in the way of no change: it is left out
    /// then as it is at boot.
    pub(super) fn resolved(&self, before: &Generation, content: &Content) -> Result<InForce, ConfigureError> {
        let below = self.below()?;
        let resolve = |content: &Content| {
            let mut layers = below.clone();
            content.add_to(&mut layers);
            layers.resolve()
        };
        let problems = match resolve(content) {
            Ok(effective) => {
                return Ok(InForce { effective, from: Choice::Generation(before.number), refused: Vec::new() });
            }
            Err(problems) => problems,
        };
        let was_sound = content.user_data != before.content.user_data || resolve(&before.content).is_ok();
        if content.user_data.is_empty() || was_sound {
            return Err(ConfigureError::Invalid(problems));
        }
        let without = Content { user_data: Vec::new(), ..content.clone() };
        let effective = resolve(&without).map_err(ConfigureError::Invalid)?;
        let refused = vec![(Choice::Generation(before.number), problems)];
        Ok(InForce { effective, from: Choice::WithoutUserData(before.number), refused })
    }

    /// Plans, checks, carries out and stores.
    pub(super) fn bring_about(
        &self,
        store: &Store,
        wanted: Wanted,
        started: Instant,
    ) -> Result<Receipt, ConfigureError> {
        let settings = &wanted.in_force.effective.settings;
        let ready = self.ready(render(settings, &self.place.facts(settings)?))?;
        ready.check()?;
        let mut receipt = self.receipt(&wanted, &ready);
        if wanted.dry_run {
            receipt.steps = ready.planned();
            self.place.clear_fresh()?;
            receipt.milliseconds = milliseconds(started);
            return Ok(receipt);
        }
        // On the disk before anything changes: a disk that is full is known by now.
        let prepare = |content| store.prepare(wanted.before.number, content, &wanted.by, &wanted.why, Utc::now());
        let prepared = wanted.after.map(prepare).transpose()?;
        let number = prepared.as_ref().map_or(wanted.before.number, |prepared| prepared.generation().number);
        let done =
            ready.carry_out(When::Running, || prepared.map_or(Ok(()), |prepared| Ok(prepared.commit().map(drop)?)));
        (receipt.outcome, receipt.steps, receipt.put_back, receipt.full) =
            (done.outcome, done.steps, done.put_back, done.full);
        if receipt.outcome == Outcome::Applied && number != receipt.before {
            receipt.after = number;
            let from = match wanted.in_force.from {
                Choice::WithoutUserData(_) => Choice::WithoutUserData(number),
                _ => Choice::Generation(number),
            };
            receipt.in_force = from.into();
        }
        receipt.milliseconds = milliseconds(started);
        self.keep_receipt(LAST, &receipt)?;
        match receipt.outcome {
            Outcome::Applied => Ok(receipt),
            _ => Err(ConfigureError::Failed(Box::new(receipt))),
        }
    }

    pub(super) fn ready(&self, fresh: Files) -> Result<Ready<'_>, ConfigureError> {
        Ready::new(&self.place, self.services.as_ref(), fresh)
    }

    pub(super) fn keep_receipt(&self, name: &str, receipt: &Receipt) -> Result<(), ConfigureError> {
        write_document(&self.place.receipts().join(name), receipt, 0o644)
    }

    fn receipt(&self, wanted: &Wanted, ready: &Ready<'_>) -> Receipt {
        let after = wanted.after.as_ref().unwrap_or(&wanted.before.content);
        Receipt {
            verb: wanted.verb,
            by: wanted.by.clone(),
            when: Utc::now(),
            dry_run: wanted.dry_run,
            deployment: self.folders.deployment(),
            outcome: Outcome::Planned,
            before: wanted.before.number,
            after: wanted.before.number,
            in_force: InForceShown::from(wanted.in_force.from),
            settings: store::diff(&wanted.before.content, after),
            files: ready.files.clone(),
            steps: Vec::new(),
            put_back: Vec::new(),
            refused: wanted.in_force.refused.iter().map(|(from, problems)| RefusedShown::of(*from, problems)).collect(),
            notes: Vec::new(),
            full: false,
            milliseconds: 0,
        }
    }
}

/// The generation that counts, where it is the one that a change was made to.
pub(super) fn current(store: &Store, if_match: Option<u64>) -> Result<Generation, ConfigureError> {
    let generation = store.current()?.generation;
    let found = generation.number;
    match if_match.filter(|expected| *expected != found) {
        Some(expected) => Err(StoreError::Stale { expected, found }.into()),
        None => Ok(generation),
    }
}

/// Whether one content says something else than another, whoever set it when.
fn differs(before: &Content, after: &Content) -> bool {
    !store::diff(before, after).is_empty() || !before.parked.keys().eq(after.parked.keys())
}

pub(super) fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
