//! What an apply came to.

use chrono::{DateTime, Utc};
use rocketos_model::DeploymentId;
use rocketos_settings::{Choice, Problem, Problems, store};
use serde::Serialize;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Settings are changed.
    Change,
    /// An older generation is to be in force again.
    Undo,
    /// What is stored is to be in place.
    Apply,
    /// The same, before services start.
    Boot,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything is in place, and everybody was told.
    Applied,
    /// This is what would be done.
    Planned,
    /// It failed, and what was there before is in force again.
    PutBack,
    /// It failed, and so did something on the way back; at boot, what could be done is.
    Failed,
}

/// Where settings in force are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InForceShown {
    /// `generation`, `without-user-data`, `image` or `nothing`.
    pub kind: &'static str,
    /// Which, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The same in words.
    pub words: String,
}

impl From<Choice> for InForceShown {
    fn from(choice: Choice) -> Self {
        let (kind, generation) = match choice {
            Choice::Generation(number) => ("generation", Some(number)),
            Choice::WithoutUserData(number) => ("without-user-data", Some(number)),
            Choice::Image => ("image", None),
            Choice::Nothing => ("nothing", None),
        };
        Self { kind, generation, words: choice.to_string() }
    }
}

/// What was left out because it is not sound.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RefusedShown {
    /// Such as `generation 3 of the settings`.
    pub what: String,
    /// Everything that is wrong with it.
    pub problems: Vec<Problem>,
}

impl RefusedShown {
    pub(super) fn of(choice: Choice, problems: &Problems) -> Self {
        Self { what: choice.to_string(), problems: problems.all().to_vec() }
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFate {
    /// It is what settings say.
    Written,
    /// It is gone.
    Removed,
    /// It is what it was before settings said anything.
    Restored,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileChange {
    /// Below the root, such as `etc/motd`.
    pub path: String,
    /// What becomes of it.
    pub change: FileFate,
    /// Its permissions, as `0644`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// True where only one program may know what it says: then nothing of it is shown.
    pub secret: bool,
    /// What differs, as `diff -u` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// How telling somebody ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Done, and the unit is as it should be.
    Done,
    /// It would be.
    Planned,
    /// There was nothing to do: `said` says why.
    Skipped,
    /// It did not work: `said` has what the unit said.
    Failed,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// `stop`, `write`, `reload`, `restart`, `start`, `reload-manager`, `set-hostname`, `store`.
    pub what: &'static str,
    /// Of which unit, or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What there is to say about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// What an apply came to. Nothing in it is secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// What was asked for.
    pub verb: Verb,
    /// By whom.
    pub by: String,
    /// When, by the node's clock.
    pub when: DateTime<Utc>,
    /// True where nothing was to be done.
    pub dry_run: bool,
    /// Whose settings.
    pub deployment: DeploymentId,
    /// How it ended.
    pub outcome: Outcome,
    /// The generation before.
    pub before: u64,
    /// The one that counts now.
    pub after: u64,
    /// Where what is in force is from.
    pub in_force: InForceShown,
    /// Settings that differ.
    pub settings: Vec<store::Change>,
    /// Files that differ.
    pub files: Vec<FileChange>,
    /// What was done, in this order.
    pub steps: Vec<Step>,
    /// What was done to put back what was there before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub put_back: Vec<Step>,
    /// What is stored and was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedShown>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// True where it failed because a disk is full.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// How long it took.
    pub milliseconds: u64,
}

impl Receipt {
    /// The first thing that failed, in a line.
    pub fn in_a_word(&self) -> String {
        let failed = self.steps.iter().find(|step| step.outcome == StepOutcome::Failed);
        let Some(Step { what, unit, said, .. }) = failed else { return "applying settings failed".to_owned() };
        let unit = unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let after = match (self.verb, self.outcome) {
            (Verb::Boot, _) => return format!("{what}{unit} failed: {said}"),
            (_, Outcome::PutBack) => "what was there before is in force again",
            _ => "not everything is as it was before: apply again",
        };
        format!("settings are not in force, because of {what}{unit}; {after}: {said}")
    }
}
