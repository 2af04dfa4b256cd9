use serde_json::json;

use super::*;

fn judged(value: Value) -> Vec<String> {
    check(&Tree::from_value(value).unwrap()).1.iter().map(ToString::to_string).collect()
}

/// Every problem, one a line.
fn problems(text: &str) -> String {
    judged(toml::from_str::<toml::Table>(text).map(|table| serde_json::to_value(table).unwrap()).unwrap()).join("\n")
}

/// User data as Bottlerocket's documentation has it, by our names alone where nothing is said.
const BOTTLEROCKET: &str = r#"
motd = "hello, world!"

[host-containers.admin]
enabled = true
source = "registry.example/admin:v1"
superpowered = true
user-data = "eyJzc2giOnt9fQ=="

[bootstrap-containers.bear]
source = "registry.example/bear:v1"
mode = "once"
essential = true
user-data = "eyJzc2giOnt9fQ=="

[bootstrap-commands.k]
commands = [["apiclient", "set", "motd=helloworld"]]
mode = "always"
essential = true

[kernel]
lockdown = "integrity"

[kernel.sysctl]
"user.max_user_namespaces" = "16384"
"kernel.core_pattern" = "/var/tmp/core.%p"
"vm.max_map_count" = "262144"

[kernel.modules.sctp]
allowed = false

[kernel.modules.ip_vs_lc]
allowed = true
autoload = true

[[container-registry.mirrors]]
registry = "docker.io"
endpoint = ["https://mirror.example", "10.0.0.1:5000"]

[[container-registry.credentials]]
registry = "docker.io"
username = "example_username"
password = "example_password"

[[container-registry.credentials]]
registry = "gcr.io"
auth = "example_base64_encoded_auth_string"

[network]
hostname = "node-1.example"
https-proxy = "1.2.3.4:8080"
no-proxy = ["localhost", "127.0.0.1", ".example"]
hosts = [["10.0.0.0", ["test.example", "test1.example"]], ["10.1.1.1", ["test2.example"]]]

[dns]
name-servers = ["1.2.3.4", "5.6.7.8"]
search-list = ["foo.bar", "baz.foo"]

[ntp]
time-servers = ["0.pool.example", "10.0.0.1"]

[updates]
ignore-waves = true
version-lock = "latest"
seed = 512

[metrics]
send-metrics = true
metrics-url = "https://metrics.example/v1"
service-checks = ["podman.service"]

[container-runtime]
max-concurrent-downloads = 4
enable-unprivileged-ports = true
enable-unprivileged-icmp = true
"#;

#[test]
fn takes_what_bottlerocket_takes() {
    assert_eq!(problems(BOTTLEROCKET), "");
}

#[test]
fn takes_what_is_ours() {
    let text = r#"
[network.interfaces.eth0]
mac = "52:54:00:12:34:56"
dhcp4 = false
addresses = ["192.0.2.7/24", "fd00::7/64"]
routes = [{ to = "0.0.0.0/0", via = "192.0.2.1", route-metric = 10 }]
mtu = 9000
required = true
[network.interfaces.eth1]
required = false
[network.interfaces.eth2]
required = false
[network.interfaces.bond0]
bond = { interfaces = ["eth1", "eth2"], mode = "802.3ad", min-links = 1, miimon = 100 }
[network.interfaces."bond0.7"]
vlan = { device = "bond0", id = 7 }
addresses = ["192.0.2.8/24"]

[containers.web]
source = "registry.example/web:1"
command = ["serve", "--motd", "\"quoted\" $HOME %n"]
env = { LEVEL = "debug" }
publish = [{ host-port = 80, container-port = 8080 }, { host-port = 80, container-port = 8081, protocol = "udp" }]
volumes = [{ source = "/var/lib/web", target = "/data", read-only = true }]
memory = "512M"
cpu-percent = 150
restart = "always"

[host-containers.tools]
source = "registry.example/tools"
health = { command = ["true"], interval = "10s", retries = 3 }
memory = "64M"

[firewall.open.metrics]
protocol = "tcp"
port = 9100
from = ["10.0.0.0/8", "fd00::/8"]
interface = "eth0"
reason = "metrics, for the monitoring hosts"

[updates]
channel = "stable"
from = "docker://registry.example/rocketos/standalone"
mode = "apply"
windows = [{ days = ["Sat", "Sun"], start = "02:00", length = "4h", zone = "Europe/Berlin" }]

[health]
soak = "10min"
checks.web = { level = "required", kind = "http", url = "http://127.0.0.1/healthz", body = "ok", retries = 3 }
checks.net = { level = "wanted", kind = "default-route", after = ["web"] }

[raw."sysctl.d/90-own.conf"]
content = "vm.swappiness = 10\n"
"#;
    assert_eq!(problems(text), "");
    assert_eq!(problems(""), "");
}

