//! The model: every setting there is, typed. Comments here are the descriptions of the schema and of the reference page.
//!
//! A key can be absent at every level of tables, so that each value can be judged alone and each problem be told; what a thing
//! needs to be whole is asked of all layers together ([`check`]). Only what stands in an array is whole by itself.

mod check;
mod containers;
mod facts;
mod network;
mod node;
mod registry;
mod system;
pub mod value;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use containers::{
    BootstrapCommand, BootstrapContainer, Container, ContainerHealth, HostContainer, Mode, Publish, Restart, Transport,
    Volume,
};
pub use facts::NodeFacts;
pub use network::{Bond, BondMode, Dns, Firewall, HostNames, Interface, NetworkSettings, Ntp, Opening, Route, Vlan};
pub use node::{CheckKind, CheckLevel, Health, HealthCheck, Metrics, RawFile, UpdateMode, Updates, Weekday, Window};
pub use registry::{Credential, Mirror, Registry};
pub use system::{Certificate, ContainerRuntime, Kernel, Lockdown, Module};

use crate::{Key, Problem, Tree, schema::Schema};
use value::{Motd, Name, RawPath};

/// Bounds of tables and lists; the schema has each as `maxItems` or `maxProperties`, and is asked for it.
pub mod limits {
    /// Things of one kind that have names.
    pub const NAMED: usize = 128;
    /// Entries of `network.hosts`.
    pub const HOSTS: usize = 512;
    /// Entries of `network.no-proxy`.
    pub const NO_PROXY: usize = 256;
    /// Addresses of an interface.
    pub const ADDRESSES: usize = 64;
    /// Routes of an interface.
    pub const ROUTES: usize = 256;
    /// Interfaces of a bond.
    pub const BONDED: usize = 16;
    /// Servers that answer for names.
    pub const NAME_SERVERS: usize = 16;
    /// Domains that are tried.
    pub const SEARCH_DOMAINS: usize = 32;
    /// Servers that tell the time.
    pub const TIME_SERVERS: usize = 16;
    /// Openings of the firewall.
    pub const OPENINGS: usize = 64;
    /// Networks of an opening.
    pub const NETWORKS: usize = 256;
    /// Kernel parameters.
    pub const SYSCTLS: usize = 512;
    /// Kernel modules.
    pub const MODULES: usize = 256;
    /// Registries with mirrors, and those with credentials.
    pub const REGISTRIES: usize = 64;
    /// Endpoints of a mirror.
    pub const ENDPOINTS: usize = 16;
    /// Words of a command.
    pub const WORDS: usize = 128;
    /// Variables of a container.
    pub const VARIABLES: usize = 128;
    /// Ports that lead into a container.
    pub const PORTS: usize = 64;
    /// Folders that a container sees.
    pub const VOLUMES: usize = 64;
    /// Commands of a list.
    pub const COMMANDS: usize = 64;
    /// Windows of a node.
    pub const WINDOWS: usize = 64;
    /// Days of a window.
    pub const DAYS: usize = 7;
    /// Health checks.
    pub const CHECKS: usize = 128;
    /// Units whose state is told.
    pub const UNITS: usize = 64;
    /// Addresses that are shown of a node.
    pub const FOUND_ADDRESSES: usize = 64;
    /// Raw files.
    pub const RAW_FILES: usize = 64;
}

/// Characters of a message about one value.
const MESSAGE_CHARS: usize = 500;

/// Declares a table of settings: every key may be absent, none is unknown.
macro_rules! group {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct $name { $($body)* }
    };
}
pub(crate) use group;

/// Declares what stands in an array: keys may be needed.
macro_rules! item {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name { $($body)* }
    };
}
pub(crate) use item;

