use std::fs;

use serde_json::json;

use super::*;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn by(key: &str) -> SetBy {
    match key {
        "fact" => SetBy::Fact { name: "dhcp".to_owned() },
        "user" => SetBy::UserData { provider: "nocloud".to_owned(), line: Some(3) },
        _ => SetBy::Operator { by: "uid 0".to_owned(), at: "2026-11-23T01:02:03Z".parse().unwrap() },
    }
}

fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn resolved(layers: &[(&str, Value)]) -> Result<Effective, Problems> {
    let mut all = Layers::default();
    for (name, value) in layers {
        all.add(&Tree::from_value(value.clone()).unwrap(), |_| by(name));
    }
    all.resolve()
}

fn problems(layers: &[(&str, Value)]) -> String {
    resolved(layers).unwrap_err().to_string()
}

#[test]
fn the_higher_layer_counts_and_each_key_says_who_set_it() {
    let root = root(&[
        ("usr/lib/rocketos/settings.d/10-base.toml", "[settings]\nmotd = 'base'\nntp.time-servers = ['a', 'b']\n"),
        ("usr/lib/rocketos/settings.d/50-variant.toml", "[settings]\nmotd = 'variant'\nkernel.sysctl.'vm.a' = '1'\n"),
        ("usr/lib/rocketos/settings.d/60-other.toml", "[settings]\nnetwork.hostname = 'other'\n"),
        ("etc/rocketos/settings.d/60-other.toml", ""),
    ]);
    let mut layers = Layers::of_image(root.path()).unwrap();
    let tree = |value| Tree::from_value(value).unwrap();
    layers.add(&tree(json!({"network": {"hostname": "fact", "https-proxy": "fact:1"}})), |_| by("fact"));
    layers.add(&tree(json!({"network": {"hostname": "user"}, "ntp": {"time-servers": ["c"]}})), |_| by("user"));
    layers.add(&tree(json!({"network": {"hostname": "operator"}, "kernel": {"sysctl": {"vm.b": "2"}}})), |_| by(""));
    let effective = layers.resolve().unwrap();
    let told: Vec<String> = effective.set_by.iter().map(|(key, by)| format!("{key}: {by}")).collect();
    let expected = [
        "kernel.sysctl.\"vm.a\": /usr/lib/rocketos/settings.d/50-variant.toml",
        "kernel.sysctl.\"vm.b\": uid 0 at 2026-11-23T01:02:03Z",
        "motd: /usr/lib/rocketos/settings.d/50-variant.toml",
        "network.hostname: uid 0 at 2026-11-23T01:02:03Z",
        "network.https-proxy: the fact dhcp",
        "ntp.time-servers: line 3 of the user data (nocloud)",
    ];
    assert_eq!(told, expected);
    assert_eq!(effective.settings.network.hostname.unwrap().as_str(), "operator");
    assert_eq!(effective.tree.get(&key("ntp.time-servers")), Some(&json!(["c"])));
    assert_eq!(
        effective.tree.leaves().into_keys().collect::<Vec<_>>(),
        effective.set_by.into_keys().collect::<Vec<_>>()
    );
}

#[test]
fn a_file_of_the_image_that_is_none_is_a_problem_of_the_whole() {
    let root = root(&[("usr/lib/rocketos/settings.d/a.toml", "[settings]\nmotd = \n")]);
    let error = Layers::of_image(root.path()).unwrap().resolve().unwrap_err().to_string();
    assert!(error.starts_with("/usr/lib/rocketos/settings.d/a.toml: line 2, column 8"), "{error}");
    fs::write(root.path().join("usr/lib/rocketos/settings.d/a.toml"), [0xff]).unwrap();
    assert_eq!(Layers::of_image(root.path()).unwrap_err().to_string(), "reading the image's settings");
    assert!(Layers::of_image(Path::new("/nothing/there")).unwrap().resolve().unwrap().tree.is_empty());
}

#[test]
fn a_table_against_a_value_names_key_and_both() {
    let error =
        problems(&[("user", json!({"kernel": {"sysctl": "1"}})), ("", json!({"kernel": {"sysctl": {"vm.a": "1"}}}))]);
    let expected = "kernel.sysctl.\"vm.a\", set by uid 0 at 2026-11-23T01:02:03Z: it cannot be there together with \
                    kernel.sysctl, set by line 3 of the user data (nocloud): one is a value, one a table";
    assert!(error.starts_with(expected), "{error}");
    let error = problems(&[("fact", json!({"dns": {"name-servers": []}})), ("user", json!({"dns": 1}))]);
    assert!(
        error.contains("dns, set by line 3") && error.contains("dns.name-servers, set by the fact dhcp"),
        "{error}"
    );
}

