use std::{fs, path::PathBuf};

use serde_json::json;

use super::*;

fn docs(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

#[test]
fn the_committed_schema_and_reference_are_those_of_the_model() {
    let how = "run `cargo run -p rocketos-settings --example reference` and commit what it writes";
    assert!(docs("settings-schema.json") == Schema::get().document(), "docs/settings-schema.json is old: {how}");
    assert!(docs("settings-reference.md") == Schema::get().reference(), "docs/settings-reference.md is old: {how}");
}

#[test]
fn others_judge_by_the_schema_as_the_model_does() {
    let schema: Value = serde_json::from_str(&Schema::get().document()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/full.toml");
    let all: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let settings = serde_json::to_value(&all["settings"]).unwrap();
    if let Err(error) = validator.validate(&settings) {
        panic!("{error} at {}", error.instance_path());
    }
    for wrong in [
        json!({"mtod": "a"}),
        json!({"motd": null}),
        json!({"motd": 1}),
        json!({"kernel": {"lockdown": "all"}}),
        json!({"network": {"interfaces": {"a": {"mtu": 10}}}}),
        json!({"container-registry": {"mirrors": [{"registry": "a.b"}]}}),
        json!({"ntp": {"time-servers": []}}),
        json!({"updates": {"windows": [{"start": "02:00", "length": "4h", "days": ["Someday"]}]}}),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        assert!(
            !crate::model::check(&Tree::from_value(wrong.clone()).unwrap_or_default()).1.is_empty()
                || wrong["motd"].is_null()
        );
    }
}

#[test]
fn every_key_has_a_description() {
    fn look(schema: &Value, names: &mut Vec<String>, seen: &mut usize) {
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            names.push(name.clone());
            let text = inner.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(text.ends_with('.') && !text.is_empty(), "{names:?} has no description: {text:?}");
            *seen += 1;
            look(inner, names, seen);
            names.pop();
        }
        for inner in ["items", "additionalProperties"].iter().filter_map(|name| schema.get(name)) {
            look(inner, names, seen);
        }
    }
    let mut seen = 0;
    look(&Schema::get().0, &mut Vec::new(), &mut seen);
    assert!(seen > 100, "{seen}");
}

#[test]
fn an_unknown_key_is_told_the_nearest() {
    let refusal = |text: &str| Schema::get().refusal(&key(text)).unwrap_or_default();
    for (text, expected) in [
        ("motd", ""),
        ("kernel.sysctl.\"vm.anything\"", ""),
        ("host-containers.any.enabled", ""),
        ("network.interfaces.eth0.bond.mode", ""),
        ("mtod", "there is no 'mtod' among settings; did you mean 'motd'?"),
        (
            "host-container.admin.enabled",
            "there is no 'host-container' among settings; did you mean 'host-containers'?",
        ),
        ("host-containers.admin.enable", "there is no 'enable' in host-containers.admin; did you mean 'enabled'?"),
        ("ntp.xyz", "there is no 'xyz' in ntp; there are time-servers"),
        ("motd.text", "there is nothing below motd, which is a value"),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn what_bottlerocket_has_and_we_do_not_is_refused_with_what_to_use_instead() {
    let page = docs("settings.md");
    for (names, instead) in ELSEWHERE {
        assert!(page.contains(&format!("`{names}`")), "docs/settings.md does not name {names}");
        let refusal = Schema::get().refusal(&key(&format!("{names}.x"))).unwrap();
        assert_eq!(refusal, format!("Rocket OS does not have it: {instead}"), "{names}");
    }
    let arguments = Schema::get().refusal(&key("settings.boot.kernel-parameters.quiet")).unwrap();
    assert!(arguments.contains("signed addons"), "{arguments}");
}

#[test]
fn secrets_and_what_nobody_knows_are_not_shown() {
    let tree = Tree::from_value(json!({
        "motd": "hello",
        "unknown": {"password": "hunter2"},
        "kernel": {"lockdwn": "hunter2"},
        "host-containers": {"admin": {"user-data": "aHVudGVyMg==", "enabled": true}, "odd": "hunter2"},
        "container-registry": {"credentials": [{"registry": "a.b", "password": "hunter2", "passwrod": "hunter2"}]},
        "network": {"hosts": [["10.0.0.1", ["a"]]]},
    }))
    .unwrap();
    let shown = Schema::get().shown(&tree);
    let expected = json!({
        "motd": "hello",
        "unknown": SHOWN,
        "kernel": {"lockdwn": SHOWN},
        "host-containers": {"admin": {"user-data": SHOWN, "enabled": true}, "odd": SHOWN},
        "container-registry": {"credentials": [{"registry": "a.b", "password": SHOWN, "passwrod": SHOWN}]},
        "network": {"hosts": [["10.0.0.1", ["a"]]]},
    });
    assert_eq!(shown, expected);
    let at = |text: &str| Schema::get().shown_at(&key(text), tree.get(&key(text)).unwrap());
    assert_eq!(at("host-containers.admin.user-data"), SHOWN);
    assert_eq!(at("unknown"), SHOWN);
    assert_eq!(at("network.hosts"), json!([["10.0.0.1", ["a"]]]));
    let hidden = tree.leaves().into_iter().flat_map(|(key, value)| Schema::get().hidden_at(&key, &value));
    let hidden: Vec<String> = hidden.collect();
    let password = "hunter2";
    assert_eq!(
        hidden,
        [password, password, "aHVudGVyMg==", password, password, password],
        "each as often as it is there"
    );
}

#[test]
fn every_secret_type_is_marked_in_the_schema() {
    for text in ["host-containers.a.user-data", "bootstrap-containers.a.user-data"] {
        assert!(has_secret(Schema::get().at(&key(text)).unwrap()), "{text}");
    }
    let credential = items(Schema::get().at(&key("container-registry.credentials")).unwrap()).unwrap();
    for name in ["username", "password", "auth", "identitytoken"] {
        assert!(has_secret(below(credential, name).unwrap()), "{name}");
    }
    assert!(!has_secret(below(credential, "registry").unwrap()));
}