#[test]
fn says_what_is_wrong_across_keys() {
    for (text, says) in [
        ("network.interfaces.a.bond.mode = 'balance-rr'", "network.interfaces.a.bond: a bond needs interfaces"),
        ("network.interfaces.a.bond.interfaces = []", "it is empty"),
        ("network.interfaces.a.bond.interfaces = ['b']", "a.bond.interfaces: there is no network.interfaces.b"),
        ("network.interfaces.a.bond.interfaces = ['a']", "a is the bond itself"),
        ("network.interfaces.b.dhcp4 = false\nnetwork.interfaces.a.bond.interfaces = ['b', 'b']", "b is named twice"),
        (
            "network.interfaces.b.dhcp4 = true\nnetwork.interfaces.a.bond.interfaces = ['b']",
            "b has addresses of its own",
        ),
        (
            "network.interfaces.c.mtu = 100\nnetwork.interfaces.a.bond.interfaces = ['c']\n\
             network.interfaces.b.bond.interfaces = ['c']",
            "c is in the bond b too",
        ),
        (
            "network.interfaces.c.mtu = 100\nnetwork.interfaces.b.bond.interfaces = ['c']\n\
             network.interfaces.a.bond.interfaces = ['b']",
            "b is a bond itself",
        ),
        (
            "network.interfaces.c.mtu = 100\nnetwork.interfaces.a.bond.interfaces = ['c']\n\
             network.interfaces.a.vlan = { device = 'c', id = 1 }",
            "a is a bond or a VLAN, not both",
        ),
        ("network.interfaces.a.vlan.id = 7", "network.interfaces.a.vlan.device: a VLAN is on another"),
        ("network.interfaces.a.vlan.device = 'b'", "network.interfaces.a.vlan.id: a VLAN has a number"),
        ("network.interfaces.a.vlan = { device = 'b', id = 7 }", "there is no network.interfaces.b"),
        (
            "network.interfaces.a.vlan = { device = 'b', id = 7 }\nnetwork.interfaces.b.vlan = { device = 'a', id = 7 }",
            "a is on itself, by way of b",
        ),
        ("network.interfaces.a.routes = [{ to = 'fd00::/8', via = '10.0.0.1' }]", "the other family"),
        ("kernel.lockdown = 'none'", "lockdown never falls"),
        (
            "kernel.sysctl.'kernel.core_pattern' = '|/var/x'",
            "kernel.sysctl.\"kernel.core_pattern\": it names a program",
        ),
        ("kernel.sysctl.'kernel/modprobe' = '/var/x'", "it names a program that the kernel starts"),
        ("kernel.modules.a = { allowed = false, autoload = true }", "kernel.modules.a.autoload: a module that is not"),
        ("ntp.time-servers = []", "ntp.time-servers: it is empty"),
        ("pki.a.trusted = true", "pki.a.trusted: there is no certificate"),
        ("container-registry.mirrors = [{ registry = 'a.b', endpoint = [] }]", "it is empty"),
        (
            "container-registry.mirrors = [{ registry = 'a.b', endpoint = ['c'] }, { registry = 'a.b', endpoint = ['d'] }]",
            "a.b is there twice",
        ),
        ("container-registry.credentials = [{ registry = 'a.b' }]", "one is needed"),
        ("container-registry.credentials = [{ registry = 'a.b', username = 'u' }]", "go together"),
        ("container-registry.credentials = [{ registry = 'a.b', auth = 'u', identitytoken = 'v' }]", "one is needed"),
        ("containers.a.restart = 'no'", "containers.a.source: a container needs an image"),
        ("containers.a = { source = 'a.b/c', volumes = [{ source = '/usr', target = '/a' }] }", "/usr is not below"),
        ("containers.a = { source = 'a.b/c', volumes = [{ source = '/variable', target = '/a' }] }", "not below /var"),
        ("containers.a = { source = 'a.b/c', command = [] }", "it is empty"),
        (
            "containers.a = { source = 'a.b/c', publish = [{ host-port = 80, container-port = 1 }] }\n\
             containers.b = { source = 'a.b/c', publish = [{ host-port = 80, container-port = 2, address = '10.0.0.1' }] }",
            "port 80 of the node leads into a already",
        ),
        ("host-containers.a.enabled = true", "host-containers.a.enabled: there is no image for it"),
        ("host-containers.a.user-data = 'aGE='", "host-containers.a.user-data: there is no image for it"),
        ("host-containers.a.health.retries = 3", "host-containers.a.health.command: there is nothing to look at"),
        ("host-containers.a.health = { command = ['a'], timeout = '0s' }", "host-containers.a.health.timeout: a look"),
        (
            "host-containers.a.health = { command = ['a'], interval = '2h' }",
            "host-containers.a.health.interval: a look",
        ),
        ("bootstrap-containers.a.mode = 'once'", "set bootstrap-containers.a.source"),
        ("bootstrap-commands.a.mode = 'once'", "bootstrap-commands.a.commands: there is nothing to do"),
        ("firewall.open.a.protocol = 'tcp'", "firewall.open.a.port: an opening needs it"),
        (
            "firewall.open.a = { protocol = 'tcp', port = 1, reason = 'r', from = ['10.0.0.0/8', '10.1.0.0/16'] }",
            "10.1.0.0/16 and 10.0.0.0/8 overlap",
        ),
        ("updates.from = 'dir:/srv'", "Set updates.channel"),
        ("updates.windows = [{ start = '02:00', length = '30min' }]", "90min to 7days"),
        ("health.soak = '8days'", "at most 7days"),
        ("health.interval = '0s'", "health.interval: a length of nothing"),
        ("health.checks.a.kind = 'default-route'", "health.checks.a.level: a check needs it"),
        ("health.checks.a = { level = 'wanted', kind = 'http' }", "health.checks.a.url: a check of this kind needs it"),
        ("health.checks.a = { level = 'wanted', kind = 'default-route', status = 200 }", "does not have it"),
        ("health.checks.a = { level = 'wanted', kind = 'default-route', timeout = '2h' }", "more than an hour"),
        ("health.checks.a = { level = 'wanted', kind = 'default-route', after = ['a'] }", "after itself"),
        ("metrics.send-metrics = true", "whom is the node to tell"),
        (
            "metrics.metrics-url = 'http://a.example'",
            "metrics.metrics-url: what a node tells of itself goes over https",
        ),
    ] {
        let found = problems(text);
        assert!(found.contains(says), "{text}\n{found}");
    }
}

