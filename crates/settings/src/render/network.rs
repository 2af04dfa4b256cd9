//! networkd, resolved, timesyncd, names, proxy, firewall.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Files, Service, node::toml};
use crate::{
    Settings,
    model::{
        BondMode, Interface, Transport,
        value::{InterfaceName, Network, Ports},
    },
};

/// What /etc/hosts has whatever settings say, as in an image.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
/// Where networkd reads what stands before the image's own.
const NETWORK: &str = "etc/systemd/network/10-settings-";

pub(super) fn render(settings: &Settings, files: &mut Files) {
    for (name, interface) in &settings.network.interfaces {
        files.put(format!("{NETWORK}{name}.network"), Service::Network, network(settings, name, interface));
        if let Some(text) = device(name, interface) {
            files.put(format!("{NETWORK}{name}.netdev"), Service::Network, text);
        }
    }
    if let Some(hosts) = &settings.network.hosts {
        let mut text = HOSTS.to_owned();
        for entry in hosts {
            let names: Vec<&str> = entry.1.iter().map(|name| name.as_str()).collect();
            if !names.is_empty() {
                // Writing to a String does not fail.
                let _ = writeln!(text, "{} {}", entry.0, names.join(" "));
            }
        }
        files.put("etc/hosts", Service::Nobody, text);
    }
    proxy(settings, files);
    let words = |all: Vec<String>| all.join(" ");
    let dns = &settings.dns;
    let servers = dns.name_servers.as_ref().map(|all| words(all.iter().map(ToString::to_string).collect()));
    let domains = dns.search_list.as_ref().map(|all| words(all.iter().map(ToString::to_string).collect()));
    if servers.is_some() || domains.is_some() {
        let line =
            |name: &str, value: Option<String>| value.map(|value| format!("{name}={value}\n")).unwrap_or_default();
        let text = format!("[Resolve]\n{}{}", line("DNS", servers), line("Domains", domains));
        files.put("etc/systemd/resolved.conf.d/90-settings.conf", Service::Resolver, text);
    }
    if let Some(servers) = &settings.ntp.time_servers {
        let servers = words(servers.iter().map(ToString::to_string).collect());
        files.put("etc/systemd/timesyncd.conf.d/90-settings.conf", Service::Time, format!("[Time]\nNTP={servers}\n"));
    }
    firewall(settings, files);
}

/// Variables of every service, in the two spellings that programs read.
fn proxy(settings: &Settings, files: &mut Files) {
    let https = settings.network.https_proxy.as_ref().map(ToString::to_string);
    let without: Option<Vec<&str>> =
        settings.network.no_proxy.as_ref().map(|all| all.iter().map(|one| one.as_str()).collect());
    let mut words = Vec::new();
    for (name, value) in [("HTTPS_PROXY", https), ("NO_PROXY", without.map(|all| all.join(",")))] {
        let Some(value) = value else { continue };
        words.push(format!("\"{name}={value}\" \"{}={value}\"", name.to_lowercase()));
    }
    if !words.is_empty() {
        let text = format!("[Manager]\nDefaultEnvironment={}\n", words.join(" "));
        files.put("etc/systemd/system.conf.d/90-settings.conf", Service::Manager, text);
    }
}

