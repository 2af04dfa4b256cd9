//! Host containers: what each is to run, its user data, its unit, and how it is seen to work.
//!
//! What an image says of itself is not known here: `rocketos-host-container-image@<name>.service` brings it, mounts it and writes down
//! what is to be started, and the unit starts that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use rocketos_model::{PlacedImage, layout};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Files, Service, node::toml};
use crate::{
    Settings,
    model::{
        ContainerHealth, HostContainer, Restart,
        value::{MemorySize, Name, Ranged, TimeSpan},
    },
};

/// What stands before a name in its unit's: no unit of a quadlet is called so.
const UNIT: &str = "rocketos-host-container-";
/// What stands before a name in its check's: no check of settings is called so.
const CHECK: &str = "host-container-";
/// What is said of `health` where settings do not: what a look may take, the pause between two, how many may fail.
const LOOK: &str = "10s";
const PAUSE: &str = "30s";
const LOOKS: u32 = 3;
/// What listens where a container asks the API: it has to be there when the container's root is made.
const API: &str = "rocketos-api.socket";
/// The program of the system's image by which each container starts.
const ENTER: &str = "/usr/lib/rocketos/enter";
/// Categories that are given away, two to each: the last four are those of superpowered ones.
const CATEGORIES: u64 = 1020;
/// The level of superpowered ones: with the two of the engine's privileged containers (`base/selinux/40-rules.cil`), and two more, so
/// that those come neither to what these keep nor to what they read.
pub(super) const SUPERPOWERED: &str = "s0:c1020.c1023";
/// What a container may of what root may, where it may not do everything: what podman gives.
const CAPABILITIES: &str = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_NET_BIND_SERVICE CAP_SETFCAP CAP_SETGID \
CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT";

/// What a host container is to run: `/etc/rocketos/host-containers/<name>.toml`, read by who brings its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ToRun {
    /// Its image.
    pub source: PlacedImage,
    /// The label of what it writes to.
    pub label: String,
    /// It has a folder that outlives it.
    pub persistent: bool,
    /// Words instead of the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables besides the image's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The unit of a host container.
pub fn unit(name: &str) -> String {
    format!("{UNIT}{name}.service")
}

pub(super) fn render(settings: &Settings, files: &mut Files) {
    let levels = levels(settings.host_containers.keys());
    for (name, container) in &settings.host_containers {
        // There in settings that are sound.
        let (Some(true), Some(source)) = (container.enabled, &container.source) else { continue };
        let superpowered = container.superpowered == Some(true);
        let level = if superpowered { SUPERPOWERED } else { &levels[name] };
        let service = Service::HostContainer(name.to_string());
        let texts =
            |words: &Vec<crate::model::value::Word>| words.iter().map(|word| word.as_str().to_owned()).collect();
        let to_run = ToRun {
            source: source.placed().clone(),
            label: format!("system_u:object_r:container_file_t:{level}"),
            persistent: container.persistent != Some(false),
            command: container.command.as_ref().map(texts).unwrap_or_default(),
            env: container.env.iter().map(|(name, value)| (name.to_string(), value.as_str().to_owned())).collect(),
        };
        let below = |folder: &str| folder.trim_start_matches('/').to_owned();
        files.put(format!("{}/{name}.toml", below(layout::node::HOST_CONTAINERS)), service.clone(), toml(&to_run));
        if let Some(data) = &container.user_data {
            let run = below(layout::node::HOST_CONTAINERS_RUN);
            let path = format!("{run}/{name}/{}", layout::host_container::USER_DATA);
            files.put_private(&path, service.clone(), data.reveal());
        }
        files.put(format!("etc/systemd/system/{}", unit(name.as_str())), service, service_of(name, container, level));
        if let Some(check) = check_of(name, &container.health) {
            files.put(format!("etc/rocketos/health.d/{CHECK}{name}.toml"), Service::Nobody, toml(&check));
        }
    }
}

/// A health check, as `rocketos-health` reads it.
#[derive(Serialize)]
struct CheckFile {
    level: &'static str,
    kind: &'static str,
    container: String,
    command: Vec<String>,
    timeout: String,
    retries: u32,
    interval: String,
}

fn check_of(name: &Name, health: &ContainerHealth) -> Option<CheckFile> {
    let time = |time: Option<TimeSpan>, otherwise: &str| time.map_or(otherwise.to_owned(), |time| time.to_string());
    Some(CheckFile {
        // Never required: no release is bad because a container of settings is not there.
        level: "wanted",
        kind: "host-container",
        container: name.to_string(),
        command: health.command.as_ref()?.iter().map(|word| word.as_str().to_owned()).collect(),
        timeout: time(health.timeout, LOOK),
        retries: health.retries.map_or(LOOKS, |retries| retries.value()),
        interval: time(health.interval, PAUSE),
    })
}

