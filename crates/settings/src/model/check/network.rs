//! Interfaces, routes, servers, openings, registries, the kernel.

use std::collections::BTreeSet;

use super::Found;
use crate::{
    Settings,
    model::{Credential, Interface, Lockdown, value::InterfaceName},
};

/// Kernel parameters that name programs, or how programs are started.
const PROGRAMS: [&str; 5] =
    ["kernel.hotplug", "kernel.modprobe", "kernel.poweroff_cmd", "kernel.usermodehelper.", "fs.binfmt_misc."];
/// Where memory of a program that crashed goes: a file, or behind `|` a program.
const CORE_PATTERN: &str = "kernel.core_pattern";

pub(super) fn check(settings: &Settings, found: &mut Found) {
    for (name, interface) in &settings.network.interfaces {
        bond(settings, name, interface, found);
        vlan(settings, name, interface, found);
        routes(name, interface, found);
    }
    for (name, opening) in &settings.firewall.open {
        for (field, missing) in [
            ("protocol", opening.protocol.is_none()),
            ("port", opening.port.is_none()),
            ("reason", opening.reason.is_none()),
        ] {
            if missing {
                found.at(&[&"firewall", &"open", name, &field], "an opening needs it");
            }
        }
        // nft takes none of a set whose elements overlap.
        let from = opening.from.as_deref().unwrap_or_default();
        for (at, network) in from.iter().enumerate() {
            if let Some(other) = from[..at].iter().find(|other| other.0.overlaps(&network.0)) {
                found.at(&[&"firewall", &"open", name, &"from"], format!("{network} and {other} overlap"));
            }
        }
    }
    if settings.kernel.lockdown == Some(Lockdown::None) {
        let message = "the image's signed command line has 'integrity', and lockdown never falls; unset it";
        found.at(&[&"kernel", &"lockdown"], message);
    }
    for (name, value) in &settings.kernel.sysctl {
        let dotted = name.as_str().replace('/', ".");
        let names_program = PROGRAMS.iter().any(|program| dotted.starts_with(program));
        if names_program || dotted == CORE_PATTERN && value.as_str().trim_start().starts_with('|') {
            found.at(
                &[&"kernel", &"sysctl", name],
                "it names a program that the kernel starts, and programs come with the image",
            );
        }
    }
    for (name, module) in &settings.kernel.modules {
        if module.allowed == Some(false) && module.autoload == Some(true) {
            found.at(&[&"kernel", &"modules", name, &"autoload"], "a module that is not allowed is not loaded");
        }
    }
    registries(settings, found);
    for (name, certificate) in &settings.pki {
        if certificate.trusted == Some(true) && certificate.data.is_none() {
            found.at(&[&"pki", name, &"trusted"], format!("there is no certificate to trust: set pki.{name}.data"));
        }
    }
}

fn bond(settings: &Settings, name: &InterfaceName, interface: &Interface, found: &mut Found) {
    let bond = &interface.bond;
    let at = "network.interfaces";
    let Some(members) = &bond.interfaces else {
        if bond.mode.is_some() || bond.min_links.is_some() || bond.miimon.is_some() {
            let message = format!("a bond needs interfaces: set {at}.{name}.bond.interfaces");
            found.at(&[&"network", &"interfaces", name, &"bond"], message);
        }
        return;
    };
    let mut wrong = |message| found.at(&[&"network", &"interfaces", name, &"bond", &"interfaces"], message);
    if interface.vlan != Default::default() {
        wrong(format!("{name} is a bond or a VLAN, not both"));
    }
    let others = || settings.network.interfaces.iter().filter(|(other, _)| *other != name);
    let mut seen = BTreeSet::new();
    for member in members {
        if !seen.insert(member) {
            wrong(format!("{member} is named twice"));
        }
        let elsewhere =
            others().find(|(_, other)| other.bond.interfaces.as_ref().is_some_and(|all| all.contains(member)));
        match settings.network.interfaces.get(member) {
            _ if member == name => wrong(format!("{member} is the bond itself")),
            None => wrong(format!("there is no {at}.{member}; name it, if only as {at}.{member}.required = false")),
            Some(own) if own.bond.interfaces.is_some() => wrong(format!("{member} is a bond itself")),
            Some(own) if own.addresses.is_some() || own.dhcp4 == Some(true) || own.dhcp6 == Some(true) => {
                wrong(format!("{member} has addresses of its own; they belong to the bond"));
            }
            Some(_) => {}
        }
        if let Some((other, _)) = elsewhere {
            wrong(format!("{member} is in the bond {other} too"));
        }
    }
}

fn vlan(settings: &Settings, name: &InterfaceName, interface: &Interface, found: &mut Found) {
    let mut wrong =
        |field: &str, message: String| found.at(&[&"network", &"interfaces", name, &"vlan", &field], message);
    let (device, id) = (&interface.vlan.device, interface.vlan.id);
    let Some(device) = device else {
        if id.is_some() {
            wrong("device", "a VLAN is on another interface: name it".to_owned());
        }
        return;
    };
    if id.is_none() {
        wrong("id", "a VLAN has a number".to_owned());
    }
    if !settings.network.interfaces.contains_key(device) {
        let key = format!("network.interfaces.{device}");
        wrong("device", format!("there is no {key}; name it, if only as {key}.required = false"));
    }
    // One after another: a circle is longer than there are interfaces.
    let mut below = Some(device);
    for _ in 0..=settings.network.interfaces.len() {
        below = below.and_then(|name| settings.network.interfaces.get(name)?.vlan.device.as_ref());
    }
    if below.is_some() {
        wrong("device", format!("{name} is on itself, by way of {device}"));
    }
}

fn routes(name: &InterfaceName, interface: &Interface, found: &mut Found) {
    for route in interface.routes.iter().flatten() {
        for end in [route.via, route.from].into_iter().flatten() {
            if end.is_ipv4() != route.to.0.is_ipv4() {
                let message = format!("the route to {} has an address of the other family: {end}", route.to);
                found.at(&[&"network", &"interfaces", name, &"routes"], message);
            }
        }
    }
}

fn registries(settings: &Settings, found: &mut Found) {
    let registry = &settings.container_registry;
    let mut seen = BTreeSet::new();
    for mirror in registry.mirrors.iter().flatten() {
        if !seen.insert(&mirror.registry) {
            let message = format!("{} is there twice; name all endpoints in one", mirror.registry);
            found.at(&[&"container-registry", &"mirrors"], message);
        }
    }
    let mut seen = BTreeSet::new();
    for credential in registry.credentials.iter().flatten() {
        let Credential { registry, username, password, auth, identitytoken } = credential;
        let mut wrong = |message: String| found.at(&[&"container-registry", &"credentials"], message);
        if !seen.insert(registry) {
            wrong(format!("{registry} is there twice"));
        }
        if username.is_some() != password.is_some() {
            wrong(format!("of {registry}, username and password go together"));
        }
        let ways = [username.is_some() || password.is_some(), auth.is_some(), identitytoken.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            wrong(format!("of {registry}, one is needed: username and password, or auth, or identitytoken"));
        }
    }
}
