//! What settings come to: files, and which service each belongs to. Pure: nothing is read, written or started.
//!
//! ```text
//! render(settings, facts) -> Files           every file, whole
//! Service::action() -> Action                how whoever reads a file is told, in the order of the services
//! ```
//!
//! What of it differs from what is in place, and who is told, is [`crate::plan`].
//!
//! Texts come from types that cannot end a line or leave their quotes (`model::value`). A file that nothing asks for is not there:
//! /etc is made anew at each boot, and what an apply no longer has it removes.

mod bootstrap;
mod containers;
mod host_containers;
mod network;
mod node;
mod trust;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub use bootstrap::{image as bootstrap_image, unit as bootstrap_unit};
pub use host_containers::{Inside, ToRun, inside as inside_host_container, unit as host_container_unit};
pub use trust::{NoCertificates, TRUST};

use crate::Settings;

/// Files that everybody may read.
const PUBLIC: u32 = 0o644;
/// Files with secrets.
const PRIVATE: u32 = 0o600;

/// The file, below the root, with how much root may do to the kernel: one of the kernel's own words.
pub const LOCKDOWN: &str = "etc/rocketos/lockdown";
/// What stands before names that people choose, where they name units and checks: none takes the place of the image's own.
const OWN: &str = "settings-";

/// Who reads a file. In this order they are told: what others stand on comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Modules of the kernel.
    Modules,
    /// Parameters of the kernel.
    Parameters,
    /// The node's own name.
    Hostname,
    /// What the service manager reads: variables of all services, units.
    Manager,
    /// What may come in.
    Firewall,
    /// Interfaces.
    Network,
    /// Who reads once which certificates are trusted.
    Trust,
    /// Who answers for names.
    Resolver,
    /// Who tells the time.
    Time,
    /// What is read anew whenever it is needed: podman's files, schedules, texts.
    Nobody,
    /// A container, by its name.
    Container(String),
    /// A container of the host, by its name.
    HostContainer(String),
    /// How much root may do to the kernel. It cannot be taken back, so it is told when all others have done what they were told.
    Lockdown,
}

/// How a service is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Not at all.
    Nothing,
    /// The kernel is given the node's name, as /etc/hostname has it.
    SetHostname,
    /// The service manager reads its configuration and all units anew.
    ReloadManager,
    /// The kernel is locked down as [`LOCKDOWN`] has it, where that is more than before.
    RaiseLockdown,
    /// A unit that runs reloads.
    Reload(String),
    /// A unit is started anew, whether it ran or not.
    Restart(String),
    /// A unit that runs is started anew: an image need not have it.
    RestartRunning(String),
    /// A container's unit is started anew, or stopped where its file is gone.
    RestartContainer(String),
    /// The same of a host container: nobody waits for it, for its image may have to come first.
    RestartHostContainer(String),
}

impl Action {
    /// The unit of a container, which comes and goes with its files.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::RestartContainer(unit) | Self::RestartHostContainer(unit) => Some(unit),
            _ => None,
        }
    }
}

impl Service {
    /// How it is told that its files differ.
    pub fn action(&self) -> Action {
        let restart = |unit: &str| Action::Restart(unit.to_owned());
        let restart_running = |unit: &str| Action::RestartRunning(unit.to_owned());
        match self {
            Self::Modules => restart("systemd-modules-load.service"),
            Self::Parameters => restart("systemd-sysctl.service"),
            Self::Hostname => Action::SetHostname,
            Self::Manager => Action::ReloadManager,
            Self::Firewall => Action::Reload("rocketos-firewall.service".to_owned()),
            Self::Network => Action::Reload("systemd-networkd.service".to_owned()),
            // Its API: containers have nothing of it, and every other command of podman reads certificates anew.
            Self::Trust => restart_running("podman.service"),
            Self::Resolver => restart_running("systemd-resolved.service"),
            Self::Time => restart_running("systemd-timesyncd.service"),
            Self::Nobody => Action::Nothing,
            Self::Container(name) => Action::RestartContainer(format!("{OWN}{name}.service")),
            Self::Lockdown => Action::RaiseLockdown,
            Self::HostContainer(name) => Action::RestartHostContainer(host_containers::unit(name)),
        }
    }
}

/// A file. `Debug` does not show what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What it says.
    pub bytes: Vec<u8>,
    /// Its permissions. Its label is the one that the policy has for its path.
    pub mode: u32,
    /// Who reads it.
    pub service: Service,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({} bytes, {:o}, {:?})", self.bytes.len(), self.mode, self.service)
    }
}

/// Files by their path below the root, such as `etc/motd`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// Each with its path, by path.
    pub fn all(&self) -> &BTreeMap<String, File> {
        &self.0
    }

    fn put(&mut self, path: impl Into<String>, service: Service, text: impl Into<String>) {
        let bytes = text.into().into_bytes();
        self.0.insert(path.into(), File { bytes, mode: PUBLIC, service });
    }

    fn put_private(&mut self, path: &str, service: Service, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.to_owned(), File { bytes: bytes.into(), mode: PRIVATE, service });
    }
}

/// What is so on a node whatever its settings say, and goes into files with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    trusted: trust::Trusted,
}

/// Every file that settings come to. `settings` are those of all layers, sound together ([`crate::Layers::resolve`]).
pub fn render(settings: &Settings, facts: &Facts) -> Files {
    let mut files = Files::default();
    node::render(settings, &mut files);
    trust::render(settings, facts, &mut files);
    network::render(settings, &mut files);
    containers::render(settings, &mut files);
    host_containers::render(settings, &mut files);
    bootstrap::render(settings, &mut files);
    files
}

#[cfg(test)]
mod tests;