/// A key of a unit's section `[Service]`, and its value.
type Line = (&'static str, String);

/// What a unit has so that its program is in a host container.
#[derive(Debug, PartialEq, Eq)]
pub struct Inside {
    /// Root, domain, rights and limits, as the container's own unit has them.
    pub lines: Vec<Line>,
    /// The label of a terminal that is made for it: no other container opens that.
    pub terminal: String,
}

/// What a program has that is started in a host container of the settings. None where they have no such container run.
pub fn inside(settings: &Settings, name: &str) -> Option<Inside> {
    let (name, container) = settings.host_containers.iter().find(|(known, _)| known.as_str() == name)?;
    if container.enabled != Some(true) || container.source.is_none() {
        return None;
    }
    let levels = levels(settings.host_containers.keys());
    let level = if container.superpowered == Some(true) { SUPERPOWERED } else { &levels[name] };
    let shape = shape_of(name, container, level);
    let terminal = format!("system_u:object_r:terminal_t:{level}");
    Some(Inside { lines: [shape.place(), shape.limits()].concat(), terminal })
}

/// The unit's file. Of what people choose it has the name and numbers.
fn service_of(name: &Name, container: &HostContainer, level: &str) -> String {
    let restart = match container.restart.unwrap_or(Restart::Always) {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    let ended = [("Restart", restart.to_owned()), ("RestartSec", "5s".to_owned())];
    shape_of(name, container, level).unit("exec", &ended)
}

fn shape_of<'a>(name: &'a Name, container: &HostContainer, level: &'a str) -> Shape<'a> {
    Shape {
        description: format!("Host container {name} of the settings"),
        image: format!("rocketos-host-container-image@{name}.service"),
        ground: name.as_str(),
        user_data: container.user_data.is_some(),
        persistent: container.persistent != Some(false),
        superpowered: container.superpowered == Some(true),
        level,
        memory: container.memory,
        cpu_percent: container.cpu_percent,
    }
}

/// What the unit of a container says that runs on a mounted image, whichever kind it is.
pub(super) struct Shape<'a> {
    pub description: String,
    /// The unit that mounts its image.
    pub image: String,
    /// Its folder in [`layout::node::HOST_CONTAINERS_RUN`].
    pub ground: &'a str,
    pub user_data: bool,
    pub persistent: bool,
    pub superpowered: bool,
    pub level: &'a str,
    pub memory: Option<MemorySize>,
    pub cpu_percent: Option<Ranged<1, 102400>>,
}

impl Shape<'_> {
    /// The unit's file: of a kind (`Type=`), with lines that say what becomes of it when it ended.
    pub fn unit(&self, kind: &str, ended: &[Line]) -> String {
        let Self { description, image, .. } = self;
        let mut text = format!(
            "[Unit]\nDescription={description}\nRequires={image}\nAfter={image} {API}\nStartLimitIntervalSec=0\n\n\
             [Service]\nType={kind}\nExecStart=/{}\n",
            layout::inside::ENTER
        );
        for (key, value) in self.place().iter().chain(ended).chain(&self.limits()) {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    /// Where its program is, and what it may.
    fn place(&self) -> Vec<Line> {
        let run = format!("{}/{}", layout::node::HOST_CONTAINERS_RUN, self.ground);
        let (root, memory) = (layout::host_container::ROOT, layout::host_container::MEMORY);
        let mut lines = vec![("RootDirectory", format!("{run}/{root}")), ("MountAPIVFS", "yes".to_owned())];
        let mut bind = |how: &'static str, from: &str, to: &str| lines.push((how, format!("{from}:/{to}")));
        bind("BindReadOnlyPaths", ENTER, layout::inside::ENTER);
        bind("BindReadOnlyPaths", &format!("{run}/{}", layout::host_container::PROCESS), layout::inside::PROCESS);
        // Where nothing serves an API there is none inside either.
        bind("BindReadOnlyPaths", &format!("-{}", layout::node::API_SOCKET), layout::inside::API_SOCKET);
        for folder in ["run", "tmp"] {
            bind("BindPaths", &format!("{run}/{memory}/{folder}"), folder);
        }
        if self.user_data {
            let data = format!("{run}/{}", layout::host_container::USER_DATA);
            bind("BindReadOnlyPaths", &data, layout::inside::USER_DATA);
        }
        if self.persistent {
            let data = format!("{}/{}", layout::node::HOST_CONTAINERS_DATA, self.ground);
            bind("BindPaths", &data, layout::inside::PERSISTENT);
        }
        if self.superpowered {
            bind("BindPaths", "/", layout::inside::HOST_ROOT);
        }
        let domain = if self.superpowered { "super_t" } else { "control_t" };
        lines.push(("SELinuxContext", format!("system_u:system_r:{domain}:{}", self.level)));
        if !self.superpowered {
            lines.push(("CapabilityBoundingSet", CAPABILITIES.to_owned()));
            lines.push(("DevicePolicy", "closed".to_owned()));
            lines.extend(["ProtectKernelTunables", "ProtectControlGroups"].map(|key| (key, "yes".to_owned())));
        }
        lines
    }

    /// How much of the machine its program may take.
    fn limits(&self) -> Vec<Line> {
        let memory = self.memory.map(|memory| ("MemoryMax", memory.bytes().to_string()));
        let percent = self.cpu_percent.map(|percent| ("CPUQuota", format!("{}%", percent.value())));
        memory.into_iter().chain(percent).collect()
    }
}

/// The level of each, by its name: two categories, as container engines give them, and no two alike.
fn levels<'a>(names: impl Iterator<Item = &'a Name>) -> BTreeMap<&'a Name, String> {
    let mut taken = BTreeSet::new();
    let pair = |name: &Name, attempt: u32| {
        let hash = Sha256::new().chain_update(name.as_str()).chain_update(attempt.to_le_bytes()).finalize();
        let number = |at: usize| u64::from_le_bytes(hash[at..at + 8].try_into().expect("eight of thirty-two bytes"));
        let (one, other) = (number(0) % CATEGORIES, number(8) % CATEGORIES);
        (one.min(other), one.max(other))
    };
    let mut level = |name: &'a Name| {
        // As many as there are pairs left; settings have a few names.
        let found =
            (0..).map(|attempt| pair(name, attempt)).find(|(low, high)| low < high && taken.insert((*low, *high)));
        let (low, high) = found.expect("there are more pairs than names");
        (name, format!("s0:c{low},c{high}"))
    };
    names.map(&mut level).collect()
}