/// Declares a word of a few.
macro_rules! word {
    ($(#[$meta:meta])* pub enum $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($body)* }
    };
}
pub(crate) use word;

group! {
    /// The settings of a Rocket OS node.
    pub struct Settings {
        /// What people are told at login. At most 4096 bytes; lines of printable characters.
        pub motd: Option<Motd>,
        /// Name of the node, names of others, proxy, interfaces.
        pub network: NetworkSettings,
        /// Who answers for names.
        pub dns: Dns,
        /// Who tells the time.
        pub ntp: Ntp,
        /// The kernel.
        pub kernel: Kernel,
        /// Registries of container images: mirrors and credentials.
        pub container_registry: Registry,
        /// Certificates that the node trusts besides the image's, by a name.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub pki: BTreeMap<Name, Certificate>,
        /// How containers are run.
        pub container_runtime: ContainerRuntime,
        /// Containers that the node runs by itself, by a name; each becomes a service, `settings-<name>.service`.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub containers: BTreeMap<Name, Container>,
        /// Containers beside the runtime, kept in the store of the system, by a name.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub host_containers: BTreeMap<Name, HostContainer>,
        /// Containers that run at boot before the node counts as configured, by a name.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub bootstrap_containers: BTreeMap<Name, BootstrapContainer>,
        /// Calls of the API that are made at boot, by a name.
        #[schemars(extend("maxProperties" = limits::NAMED))]
        pub bootstrap_commands: BTreeMap<Name, BootstrapCommand>,
        /// What may come in from the network.
        pub firewall: Firewall,
        /// Which releases the node takes, and when.
        pub updates: Updates,
        /// What a release has to do before it counts as good.
        pub health: Health,
        /// What the node tells of itself.
        pub metrics: Metrics,
        /// What is so on this node, found out and set by nobody.
        #[schemars(extend("readOnly" = true))]
        pub facts: NodeFacts,
        /// Files as they are, by their path below /etc, for what nothing else here can say. Only in the folders
        /// `systemd/network`, `systemd/system`, `containers/containers.conf.d` and `sysctl.d`.
        #[schemars(extend("maxProperties" = limits::RAW_FILES))]
        pub raw: BTreeMap<RawPath, RawFile>,
    }
}

/// Judges a tree: the settings it comes to, and everything that is wrong with it. Settings that are wrong are not among them.
pub fn check(tree: &Tree) -> (Settings, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut judged = |key: &Key, value: &Value| match refusal(key, value) {
        Some(message) => {
            problems.push(Problem::at(key, message));
            false
        }
        None => true,
    };
    // All are of one tree: none is in another's way.
    let (sound, _) = Tree::of_leaves(tree.leaves().into_iter().filter(|(key, value)| judged(key, value)));
    let settings = match Settings::deserialize(sound.to_value()) {
        Ok(settings) => settings,
        // Each value was sound alone, and tables need nothing.
        Err(error) => {
            problems.push(Problem { key: None, set_by: None, message: error.to_string() });
            return (Settings::default(), problems);
        }
    };
    for (key, found, most) in Schema::get().overfull(&sound) {
        problems.push(Problem::at(&key, format!("it has {found} entries; at most {most} are taken")));
    }
    problems.extend(check::across(&settings));
    (settings, problems)
}

/// Why this model does not take a key with a value, judged by itself; nothing where it does. Nothing that a secret says is repeated.
pub fn refusal(key: &Key, value: &Value) -> Option<String> {
    let schema = Schema::get();
    let bounds = || schema.at(key).and_then(|schema| bounds(schema, value));
    let stranger = || schema.stranger(key, value).map(|message| in_a_line(&message));
    schema.refusal(key).or_else(stranger).or_else(|| alone(key, value)).or_else(bounds)
}

/// What is wrong with the length of an array, or of one in it.
fn bounds(schema: &Value, value: &Value) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    match value {
        Value::Array(items) => {
            let found = items.len() as u64;
            let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(u64::MAX));
            match (least..=most).contains(&found) {
                true => items.iter().find_map(|item| bounds(schema.get("items")?, item)),
                false if found < least => Some("it is empty; unset it, or name one".to_owned()),
                false => Some(format!("it has {found} entries; at most {most} are taken")),
            }
        }
        Value::Object(items) => {
            items.iter().find_map(|(name, item)| bounds(schema.get("properties")?.get(name)?, item))
        }
        _ => None,
    }
}

/// What is wrong with a value by itself. Nothing that a secret says is repeated.
fn alone(key: &Key, value: &Value) -> Option<String> {
    let lone = key.names().iter().rev().fold(value.clone(), |inner, name| {
        let mut table = serde_json::Map::new();
        table.insert(name.clone(), inner);
        Value::Object(table)
    });
    let error = serde_path_to_error::deserialize::<_, Settings>(lone).err()?;
    let path: Vec<String> = error.path().iter().skip(key.names().len()).map(ToString::to_string).collect();
    let (known, shown) = Schema::get().may_show(key, &path);
    let place = match &path[..if shown { path.len() } else { known }] {
        [] => String::new(),
        path => format!(" (at {})", path.join(".").replace(".[", "[")),
    };
    let message = if shown { error.inner().to_string() } else { hidden(value, error.inner()) };
    Some(in_a_line(&format!("{message}{place}")))
}

/// A message as one line: serde repeats some values as they are.
fn in_a_line(message: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    let mut line: String = message.chars().take(MESSAGE_CHARS).map(escaped).collect();
    if message.chars().nth(MESSAGE_CHARS).is_some() {
        line.push('…');
    }
    line
}

/// What may be told of a value that is not shown: our own types never repeat it, serde's words may.
fn hidden(value: &Value, error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.starts_with("invalid ") || repeats(value, &text) {
        true => "it is not of the kind that is wanted; what it says is not shown, as secrets belong there".to_owned(),
        false => text,
    }
}

/// True where the message has one of the value's texts or numbers in it.
fn repeats(value: &Value, message: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| repeats(item, message)),
        Value::Object(items) => items.values().any(|item| repeats(item, message)),
        Value::String(text) => !text.is_empty() && message.contains(text.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