#[test]
fn everything_that_is_wrong_is_told_with_who_set_it() {
    let error = problems(&[
        ("fact", json!({"network": {"hostname": "-"}})),
        ("user", json!({"kernel": {"sysctl": {"vm.a": 1}, "lockdwn": "none"}, "updates": {"channel": "stable"}})),
        ("", json!({"containers": {"web": {"restart": "always"}}})),
    ]);
    let lines: Vec<&str> = error.lines().collect();
    let expected = [
        "kernel.lockdwn, set by line 3 of the user data (nocloud): there is no 'lockdwn' in kernel; did you mean 'lockdown'?",
        "kernel.sysctl.\"vm.a\", set by line 3 of the user data (nocloud): invalid type: integer `1`, expected a string",
        "network.hostname, set by the fact dhcp: '-' is no host's name: letters, digits, inner hyphens, dots between",
        "containers.web.source, set by uid 0 at 2026-11-23T01:02:03Z: a container needs an image",
        "updates.channel, set by line 3 of the user data (nocloud): a channel is somewhere: set updates.from",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_in_force_is_shown_with_who_set_it_and_without_secrets() {
    let host = json!({"host-containers": {"a": {"source": "a.b/c", "user-data": "aHVudGVyMg=="}}, "motd": "hello"});
    let effective = resolved(&[("user", host)]).unwrap();
    let shown = serde_json::to_value(effective.shown(Some(&key("host-containers.a")))).unwrap();
    let by = json!({"layer": "user-data", "provider": "nocloud", "line": 3});
    let expected = json!([
        {"key": "host-containers.a.source", "value": "a.b/c", "set-by": by},
        {"key": "host-containers.a.user-data", "value": crate::SHOWN, "set-by": by},
    ]);
    assert_eq!(shown, expected);
    assert_eq!(effective.shown(None).len(), 3);
    assert!(effective.shown(Some(&key("host-containers.b"))).is_empty());
    assert!(!format!("{effective:?}").contains("hunter2") && !format!("{effective:?}").contains("aHVudGVyMg"));
}

#[test]
fn user_data_adds_no_programs() {
    let raw = |path: &str| json!({"raw": {path: {"content": "[Service]\nExecStart=/bin/a\n"}}});
    assert!(resolved(&[("user", raw("systemd/network/10-a.network"))]).is_ok());
    for path in ["systemd/system/a.service", "sysctl.d/a.conf", "containers/containers.conf.d/a.conf"] {
        assert!(resolved(&[("", raw(path))]).is_ok(), "{path}");
        let error = problems(&[("user", raw(path))]);
        assert!(error.contains("adds no programs"), "{error}");
    }
}

#[test]
fn calls_of_user_data_add_no_programs_either_and_change_settings_alone() {
    let with = |calls: serde_json::Value| json!({"bootstrap-commands": {"a": {"mode": "always", "commands": calls}}});
    let unit = "raw.\"systemd/system/a.service\".content=\"[Service]\"";
    let network = "raw.\"systemd/network/10-a.network\".content=\"[Match]\"";
    for calls in [
        json!([["apiclient", "set", "motd=a"], ["apiclient", "unset", "motd"], ["apiclient", "apply"]]),
        json!([
            ["apiclient", "set", network],
            ["POST", "/v1/settings/lock"],
            ["PATCH", "/v1/settings?why=a", "{\"motd\": \"a\"}"]
        ]),
    ] {
        assert!(resolved(&[("user", with(calls.clone()))]).is_ok(), "{calls}");
    }
    for (call, says) in [
        (json!(["apiclient", "set", "motd=a", unit]), "adds no programs"),
        (
            json!(["PATCH", "/v1/settings", "{\"raw\": {\"systemd/system/a.service\": {\"content\": \"a\"}}}"]),
            "adds no programs",
        ),
        (json!(["apiclient", "set", "bootstrap-commands.b.mode=always"]), "set no calls"),
        (json!(["POST", "/v1/settings/undo"]), "nothing else"),
        (json!(["POST", "/v1/rollback"]), "nothing else"),
        (json!(["POST", "/v1/update/activate"]), "nothing else"),
        (json!(["POST", "/v1/transactions"]), "nothing else"),
        (json!(["PATCH", "/v1/settings/", "{}"]), "nothing else"),
    ] {
        assert!(resolved(&[("", with(json!([call.clone()])))]).is_ok(), "{call}");
        let error = problems(&[("user", with(json!([["apiclient", "apply"], call])))]);
        assert!(error.contains(says) && error.contains("bootstrap-commands.a.commands"), "{error}");
    }
}

#[test]
fn as_much_as_there_may_be_is_judged_in_a_moment() {
    let names: serde_json::Map<_, _> = (0..crate::LEAVES).map(|n| (format!("vm.a{n}"), json!("1"))).collect();
    let began = std::time::Instant::now();
    let error = problems(&[("user", json!({"kernel": {"sysctl": names}}))]);
    assert!(error.contains("8192 entries"), "{error}");
    // Some tenths of a second here; if each were judged with all before it, minutes.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    let (one, other) = ("a".repeat(crate::TREE_BYTES / 2), "b".repeat(crate::TREE_BYTES / 2));
    let error = problems(&[("fact", json!({"motd": one})), ("user", json!({"pki": {"a": {"data": other}}}))]);
    assert!(error.contains("settings have at most"), "{error}");
}

#[test]
fn nobody_sets_a_fact() {
    let name = json!({"facts": {"hostname": "a"}});
    for who in ["user", ""] {
        let told = problems(&[("fact", name.clone()), (who, json!({"facts": {"hostname": "b"}}))]);
        assert!(told.starts_with("facts.hostname, set by ") && told.contains("nobody sets it"), "{told}");
    }
    let files = root(&[("usr/lib/rocketos/settings.d/10-a.toml", "[settings]\nfacts.hostname = 'b'\n")]);
    let told = Layers::of_image(files.path()).unwrap().resolve().unwrap_err().to_string();
    assert!(told.contains("10-a.toml") && told.contains("nobody sets it"), "{told}");
    let effective = resolved(&[("fact", name), ("", json!({"network": {"hostname": "b"}}))]).unwrap();
    let [fact, own] = &effective.shown(None)[..] else { panic!("{effective:?}") };
    assert_eq!((fact.value.as_str(), &fact.set_by, own.value.as_str()), (Some("a"), &by("fact"), Some("b")));
    // A node's own name is that of settings: what the network calls it is in no file.
    let facts = crate::render::Facts::default();
    let only = resolved(&[("fact", json!({"facts": {"hostname": "a", "addresses": ["192.0.2.7"]}}))]).unwrap();
    assert!(crate::render::render(&only.settings, &facts).all().is_empty());
}