/// systemd.network(5).
fn network(settings: &Settings, name: &InterfaceName, interface: &Interface) -> String {
    let all = &settings.network.interfaces;
    let yes = |value: bool| if value { "yes" } else { "no" };
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let bond = all.iter().find(|(_, other)| other.bond.interfaces.iter().flatten().any(|member| member == name));
    line("[Match]".to_owned());
    match &interface.mac {
        // Not the one it has now: those of a bond share one.
        Some(mac) => line(format!("PermanentMACAddress={mac}")),
        None => line(format!("Name={name}")),
    }
    line("\n[Link]".to_owned());
    if let Some(mtu) = interface.mtu {
        line(format!("MTUBytes={}", mtu.value()));
    }
    line(format!("RequiredForOnline={}", yes(interface.required.unwrap_or(bond.is_none()))));
    line("\n[Network]".to_owned());
    if let Some((bond, _)) = bond {
        line(format!("Bond={bond}\nLinkLocalAddressing=no"));
        return text;
    }
    let asks = interface.addresses.is_none();
    let (four, six) = (interface.dhcp4.unwrap_or(asks), interface.dhcp6.or(interface.dhcp4).unwrap_or(asks));
    line(match (four, six) {
        (true, true) => "DHCP=yes".to_owned(),
        (true, false) => "DHCP=ipv4".to_owned(),
        (false, true) => "DHCP=ipv6".to_owned(),
        (false, false) => "DHCP=no".to_owned(),
    });
    if let Some(accept) = interface.accept_ra {
        line(format!("IPv6AcceptRA={}", yes(accept)));
    }
    for address in interface.addresses.iter().flatten() {
        line(format!("Address={address}"));
    }
    for (vlan, _) in all.iter().filter(|(_, other)| other.vlan.device.as_ref() == Some(name)) {
        line(format!("VLAN={vlan}"));
    }
    if four {
        // As the image has it for those that nobody names.
        line("\n[DHCPv4]\nUseDomains=yes\nClientIdentifier=mac".to_owned());
    }
    for route in interface.routes.iter().flatten() {
        line(format!("\n[Route]\nDestination={}", route.to));
        if let Some(via) = route.via {
            line(format!("Gateway={via}"));
        }
        if let Some(from) = route.from {
            line(format!("PreferredSource={from}"));
        }
        if let Some(metric) = route.route_metric {
            line(format!("Metric={metric}"));
        }
    }
    text
}

/// systemd.netdev(5), of what is made.
fn device(name: &InterfaceName, interface: &Interface) -> Option<String> {
    if interface.bond.interfaces.is_some() {
        let bond = &interface.bond;
        let mode = match bond.mode.unwrap_or(BondMode::ActiveBackup) {
            BondMode::BalanceRr => "balance-rr",
            BondMode::ActiveBackup => "active-backup",
            BondMode::BalanceXor => "balance-xor",
            BondMode::Broadcast => "broadcast",
            BondMode::Lacp => "802.3ad",
            BondMode::BalanceTlb => "balance-tlb",
            BondMode::BalanceAlb => "balance-alb",
        };
        let miimon = bond.miimon.map_or(100, |miimon| miimon.value());
        let links = bond.min_links.map(|links| format!("MinLinks={}\n", links.value())).unwrap_or_default();
        return Some(format!(
            "[NetDev]\nName={name}\nKind=bond\n\n[Bond]\nMode={mode}\nMIIMonitorSec={miimon}ms\n{links}"
        ));
    }
    let id = interface.vlan.id?;
    Some(format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={}\n", id.value()))
}

/// Openings, as `rocketos-firewall` reads them.
#[derive(Serialize)]
struct FirewallFile {
    open: Vec<OpeningOfFile>,
}

#[derive(Serialize)]
struct OpeningOfFile {
    protocol: &'static str,
    port: Ports,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Vec<Network>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<InterfaceName>,
    reason: String,
}

fn firewall(settings: &Settings, files: &mut Files) {
    let openings = settings.firewall.open.values().filter_map(|opening| {
        // All three are there in settings that are sound.
        Some(OpeningOfFile {
            protocol: match opening.protocol? {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            },
            port: opening.port?,
            from: opening.from.clone(),
            interface: opening.interface.clone(),
            reason: opening.reason.as_ref()?.to_string(),
        })
    });
    let open: Vec<OpeningOfFile> = openings.collect();
    if !open.is_empty() {
        files.put("etc/rocketos/firewall.d/settings.toml", Service::Firewall, toml(&FirewallFile { open }));
    }
}
