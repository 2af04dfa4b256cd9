//! The API over the engine of settings, on real files; services write down what they are told.

use std::{
    fs,
    os::{fd::BorrowedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use rocketos_api::{Access, Peer, Permit, Service, limits::Patience, wire};
use rocketos_deploy::SettingsFolders;
use rocketos_model::layout;
use rocketos_settings::{plan::Plan, render::Files};
use tokio::{runtime::Runtime, sync::oneshot};

use super::*;
use crate::{
    api::Client,
    configure::{Complaint, Order, Services, Told},
};

/// Who changes settings at once, and how often each.
const WRITERS: usize = 16;
const CHANGES: usize = 12;

/// What services do: the words of those that fail, and the checker's complaint.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<(Option<String>, Option<String>)>>);

impl Services for Words {
    fn check(&self, _: &Path, _: &Files, _: &Plan) -> Result<(), Complaint> {
        match &self.0.lock().unwrap().1 {
            Some(said) => Err(Complaint { by: "a checker".to_owned(), said: said.clone() }),
            None => Ok(()),
        }
    }

    fn tell(&self, order: &Order) -> Result<Told, String> {
        match &self.0.lock().unwrap().0 {
            Some(failing) if order.words().0 == failing => Err("it does not come up".to_owned()),
            _ => Ok(Told::Done),
        }
    }
}

struct Everybody;

impl Permit for Everybody {
    fn access(&self, peer: Peer, _: BorrowedFd<'_>) -> std::io::Result<Access> {
        Ok(Access { who: format!("uid {}", peer.uid), read: true, change: true })
    }
}

struct Served {
    root: tempfile::TempDir,
    words: Words,
    _end: oneshot::Sender<()>,
    _runtime: Runtime,
}

impl Served {
    fn start() -> Self {
        let (root, words) = (tempfile::tempdir().unwrap(), Words::default());
        let id = "aa".repeat(16).parse().unwrap();
        for folder in ["etc".into(), Path::new("sysroot").join(layout::deployment_dir(&id))] as [PathBuf; 2] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let folders = SettingsFolders::at(&root.path().join("sysroot"), id);
        let engine = Engine::of(root.path(), folders, Box::new(words.clone()));
        let listener = UnixListener::bind(root.path().join("api.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let service = Service {
            node: Arc::new(ThisNode::of(engine)),
            permit: Arc::new(Everybody),
            transactions: root.path().join("transactions"),
            patience: Patience::default(),
        };
        let (end, ends) = oneshot::channel::<()>();
        let runtime = crate::pull::runtime().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            service.serve(listener, async { _ = ends.await }).await
        });
        Self { root, words, _end: end, _runtime: runtime }
    }

    fn client(&self) -> Client {
        Client::at(&self.root.path().join("api.sock")).unwrap()
    }

    fn patch(&self, body: &Value) -> anyhow::Result<wire::Receipt> {
        self.client().ask("PATCH", "/v1/settings", None, Some(body))?.read()
    }
}

fn problem(error: &anyhow::Error) -> &Problem {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

/// Every document of the engine is read as the API has it, whole.
#[test]
fn the_engine_and_the_api_have_one_form() {
    let node = Served::start();
    let receipt = node.patch(&json!({ "motd": "a", "network": { "hostname": "n" } })).unwrap();
    assert_eq!((receipt.verb.as_str(), receipt.outcome.as_str(), receipt.after), ("change", "applied", 1));
    assert!(receipt.files.iter().any(|file| file.path == "etc/motd" && file.change == "written"), "{receipt:?}");
    assert!(receipt.steps.iter().any(|step| step.outcome == "done"), "{receipt:?}");
    assert_eq!(fs::read_to_string(node.root.path().join("etc/motd")).unwrap(), "a\n");
    let ask = |method: &str, path: &str| node.client().ask(method, path, None, None).unwrap();
    let shown: wire::Shown = ask("GET", "/v1/settings?origins=true").read().unwrap();
    assert_eq!((shown.generation, shown.in_force.kind.as_str()), (1, "generation"));
    assert_eq!(shown.origins.unwrap()[0].key.to_string(), "motd");
    let history: wire::History = ask("GET", "/v1/settings/generations").read().unwrap();
    assert_eq!(history.generations[0].settings.len(), 2);
    let difference: wire::Difference = ask("GET", "/v1/settings/diff").read().unwrap();
    assert_eq!((difference.from, difference.to, difference.settings.len()), (0, 1, 2));
    let applied: wire::Receipt = ask("POST", "/v1/settings/apply").read().unwrap();
    assert_eq!((applied.verb.as_str(), applied.before, applied.after), ("apply", 1, 1));
    let undone: wire::Receipt = ask("POST", "/v1/settings/undo").read().unwrap();
    assert_eq!((undone.verb.as_str(), undone.after), ("undo", 2));
    let locked: wire::Locked = ask("POST", "/v1/settings/lock").read().unwrap();
    assert_eq!(problem(&node.patch(&json!({ "motd": "b" })).unwrap_err()).kind, Kind::Locked);
    let shown: wire::Shown = ask("GET", "/v1/settings").read().unwrap();
    assert_eq!(shown.locked, Some(locked));
}

/// Of a node whose journal, updater and systemd may not answer.
#[test]
fn a_report_has_the_settings_and_no_secret_of_them() {
    let node = Served::start();
    let credentials = json!([{"registry": "registry.example", "auth": "aHVudGVyMg=="}]);
    node.patch(&json!({ "motd": "a", "container-registry": { "credentials": credentials } })).unwrap();
    let packed = node.client().ask("GET", "/v1/reports/logs", None, None).unwrap().bytes().unwrap();
    let manifest = report::logs::manifest(&packed).unwrap();
    let settings = manifest.entries.iter().find(|entry| entry.what == "settings").unwrap();
    assert_eq!((settings.path.as_deref(), settings.by.as_str()), (Some("settings.json"), "built-in"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
    let mut said = String::new();
    for entry in archive.entries().unwrap() {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry.unwrap(), &mut text).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
        said += &text;
    }
    assert!(said.contains("registry.example") && said.contains("(secret)"), "{said}");
}

#[test]
fn a_program_is_started_in_no_container_but_one_that_runs() {
    let node = Served::start();
    let started = |container: &str| {
        let asked = wire::Exec { command: vec!["/tool".to_owned()], terminal: None };
        let error = node.client().exec(container, &asked, std::io::empty(), &mut Vec::new(), &mut Vec::new());
        problem(&error.unwrap_err()).kind
    };
    assert_eq!(started("admin"), Kind::NotFound);
    let admin = json!({ "enabled": true, "source": "registry.example/admin:1" });
    node.patch(&json!({ "host-containers": { "of-a-test": admin } })).unwrap();
    // No machine that tests run on has it.
    assert_eq!(started("of-a-test"), Kind::NothingToDo);
}

#[test]
fn what_the_engine_refuses_keeps_its_meaning() {
    let node = Served::start();
    node.patch(&json!({ "motd": "a" })).unwrap();
    let client = node.client();
    let refused = |method: &str, path: &str, tag, body: Option<Value>| {
        let error = client.ask(method, path, tag, body.as_ref()).unwrap().json().unwrap_err();
        (problem(&error).clone(), exit::code(&error))
    };
    let motd = || Some(json!({ "motd": "b" }));
    let (stale, code) = refused("PATCH", "/v1/settings", Some(7), motd());
    assert_eq!((stale.kind, stale.generation, code), (Kind::Stale, Some(1), 75.into()));
    let (invalid, code) = refused("PATCH", "/v1/settings", None, Some(json!({ "network": { "hostname": "-" } })));
    assert_eq!((invalid.kind, code), (Kind::Invalid, 65.into()));
    assert_eq!(invalid.problems[0].key.as_ref().unwrap().to_string(), "network.hostname");
    assert_eq!(refused("POST", "/v1/settings/undo?to=9", None, None).0.kind, Kind::NotFound);
    assert_eq!(refused("GET", "/v1/settings/diff?from=7", None, None).0.kind, Kind::NotFound);
    node.words.0.lock().unwrap().1 = Some("no".to_owned());
    assert_eq!(refused("PATCH", "/v1/settings", None, motd()).0.kind, Kind::Invalid);
    *node.words.0.lock().unwrap() = (Some("set-hostname".to_owned()), None);
    let (put_back, code) = refused("PATCH", "/v1/settings", None, Some(json!({ "network": { "hostname": "n" } })));
    // Telling the name of before fails too, so that nobody can say that it is in force.
    assert!(matches!(put_back.kind, Kind::NotApplied | Kind::NotPutBack), "{put_back:?}");
    let receipt = put_back.receipt.unwrap();
    assert!(receipt.steps.iter().any(|step| step.outcome == "failed" && step.said == "it does not come up"));
    assert_eq!((receipt.after, code), (1, 1.into()));
}

#[test]
fn a_socket_where_nobody_listens_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::at(&folder.path().join("api.sock")).unwrap();
    let error = client.ask("GET", "/v1/settings", None, None).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("nothing listens at "), "{error:#}");
    assert_eq!(exit::code(&error), 69.into());
}

/// Half of them with If-Match and again where somebody was faster, half without.
#[test]
fn many_writers_lose_no_change() {
    let node = Served::start();
    node.patch(&json!({ "metrics": { "service-checks": ["a.service"] }, "motd": "0" })).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = node.client();
            scope.spawn(move || {
                let own = |change: usize| json!({ format!("net.test.writer{writer}"): change.to_string() });
                for change in 1..=CHANGES {
                    let sysctl = json!({ "kernel": { "sysctl": own(change) } });
                    if writer % 2 == 0 {
                        client.ask("PATCH", "/v1/settings", None, Some(&sysctl)).unwrap().json().unwrap();
                        continue;
                    }
                    loop {
                        let read = client.ask("GET", "/v1/settings?prefix=motd", None, None).unwrap();
                        let read: wire::Shown = read.read().unwrap();
                        let count: usize = read.settings["motd"].as_str().unwrap().parse().unwrap();
                        let mut body = sysctl.clone();
                        body["motd"] = Value::from((count + 1).to_string());
                        let written = client.ask("PATCH", "/v1/settings", Some(read.generation), Some(&body)).unwrap();
                        match written.json() {
                            Ok(_) => break,
                            Err(error) => assert_eq!(problem(&error).kind, Kind::Stale, "{error:?}"),
                        }
                    }
                }
            });
        }
    });
    let now: wire::Shown = node.client().ask("GET", "/v1/settings", None, None).unwrap().read().unwrap();
    assert_eq!(now.generation as usize, 1 + WRITERS * CHANGES);
    assert_eq!(now.settings["motd"], (WRITERS / 2 * CHANGES).to_string());
    for writer in 0..WRITERS {
        assert_eq!(now.settings["kernel"]["sysctl"][format!("net.test.writer{writer}")], CHANGES.to_string());
    }
    // What is in force is what the files say.
    let motd = fs::read_to_string(node.root.path().join("etc/motd")).unwrap();
    assert_eq!(motd.trim(), now.settings["motd"]);
}

