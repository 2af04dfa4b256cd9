//! What is said over the socket: every body of a request and of an answer, as the description has it.
//!
//! What comes in is read strictly: a name that is not known is an error. What goes out may get more names.

mod program;

use chrono::{DateTime, Utc};
use rocketos_settings::{Key, Problem as Wrong, SetBy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use program::{Exec, Terminal, Window};

/// Where settings are from that are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InForce {
    /// `generation`, `without-user-data` (a generation without its user data), `image` (nothing that is stored) or `nothing`.
    pub kind: String,
    /// Which generation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u64>,
    /// The same in words.
    pub words: String,
}

/// A setting with who set it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Set {
    /// The key.
    #[schemars(with = "String")]
    pub key: Key,
    /// Its value; a secret is `(secret)`.
    pub value: Value,
    /// Who set it.
    pub set_by: SetBy,
}

/// A key that is kept for a system that takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Parked {
    /// The key.
    #[schemars(with = "String")]
    pub key: Key,
    /// True where user data has it, false where operators have.
    pub user_data: bool,
    /// Why this system refuses it.
    pub why: String,
}

/// What was tried before what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Refused {
    /// What it was.
    pub what: String,
    /// Everything that is wrong with it.
    pub problems: Vec<Wrong>,
}

/// A generation that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Damaged {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Who locked settings until the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Locked {
    /// Who.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"), with = "String")]
    pub at: DateTime<Utc>,
}

/// What is in force, and whatever else is to be known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The generation that counts; 0 where nothing was stored yet. A change names it in `If-Match`.
    pub generation: u64,
    /// Where it is from.
    pub in_force: InForce,
    /// Every setting, by key.
    pub settings: Vec<Set>,
    /// What this system does not take and keeps.
    pub parked: Vec<Parked>,
    /// What was tried before what is in force.
    pub refused: Vec<Refused>,
    /// Newer generations that are damaged.
    pub damaged: Vec<Damaged>,
    /// Who locked settings until the next boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub locked: Option<Locked>,
    /// Raw files that are in force, by path below /etc.
    pub raw: Vec<String>,
    /// What the last change came to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub receipt: Option<Value>,
    /// What applying at boot came to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub boot: Option<Value>,
}

/// Settings as a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Shown {
    /// The generation that counts.
    pub generation: u64,
    /// Where it is from.
    pub in_force: InForce,
    /// What is set; a secret is `(secret)`.
    pub settings: Map<String, Value>,
    /// Who set each key, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origins: Option<Vec<Set>>,
    /// What this system does not take and keeps.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parked: Vec<Parked>,
    /// What was tried before what is in force.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub refused: Vec<Refused>,
    /// Newer generations that are damaged.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub damaged: Vec<Damaged>,
    /// Who locked settings until the next boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub locked: Option<Locked>,
}

/// A key whose value differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Changed {
    /// The key.
    #[schemars(with = "String")]
    pub key: Key,
    /// True where user data has it, false where operators have.
    pub user_data: bool,
    /// What was there; a secret is `(secret)`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Value>,
    /// What is there now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Value>,
}

/// A file that was written, removed or put back, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FileChange {
    /// Its path below the root.
    pub path: String,
    /// `written`, `removed` or `restored`.
    pub change: String,
    /// True where it has secrets in it.
    #[serde(default)]
    pub secret: bool,
    /// What differs, line by line; absent where it is secret or long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diff: Option<String>,
}

/// A service that was told, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    /// How, such as `reload`.
    pub what: String,
    /// Which unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// `done`, `planned`, `skipped` or `failed`.
    pub outcome: String,
    /// What it said.
    #[serde(default)]
    pub said: String,
    /// How long it took.
    #[serde(default)]
    pub milliseconds: u64,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    /// `change`, `undo`, `apply` or `boot`.
    pub verb: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    #[schemars(extend("format" = "date-time"), with = "String")]
    pub when: DateTime<Utc>,
    /// True where nothing was changed.
    pub dry_run: bool,
    /// `applied`, `planned`, `put-back` (the settings before are in force) or `failed`.
    pub outcome: String,
    /// The generation that counted before.
    pub before: u64,
    /// The one that counts now.
    pub after: u64,
    /// Where what is in force is from.
    pub in_force: InForce,
    /// What differs in settings.
    pub settings: Vec<Changed>,
    /// What differs in files.
    pub files: Vec<FileChange>,
    /// Who was told, in order.
    pub steps: Vec<Told>,
    /// Who was told again, after a failure.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub put_back: Vec<Told>,
    /// What was tried before what is in force.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub refused: Vec<Refused>,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// A generation, against the one before that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Past {
    /// Its number.
    pub generation: u64,
    /// When it was written.
    #[schemars(extend("format" = "date-time"), with = "String")]
    pub written: DateTime<Utc>,
    /// Who changed something.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// What.
    pub settings: Vec<Changed>,
}

