//! Containers of all kinds.

use std::{fmt::Display, time::Duration};

use super::Found;
use crate::{
    Settings,
    model::{BootstrapContainer, Container, HostContainer, Mode, Publish, Transport},
};

/// Folders of the node that a container may see something of.
const VOLUME_TOPS: [&str; 3] = ["/var", "/run", "/etc"];

/// What a look into a host container, or a pause, may take: what a health check may.
const LOOK_MOST: Duration = Duration::from_secs(3600);

pub(super) fn check(settings: &Settings, found: &mut Found) {
    let mut published: Vec<(&dyn Display, &Publish)> = Vec::new();
    for (name, container) in &settings.containers {
        own(name, container, found);
        if container.enabled == Some(false) {
            continue;
        }
        for publish in container.publish.iter().flatten() {
            if let Some((other, _)) = published.iter().find(|(_, other)| collide(publish, other)) {
                let message = format!("port {} of the node leads into {other} already", publish.host_port.value());
                found.at(&[&"containers", name, &"publish"], message);
            }
            published.push((name, publish));
        }
    }
    for (name, container) in &settings.host_containers {
        let HostContainer { enabled, source, superpowered, user_data, command, health, .. } = container;
        let asks = [
            ("enabled", *enabled == Some(true)),
            ("superpowered", *superpowered == Some(true)),
            ("user-data", user_data.is_some()),
            ("command", command.is_some()),
        ];
        needs_source("host-containers", name, source.is_some(), &asks, found);
        for (field, time) in [("interval", health.interval), ("timeout", health.timeout)] {
            let time = time.map(|time| time.duration()).unwrap_or(LOOK_MOST);
            if time.is_zero() || time > LOOK_MOST {
                let message = "a look, and the pause between two, is from a moment to an hour";
                found.at(&[&"host-containers", name, &"health", &field], message);
            }
        }
        if health.command.is_none() && *health != Default::default() {
            found.at(&[&"host-containers", name, &"health", &"command"], "there is nothing to look at: set it");
        }
    }
    for (name, container) in &settings.bootstrap_containers {
        let BootstrapContainer { source, mode, essential, user_data, command, .. } = container;
        let asks = [
            ("mode", matches!(mode, Some(Mode::Once | Mode::Always))),
            ("essential", *essential == Some(true)),
            ("user-data", user_data.is_some()),
            ("command", command.is_some()),
        ];
        needs_source("bootstrap-containers", name, source.is_some(), &asks, found);
    }
    for (name, command) in &settings.bootstrap_commands {
        let commands = command.commands.as_deref().unwrap_or_default();
        // Whether each is a call, [`crate::bootstrap`] says.
        if commands.is_empty() && matches!(command.mode, Some(Mode::Once | Mode::Always)) {
            found.at(&[&"bootstrap-commands", name, &"commands"], "there is nothing to do: set it");
        }
    }
}

fn own(name: &dyn Display, container: &Container, found: &mut Found) {
    if container.source.is_none() && container.enabled != Some(false) {
        found.at(&[&"containers", name, &"source"], "a container needs an image");
    }
    for volume in container.volumes.iter().flatten() {
        let source = volume.source.as_str();
        let within = |top: &&str| source.strip_prefix(*top).is_some_and(|rest| rest.starts_with('/'));
        if !VOLUME_TOPS.iter().any(within) {
            let message = format!("{source} is not below {}", VOLUME_TOPS.join(", "));
            found.at(&[&"containers", name, &"volumes"], message);
        }
    }
}

/// Tells everything that means nothing without an image.
fn needs_source(group: &str, name: &dyn Display, source: bool, asks: &[(&str, bool)], found: &mut Found) {
    for (field, _) in asks.iter().filter(|(_, asked)| *asked && !source) {
        let message = format!("there is no image for it: set {group}.{name}.source");
        found.at(&[&group, name, field], message);
    }
}

fn collide(one: &Publish, other: &Publish) -> bool {
    let speaks = |publish: &Publish| publish.protocol.unwrap_or(Transport::Tcp);
    let meet = match (one.address, other.address) {
        (Some(one), Some(other)) => one == other || one.is_unspecified() || other.is_unspecified(),
        _ => true,
    };
    one.host_port == other.host_port && speaks(one) == speaks(other) && meet
}
