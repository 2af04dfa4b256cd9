//! A call of the API, as settings write it: words of a client, or method, path and body. No program is started for it.
//!
//! ```text
//! apiclient | rocketctl [settings]  set KEY=VALUE… | set --json '{…}' | unset KEY… | apply
//! rocketctl api METHOD PATH [BODY]; METHOD PATH [BODY]
//! ```

use serde_json::{Value, json};

use crate::{Key, Tree, model::value::Word, pairs};

/// What calls are written as: ours, and the name Bottlerocket has for it.
const CLIENTS: [&str; 2] = ["rocketctl", "apiclient"];
/// What may be said of a document instead of pairs.
const JSON: [&str; 2] = ["--json", "-j"];
/// Methods that change something: what only reads does nothing at a boot, and a stream of events would never end.
const METHODS: [&str; 3] = ["POST", "PATCH", "DELETE"];
/// What every path begins with.
const TOP: &str = "/v1/";
/// Bytes of a path.
const PATH_BYTES: usize = 2048;
/// A node that reboots while it boots does so for ever.
const REBOOT: &str = "/v1/update/reboot";
/// Where settings are.
const SETTINGS: &str = "/v1/settings";

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// What is said.
    pub body: Option<Value>,
}

impl Call {
    /// Reads the words of a call.
    ///
    /// # Errors
    /// What is wrong, to stand behind "command 1".
    pub fn parse(words: &[Word]) -> Result<Self, String> {
        let words: Vec<&str> = words.iter().map(Word::as_str).collect();
        match words.as_slice() {
            [client, rest @ ..] if CLIENTS.contains(client) => match rest {
                ["settings", rest @ ..] => of_settings(rest),
                ["api", rest @ ..] => raw(rest),
                rest => of_settings(rest),
            },
            rest => raw(rest),
        }
    }

    fn to(method: &str, path: &str, body: Option<Value>) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), body }
    }
}

/// What a client does to settings.
fn of_settings(words: &[&str]) -> Result<Call, String> {
    match words {
        ["set", json, text] if JSON.contains(json) => {
            let body = document(text)?;
            let tree = Tree::from_value(body).map_err(|error| format!("sets what is none: {error}"))?;
            Ok(Call::to("PATCH", SETTINGS, Some(tree.to_value())))
        }
        ["set", pairs @ ..] if !pairs.is_empty() => {
            let mut tree = Tree::default();
            for pair in pairs {
                let (key, value) = pairs::parse(pair).map_err(|error| format!("sets what is none: {error}"))?;
                tree.set(&key, value).map_err(|error| format!("sets what is none: {error}"))?;
            }
            Ok(Call::to("PATCH", SETTINGS, Some(tree.to_value())))
        }
        ["unset", keys @ ..] if !keys.is_empty() => {
            let keys = keys.iter().map(|key| key.parse::<Key>().map(|key| key.to_string()));
            let keys: Vec<String> =
                keys.collect::<Result<_, _>>().map_err(|error| format!("unsets no key: {error}"))?;
            Ok(Call::to("POST", &format!("{SETTINGS}/unset"), Some(json!({ "keys": keys }))))
        }
        ["apply"] => Ok(Call::to("POST", &format!("{SETTINGS}/apply"), None)),
        ["reboot", ..] => Err("would reboot the node while it boots".to_owned()),
        _ => Err("is none that is made at boot: set, unset and apply are, and api METHOD PATH BODY".to_owned()),
    }
}

/// Method, path and body.
fn raw(words: &[&str]) -> Result<Call, String> {
    let (method, path, body) = match words {
        [method, path] => (method, path, None),
        [method, path, body] => (method, path, Some(body)),
        _ => return Err(form()),
    };
    let sound = path.bytes().all(|byte| byte.is_ascii_graphic()) && path.len() <= PATH_BYTES && path.starts_with(TOP);
    if !METHODS.contains(method) || !sound {
        return Err(form());
    }
    match path.split(['?', '#']).next().map(|path| path.trim_end_matches('/')) {
        Some(REBOOT) => Err("would reboot the node while it boots".to_owned()),
        _ => Ok(Call::to(method, path, body.map(|body| document(body)).transpose()?)),
    }
}

