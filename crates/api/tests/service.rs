//! The service over a real socket, with settings in a real store.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rocketos_api::{limits, wire::Event};
use serde_json::{Value, json};
use support::{Lets, QUICK, Served, events};

fn served() -> Served {
    Served::start(Lets::all(), QUICK)
}

#[test]
fn settings_are_changed_shown_compared_and_undone() {
    let node = served();
    let before = node.ask("GET", "/v1/settings", None);
    assert_eq!((before.status, before.header("etag")), (200, Some("\"0\"")));
    assert_eq!(before.json()["settings"], json!({"motd": "image", "host-containers": {"admin": {"enabled": false}}}));
    let changed =
        node.ask("PATCH", "/v1/settings?why=a%20test", Some(json!({"motd": "a", "network": {"hostname": "n"}})));
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"1\"")));
    assert_eq!(changed.json()["settings"].as_array().unwrap().len(), 2);
    let shown = node.ask("GET", "/v1/settings?prefix=motd&origins=true", None).json();
    assert_eq!(shown["settings"], json!({"motd": "a"}));
    assert_eq!(shown["origins"][0]["set-by"]["layer"], "operator");
    assert_eq!(shown["origins"][0]["set-by"]["by"], format!("uid {}", rustix::process::getuid().as_raw()));
    let unset = node.ask("POST", "/v1/settings/unset", Some(json!({"keys": ["settings.motd"]})));
    assert_eq!((unset.status, unset.json()["after"].clone()), (200, json!(2)));
    assert_eq!(node.ask("GET", "/v1/settings?prefix=motd", None).json()["settings"], json!({"motd": "image"}));
    let history = node.ask("GET", "/v1/settings/generations", None).json();
    assert_eq!(history["generations"][1]["why"], "a test");
    let first = node.ask("GET", "/v1/settings/generations/1", None).json();
    assert_eq!((first["generation"].clone(), first["stored"].as_array().unwrap().len()), (json!(1), 2));
    assert_eq!(node.ask("GET", "/v1/settings/generations/9", None).kind(), "not-found");
    let diff = node.ask("GET", "/v1/settings/diff", None).json();
    assert_eq!(
        (diff["from"].clone(), diff["to"].clone(), diff["settings"][0]["before"].clone()),
        (json!(1), json!(2), json!("a"))
    );
    assert_eq!(node.ask("POST", "/v1/settings/undo?to=1", None).json()["after"], 3);
    assert_eq!(node.ask("GET", "/v1/settings?prefix=motd", None).json()["settings"], json!({"motd": "a"}));
    assert_eq!(node.ask("POST", "/v1/settings/undo?to=77", None).kind(), "not-found");
    assert_eq!(node.ask("POST", "/v1/settings/apply?dry-run=true", None).json()["outcome"], "planned");
}

#[test]
fn a_dry_run_changes_nothing() {
    let node = served();
    let answer = node.ask("PATCH", "/v1/settings?dry-run=true", Some(json!({"motd": "a"})));
    assert_eq!((answer.status, answer.json()["outcome"].clone()), (200, json!("planned")));
    assert_eq!(node.store().current().unwrap().generation.number, 0);
}

#[test]
fn a_change_of_another_generation_is_refused_and_told_which_counts() {
    let node = served();
    let motd = |text: &str| Some(json!({ "motd": text }));
    for (tag, status) in [("\"0\"", 200), ("1", 200), ("*", 200), ("\"2\"", 412), ("\"0\"", 412)] {
        let answer = node.with("PATCH", "/v1/settings", &[("If-Match", tag)], motd(tag));
        assert_eq!(answer.status, status, "{tag} {answer:?}");
        if status == 412 {
            assert_eq!((answer.kind(), answer.json()["generation"].clone()), ("stale".to_owned(), json!(3)));
        }
    }
    for wrong in ["W/\"3\"", "\"3\", \"4\"", "three", "\"3", "-1", "99999999999999999999999"] {
        assert_eq!(
            node.with("PATCH", "/v1/settings", &[("If-Match", wrong)], motd("x")).kind(),
            "malformed",
            "{wrong}"
        );
    }
    let twice = [("If-Match", "\"3\""), ("If-Match", "\"4\"")];
    assert_eq!(node.with("PATCH", "/v1/settings", &twice, motd("x")).kind(), "malformed");
}

