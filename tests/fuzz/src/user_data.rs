//! User data, and every file that a node writes because of it.

use rocketos_health::Check;
use rocketos_model::limits::CONFIG_FILE_BYTES;
use rocketos_settings::{
    Layers, migrate, model,
    render::{Facts, File, render},
    store::Content,
    userdata::{DOCUMENT_BYTES, INCLUDES, parse},
};

/// What stands before '=' in the lines that rendering writes; a value that made another line would be told by it.
const NAMES: [&str; 38] = [
    "Address",
    "After",
    "Bond",
    "CPUQuota",
    "ClientIdentifier",
    "ContainerName",
    "DHCP",
    "DNS",
    "DefaultEnvironment",
    "Description",
    "Destination",
    "Domains",
    "Environment",
    "Exec",
    "Gateway",
    "IPv6AcceptRA",
    "Id",
    "Image",
    "Kind",
    "LinkLocalAddressing",
    "MIIMonitorSec",
    "MTUBytes",
    "MemoryMax",
    "Metric",
    "MinLinks",
    "Mode",
    "NTP",
    "Name",
    "PermanentMACAddress",
    "PreferredSource",
    "PublishPort",
    "RequiredForOnline",
    "Restart",
    "UseDomains",
    "VLAN",
    "Volume",
    "WantedBy",
    "Wants",
];
/// Headings, and the line between.
const HEADINGS: [&str; 16] = [
    "[Bond]",
    "[Container]",
    "[DHCPv4]",
    "[Install]",
    "[Link]",
    "[Manager]",
    "[Match]",
    "[NetDev]",
    "[Network]",
    "[Resolve]",
    "[Route]",
    "[Service]",
    "[Time]",
    "[Unit]",
    "[VLAN]",
    "",
];

pub(crate) fn fuzz(bytes: &[u8]) {
    let document = match parse(bytes) {
        Ok(document) => document,
        Err(error) => return one_line(&error.to_string()),
    };
    assert!(bytes.len() <= DOCUMENT_BYTES && document.include.len() <= DOCUMENT_BYTES / INCLUDES);
    let leaves = document.tree.leaves();
    assert!(document.lines.keys().eq(leaves.keys()), "every key has its line, and none is of another");
    let mut content = Content::default();
    content.set_user_data("fuzz", "", document);
    let mut layers = Layers::default();
    content.add_to(&mut layers);
    let effective = match layers.resolve() {
        Ok(effective) => effective,
        Err(problems) => return problems.all().iter().for_each(|problem| one_line(&problem.to_string())),
    };
    // What is taken as a whole is taken key by key.
    assert_eq!(migrate::carry(&content, model::refusal), content);
    let files = render(&effective.settings, &Facts::default());
    assert_eq!(files, render(&effective.settings, &Facts::default()));
    for (path, file) in files.all() {
        judge(path, file);
    }
}

fn one_line(message: &str) {
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

/// A file says what it is to say, and nothing that a value made of it.
fn judge(path: &str, file: &File) {
    let text = std::str::from_utf8(&file.bytes).expect("all files are text");
    assert!(!path.contains("..") && (path.starts_with("etc/") || path == "run/containers/0/auth.json"), "{path}");
    assert!(text.len() as u64 <= CONFIG_FILE_BYTES * 4, "{path}");
    assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{path}");
    let named = path.contains("/90-settings.") || path.contains("/10-settings-") || path.ends_with(".container");
    if path.starts_with("etc/rocketos/health.d/") {
        // A file that is no check would be a release that is bad.
        let check = Check::parse("name", text).expect("a check of ours is one");
        assert!(!path.contains("/host-container-") || check.level == rocketos_health::Level::Wanted);
    }
    match path.rsplit('.').next() {
        Some("toml") => _ = text.parse::<toml::Table>().expect("a document of ours parses"),
        Some("json") => _ = serde_json::from_str::<serde_json::Value>(text).expect("a document of ours parses"),
        Some("conf") if path.starts_with("etc/containers/") && named => {
            _ = text.parse::<toml::Table>().expect("podman's documents parse");
        }
        Some("conf") if path == "etc/sysctl.d/90-settings.conf" => {
            assert!(text.lines().all(|line| line.contains(" = ")), "{text}");
        }
        Some("conf" | "network" | "netdev" | "container") if named => text.lines().for_each(|line| {
            let name = line.split('=').next().unwrap_or_default();
            assert!(NAMES.contains(&name) || HEADINGS.contains(&name), "{path}: {line}");
        }),
        // As they were given.
        _ => {}
    }
}
