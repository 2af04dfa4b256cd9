//! Texts, the kernel, schedules, health checks, raw files.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{Files, LOCKDOWN, OWN, Service};
use crate::{
    Settings,
    model::{CheckKind, CheckLevel, HealthCheck, UpdateMode, value::Name},
};

pub(super) fn render(settings: &Settings, files: &mut Files) {
    if let Some(motd) = &settings.motd {
        files.put("etc/motd", Service::Nobody, format!("{}\n", motd.as_str().trim_end_matches('\n')));
    }
    if let Some(hostname) = &settings.network.hostname {
        files.put("etc/hostname", Service::Hostname, format!("{hostname}\n"));
    }
    kernel(settings, files);
    updates(settings, files);
    health(settings, files);
    metrics(settings, files);
    for (path, file) in &settings.raw {
        let service = match path.as_str().split('/').next() {
            Some("sysctl.d") => Service::Parameters,
            Some("systemd") if path.as_str().starts_with("systemd/network/") => Service::Network,
            Some("systemd") => Service::Manager,
            _ => Service::Nobody,
        };
        if let Some(content) = &file.content {
            files.put(format!("etc/{path}"), service, content.as_str());
        }
    }
}

fn kernel(settings: &Settings, files: &mut Files) {
    let kernel = &settings.kernel;
    if !kernel.sysctl.is_empty() {
        let lines: String = kernel.sysctl.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        files.put("etc/sysctl.d/90-settings.conf", Service::Parameters, lines);
    }
    if let Some(lockdown) = kernel.lockdown {
        files.put(LOCKDOWN, Service::Lockdown, format!("{}\n", lockdown.word()));
    }
    let (mut load, mut never) = (String::new(), String::new());
    for (name, module) in &kernel.modules {
        // Writing to a String does not fail.
        if module.autoload == Some(true) {
            let _ = writeln!(load, "{name}");
        }
        if module.allowed == Some(false) {
            // `blacklist` alone stops aliases only; a command in its place stops whoever asks.
            let _ = writeln!(never, "blacklist {name}\ninstall {name} /bin/false");
        }
    }
    for (path, text) in [("etc/modules-load.d/settings.conf", load), ("etc/modprobe.d/settings.conf", never)] {
        if !text.is_empty() {
            files.put(path, Service::Modules, text);
        }
    }
}

/// `update.toml`, as `rocketctl` reads it.
#[derive(Default, PartialEq, Serialize)]
struct UpdateFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(rename = "ignore-waves", skip_serializing_if = "Option::is_none")]
    ignore_waves: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(rename = "version-lock", skip_serializing_if = "Option::is_none")]
    version_lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<ChannelOfFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    window: Vec<WindowOfFile>,
}

#[derive(Serialize, PartialEq)]
struct ChannelOfFile {
    name: String,
    from: String,
}

#[derive(PartialEq, Serialize)]
struct WindowOfFile {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    days: Vec<String>,
    start: String,
    length: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

fn updates(settings: &Settings, files: &mut Files) {
    let updates = &settings.updates;
    let mode = updates.mode.map(|mode| match mode {
        UpdateMode::Off => "off",
        UpdateMode::Check => "check",
        UpdateMode::Download => "download",
        UpdateMode::Apply => "apply",
    });
    let windows = updates.windows.iter().flatten().map(|window| WindowOfFile {
        days: window.days.iter().flatten().map(|day| format!("{day:?}")).collect(),
        start: window.start.to_string(),
        length: window.length.to_string(),
        zone: window.zone.as_ref().map(ToString::to_string),
    });
    // One alone is refused.
    let channel = updates.channel.as_ref().zip(updates.from.as_ref());
    let file = UpdateFile {
        mode,
        ignore_waves: updates.ignore_waves,
        seed: updates.seed.map(|seed| seed.value()),
        version_lock: updates.version_lock.as_ref().map(ToString::to_string),
        channel: channel.map(|(name, from)| ChannelOfFile { name: name.to_string(), from: from.to_string() }),
        window: windows.collect(),
    };
    if file != UpdateFile::default() {
        files.put("etc/rocketos/update.toml.d/90-settings.toml", Service::Nobody, toml(&file));
    }
}

/// `metrics.toml`, as `rocketctl` reads it.
#[derive(Serialize)]
struct MetricsFile {
    url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
}

fn metrics(settings: &Settings, files: &mut Files) {
    let metrics = &settings.metrics;
    if metrics.send_metrics == Some(true)
        && let Some(url) = &metrics.metrics_url
    {
        let services = metrics.service_checks.iter().flatten().map(ToString::to_string).collect();
        let file = MetricsFile { url: url.to_string(), services };
        files.put("etc/rocketos/metrics.toml.d/90-settings.toml", Service::Nobody, toml(&file));
    }
}

fn health(settings: &Settings, files: &mut Files) {
    let health = &settings.health;
    let times = [("soak", health.soak), ("interval", health.interval), ("deadline", health.deadline)];
    let times: BTreeMap<&str, String> =
        times.iter().filter_map(|(name, time)| Some((*name, time.as_ref()?.to_string()))).collect();
    if !times.is_empty() {
        files.put("etc/rocketos/health.toml.d/90-settings.toml", Service::Nobody, toml(&times));
    }
    for (name, check) in &health.checks {
        let own = |name: &Name| health.checks.contains_key(name);
        if let Some(file) = check_file(check, own) {
            files.put(format!("etc/rocketos/health.d/{OWN}{name}.toml"), Service::Nobody, toml(&file));
        }
    }
}

/// A health check, as `rocketos-health` reads it.
#[derive(Serialize)]
struct CheckFile {
    level: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    texts: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
}

fn check_file(check: &HealthCheck, own: impl Fn(&Name) -> bool) -> Option<CheckFile> {
    let text = |text: Option<String>, name| text.map(|text| (name, text));
    let texts = [
        text(check.unit.as_ref().map(ToString::to_string), "unit"),
        text(check.state.as_ref().map(ToString::to_string), "state"),
        text(check.url.as_ref().map(ToString::to_string), "url"),
        text(check.body.as_ref().map(ToString::to_string), "body"),
        text(check.address.map(|address| address.to_string()), "address"),
        text(check.path.as_ref().map(ToString::to_string), "path"),
        text(check.name.as_ref().map(ToString::to_string), "name"),
        text(check.timeout.map(|time| time.to_string()), "timeout"),
        text(check.interval.map(|time| time.to_string()), "interval"),
        text(check.delay.map(|time| time.to_string()), "delay"),
    ];
    // Both are there in settings that are sound.
    Some(CheckFile {
        level: match check.level? {
            CheckLevel::Required => "required",
            CheckLevel::Wanted => "wanted",
        },
        kind: match check.kind? {
            CheckKind::Unit => "unit",
            CheckKind::Http => "http",
            CheckKind::Tcp => "tcp",
            CheckKind::Mount => "mount",
            CheckKind::DefaultRoute => "default-route",
            CheckKind::Resolve => "resolve",
            CheckKind::TimeSynchronised => "time-synchronised",
        },
        texts: texts.into_iter().flatten().collect(),
        status: check.status.map(|status| status.value()),
        retries: check.retries.map(|retries| retries.value()),
        after: check.after.iter().flatten().map(|name| format!("{}{name}", if own(name) { OWN } else { "" })).collect(),
    })
}

/// A document of ours. Texts, numbers and lists under plain names are always one.
pub(super) fn toml(value: &impl Serialize) -> String {
    toml::to_string(value).expect("texts, numbers and lists make a document")
}
