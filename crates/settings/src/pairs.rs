//! `key=value`, as it is typed.

use serde_json::Value;

use crate::{
    Key, KeyError, Schema,
    userdata::{self, UserDataError},
};

/// What a value is read under: any name that no document has.
const NAME: &str = "value";

/// Why a text is no setting.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// Nothing ends the key.
    #[error("a setting is KEY=VALUE, such as motd=hello: there is no '=' in it")]
    NoValue,
    /// No key stands before any '='.
    #[error("a setting is KEY=VALUE, such as motd=hello")]
    Key(#[from] KeyError),
    /// The value cannot be read. Without what it says: it may be a secret.
    #[error("the value of {key} is no TOML: texts have quotes, lists are in [ ]")]
    Value {
        /// Whose.
        key: Key,
        /// Where it broke.
        source: UserDataError,
    },
    /// The value ends, and something follows.
    #[error("the value of {0} is more than a value")]
    More(Key),
}

/// Reads a key and its value. The value is TOML; where a text belongs its quotes may be missing, for shells take them away.
///
/// # Errors
/// When it is no setting; whether there is such a key is not asked.
pub fn parse(pair: &str) -> Result<(Key, Value), PairError> {
    let (key, text) = split(pair)?;
    // A key that nobody knows is refused by its name, whatever its value.
    let is_text = Schema::get().at(&key).is_none_or(is_text);
    match (toml(&key, text), is_text) {
        (Ok(value), true) if !value.is_string() => Ok((key, Value::from(text))),
        (Ok(value), _) => Ok((key, value)),
        (Err(_), true) => Ok((key, Value::from(text))),
        (Err(error), false) => Err(error),
    }
}

/// Whether a text belongs there: any, or one of a few words.
fn is_text(schema: &Value) -> bool {
    let text = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "string");
    let words = schema.get("oneOf").and_then(Value::as_array);
    text(schema) || words.is_some_and(|words| words.iter().all(text))
}

/// Key and text; an '=' in quotes belongs to the key.
fn split(pair: &str) -> Result<(Key, &str), PairError> {
    let mut last = PairError::NoValue;
    for (at, _) in pair.match_indices('=') {
        match pair[..at].parse::<Key>() {
            Ok(key) => return Ok((key, &pair[at + 1..])),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

fn toml(key: &Key, text: &str) -> Result<Value, PairError> {
    let document = userdata::parse(format!("[settings]\n{NAME} = {text}\n").as_bytes())
        .map_err(|source| PairError::Value { key: key.clone(), source })?;
    let mut leaves = document.tree.to_value();
    let value = leaves.get_mut(NAME).map(Value::take);
    match (value, leaves.as_object().map(serde_json::Map::len)) {
        (Some(value), Some(1)) => Ok(value),
        _ => Err(PairError::More(key.clone())),
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
            ("bootstrap-containers.a.mode=once", "bootstrap-containers.a.mode", json!("once")),
            ("host-containers.admin.enabled=true", "host-containers.admin.enabled", json!(true)),
            ("ntp.time-servers=[\"a.example\", 'b.example']", "ntp.time-servers", json!(["a.example", "b.example"])),
            ("kernel.sysctl.\"vm.max_map_count\"=262144", "kernel.sysctl.\"vm.max_map_count\"", json!("262144")),
            ("network.interfaces.eth0={dhcp4=true}", "network.interfaces.eth0", json!({"dhcp4": true})),
        ] {
            let (found, read) = parse(pair).unwrap_or_else(|error| panic!("{pair}: {error}"));
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
