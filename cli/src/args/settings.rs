//! `settings` and `api`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

/// Whom to ask.
#[derive(Debug, Clone, ClapArgs)]
pub struct Asked {
    /// The API's socket.
    #[arg(long, value_name = "FILE", default_value = rocketos_model::layout::node::API_SOCKET)]
    pub socket: PathBuf,
}

/// `settings`.
#[derive(Debug, Subcommand)]
pub enum Settings {
    /// Print what is in force, as TOML.
    Get(SettingsGet),
    /// Set keys; services are told before this returns.
    Set(SettingsSet),
    /// Unset keys that were set here: what user data and image have is in force again.
    Unset(SettingsUnset),
    /// Put every file as settings have it, and tell services whose files were not so.
    Apply(SettingsApply),
    /// Say what differs between two generations.
    Diff(SettingsDiff),
    /// List the generations that are kept, and what came with each.
    History(SettingsShown),
    /// Go back to an older generation, as a new one.
    Undo(SettingsUndo),
    /// Let nobody change settings until the next boot.
    Lock(SettingsShown),
    /// Say what putting settings in place came to at this boot, and what was done before the node counted as configured.
    Boot(SettingsShown),
    /// Print the JSON Schema of settings.
    Schema(SettingsSchema),
}

/// `settings get`.
#[derive(Debug, ClapArgs)]
pub struct SettingsGet {
    /// Only this key and all below it, such as 'network' or 'kernel.sysctl."vm.max_map_count"'.
    pub key: Option<String>,
    /// Say who set each key.
    #[arg(long)]
    pub origins: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// How settings are changed.
#[derive(Debug, Clone, ClapArgs)]
pub struct Changing {
    /// Only say what would come of it.
    #[arg(long)]
    pub dry_run: bool,
    /// Change nothing where another generation counts by now.
    #[arg(long, value_name = "GENERATION")]
    pub if_match: Option<u64>,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// `settings set`.
#[derive(Debug, ClapArgs)]
pub struct SettingsSet {
    /// Keys and values, as TOML writes them: 'motd="hello"', 'ntp.time-servers=["a.example"]'. A text needs no quotes.
    #[arg(value_name = "KEY=VALUE", required_unless_present = "file")]
    pub pairs: Vec<String>,
    /// A document of settings, as user data has them; '-' for standard input. Pairs count over it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Why, in a line that history keeps.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `settings unset`.
#[derive(Debug, ClapArgs)]
pub struct SettingsUnset {
    /// Keys, each with all below it.
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// Why, in a line that history keeps.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// `settings apply`.
#[derive(Debug, ClapArgs)]
pub struct SettingsApply {
    /// Only say what would come of it.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// `settings diff`.
#[derive(Debug, ClapArgs)]
pub struct SettingsDiff {
    /// A generation; 0 is the one before all. The one before TO where absent.
    pub from: Option<u64>,
    /// Another; the one that counts where absent.
    pub to: Option<u64>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// `settings undo`.
#[derive(Debug, ClapArgs)]
pub struct SettingsUndo {
    /// To which generation; the one before where absent.
    pub to: Option<u64>,
    /// How.
    #[command(flatten)]
    pub changing: Changing,
}

/// What is only shown.
#[derive(Debug, ClapArgs)]
pub struct SettingsShown {
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// `settings schema`.
#[derive(Debug, ClapArgs)]
pub struct SettingsSchema {
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}

/// `api`.
#[derive(Debug, ClapArgs)]
pub struct Api {
    /// GET, POST, PATCH or DELETE.
    pub method: String,
    /// Such as /v1/status; /v1/openapi.json says what there is.
    pub path: String,
    /// The body, in JSON; '-' for standard input.
    pub body: Option<String>,
    /// Change nothing where another generation counts by now.
    #[arg(long, value_name = "GENERATION")]
    pub if_match: Option<u64>,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
}
