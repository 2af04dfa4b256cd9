//! The API without its socket: the same table, limits and words.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rocketos_api::{Inside, Kind, limits};
use serde_json::{Value, json};
use support::{Lets, QUICK, Served};

#[test]
fn the_same_is_asked_without_a_socket() {
    let node = Served::start(Lets::all(), QUICK);
    let inside = Inside::new(node.desk.clone(), &node.folder.path().join("transactions"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |method: &str, path: &str, body: Option<Value>| {
        runtime.block_on(inside.ask("bootstrap-commands.a", method, path, body.as_ref()))
    };
    let body = json!({"motd": "a"});
    let receipt = ask("PATCH", "/v1/settings?why=a%20test", Some(body)).unwrap();
    assert_eq!((receipt["after"].clone(), receipt["by"].clone()), (json!(1), json!("bootstrap-commands.a")));
    // The same limits and the same words.
    let wrong = ask("PATCH", "/v1/settings", Some(json!({"motd": 7}))).unwrap_err();
    assert_eq!(wrong.kind, Kind::Invalid);
    assert_eq!(ask("POST", "/v1/nothing", None).unwrap_err().kind, Kind::NotFound);
    assert_eq!(ask("POST", "/v1/settings", None).unwrap_err().kind, Kind::Method);
    assert_eq!(
        ask("POST", "/v1/settings/unset?what=1", Some(json!({"keys": ["motd"]}))).unwrap_err().kind,
        Kind::Malformed
    );
    let large = json!({"motd": "a".repeat(limits::BODY_BYTES)});
    assert_eq!(ask("PATCH", "/v1/settings", Some(large)).unwrap_err().kind, Kind::TooLarge);
    let opened = ask("POST", "/v1/transactions", None).unwrap();
    assert_eq!(
        ask("DELETE", &format!("/v1/transactions/{}", opened["id"].as_str().unwrap()), None).unwrap(),
        Value::Null
    );
    assert_eq!(node.store().current().unwrap().generation.number, 1);
}
