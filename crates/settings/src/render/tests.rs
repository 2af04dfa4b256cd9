use std::{fs, path::PathBuf};

use serde::Deserialize as _;

use super::*;
use crate::{
    Layers, SetBy,
    plan::{Manifest, plan},
    userdata,
};

mod text {
    use super::{Facts, Files, TRUST};

    include!("../../golden/text.rs");
}

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn settings(text: &str) -> Settings {
    let mut layers = Layers::default();
    let set_by = SetBy::Operator { by: "uid 0".to_owned(), at: "2026-11-23T01:02:03Z".parse().unwrap() };
    layers.add(&userdata::parse(text.as_bytes()).unwrap().tree, |_| set_by.clone());
    layers.resolve().unwrap_or_else(|problems| panic!("{problems}")).settings
}

fn rendered(text: &str) -> Files {
    render(&settings(text), &text::facts())
}

fn said(files: &Files, path: &str) -> String {
    String::from_utf8(files.all()[path].bytes.clone()).unwrap()
}

#[test]
fn settings_come_to_the_files_that_were_read_and_committed() {
    let found = text::of(&rendered(&golden("full.toml")));
    let how = "run `cargo run -p rocketos-settings --example golden`, and read what changed";
    assert!(found == golden("full.txt"), "golden/full.txt is another: {how}\n{found}");
    assert!(rendered("").all().is_empty());
}

#[test]
fn only_files_with_secrets_are_private_and_none_is_shown() {
    let files = rendered(&golden("full.toml"));
    let private: Vec<&String> =
        files.all().iter().filter(|(_, file)| file.mode != 0o644).map(|(path, _)| path).collect();
    let expected = [
        "run/containers/0/auth.json",
        "run/rocketos/host-containers/admin/user-data",
        "run/rocketos/host-containers/bootstrap+disk/user-data",
    ];
    assert_eq!(private, expected);
    assert!(private.iter().all(|path| files.all()[*path].mode == 0o600));
    assert!(!format!("{files:?}").contains("pass"));
    for (path, file) in files.all() {
        let text = String::from_utf8_lossy(&file.bytes);
        assert!(!text.contains("pass \"word\"") && (path.starts_with("run/") || !text.contains("token")), "{path}");
    }
}