#[test]
fn what_is_wrong_with_settings_is_told_each_with_its_key_and_nothing_is_stored() {
    let node = served();
    for (body, key, said) in [
        (json!({"mtod": "a"}), "mtod", "did you mean 'motd'?"),
        (json!({"motd": 1}), "motd", ""),
        (json!({"motd": null}), "motd", "unsets it"),
        (json!({"network": {"hostname": "-"}}), "network.hostname", ""),
        (json!({"motd": {"below": 1}}), "motd.below", ""),
        (
            json!({"host-containers": {"admin": {"user-data": "(secret)"}}}),
            "host-containers.admin.user-data",
            "stands for a secret",
        ),
        (json!({"boot": {"kernel-parameters": {"quiet": []}}}), "boot.kernel-parameters.quiet", "signed addons"),
    ] {
        let answer = node.ask("PATCH", "/v1/settings", Some(body.clone()));
        assert_eq!((answer.status, answer.kind()), (422, "invalid".to_owned()), "{body} {answer:?}");
        let problem = &answer.json()["problems"][0];
        assert_eq!(problem["key"], key, "{answer:?}");
        assert!(problem["message"].as_str().unwrap().contains(said), "{answer:?}");
    }
    assert_eq!(node.ask("PATCH", "/v1/settings", Some(json!(["motd"]))).kind(), "invalid");
    assert_eq!(node.ask("GET", "/v1/settings?prefix=mtod", None).kind(), "not-found");
    assert_eq!(node.store().current().unwrap().generation.number, 0);
}

#[test]
fn a_secret_comes_back_from_nowhere() {
    let node = served();
    let secret = "aHVudGVyMg==";
    let body = json!({"host-containers": {"admin": {"source": "a.example/b:1", "user-data": secret}}});
    let id = node.ask("POST", "/v1/transactions", None).json()["id"].as_str().unwrap().to_owned();
    let mut said = vec![
        node.ask("PATCH", "/v1/settings?dry-run=true", Some(body.clone())),
        node.ask("PATCH", "/v1/settings", Some(body.clone())),
        node.ask("PATCH", &format!("/v1/transactions/{id}"), Some(body)),
        node.ask("PATCH", "/v1/settings", Some(json!({"host-containers": {"admin": {"user-dat": secret}}}))),
        node.ask(
            "PATCH",
            "/v1/settings",
            Some(json!({"container-registry": {"credentials": [{"password": secret, "x": 1}]}})),
        ),
    ];
    for path in
        ["settings?origins=true", "settings/generations", "settings/generations/1", "settings/diff", "host-containers"]
    {
        said.push(node.ask("GET", &format!("/v1/{path}"), None));
    }
    said.push(node.ask("GET", &format!("/v1/transactions/{id}"), None));
    for answer in said {
        assert!(!answer.text.contains(secret), "{answer:?}");
    }
    assert_eq!(node.store().current().unwrap().generation.content.overrides.len(), 2);
}