#[test]
fn says_what_is_wrong_with_a_value() {
    for (text, says) in [
        ("motd = 1", "motd: invalid type: integer `1`, expected a string"),
        ("network.hostname = 'a b'", "network.hostname: 'a b' is no host's name"),
        ("network.interfaces.a.mtu = 10", "network.interfaces.a.mtu: 10 is not from 68 to 65535"),
        ("network.interfaces.\"a/b\".mtu = 100", "network.interfaces.\"a/b\".mtu: 'a/b' is no interface's name"),
        ("network.hosts = [['10.0.0.1', ['a b']]]", "(at [0][1][0])"),
        ("network = 'x'", "network: invalid type: string \"x\", expected struct"),
        ("network.https-proxy = 'http://u:hunter2@a'", "has no name and password in it"),
        ("kernel.sysctl.\"vm.a\" = \"1\\nkernel.b = 1\"", "is no kernel parameter's value"),
        ("kernel.modules.\"a b\".autoload = true", "'a b' is no module's name"),
        ("kernel.lockdown = 'all'", "unknown variant `all`, expected one of `none`, `integrity`, `confidentiality`"),
        (
            "container-registry.mirrors = [{ registry = 'a.b', endpoints = ['c'] }]",
            "there is no 'endpoints' in [0]; did you mean 'endpoint'?",
        ),
        (
            "container-registry.credentials = [{ registry = 'a.b' }, { passwrod = 'hunter2' }]",
            "there is no such name in [1]; did you mean 'password'?",
        ),
        ("container-registry.mirrors = [{ registry = 'a.b' }]", "missing field `endpoint` (at [0])"),
        ("container-registry.mirrors = [{ registry = '*', endpoint = ['c'] }]", "'*' is no registry"),
        ("raw.\"../passwd\".content = 'x'", "is no file of these folders"),
        ("raw.\"systemd/system/a.service\".content = \"\\u001b\"", "characters that nobody sees"),
        ("updates.seed = 2048", "not from 0 to 2047"),
        ("health.checks.a.kind = 'command'", "unknown variant `command`"),
    ] {
        let found = problems(text);
        assert!(found.contains(says) && !found.contains("hunter2") && found.lines().count() == 1, "{text}\n{found}");
    }
}

#[test]
fn a_message_is_one_line_that_ends() {
    let found = problems("kernel.lockdown = \"a\\nb\\u001b[2J\"");
    assert!(found.starts_with(r"kernel.lockdown: unknown variant `a\nb\u{1b}[2J`"), "{found}");
    let found = problems(&format!("kernel.lockdown = '{}'", "x".repeat(100_000)));
    assert!(found.len() < 600 && found.ends_with('…'), "{}", found.len());
}