#[test]
fn those_who_read_the_files_take_them() {
    let files = rendered(&golden("full.toml"));
    let firewall =
        rocketos_firewall::Opening::parse_file(&said(&files, "etc/rocketos/firewall.d/settings.toml")).unwrap();
    assert_eq!(firewall.len(), 2);
    for name in ["settings-web", "settings-net", "host-container-control"] {
        let check = said(&files, &format!("etc/rocketos/health.d/{name}.toml"));
        rocketos_health::Check::parse(name, &check).unwrap_or_else(|error| panic!("{error}\n{check}"));
    }
    // One of settings is meant where there is one, else the image's.
    assert!(said(&files, "etc/rocketos/health.d/settings-web.toml").contains(r#"after = ["network", "settings-net"]"#));
    let schedule: toml::Table = said(&files, "etc/rocketos/update.toml.d/90-settings.toml").parse().unwrap();
    for window in schedule["window"].as_array().unwrap() {
        rocketos_update::Window::deserialize(window.clone()).unwrap();
    }
    assert_eq!(schedule["window"].as_array().map(Vec::len), Some(2));
    let followed = rocketos_model::Followed::deserialize(schedule["channel"].clone()).unwrap();
    assert_eq!(followed.to_string(), "channel stable of docker://registry.example/rocketos/standalone");
    let lock = rocketos_update::Version::deserialize(schedule["version-lock"].clone()).unwrap();
    assert_eq!(
        (lock.as_str(), schedule["seed"].as_integer(), schedule["ignore-waves"].as_bool()),
        ("1.4.0", Some(12), Some(true))
    );
    // Each alone is said, what unmakes the image's too.
    for (line, says) in [
        ("ignore-waves = false", "ignore-waves = false\n"),
        ("seed = 0", "seed = 0\n"),
        ("version-lock = 'latest'", "version-lock = \"latest\"\n"),
    ] {
        assert_eq!(
            said(&rendered(&format!("[settings.updates]\n{line}\n")), "etc/rocketos/update.toml.d/90-settings.toml"),
            says
        );
    }
}

#[test]
fn no_name_takes_the_place_of_the_images_own() {
    let files = rendered(
        "[settings.containers.rocketos-health]\nsource = 'a.b/c'\n\
         [settings.health.checks.var]\nlevel = 'wanted'\nkind = 'default-route'\n\
         [settings.health.checks.host-container-a]\nlevel = 'wanted'\nkind = 'default-route'\n",
    );
    let paths: Vec<&String> = files.all().keys().collect();
    let expected = [
        "etc/containers/systemd/settings-rocketos-health.container",
        "etc/rocketos/health.d/settings-host-container-a.toml",
        "etc/rocketos/health.d/settings-var.toml",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_host_container_is_looked_into_as_settings_say_and_never_required() {
    let check = |health: &str| {
        let enabled = "[settings.host-containers.a]\nenabled = true\nsource = 'a.b/c'\n";
        let files = rendered(&format!("{enabled}{health}"));
        let path = "etc/rocketos/health.d/host-container-a.toml";
        files.all().contains_key(path).then(|| rocketos_health::Check::parse("a", &said(&files, path)).unwrap())
    };
    assert_eq!(check(""), None);
    let plain = check("health.command = ['ready', '--now', '\"$a\" %b']\n").unwrap();
    let command = ["ready", "--now", "\"$a\" %b"].map(str::to_owned).to_vec();
    assert_eq!(plain.kind, rocketos_health::Kind::HostContainer { container: "a".to_owned(), command });
    assert_eq!(plain.level, rocketos_health::Level::Wanted);
    let seconds = |check: &rocketos_health::Check| (check.timeout.as_secs(), check.retries, check.interval.as_secs());
    assert_eq!(seconds(&plain), (10, 3, 30));
    let most =
        format!("health = {{ command = [{}], interval = '1h', timeout = '60min', retries = 100 }}", "'a',".repeat(128));
    assert_eq!(seconds(&check(&most).unwrap()), (3600, 100, 3600));
    // As many as there may be have their place beside those of settings and of an image.
    let most = crate::model::limits::NAMED + crate::model::limits::CHECKS;
    assert!(most < rocketos_health::limits::CHECKS - 64, "{most}");
}

/// Who is told on the way from files that are in place to others.
fn affected(before: &Files, after: &Files) -> Vec<Service> {
    let placed = Manifest::of(before);
    let found = placed.files.iter().map(|(path, placed)| (path.clone(), placed.seen.clone())).collect();
    plan(&placed, &found, after).tell
}

#[test]
fn an_unchanged_file_tells_nobody() {
    let before = rendered(&golden("full.toml"));
    assert_eq!(affected(&before, &before), []);
    let none = Files::default();
    let all = affected(&none, &before);
    let expected = [
        Service::Modules,
        Service::Parameters,
        Service::Hostname,
        Service::Manager,
        Service::Firewall,
        Service::Network,
        Service::Trust,
        Service::Resolver,
        Service::Time,
        Service::Nobody,
        Service::Container("web".to_owned()),
        Service::HostContainer("admin".to_owned()),
        Service::HostContainer("control".to_owned()),
        Service::Lockdown,
    ];
    assert_eq!(all, expected);
    assert_eq!(affected(&before, &none), expected);
    let changed = |from: &str, to: &str| affected(&before, &rendered(&golden("full.toml").replace(from, to)));
    assert_eq!(changed("Hello.", "Hi."), [Service::Nobody]);
    assert_eq!(changed("262144", "262145"), [Service::Parameters]);
    assert_eq!(changed("node-1", "node-2"), [Service::Hostname]);
    assert_eq!(changed("web:1", "web:2"), [Service::Manager, Service::Container("web".to_owned())]);
    assert_eq!(changed("9000", "1500"), [Service::Network]);
    assert_eq!(changed("confidentiality", "integrity"), [Service::Lockdown]);
    assert_eq!(changed("admin:v1", "admin:v2"), [Service::Manager, Service::HostContainer("admin".to_owned())]);
    assert_eq!(changed("eyJzc2giOiB7fX0K", "e30K"), [Service::Manager, Service::HostContainer("admin".to_owned())]);
}

/// A certificate of golden files, in base64 as settings have it.
fn base64(pem: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(pem)
}

#[test]
fn what_is_switched_off_is_trusted_by_nobody_whoever_brought_it() {
    let (kept, off) = (include_bytes!("../../golden/trusted/kept.pem"), include_bytes!("../../golden/trusted/off.pem"));
    let text =
        |name: &str, trusted: &str, pem: &[u8]| format!("[settings.pki.{name}]\ndata = '{}'\n{trusted}\n", base64(pem));
    let bundle = format!("{TRUST}/ca-certificates.crt");
    let paths = |files: &Files| files.all().keys().cloned().collect::<Vec<_>>();
    // What the image trusts anyway, and what is kept only, change nothing.
    for trusted in ["trusted = true", ""] {
        assert_eq!(paths(&rendered(&text("a", trusted, off))), [""; 0]);
    }
    let files = rendered(&text("a", "trusted = false", off));
    assert_eq!(paths(&files), [format!("{TRUST}/Off.pem"), bundle.clone()]);
    assert_eq!(
        (files.all()[&bundle].bytes.as_slice(), said(&files, &format!("{TRUST}/Off.pem"))),
        (&kept[..], String::new())
    );
    assert_eq!(affected(&Files::default(), &files), [Service::Trust, Service::Resolver]);
    // Another name that trusts it does not bring it back.
    let both = text("a", "trusted = false", off) + &text("b", "trusted = true", off);
    assert_eq!(rendered(&both), files);
    // An image without certificates trusts what settings do, each once.
    let twice = text("a", "trusted = true", &[&kept[..], off].concat()) + &text("b", "trusted = true", kept);
    let files = render(&settings(&twice), &Facts::default());
    assert_eq!(files.all()[&bundle].bytes, [&kept[..], off].concat());
    let mut facts = Facts::default();
    facts.trusts("etc/ssl/certs/a.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap_err();
    assert_eq!(facts, Facts::default());
}

#[test]
fn every_service_but_nobody_is_told_somehow() {
    let name = "web".to_owned();
    assert_eq!(Service::Container(name).action(), Action::RestartContainer("settings-web.service".to_owned()));
    let unit = "rocketos-host-container-web.service".to_owned();
    assert_eq!(Service::HostContainer("web".to_owned()).action(), Action::RestartHostContainer(unit));
    assert_eq!(Service::Nobody.action(), Action::Nothing);
    assert_eq!(Service::Firewall.action(), Action::Reload("rocketos-firewall.service".to_owned()));
    for service in [Service::Modules, Service::Parameters, Service::Hostname, Service::Manager, Service::Network] {
        assert_ne!(service.action(), Action::Nothing, "{service:?}");
    }
}

#[test]
fn what_nobody_names_has_the_images_own_ways() {
    let files = rendered("[settings.network.interfaces.eth0]\nrequired = true\n");
    let network = said(&files, "etc/systemd/network/10-settings-eth0.network");
    assert!(network.contains("Name=eth0") && network.contains("DHCP=yes") && network.contains("ClientIdentifier=mac"));
    let of = |line: &str| {
        let files = rendered(&format!("[settings.network.interfaces.eth0]\n{line}\n"));
        let text = said(&files, "etc/systemd/network/10-settings-eth0.network");
        text.lines().find(|line| line.starts_with("DHCP=")).unwrap().to_owned()
    };
    assert_eq!(of("dhcp4 = false"), "DHCP=no");
    assert_eq!(of("dhcp4 = true\ndhcp6 = false"), "DHCP=ipv4");
    assert_eq!(of("dhcp4 = false\ndhcp6 = true"), "DHCP=ipv6");
    assert_eq!(of("addresses = ['192.0.2.7/24']"), "DHCP=no");
    assert_eq!(of("addresses = ['192.0.2.7/24']\ndhcp4 = true"), "DHCP=yes");
    let icmp = rendered("[settings.container-runtime]\nenable-unprivileged-icmp = true\n");
    let conf = said(&icmp, "etc/containers/containers.conf.d/90-settings.conf");
    assert_eq!(conf, "[containers]\ndefault_sysctls = [\"net.ipv4.ping_group_range=0 2147483647\"]\n");
}

/// The unit of a host container.
fn unit_of(text: &str) -> String {
    said(&rendered(text), "etc/systemd/system/rocketos-host-container-a.service")
}

/// What a program is given that is started in a container is what the container's own unit has.
#[test]
fn a_program_in_a_host_container_is_where_the_container_is() {
    let golden = golden("full.toml");
    for name in ["admin", "control"] {
        let unit = said(&rendered(&golden), &format!("etc/systemd/system/rocketos-host-container-{name}.service"));
        let Inside { lines, terminal } = inside_host_container(&settings(&golden), name).unwrap();
        let level = terminal.strip_prefix("system_u:object_r:terminal_t:").unwrap();
        let domain = lines.iter().find(|(key, _)| *key == "SELinuxContext").unwrap();
        assert!(level.contains('c') && domain.1.ends_with(&format!("_t:{level}")), "{terminal}, {domain:?}");
        for (key, value) in &lines {
            assert!(unit.lines().any(|line| line == format!("{key}={value}")), "{name}: {key}={value} in {unit}");
        }
        let own = ["Type", "ExecStart", "Restart", "RestartSec"];
        let service = unit.split("[Service]\n").nth(1).unwrap().lines();
        let others = service.filter(|line| !own.iter().any(|key| line.starts_with(&format!("{key}="))));
        assert_eq!(others.count(), lines.len(), "{name}: {lines:?} in {unit}");
    }
    assert_eq!(inside_host_container(&settings(&golden), "nobody"), None);
    let off = "[settings.host-containers.a]\nenabled = false\nsource = 'registry.example/a'\n";
    assert_eq!(inside_host_container(&settings(off), "a"), None);
}

#[test]
fn no_value_of_a_host_container_comes_into_its_unit() {
    let plain = unit_of("[settings.host-containers.a]\nenabled = true\nsource = 'registry.example/a'\n");
    let evil = "[settings.host-containers.a]\nenabled = true\nsource = 'registry.example/a'\n\
                command = ['\"', '\\', '%i', '$X', '[Service]', '; rm', \"'\", 'ExecStart=/x']\n\
                env = { A = '\" ExecStart=/x', B = '%n', C = '\\' }\n";
    assert_eq!(unit_of(evil), plain);
    let file = said(&rendered(evil), "etc/rocketos/host-containers/a.toml");
    let read: ToRun = toml::from_str(&file).unwrap();
    assert_eq!(read.command, ["\"", "\\", "%i", "$X", "[Service]", "; rm", "'", "ExecStart=/x"]);
    assert_eq!(read.env["A"], "\" ExecStart=/x");
    for value in ["a\\nb", "a\\u0000"] {
        let text = format!("[settings.host-containers.a]\nsource = 'a.b/c'\ncommand = [\"{value}\"]\n");
        let mut layers = Layers::default();
        let set_by = SetBy::Operator { by: "uid 0".to_owned(), at: "2026-11-23T01:02:03Z".parse().unwrap() };
        layers.add(&userdata::parse(text.as_bytes()).unwrap().tree, |_| set_by.clone());
        assert!(layers.resolve().is_err(), "{value}");
    }
}

#[test]
fn what_a_host_container_may_do_is_what_settings_say() {
    let with = |more: &str| {
        unit_of(&format!("[settings.host-containers.a]\nenabled = true\nsource = 'registry.example/a'\n{more}\n"))
    };
    let lines = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    let plain = with("");
    assert!(plain.contains("SELinuxContext=system_u:system_r:control_t:s0:c"));
    assert_eq!((lines(&plain, "CapabilityBoundingSet="), lines(&plain, "DevicePolicy=closed")), (1, 1));
    assert!(!plain.contains("rootfs") && !plain.contains("user-data") && plain.contains("/.rocketos/persistent"));
    let root = with("superpowered = true");
    assert!(root.contains("SELinuxContext=system_u:system_r:super_t:s0:c1020.c1023\n"));
    let socket = "BindReadOnlyPaths=-/run/rocketos/api.sock:/.rocketos/api.sock\n";
    for unit in [&plain, &root] {
        assert!(unit.contains(socket) && unit.contains(".service rocketos-api.socket\n"), "{unit}");
    }
    assert!(root.contains("BindPaths=/:/.rocketos/rootfs\n") && !root.contains("CapabilityBoundingSet"));
    assert!(!with("persistent = false").contains("persistent"));
    for enabled in ["", "enabled = false", "enabled = true"] {
        let text = format!("[settings.host-containers.a]\nsource = 'registry.example/a'\n{enabled}\n");
        assert_eq!(rendered(&text).all().is_empty(), !enabled.contains("true"), "{enabled}");
    }
}

#[test]
fn a_bootstrap_container_has_a_unit_that_nothing_starts_and_the_rights_of_a_superpowered_one() {
    let of = |more: &str| {
        rendered(&format!("[settings.bootstrap-containers.a]\nsource = 'registry.example/a'\nmode = 'once'\n{more}\n"))
    };
    let unit = |files: &Files| said(files, &format!("etc/systemd/system/{}", bootstrap_unit("a")));
    let plain = unit(&of(""));
    for line in [
        "Type=oneshot",
        "RemainAfterExit=yes",
        "Requires=rocketos-bootstrap-container-image@a.service",
        "RootDirectory=/run/rocketos/host-containers/bootstrap+a/root",
        "BindPaths=/:/.rocketos/rootfs",
        "SELinuxContext=system_u:system_r:super_t:s0:c1020.c1023",
    ] {
        assert!(plain.lines().any(|found| found == line), "{line} is not in\n{plain}");
    }
    for word in ["Restart=", "[Install]", "CapabilityBoundingSet", "persistent", "user-data"] {
        assert!(!plain.contains(word), "{word} is in\n{plain}");
    }
    assert!(unit(&of("user-data = 'aGE='\nmemory = '64M'")).contains("MemoryMax=67108864\n"));
    // No word that people choose is in it, and who runs it reads them.
    let evil = of("command = ['\"', '[Service]', 'ExecStart=/x']\nenv = { A = '\" ExecStart=/x' }");
    assert_eq!(unit(&evil), plain);
    let read: ToRun = toml::from_str(&said(&evil, "etc/rocketos/host-containers/bootstrap+a.toml")).unwrap();
    assert_eq!((read.command[2].as_str(), read.env["A"].as_str()), ("ExecStart=/x", "\" ExecStart=/x"));
    // Neither a host container of the same name nor its files are in the way.
    let both = of("[settings.host-containers.a]\nenabled = true\nsource = 'registry.example/b'");
    assert_eq!(both.all().len(), 4);
    // Its manager is told that there are units, and nobody else anything.
    assert_eq!(affected(&Files::default(), &of("user-data = 'aGE='")), [Service::Manager, Service::Nobody]);
    assert!(
        of("").all().len() == 2 && rendered("[settings.bootstrap-containers.a]\nsource = 'a.b/c'").all().is_empty()
    );
}

#[test]
fn no_two_host_containers_have_the_same_categories() {
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let text = |names: &[String]| -> String {
        let one = |name: &String| format!("[settings.host-containers.{name}]\nenabled = true\nsource = 'a.b/c'\n");
        names.iter().map(one).collect()
    };
    let level = |files: &Files, name: &str| {
        let unit = said(files, &format!("etc/systemd/system/rocketos-host-container-{name}.service"));
        unit.lines().find_map(|line| line.strip_prefix("SELinuxContext=").map(ToOwned::to_owned)).unwrap()
    };
    let all = rendered(&text(&names));
    let levels: std::collections::BTreeSet<String> = names.iter().map(|name| level(&all, name)).collect();
    assert_eq!(levels.len(), names.len());
    // Others do not change what one has, and its files bear.
    assert_eq!(level(&rendered(&text(&names[7..8])), "c7"), level(&all, "c7"));
    for level in levels {
        let (_, categories) = level.rsplit_once(",c").map(|(rest, high)| (rest, high.parse::<u32>().unwrap())).unwrap();
        assert!(categories < 1022, "{level}");
    }
}
