//! podman's files: registries, credentials, defaults, and a quadlet per container.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{Files, OWN, Service, node::toml};
use crate::{
    Settings,
    model::{
        Container, Credential, Publish, Restart, Transport,
        value::{Endpoint, Name},
    },
};

pub(super) fn render(settings: &Settings, files: &mut Files) {
    registries(settings, files);
    credentials(settings, files);
    runtime(settings, files);
    for (name, container) in &settings.containers {
        if container.enabled != Some(false)
            && let Some(text) = quadlet(name, container)
        {
            let path = format!("etc/containers/systemd/{OWN}{name}.container");
            files.put(path, Service::Container(name.to_string()), text);
        }
    }
}

/// containers-registries.conf(5), version 2.
#[derive(Serialize)]
struct RegistriesFile {
    registry: Vec<RegistryOfFile>,
}

#[derive(Serialize)]
struct RegistryOfFile {
    prefix: String,
    location: String,
    mirror: Vec<MirrorOfFile>,
}

#[derive(Serialize)]
struct MirrorOfFile {
    location: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
}

fn registries(settings: &Settings, files: &mut Files) {
    let mirror = |endpoint: &Endpoint| {
        let text = endpoint.as_str();
        let plain = text.strip_prefix("http://");
        let location = plain.or_else(|| text.strip_prefix("https://")).unwrap_or(text).trim_end_matches('/').to_owned();
        MirrorOfFile { location, insecure: plain.is_some() }
    };
    let mirrors = settings.container_registry.mirrors.iter().flatten().map(|entry| RegistryOfFile {
        prefix: entry.registry.to_string(),
        location: entry.registry.to_string(),
        mirror: entry.endpoint.iter().map(mirror).collect(),
    });
    let registry: Vec<RegistryOfFile> = mirrors.collect();
    if !registry.is_empty() {
        let text = toml(&RegistriesFile { registry });
        files.put("etc/containers/registries.conf.d/90-settings.conf", Service::Nobody, text);
    }
}

/// containers-auth.json(5).
#[derive(Serialize)]
struct AuthFile {
    auths: BTreeMap<String, AuthOfFile>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum AuthOfFile {
    Auth(String),
    IdentityToken(String),
}

fn credentials(settings: &Settings, files: &mut Files) {
    let auth = |credential: &Credential| match credential {
        Credential { identitytoken: Some(token), .. } => Some(AuthOfFile::IdentityToken(token.reveal().to_owned())),
        Credential { auth: Some(auth), .. } => Some(AuthOfFile::Auth(auth.reveal().to_owned())),
        Credential { username: Some(name), password: Some(password), .. } => {
            Some(AuthOfFile::Auth(STANDARD.encode(format!("{}:{}", name.reveal(), password.reveal()))))
        }
        _ => None,
    };
    let all = settings.container_registry.credentials.iter().flatten();
    let auths: BTreeMap<String, AuthOfFile> =
        all.filter_map(|credential| Some((credential.registry.to_string(), auth(credential)?))).collect();
    if !auths.is_empty() {
        let text = serde_json::to_string_pretty(&AuthFile { auths }).expect("texts under texts make a document");
        files.put_private("run/containers/0/auth.json", Service::Nobody, format!("{text}\n"));
    }
}

/// containers.conf(5).
#[derive(Default, Serialize)]
struct ContainersFile {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    containers: BTreeMap<&'static str, Vec<&'static str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    engine: BTreeMap<&'static str, u32>,
}

fn runtime(settings: &Settings, files: &mut Files) {
    let runtime = &settings.container_runtime;
    let mut file = ContainersFile::default();
    let (ports, icmp) = (runtime.enable_unprivileged_ports, runtime.enable_unprivileged_icmp);
    if ports == Some(true) || icmp.is_some() {
        // The list takes the place of podman's own, whose one entry lets nobody send echo requests.
        let group =
            if icmp == Some(true) { "net.ipv4.ping_group_range=0 2147483647" } else { "net.ipv4.ping_group_range=0 0" };
        let start = (ports == Some(true)).then_some("net.ipv4.ip_unprivileged_port_start=0");
        file.containers.insert("default_sysctls", [Some(group), start].into_iter().flatten().collect());
    }
    if let Some(downloads) = runtime.max_concurrent_downloads {
        file.engine.insert("image_parallel_copies", downloads.value());
    }
    if !file.containers.is_empty() || !file.engine.is_empty() {
        files.put("etc/containers/containers.conf.d/90-settings.conf", Service::Nobody, toml(&file));
    }
}

/// podman-systemd.unit(5).
fn quadlet(name: &Name, container: &Container) -> Option<String> {
    // There in settings that are sound.
    let image = container.source.as_ref()?;
    let mut text = format!(
        "[Unit]\nDescription=Container {name} of the settings\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Container]\nContainerName={name}\nImage={image}\n"
    );
    // Writing to a String does not fail.
    if let Some(command) = &container.command {
        let words: Vec<String> = command.iter().map(|word| word.quoted()).collect();
        let _ = writeln!(text, "Exec={}", words.join(" "));
    }
    for (variable, value) in &container.env {
        let _ = writeln!(text, "Environment={}", value.assigned_to(variable));
    }
    for publish in container.publish.iter().flatten() {
        let _ = writeln!(text, "PublishPort={}", published(publish));
    }
    for volume in container.volumes.iter().flatten() {
        let read_only = if volume.read_only == Some(true) { ":ro" } else { "" };
        let _ = writeln!(text, "Volume={}:{}{read_only}", volume.source, volume.target);
    }
    let restart = match container.restart.unwrap_or(Restart::OnFailure) {
        Restart::No => "no",
        Restart::OnFailure => "on-failure",
        Restart::Always => "always",
    };
    let _ = write!(text, "\n[Service]\nRestart={restart}\n");
    // A quadlet's container lives in its service's own control group.
    if let Some(memory) = container.memory {
        let _ = writeln!(text, "MemoryMax={}", memory.bytes());
    }
    if let Some(percent) = container.cpu_percent {
        let _ = writeln!(text, "CPUQuota={}%", percent.value());
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Some(text)
}

fn published(publish: &Publish) -> String {
    let address = match publish.address {
        None => String::new(),
        Some(IpAddr::V4(address)) => format!("{address}:"),
        Some(IpAddr::V6(address)) => format!("[{address}]:"),
    };
    let protocol = match publish.protocol.unwrap_or(Transport::Tcp) {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    format!("{address}{}:{}/{protocol}", publish.host_port.value(), publish.container_port.value())
}