#[test]
fn a_transaction_comes_to_effect_at_once_and_is_gone_then() {
    let node = served();
    node.ask("PATCH", "/v1/settings", Some(json!({"motd": "old", "ntp": {"time-servers": ["a.example"]}})));
    let opened = node.ask("POST", "/v1/transactions", None);
    let path = opened.header("location").unwrap().to_owned();
    assert_eq!(
        (opened.status, path.clone()),
        (201, format!("/v1/transactions/{}", opened.json()["id"].as_str().unwrap()))
    );
    node.ask("PATCH", &path, Some(json!({"motd": "new"})));
    node.ask("PATCH", &path, Some(json!({"network": {"hostname": "n"}})));
    let unset = node.ask("POST", &format!("{path}/unset"), Some(json!({"keys": ["ntp", "network"]}))).json();
    assert_eq!(
        (unset["settings"].clone(), unset["unset"].clone()),
        (json!({"motd": "new"}), json!(["ntp", "network"]))
    );
    assert_eq!(node.store().current().unwrap().generation.number, 1);
    let stale = node.with("POST", &format!("{path}/commit"), &[("If-Match", "\"0\"")], None);
    assert_eq!(stale.kind(), "stale");
    assert_eq!(node.ask("POST", &format!("{path}/commit?dry-run=true"), None).json()["outcome"], "planned");
    let receipt = node.ask("POST", &format!("{path}/commit"), None).json();
    assert_eq!((receipt["after"].clone(), receipt["settings"].as_array().unwrap().len()), (json!(2), 2));
    for (method, end) in [("POST", "/commit"), ("GET", ""), ("DELETE", "")] {
        assert_eq!(node.ask(method, &format!("{path}{end}"), None).kind(), "not-found");
    }
    let other = node.ask("POST", "/v1/transactions", None).header("location").unwrap().to_owned();
    assert_eq!(node.ask("DELETE", &other, None).status, 204);
}

#[test]
fn nothing_changes_once_settings_are_locked() {
    let node = served();
    assert_eq!(node.ask("POST", "/v1/settings/lock", None).status, 200);
    let refused = node.ask("PATCH", "/v1/settings", Some(json!({"motd": "a"})));
    assert_eq!((refused.status, refused.kind()), (409, "locked".to_owned()));
    assert!(node.ask("GET", "/v1/settings", None).json()["locked"]["by"].is_string());
}

#[test]
fn who_may_read_changes_nothing_and_who_may_nothing_learns_nothing() {
    let reader = Served::start(Lets::of(true, false), QUICK);
    assert_eq!(reader.ask("GET", "/v1/settings", None).status, 200);
    let nobody = Served::start(Lets::of(false, false), QUICK);
    let all = description();
    for (path, methods) in all["paths"].as_object().unwrap() {
        let path = path.replace("{number}", "1").replace("{id}", "aaaaaaaaaaaaaaaa").replace("{name}", "boot");
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let answer = nobody.ask(&method, &path, None);
            assert_eq!((answer.status, answer.kind()), (403, "not-permitted".to_owned()), "{method} {path}");
            if operation["description"] != "For who may read." {
                assert_eq!(reader.ask(&method, &path, None).status, 403, "{method} {path}");
            }
        }
    }
    for (method, path) in [("GET", "/v1/other"), ("PUT", "/v1/settings"), ("GET", "/")] {
        assert_eq!(nobody.ask(method, path, None).status, 403, "{method} {path}");
    }
    assert!(reader.desk.asked.lock().unwrap().is_empty() && nobody.desk.asked.lock().unwrap().is_empty());
}

fn description() -> Value {
    serde_json::from_str(&rocketos_api::openapi::document()).unwrap()
}

#[test]
fn every_route_is_described_and_every_description_served() {
    let (node, all) = (served(), description());
    for (path, methods) in all["paths"].as_object().unwrap() {
        let real = path.replace("{number}", "1").replace("{id}", "aaaaaaaaaaaaaaaa").replace("{name}", "boot");
        for method in ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"] {
            if real == "/v1/events" && method == "GET" {
                continue;
            }
            let answer = node.ask(method, &format!("{real}?surely-not-there=1"), None);
            match methods.get(method.to_lowercase()) {
                // It is served: the query is what is wrong, or something before it.
                Some(described) => {
                    assert_ne!(answer.status, 405, "{method} {path}");
                    let statuses = described["responses"].as_object().unwrap();
                    assert!(statuses.contains_key(&answer.status.to_string()), "{method} {path}: {answer:?}");
                }
                None => {
                    assert_eq!((answer.status, answer.kind()), (405, "method".to_owned()), "{method} {path}");
                    assert!(answer.header("allow").is_some(), "{answer:?}");
                }
            }
        }
    }
    assert_eq!(node.ask("GET", "/v1/openapi.json", None).json(), all);
    assert_eq!(node.ask("GET", "/v1/settings/schema", None).header("content-type"), Some("application/schema+json"));
    assert!(node.desk.asked.lock().unwrap().is_empty(), "a request with a wrong query did something");
}