#[test]
fn no_message_has_a_secret_in_it() {
    for text in [
        "host-containers.a = { source = 'a.b/c', user-data = 'hunter2!' }",
        "host-containers.a = 'hunter2'",
        "host-containers = 'hunter2'",
        "container-registry.credentials = 'hunter2'",
        "container-registry.credentials = ['hunter2']",
        "container-registry.credentials = [{ registry = 'a.b', password = ['hunter2'] }]",
        "container-registry.credentials = [{ registry = 'a.b', password = 424242 }]",
        "container-registry.credentials = 424242",
        "container-registry.credentials = [{ registry = 'a.b', hunter2 = 'hunter2' }]",
        "container-registry.credentials = [{ registry = 'a.b', password = \"hunter2\\n\" }]",
        "container-registry.credentials = { password = 'hunter2' }",
        "container-registry.credentails = [{ registry = 'a.b', password = 'hunter2' }]",
    ] {
        let found = problems(text);
        assert!(!found.is_empty() && !found.contains("hunter2") && !found.contains("424242"), "{text}\n{found}");
    }
    let (settings, found) = check(
        &Tree::from_value(json!({"container-registry": {"credentials": [
            {"registry": "a.b", "username": "hunter2", "password": "hunter2"},
        ]}}))
        .unwrap(),
    );
    assert!(found.is_empty() && !format!("{settings:?}").contains("hunter2"));
}

#[test]
fn lists_and_tables_have_an_end() {
    let names: serde_json::Map<_, _> = (0..=limits::SYSCTLS).map(|n| (format!("vm.a{n}"), json!("1"))).collect();
    let found = judged(json!({"kernel": {"sysctl": names}}));
    assert_eq!(found, ["kernel.sysctl: it has 513 entries; at most 512 are taken"]);
    let found = judged(json!({"dns": {"name-servers": vec!["10.0.0.1"; limits::NAME_SERVERS + 1]}}));
    assert_eq!(found, ["dns.name-servers: it has 17 entries; at most 16 are taken"]);
    let mirror = json!({"registry": "a.b", "endpoint": vec!["c"; limits::ENDPOINTS + 1]});
    let found = judged(json!({"container-registry": {"mirrors": [mirror]}}));
    assert_eq!(found, ["container-registry.mirrors: it has 17 entries; at most 16 are taken"]);
}

#[test]
fn every_list_and_every_table_of_names_has_a_bound() {
    fn look(schema: &Value, names: &mut Vec<String>) {
        let bounded = |name: &str, bound: &str| schema.get(name).is_none_or(|_| schema.get(bound).is_some());
        let free = schema.get("additionalProperties").is_some_and(Value::is_object);
        assert!(!free || schema.get("maxProperties").is_some(), "{names:?} has no maxProperties");
        // A list in a list is bounded by the bytes of a tree, as names of hosts and words of commands are.
        let nested = names.last().is_some_and(|name| name == "[]");
        assert!(nested || bounded("items", "maxItems"), "{names:?} has no maxItems");
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            names.push(name.clone());
            look(inner, names);
            names.pop();
        }
        for (inner, name) in [("items", "[]"), ("additionalProperties", "*")] {
            if let Some(inner) = schema.get(inner) {
                names.push(name.to_owned());
                look(inner, names);
                names.pop();
            }
        }
    }
    let schema: Value = serde_json::from_str(&Schema::get().document()).unwrap();
    look(&schema, &mut Vec::new());
}

#[test]
fn openings_and_checks_are_those_of_the_crates_that_act_on_them() {
    let opening =
        "protocol = 'tcp'\nport = '30000-32767'\nfrom = ['10.0.0.0/8']\ninterface = 'eth0'\nreason = 'a, b'\n";
    assert_eq!(problems(&format!("[firewall.open.a]\n{opening}")), "");
    assert!(rocketos_firewall::Opening::parse_file(&format!("[[open]]\n{opening}")).is_ok());
    for check in [
        "kind = 'unit'\nunit = 'a.service'\nstate = 'active'\n",
        "kind = 'http'\nurl = 'http://127.0.0.1/'\nstatus = 204\nbody = 'ok'\n",
        "kind = 'tcp'\naddress = '127.0.0.1:80'\n",
        "kind = 'mount'\npath = '/var'\n",
        "kind = 'default-route'\n",
        "kind = 'resolve'\nname = 'a.example'\n",
        "kind = 'time-synchronised'\n",
    ] {
        let how = "level = 'wanted'\nafter = ['b']\ntimeout = '30s'\nretries = 3\ninterval = '5s'\ndelay = '1s'\n";
        assert_eq!(problems(&format!("[health.checks.a]\n{how}{check}")), "");
        rocketos_health::Check::parse("a", &format!("{how}{check}")).unwrap();
    }
}