fn form() -> String {
    let (clients, methods) = (CLIENTS.join(" or "), METHODS.join(", "));
    format!("is no call of the API: {clients} …, or {methods} with a path below {TOP} and perhaps a body")
}

/// A body; what it says is not repeated.
fn document(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("has a body that is no JSON (column {})", error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Call, String> {
        let words: Vec<Word> = words.iter().map(|word| word.parse().unwrap()).collect();
        Call::parse(&words)
    }

    #[test]
    fn words_of_a_client_are_calls_of_the_api() {
        let body = json!({"motd": "hello", "host-containers": {"admin": {"enabled": true}}});
        let set = Call::to("PATCH", SETTINGS, Some(body.clone()));
        let pairs = ["motd=hello", "host-containers.admin.enabled=true"];
        for client in [vec!["apiclient"], vec!["rocketctl"], vec!["rocketctl", "settings"]] {
            assert_eq!(parse(&[&client[..], &["set"], &pairs].concat()).unwrap(), set);
            assert_eq!(parse(&[&client[..], &["set", "-j", &body.to_string()]].concat()).unwrap(), set);
        }
        let unset = parse(&["apiclient", "unset", "settings.motd", "kernel.sysctl.\"vm.x\""]).unwrap();
        let keys = json!({"keys": ["motd", "kernel.sysctl.\"vm.x\""]});
        assert_eq!(unset, Call::to("POST", "/v1/settings/unset", Some(keys)));
        assert_eq!(parse(&["apiclient", "apply"]).unwrap(), Call::to("POST", "/v1/settings/apply", None));
    }

    #[test]
    fn method_path_and_body_are_a_call_as_they_are() {
        let lock = Call::to("POST", "/v1/settings/lock", None);
        assert_eq!(parse(&["POST", "/v1/settings/lock"]).unwrap(), lock);
        assert_eq!(parse(&["rocketctl", "api", "POST", "/v1/settings/lock"]).unwrap(), lock);
        let body = parse(&["PATCH", "/v1/settings?why=because", "{\"motd\": \"a b\"}"]).unwrap();
        assert_eq!(body, Call::to("PATCH", "/v1/settings?why=because", Some(json!({"motd": "a b"}))));
    }

    #[test]
    fn what_is_no_call_is_refused_and_no_value_repeated() {
        for (words, says) in [
            (&["rm", "-rf", "/"][..], "is no call of the API"),
            (&["apiclient"], "is none that is made at boot"),
            (&["apiclient", "exec", "admin", "sh"], "is none that is made at boot"),
            (&["apiclient", "apply", "https://config.example/a.toml"], "is none that is made at boot"),
            (&["apiclient", "set"], "is none that is made at boot"),
            (&["apiclient", "set", "motd"], "no '='"),
            (&["apiclient", "set", "a..b=1"], "KEY=VALUE"),
            (&["apiclient", "set", "host-containers.a.enabled=hunter2"], "the value of host-containers.a.enabled"),
            (&["apiclient", "set", "--json", "{hunter2"], "no JSON"),
            (&["apiclient", "unset"], "is none that is made at boot"),
            (&["apiclient", "unset", "a..b"], "unsets no key"),
            (&["apiclient", "reboot"], "would reboot"),
            (&["POST", "/v1/update/reboot"], "would reboot"),
            (&["POST", "/v1/update/reboot/?now=true"], "would reboot"),
            (&["GET", "/v1/events"], "is no call of the API"),
            (&["POST", "/etc/passwd"], "is no call of the API"),
            (&["POST", "http://elsewhere/v1/settings"], "is no call of the API"),
            (&["POST", "/v1/settings lock"], "is no call of the API"),
            (&["POST", "/v1/settings", "{}", "more"], "is no call of the API"),
            (&["PATCH", "/v1/settings", "{\"motd\": hunter2}"], "no JSON"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(says) && !error.contains("hunter2"), "{words:?}: {error}");
        }
        let long = format!("/v1/{}", "a".repeat(PATH_BYTES));
        assert!(parse(&["POST", &long]).is_err());
    }
}