#[test]
fn answers_are_as_the_description_says() {
    let (node, all) = (served(), description());
    node.ask(
        "PATCH",
        "/v1/settings",
        Some(json!({"motd": "a", "host-containers": {"admin": {"source": "a.example/b:1"}}})),
    );
    for (method, path, described) in [
        ("GET", "/v1/settings?origins=true", "/v1/settings"),
        ("PATCH", "/v1/settings", "/v1/settings"),
        ("GET", "/v1/settings/generations", "/v1/settings/generations"),
        ("GET", "/v1/settings/generations/1", "/v1/settings/generations/{number}"),
        ("GET", "/v1/settings/boot", "/v1/settings/boot"),
        ("GET", "/v1/settings/diff", "/v1/settings/diff"),
        ("POST", "/v1/settings/lock", "/v1/settings/lock"),
        ("POST", "/v1/transactions", "/v1/transactions"),
        ("GET", "/v1/health", "/v1/health"),
        ("GET", "/v1/status", "/v1/status"),
        ("GET", "/v1/reports/boot", "/v1/reports/{name}"),
        ("GET", "/v1/host-containers", "/v1/host-containers"),
        ("POST", "/v1/update/prepare", "/v1/update/prepare"),
        ("POST", "/v1/update/deactivate", "/v1/update/deactivate"),
        ("POST", "/v1/rollback?to=0a", "/v1/rollback"),
    ] {
        let answer = node.ask(method, path, (method == "PATCH").then(|| json!({"motd": "b"})));
        let content =
            &all["paths"][described][method.to_lowercase()]["responses"][answer.status.to_string()]["content"];
        let (_, content) =
            content.as_object().unwrap().iter().next().unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        let mut schema = content["schema"].clone();
        schema["components"] = all["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        if let Err(error) = validator.validate(&answer.json()) {
            panic!("{method} {path}: {error} at {}: {answer:?}", error.instance_path());
        }
    }
    let containers = node.ask("GET", "/v1/host-containers", None).json();
    assert_eq!(
        containers["containers"],
        json!([{"name": "admin", "enabled": false, "source": "a.example/b:1", "superpowered": false,
                "unit": {"state": "active", "result": "success", "restarts": 2}}])
    );
}

