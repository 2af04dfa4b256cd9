//! Settings before services start.
//!
//! It never fails the boot: what is not sound is left out, as a node that cannot be reached can be mended by nobody, and told loudly.

use std::{fs, path::Path, time::Instant};

use anyhow::bail;
use chrono::Utc;
use rocketos_settings::{
    Choice, InForce,
    bootstrap::UNIT,
    in_force,
    provider::Handed,
    render::{Facts, render},
    store::Content,
};
use serde::Deserialize;

use super::{
    ConfigureError, Engine, InForceShown, Outcome, Receipt, RefusedShown, Verb,
    apply::When,
    bootstrap::{Shown, State},
    brought::{BY, Found, bring_along, look},
    engine::{BOOT, milliseconds},
    handed_in::early,
    place::{Place, read_document, write_document},
};
use crate::{exit, journal};

/// What stands above the login prompt, and after it, where settings are not in force as they are stored.
const BANNERS: [&str; 2] = ["run/issue.d/50-rocketos-settings.issue", "run/motd.d/50-rocketos-settings"];

/// What the health check reads of a receipt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Read {
    outcome: String,
    #[serde(default)]
    because: Vec<String>,
    #[serde(default)]
    bootstrap: Option<Shown>,
}

/// What is written down where there is no engine.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Without {
    verb: Verb,
    outcome: Outcome,
    because: Vec<String>,
}

/// A receipt of a boot, with why the release is not as good as the one before.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct OfBoot<'a> {
    #[serde(flatten)]
    receipt: &'a Receipt,
    because: &'a [String],
    /// What is done before the node counts as configured; absent where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    bootstrap: Option<Shown>,
}

/// Before services start: has this node's settings in place.
pub fn at_boot() {
    let place = Place::at(Path::new("/"));
    let (outcome, because) = match Engine::open() {
        Ok(engine) => match engine.boot(early) {
            Ok(()) => return,
            Err(error) => (Outcome::Failed, exit::causes(&error)),
        },
        // Nothing can be stored: there is nothing that could be wrong with it.
        Err(error @ ConfigureError::NoDeployment) => (Outcome::Applied, exit::causes(&error)),
        Err(error) => (Outcome::Failed, exit::causes(&error)),
    };
    let because = vec![because];
    tell(&place, &because);
    let without = Without { verb: Verb::Boot, outcome, because };
    let written = place.turn().and_then(|_turn| write_document(&place.receipts().join(BOOT), &without, 0o644));
    if let Err(error) = written {
        eprintln!("rocketctl: {}", exit::causes(&error));
    }
}

/// The health check: whether the boot's receipt of a node below a root says that settings are in place, and what is essential was done.
/// `at_work` says whether somebody is still to do it: in a boot that waits for it nobody asks so early, and user data that comes late may
/// ask for more while a release is on trial already.
///
/// # Errors
/// When they are not, or there is no receipt.
pub fn was_configured(root: &Path, at_work: impl FnOnce() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    match read_document::<Read>(&Place::at(root).receipts().join(BOOT))? {
        None => bail!("nothing put settings in place at this boot"),
        Some(Read { outcome, because, .. }) if outcome != "applied" => {
            bail!("settings are not in force: {}", because.join("; "))
        }
        Some(Read { bootstrap: Some(Shown { state: State::Waiting, essential: true, .. }), .. }) if !at_work()? => {
            bail!("what is essential before the node is configured was not done: {UNIT} says why")
        }
        Some(_) => Ok(()),
    }
}

impl Engine {
    /// Brings along, chooses and places, before services start. `collect` asks who hands in user data, given what is stored.
    ///
    /// # Errors
    /// When nothing could be done at all.
    pub fn boot(&self, collect: impl FnOnce(&Content) -> Vec<Handed>) -> Result<(), ConfigureError> {
        let started = Instant::now();
        let _turn = self.place.turn()?;
        // What people have to know, and why the release cannot have settings in place.
        let (mut told, mut because) = (Vec::new(), Vec::new());
        let Found { mut history, mut notes, .. } = match bring_along(&self.folders) {
            Ok(found) => found,
            // The node still comes up with them, and whoever changes or applies settings tries again, as does the next boot.
            Err(error) => {
                told.push(format!("settings of another deployment could not be stored here: {}", exit::causes(&error)));
                look(&self.folders)?
            }
        };
        // What a machine is handed is no fault of the release.
        let came = self.take(collect, &mut history)?;
        notes.extend(came.waiting.iter().map(|name| format!("user data ({name}) waits for the network")));
        told.extend(came.told);
        let InForce { effective, from, refused } = in_force(&self.below()?, &history);
        let number = history.first().map_or(0, |newest| newest.number);
        // Without its user data a generation is what it would have been without: that is told, and is no fault of the release.
        let as_stored = match from {
            Choice::Generation(chosen) | Choice::WithoutUserData(chosen) => chosen == number,
            Choice::Image => number == 0,
            Choice::Nothing => false,
        };
        if !as_stored {
            because.extend(refused.iter().map(|(choice, problems)| format!("{choice}: {problems}")));
        }
        let mut settings = effective.settings;
        let facts = self.place.facts(&settings).unwrap_or_else(|error| {
            because.push(format!("pki is left out: {}", exit::causes(&error)));
            settings.pki.clear();
            Facts::default()
        });
        let ready = self.ready(render(&settings, &facts))?;
        let files = ready.files.clone();
        let done = ready.carry_out(When::Boot, || Ok(()));
        let bootstrap = self.begin_bootstrap(&settings, &mut told);
        let left_out = refused.iter().map(|(choice, problems)| RefusedShown::of(*choice, problems));
        let mut receipt = Receipt {
            verb: Verb::Boot,
            by: BY.to_owned(),
            when: Utc::now(),
            dry_run: false,
            deployment: self.folders.deployment(),
            outcome: done.outcome,
            before: number,
            after: number,
            in_force: InForceShown::from(from),
            settings: Vec::new(),
            files,
            steps: done.steps,
            put_back: done.put_back,
            refused: left_out.chain(came.refused).collect(),
            notes,
            full: done.full,
            milliseconds: 0,
        };
        if receipt.outcome != Outcome::Applied {
            because.push(receipt.in_a_word());
        }
        if !because.is_empty() {
            receipt.outcome = Outcome::Failed;
        }
        receipt.milliseconds = milliseconds(started);
        if as_stored {
            told.extend(refused.iter().map(|(choice, problems)| format!("{choice} is left out: {problems}")));
        }
        told.extend(because.clone());
        receipt.notes.extend(told.clone());
        tell(&self.place, &told);
        let of_boot = OfBoot { receipt: &receipt, because: &because, bootstrap };
        write_document(&self.place.receipts().join(BOOT), &of_boot, 0o644)
    }
}

/// Says it on the console, in the journal and at the prompt; takes what stood there away where there is nothing to say.
pub(super) fn tell(place: &Place, what: &[String]) {
    for text in what {
        eprintln!("Settings are not in force as they are stored: {text}");
        journal::say_loudly(journal::SETTINGS_LEFT_OUT, text, &[]);
    }
    for banner in BANNERS {
        let path = place.beneath(banner);
        let written = match what.first() {
            None => fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            Some(first) => {
                fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, banner_of(first)))
            }
        };
        if let Err(error) = written {
            eprintln!("writing {}: {error}", path.display());
        }
    }
}

/// agetty takes a backslash for the beginning of its own words.
fn banner_of(first: &str) -> String {
    let line: String = first.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("Settings are not in force as they are stored: {}\n\n", line.replace('\\', "/"))
}
