//! `key=value`, as it is typed.

use anyhow::{Context as _, anyhow, bail};
use rocketos_settings::{Key, Schema, userdata};
use serde_json::Value;

/// What a value is read under: any name that no document has.
const NAME: &str = "value";

/// Reads a key and its value. The value is TOML; where a text belongs its quotes may be missing, for shells take them away.
pub(super) fn parse(pair: &str) -> anyhow::Result<(Key, Value)> {
    let (key, value) = split(pair).with_context(|| "a setting is KEY=VALUE, such as motd=hello")?;
    let read = toml(value);
    // A key that nobody knows is refused by its name, whatever its value.
    let is_text = Schema::get().at(&key).is_none_or(|schema| schema.get("type").is_some_and(|kind| kind == "string"));
    match (read, is_text) {
        (Ok(value), true) if !value.is_string() => Ok((key, Value::from(value_as_typed(pair)))),
        (Ok(value), _) => Ok((key, value)),
        (Err(_), true) => Ok((key, Value::from(value))),
        // Without what it says: it may be a secret.
        (Err(error), false) => {
            Err(anyhow!(error).context(format!("the value of {key} is no TOML: texts have quotes, lists are in [ ]")))
        }
    }
}

/// The text behind the '=' that ends the key.
fn value_as_typed(pair: &str) -> &str {
    split(pair).map_or("", |(_, value)| value)
}

/// Key and text; an '=' in quotes belongs to the key.
fn split(pair: &str) -> anyhow::Result<(Key, &str)> {
    let mut last = None;
    for (at, _) in pair.match_indices('=') {
        match pair[..at].parse::<Key>() {
            Ok(key) => return Ok((key, &pair[at + 1..])),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("there is no '=' in it"),
    }
}

fn toml(text: &str) -> anyhow::Result<Value> {
    let document = userdata::parse(format!("[settings]\n{NAME} = {text}\n").as_bytes())?;
    let mut leaves = document.tree.to_value();
    let value = leaves.get_mut(NAME).map(Value::take);
    match (value, leaves.as_object().map(serde_json::Map::len)) {
        (Some(value), Some(1)) => Ok(value),
        _ => bail!("it is more than a value"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_is_typed_in_a_shell() {
        for (pair, key, value) in [
            ("motd=hello", "motd", json!("hello")),
            ("motd=\"hello\"", "motd", json!("hello")),
            ("motd=a=b", "motd", json!("a=b")),
            ("motd=", "motd", json!("")),
            ("motd=7", "motd", json!("7")),
            ("settings.motd=true", "motd", json!("true")),
            ("network.hostnam=x", "network.hostnam", json!("x")),
            ("network.hostname=node-1.example", "network.hostname", json!("node-1.example")),
            ("host-containers.admin.enabled=true", "host-containers.admin.enabled", json!(true)),
            ("ntp.time-servers=[\"a.example\", 'b.example']", "ntp.time-servers", json!(["a.example", "b.example"])),
            ("kernel.sysctl.\"vm.max_map_count\"=262144", "kernel.sysctl.\"vm.max_map_count\"", json!("262144")),
            ("network.interfaces.eth0={dhcp4=true}", "network.interfaces.eth0", json!({"dhcp4": true})),
        ] {
            let (found, read) = parse(pair).unwrap_or_else(|error| panic!("{pair}: {error:#}"));
            assert_eq!((found.to_string(), read), (key.to_owned(), value), "{pair}");
        }
    }

    #[test]
    fn refuses_what_is_no_setting() {
        for pair in [
            "motd",
            "=a",
            "",
            "a..b=1",
            "host-containers.admin.enabled=perhaps",
            "host-containers.admin.enabled=true\nmotd = 'a'",
            "ntp.time-servers=a.example",
            "ntp.time-servers=1979-05-27",
        ] {
            assert!(parse(pair).is_err(), "{pair}");
        }
    }
}