#[test]
fn requests_of_every_wrong_kind_are_refused_and_the_service_goes_on() {
    let node = served();
    let whole = |method: &str, path: &str, rest: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}")
    };
    let json = "Content-Type: application/json\r\n";
    let many = "X-A: b\r\n".repeat(limits::HEADERS + 9);
    let cases: Vec<(String, u16)> = vec![
        (whole("GET", "/v1/other", "\r\n"), 404),
        (whole("GET", "/v1/settings/", "\r\n"), 404),
        (whole("GET", "/v1/../v1/settings", "\r\n"), 404),
        (whole("GET", "/v1/settings?prefix=", "\r\n"), 404),
        (whole("GET", "/v1/settings?prefix=a..b", "\r\n"), 404),
        (whole("GET", "/v1/settings?origins=perhaps", "\r\n"), 400),
        (whole("GET", "/v1/settings?origins=true&origins=false", "\r\n"), 400),
        (whole("GET", "/v1/settings?%ff%fe=1", "\r\n"), 400),
        (whole("GET", "/v1/settings/generations/%ff", "\r\n"), 400),
        (whole("GET", "/v1/settings/generations/-1", "\r\n"), 404),
        (whole("GET", "/v1/settings/generations/+1", "\r\n"), 404),
        (whole("GET", "/v1/settings/generations/99999999999999999999999", "\r\n"), 404),
        (whole("GET", "/v1/settings/diff?from=-1", "\r\n"), 400),
        (whole("GET", "/v1/transactions/..%2f..%2fetc", "\r\n"), 404),
        (whole("GET", "/v1/reports/..%2fboot", "\r\n"), 404),
        (whole("POST", "/v1/rollback?to=..%2f", "\r\n"), 400),
        (whole("POST", "/v1/rollback?to=", "\r\n"), 400),
        (whole("PATCH", "/v1/settings?why=a%0ab", &format!("{json}Content-Length: 2\r\n\r\n{{}}")), 400),
        (whole("PATCH", "/v1/settings", "Content-Length: 2\r\n\r\n{}"), 415),
        (whole("PATCH", "/v1/settings", "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"), 415),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 0\r\n\r\n")), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 3\r\n\r\n{{\"a")), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 4\r\n\r\n\u{fffd}\n")), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n")), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 400\r\n\r\n{}", "[".repeat(400))), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}")), 400),
        (whole("PATCH", "/v1/settings", &format!("{json}Content-Length: 99999999999\r\n\r\n{{")), 413),
        (whole("POST", "/v1/settings/unset", &format!("{json}Content-Length: 11\r\n\r\n{{\"keys\":[]}}")), 400),
        (whole("POST", "/v1/settings/unset", &format!("{json}Content-Length: 2\r\n\r\n{{}}")), 400),
        (whole("POST", "/v1/settings/unset", &format!("{json}Content-Length: 16\r\n\r\n{{\"keys\":[\"a..\"]}}")), 422),
        (whole("GET", "/v1/status", &format!("{many}\r\n")), 431),
        (whole("GET", &format!("/v1/{}", "a".repeat(limits::HEAD_BYTES)), "\r\n"), 431),
        ("GET /v1/status HTTP/1.1\r\nConn ection: x\r\n\r\n".to_owned(), 400),
        ("GET /v1/status HTTP/7\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\0\u{2}hello, are you TLS?\r\n\r\n".to_owned(), 400),
    ];
    for (bytes, status) in cases {
        let shown: String = bytes.chars().take(150).collect();
        let answer = node.raw(bytes.as_bytes()).unwrap_or_else(|| panic!("{shown:?}: no answer"));
        assert!(answer.status == status, "{shown:?}: not {status}: {answer:?}");
    }
    // Another protocol is not even answered.
    assert!(node.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_none());
    assert_eq!(node.ask("GET", "/v1/status", None).status, 200);
    assert_eq!(node.store().current().unwrap().generation.number, 0);
}