/// The generations that are kept, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    /// Each of them.
    pub generations: Vec<Past>,
}

/// A generation, and everything that is stored in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Generation {
    /// What came with it.
    #[serde(flatten)]
    pub past: Past,
    /// Everything that is stored in it, as what came since nothing was.
    pub stored: Vec<Changed>,
}

/// What differs between two generations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The one.
    pub from: u64,
    /// The other.
    pub to: u64,
    /// What differs.
    pub settings: Vec<Changed>,
}

/// Keys to unset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Unset {
    /// Each with all below it, as TOML writes keys: `kernel.sysctl."vm.max_map_count"`.
    #[schemars(extend("minItems" = 1, "maxItems" = crate::limits::UNSET_KEYS))]
    pub keys: Vec<String>,
}

/// A transaction that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Opened {
    /// Its name.
    pub id: String,
}

/// A transaction: changes that are collected, and come to effect together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Transaction {
    /// Its name.
    pub id: String,
    /// What it sets; a secret is `(secret)`.
    pub settings: Map<String, Value>,
    /// Keys that it unsets before.
    #[schemars(with = "Vec<String>")]
    pub unset: Vec<Key>,
}

/// What health checks came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// True where all that is required passed; absent where no checks were made since boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub good: Option<bool>,
    /// By name.
    pub checks: Vec<Check>,
}

/// What a health check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Its name.
    pub name: String,
    /// `required` or `wanted`.
    pub level: String,
    /// `passed`, `failed` or `not-run`.
    pub outcome: String,
    /// Why it did not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A host container: as settings have it, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostContainer {
    /// Its name.
    pub name: String,
    /// True where it is to run.
    pub enabled: bool,
    /// The image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// True where it has the host's rights.
    pub superpowered: bool,
    /// The image that the node has; absent where none came yet, or the updater is not there to say it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<HostImage>,
    /// What systemd says of its unit; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<HostUnit>,
}

/// The image of a host container that the node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostImage {
    /// As it was named when it came.
    pub reference: String,
    /// Its manifest's digest.
    pub manifest_digest: String,
    /// The digest that it is mounted by.
    pub composefs_digest: String,
}

/// The unit of a host container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostUnit {
    /// `active`, `inactive`, `failed`, `activating`, …
    pub state: String,
    /// `success`, or how it ended.
    pub result: String,
    /// Since when it is in this state; absent where it was in no other since boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<String>,
    /// How often it was started again by itself.
    pub restarts: u64,
}

/// How host containers stand, by their names.
pub type Running = std::collections::BTreeMap<String, (Option<HostImage>, Option<HostUnit>)>;

/// Host containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostContainers {
    /// By name.
    pub containers: Vec<HostContainer>,
}

/// A step of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look for something newer.
    Refresh,
    /// Bring it, and leave the boot order alone.
    Prepare,
    /// Boot next what was brought.
    Activate,
    /// Boot next what runs.
    Deactivate,
    /// Reboot in order.
    Reboot,
}

impl Step {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Reboot => "reboot",
        }
    }
}

/// An event, as a stream of them has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "event", content = "data")]
pub enum Event {
    /// Another generation of settings counts.
    Settings {
        /// Which.
        generation: u64,
    },
    /// A step of an update.
    Update {
        /// `refresh`, `prepare`, `activate`, `deactivate`, `reboot` or `rollback`.
        step: String,
        /// `began`, `progress`, `done` or `failed`.
        state: String,
        /// What it came to, or how far it is.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        told: Option<Value>,
    },
    /// Health checks came to something else.
    Health(Health),
    /// Events were lost to this reader, which is too slow.
    Lost {
        /// How many.
        events: u64,
    },
}

impl Event {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "settings",
            Self::Update { .. } => "update",
            Self::Health(_) => "health",
            Self::Lost { .. } => "lost",
        }
    }
}

impl From<Option<rocketos_health::Report>> for Health {
    fn from(report: Option<rocketos_health::Report>) -> Self {
        use rocketos_health::{Level, Outcome};
        let good = report.as_ref().map(rocketos_health::Report::is_good);
        let checks = report.map(|report| report.checks).unwrap_or_default().into_iter().map(|check| {
            let level = match check.level {
                Level::Required => "required",
                Level::Wanted => "wanted",
            };
            let (outcome, reason) = match check.outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed(why) => ("failed", Some(why)),
                Outcome::NotRun(why) => ("not-run", Some(why)),
            };
            Check { name: check.name, level: level.to_owned(), outcome: outcome.to_owned(), reason }
        });
        Self { good, checks: checks.collect() }
    }
}
