//! The API as the program itself serves it, and the verbs that ask it. No machine is needed: what is not there is told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rocketctl");
/// Where a machine says that it was booted from Rocket OS.
const BOOTED: &str = "/run/rocketos/booted.toml";
/// How long the service may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    folder: TempDir,
    service: Child,
}

impl Served {
    /// As systemd starts it: the socket is standard input.
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
        let service = Command::new(PROGRAM)
            .args(["internal", "api"])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, service }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    fn ask(&self, words: &[&str]) -> Output {
        Command::new(PROGRAM).args(words).arg("--socket").arg(self.socket()).output().unwrap()
    }

    /// What was said, and the exit code.
    fn told(&self, words: &[&str]) -> (String, Option<i32>) {
        let output = self.ask(words);
        (String::from_utf8(output.stderr).unwrap(), output.status.code())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

#[test]
fn serves_the_socket_that_it_is_given_and_ends_when_told() {
    let mut node = Served::start();
    let described: Value = serde_json::from_slice(&node.ask(&["api", "GET", "/v1/openapi.json"]).stdout).unwrap();
    assert_eq!(described["openapi"], "3.1.0");
    let schema: Value = serde_json::from_slice(&node.ask(&["settings", "schema"]).stdout).unwrap();
    assert!(schema["properties"]["motd"].is_object());
    let pid = Pid::from_raw(i32::try_from(node.service.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        match node.service.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => panic!("it does not end"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(ended.success(), "{ended}");
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    if fs::exists(BOOTED).unwrap() {
        return;
    }
    let node = Served::start();
    for words in [["settings", "get"].as_slice(), &["settings", "history"], &["settings", "set", "motd=hello"]] {
        let (said, code) = node.told(words);
        assert!(said.contains(BOOTED) && code == Some(1), "{words:?}: {said} {code:?}");
    }
    let refresh = node.ask(&["api", "POST", "/v1/update/refresh"]);
    let problem: Value = serde_json::from_slice(&refresh.stdout).unwrap();
    assert_eq!(problem["status"], 501, "{problem}");
    let (said, code) = node.told(&["api", "GET", "/v1/other"]);
    assert!(said.contains("/v1/openapi.json") && code == Some(1), "{said} {code:?}");
    let (said, code) = node.told(&["settings", "get", "mtod"]);
    assert!(said.contains("did you mean 'motd'?"), "{said} {code:?}");
}

#[test]
fn what_is_typed_wrongly_is_told_before_anybody_is_asked() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("api.sock");
    let document = folder.path().join("settings.toml");
    fs::write(&document, "[settings]\nmotd = 'a'\nmotd = 'b'\n").unwrap();
    let document = document.to_str().unwrap();
    let ask = |words: &[&str]| {
        let output = Command::new(PROGRAM).args(words).arg("--socket").arg(&socket).output().unwrap();
        (String::from_utf8(output.stderr).unwrap(), output.status.code())
    };
    for (words, said, code) in [
        (["settings", "set", "motd"].as_slice(), "KEY=VALUE", 1),
        (&["settings", "set"], "required", 2),
        (&["settings", "set", "host-containers.admin.enabled=perhaps"], "no TOML", 65),
        (&["settings", "set", "--file", document], "line 3", 65),
        (&["settings", "unset", "a..b"], "no key", 1),
        (&["api", "GET", "v1/status"], "begins with '/'", 1),
        (&["api", "G T", "/v1/status"], "method", 1),
        (&["settings", "get"], "nothing listens at", 69),
    ] {
        let (found, exit) = ask(words);
        assert!(found.contains(said) && exit == Some(code), "{words:?}: {found} {exit:?}");
    }
    let output = Command::new(PROGRAM).args(["internal", "api"]).stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("rocketos-api.socket"));
}