#[test]
fn who_speaks_http_1_0_is_answered_without_pieces() {
    let node = served();
    let answer = node.raw(b"GET /v1/openapi.json HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert!(answer.json().is_object());
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let node = served();
    let head = "PATCH /v1/settings HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let large = "a".repeat(limits::BODY_BYTES);
    let said = format!("{head}Content-Length: {}\r\n\r\n{{\"motd\":\"{large}\"}}", large.len() + 11);
    assert_eq!(node.raw(said.as_bytes()).map(|answer| answer.status), Some(413));
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for _ in 0..=limits::BODY_BYTES >> 16 {
        chunked += &format!("10000\r\n{}\r\n", &large[..1 << 16]);
    }
    chunked += "0\r\n\r\n";
    assert_eq!(node.raw(chunked.as_bytes()).map(|answer| answer.status), Some(413));
    // A tree that is larger than any, in a body that is not.
    let tree = json!({ "motd": "a".repeat(rocketos_settings::TREE_BYTES) });
    assert_eq!(node.ask("PATCH", "/v1/settings", Some(tree)).status, 413);
}

#[test]
fn who_is_slow_is_not_waited_for() {
    let node = served();
    let start = Instant::now();
    let slow = |bytes: &str| {
        let mut stream = UnixStream::connect(node.socket()).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        support::read(&mut stream)
    };
    assert!(slow("").is_none_or(|answer| answer.status == 408));
    assert!(slow("GET /v1/status HTTP/1.1\r\nHost: a\r\nX-").is_none_or(|answer| answer.status == 408));
    let body = slow(
        "PATCH /v1/settings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{",
    );
    assert_eq!(body.unwrap().kind(), "timeout");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn who_does_not_read_gives_the_place_back() {
    let node = served();
    let mut deaf = UnixStream::connect(node.socket()).unwrap();
    // Answers of a hundred kilobytes each, until no buffer takes more.
    let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n";
    deaf.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let closed = loop {
        match deaf.write_all(request.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break true,
            _ if Instant::now() > deadline => break false,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(closed, "a client that reads nothing is kept");
}

#[test]
fn too_many_connections_are_turned_away_and_told_so() {
    let node = served();
    let mut idle = Vec::new();
    for _ in 0..limits::CONNECTIONS {
        idle.push(UnixStream::connect(node.socket()).unwrap());
    }
    // Those before were taken in order.
    let turned = node.ask("GET", "/v1/status", None);
    assert_eq!((turned.status, turned.kind()), (503, "crowded".to_owned()));
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(10);
    while node.ask("GET", "/v1/status", None).status != 200 {
        assert!(Instant::now() < deadline, "no place is given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_ends_when_nobody_comes_and_not_while_somebody_listens() {
    let mut node =
        Served::start(Lets::all(), rocketos_api::limits::Patience { idle: Duration::from_millis(300), ..QUICK });
    let mut listener = UnixStream::connect(node.socket()).unwrap();
    listener.write_all(b"GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(node.ask("GET", "/v1/status", None).status, 200);
    drop(listener);
    node.wait().unwrap();
}

#[test]
fn told_to_end_it_finishes_what_it_does_and_ends_streams() {
    let mut node = served();
    let mut listener = UnixStream::connect(node.socket()).unwrap();
    listener.write_all(b"GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    // In the middle of a request.
    let mut asks = UnixStream::connect(node.socket()).unwrap();
    let body = r#"{"motd":"last"}"#;
    let head = format!(
        "PATCH /v1/settings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    asks.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    node.end();
    std::thread::sleep(Duration::from_millis(300));
    asks.write_all(body.as_bytes()).unwrap();
    let answer = support::read(&mut asks).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    let mut rest = String::new();
    listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    listener.read_to_string(&mut rest).unwrap();
    node.wait().unwrap();
    assert_eq!(node.store().current().unwrap().generation.number, 1);
}

#[test]
fn listeners_hear_of_changes_by_anybody_and_of_updates() {
    let node = served();
    let mut listener = UnixStream::connect(node.socket()).unwrap();
    listener.write_all(b"GET /v1/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut text = String::new();
    let mut until = |wanted: &dyn Fn(&[Event]) -> bool| {
        let mut buffer = [0; 4096];
        loop {
            // Chunks of HTTP: their lengths stand on lines of their own, between events.
            let heard = events(&text.replace("\r\n", "\n"));
            if wanted(&heard) {
                return heard;
            }
            let count = listener.read(&mut buffer).unwrap();
            assert!(count > 0, "{text}");
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
    };
    until(&|heard| heard.contains(&Event::Settings { generation: 0 }));
    node.ask("PATCH", "/v1/settings", Some(json!({"motd": "by the service"})));
    until(&|heard| heard.contains(&Event::Settings { generation: 1 }));
    let content = node.store().current().unwrap().generation.content;
    node.store().commit(1, content, "another", "", chrono::Utc::now()).unwrap();
    until(&|heard| heard.contains(&Event::Settings { generation: 2 }));
    node.ask("POST", "/v1/update/prepare", None);
    node.ask("POST", "/v1/update/deactivate", None);
    let heard = until(&|heard| {
        heard.iter().any(
            |event| matches!(event, Event::Update { step, state, .. } if step == "deactivate" && state == "failed"),
        )
    });
    let states: Vec<String> = heard
        .iter()
        .filter_map(|event| match event {
            Event::Update { step, state, .. } => Some(format!("{step} {state}")),
            _ => None,
        })
        .collect();
    assert_eq!(states, ["prepare began", "prepare progress", "prepare done", "deactivate began", "deactivate failed"]);
    let generations = heard.iter().filter(|event| matches!(event, Event::Settings { .. })).count();
    assert_eq!(generations, 3, "{heard:?}");
}