#[test]
fn what_is_asked_of_the_updater_is_what_status_says_can_be_done() {
    let deployment = |id: &str| json!({ "rocketos": { "deployment": id } });
    let mut status = json!({ "status": { "booted": deployment("aa11"), "rocketos": { "downloaded": null } } });
    assert_eq!(activation(&status).unwrap_err().kind, Kind::NothingToDo);
    assert_eq!(way_back(None, &status).unwrap_err().kind, Kind::NothingToDo);
    status["status"]["rocketos"]["downloaded"] = json!("bb22");
    assert_eq!(activation(&status).unwrap()[1], "--from-downloaded");
    status["status"]["rollback"] = deployment("ab33");
    status["status"]["otherDeployments"] = json!([deployment("cc44")]);
    assert_eq!(way_back(None, &status).unwrap(), None);
    for (to, found) in [("aa", Ok("aa11")), ("AB", Ok("ab33")), ("cc44", Ok("cc44")), ("a", Err(400)), ("d", Err(404))]
    {
        let way = way_back(Some(to), &status).map(Option::unwrap).map_err(|problem| problem.status);
        assert_eq!(way, found.map(str::to_owned), "{to}");
    }
    assert_eq!(status.pointer(BOOTED), Some(&json!("aa11")));
}

#[test]
fn host_containers_are_as_status_has_them() {
    assert!(running(&json!({ "status": { "rocketos": {} } })).unwrap().is_empty());
    let digest = "aa".repeat(64);
    let manifest = format!("sha256:{}", "bb".repeat(32));
    let one = json!({
        "name": "admin", "enabled": true, "source": "docker://r.example/admin:1", "problem": null,
        "image": { "image": "docker://r.example/admin:1", "imageDigest": manifest, "composefsDigest": digest },
        "unit": { "state": "failed", "result": "exit-code", "since": null, "restarts": 7 },
    });
    let stand = running(&json!({ "status": { "rocketos": { "hostContainers": [one] } } })).unwrap();
    let (image, unit) = &stand["admin"];
    assert_eq!((&image.as_ref().unwrap().composefs_digest, unit.as_ref().unwrap().restarts), (&digest, 7));
}

#[test]
fn what_the_updater_ends_with_keeps_its_meaning() {
    let done = |code, out: &str, err: &str| Done { code, out: out.to_owned(), err: err.to_owned() };
    assert_eq!(came_to(&done(0, "{\"outcome\":\"current\"}\n", "")).unwrap(), json!({ "outcome": "current" }));
    for (code, kind) in [
        (1, Kind::Failed),
        (65, Kind::Refused),
        (69, Kind::Unreachable),
        (73, Kind::Full),
        (75, Kind::Busy),
        (77, Kind::Refused),
        (137, Kind::Failed),
    ] {
        let problem = came_to(&done(code, "", "rocketctl: why\n")).unwrap_err();
        assert_eq!((problem.kind, problem.detail.as_str()), (kind, "why"), "{code}");
    }
    assert_eq!(came_to(&done(0, "words", "")).unwrap_err().kind, Kind::Failed);
}
