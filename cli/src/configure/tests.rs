//! The engine on real files, with services that write down what they are told.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rocketos_deploy::SettingsFolders;
use rocketos_model::{DeploymentId, layout};
use rocketos_settings::{Key, Tree, plan::Plan, render::Files, store::StoreError};
use serde_json::{Value, json};

use super::*;

mod boot;
mod broken_off;
mod facts;
mod full;
mod host_containers;
mod trust;

/// What services do when they are told.
#[derive(Debug, Default)]
struct State {
    /// Everything that they were told, in order.
    log: Vec<String>,
    /// Words of what does not work.
    failing: Vec<String>,
    /// The number of orders after which the process ends.
    ends_after: Option<usize>,
    /// What the checker says.
    complaint: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Recording(Arc<Mutex<State>>);

impl Services for Recording {
    fn check(&self, folder: &Path, fresh: &Files, plan: &Plan) -> Result<(), Complaint> {
        for path in plan.write.iter().filter(|path| path.starts_with("etc/")) {
            assert_eq!(
                fs::read(folder.join(path)).unwrap(),
                fresh.all()[path].bytes,
                "{path} is not there to be checked"
            );
        }
        match &self.0.lock().unwrap().complaint {
            Some(said) => Err(Complaint { by: "a checker".to_owned(), said: said.clone() }),
            None => Ok(()),
        }
    }

    fn tell(&self, order: &Order) -> Result<Told, String> {
        let mut told = self.0.lock().unwrap();
        let (what, unit) = order.words();
        let words = unit.map_or(what.to_owned(), |unit| format!("{what} {unit}"));
        if told.ends_after == Some(0) {
            drop(told);
            resume_unwind(Box::new("the process ends"));
        }
        told.ends_after = told.ends_after.map(|left| left - 1);
        told.log.push(words.clone());
        match told.failing.contains(&words) {
            true => Err(format!("{words}: no")),
            false => Ok(crate::configure::Told::Done),
        }
    }
}

/// A root with an engine.
struct Node {
    root: tempfile::TempDir,
    services: Recording,
}

fn id(byte: &str) -> DeploymentId {
    byte.repeat(16).parse().unwrap()
}

impl Node {
    fn new() -> Self {
        let node = Self { root: tempfile::tempdir().unwrap(), services: Recording::default() };
        fs::create_dir_all(node.path("etc")).unwrap();
        fs::create_dir_all(node.path("sysroot").join(layout::deployment_dir(&id("aa")))).unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn engine(&self) -> Engine {
        self.engine_of("aa")
    }

    fn engine_of(&self, deployment: &str) -> Engine {
        let folders = SettingsFolders::at(&self.path("sysroot"), id(deployment));
        Engine::of(self.root.path(), folders, Box::new(self.services.clone()))
    }

    fn said(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// What services were told since.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.services.0.lock().unwrap().log)
    }

    fn failing(&self, words: &[&str]) {
        self.services.0.lock().unwrap().failing = words.iter().map(|word| (*word).to_owned()).collect();
    }

    fn ends_after(&self, orders: Option<usize>) {
        self.services.0.lock().unwrap().ends_after = orders;
    }

    /// Every file in /etc and /run but the engine's own, and their permissions.
    fn files(&self) -> Vec<(String, String, u32)> {
        let mut found = Vec::new();
        let own = [layout::node::SETTINGS, layout::node::PLACED].map(|own| self.path(&own[1..]));
        let mut waiting = vec![self.path("etc"), self.path("run")];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
                if own.contains(&entry.path()) {
                } else if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                } else {
                    let path = entry.path().strip_prefix(self.root.path()).unwrap().display().to_string();
                    let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                    found.push((path, fs::read_to_string(entry.path()).unwrap(), mode));
                }
            }
        }
        found.sort();
        found
    }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn set(value: Value) -> Change {
    Change { set: Tree::from_value(value).unwrap(), who: "uid 0".to_owned(), ..Change::default() }
}

fn unset(keys: &[&str]) -> Change {
    Change { unset: keys.iter().map(|text| key(text)).collect(), who: "uid 0".to_owned(), ..Change::default() }
}

fn web(image: &str) -> Value {
    json!({"containers": {"web": {"source": format!("registry.example/{image}")}}})
}

const WEB: &str = "settings-web.service";
const QUADLET: &str = "etc/containers/systemd/settings-web.container";

#[test]
fn a_change_is_stored_in_place_and_only_who_reads_it_is_told() {
    let node = Node::new();
    let receipt = node.engine().change(&set(json!({"motd": "Hello.", "network": {"hostname": "one"}}))).unwrap();
    assert_eq!((receipt.outcome, receipt.before, receipt.after), (Outcome::Applied, 0, 1));
    assert_eq!(node.told(), ["set-hostname"]);
    assert_eq!(
        (node.said("etc/motd").unwrap(), node.said("etc/hostname").unwrap()),
        ("Hello.\n".into(), "one\n".into())
    );
    let motd = receipt.files.iter().find(|file| file.path == "etc/motd").unwrap();
    assert!(motd.diff.as_ref().unwrap().contains("\n+Hello.\n"), "{motd:?}");
    let receipt = node.engine().change(&set(json!({"motd": "Hi."}))).unwrap();
    assert_eq!((receipt.after, node.told()), (2, vec![]));
    assert_eq!(receipt.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["etc/motd"]);
    assert_eq!(node.engine().last_receipt().unwrap()["after"], 2);
    let standing = node.engine().standing().unwrap();
    assert_eq!((standing.generation, standing.in_force.kind), (2, "generation"));
    assert_eq!(standing.settings.len(), 2);
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let node = Node::new();
    let change = set(json!({"motd": "Hello.", "network": {"hostname": "one"}, "ntp": {"time-servers": ["a.example"]}}));
    node.engine().change(&change).unwrap();
    node.told();
    let before = fs::metadata(node.path("etc/motd")).unwrap().modified().unwrap();
    // The same again is no change.
    let receipt = node.engine().change(&change).unwrap();
    assert_eq!((receipt.after, receipt.files.len(), receipt.steps.len()), (1, 0, 0));
    let receipt = node.engine().apply("uid 0", false).unwrap();
    assert_eq!((receipt.files.len(), node.told()), (0, vec![]));
    assert_eq!(fs::metadata(node.path("etc/motd")).unwrap().modified().unwrap(), before);
    // What somebody else changed is put right.
    fs::write(node.path("etc/systemd/timesyncd.conf.d/90-settings.conf"), "other").unwrap();
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!(node.told(), ["restart systemd-timesyncd.service"]);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "Hello."}))).unwrap();
    let before = node.files();
    let more = json!({"motd": "Hi.", "network": {"hostname": "one"}});
    let receipt = node.engine().change(&Change { dry_run: true, ..set(more) }).unwrap();
    assert_eq!((receipt.outcome, receipt.after), (Outcome::Planned, 1));
    assert_eq!(receipt.settings.len(), 2);
    assert_eq!(receipt.files.len(), 2);
    assert_eq!((receipt.steps[0].what, receipt.steps[0].outcome), ("set-hostname", StepOutcome::Planned));
    assert_eq!((node.files(), node.told()), (before, vec![]));
    assert_eq!(node.engine().standing().unwrap().generation, 1);
}

#[test]
fn where_a_unit_does_not_come_up_everything_is_as_before() {
    let node = Node::new();
    let first = json!({"network": {"hostname": "one"}, "dns": {"name-servers": ["192.0.2.1"]}});
    node.engine().change(&set(first)).unwrap();
    let before = node.files();
    node.told();
    node.failing(&["restart systemd-timesyncd.service"]);
    let change = json!({"network": {"hostname": "two"}, "dns": {"name-servers": ["192.0.2.2"]}, "ntp": {"time-servers": ["a.example"]}});
    let error = node.engine().change(&set(change)).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    let receipt = error.receipt().unwrap();
    // It fails on the way back as well: it is still told when it works.
    assert_eq!((receipt.outcome, receipt.before, receipt.after), (Outcome::Failed, 1, 1));
    let said = error.to_string();
    assert!(said.contains("restart systemd-timesyncd.service: no"), "{said}");
    assert_eq!((node.files(), node.engine().standing().unwrap().generation), (before.clone(), 1));
    let told = ["set-hostname", "restart systemd-resolved.service", "restart systemd-timesyncd.service"];
    assert_eq!(node.told(), [told, told].concat());
    node.failing(&[]);
    node.engine().apply("uid 0", false).unwrap();
    assert!(node.told().contains(&"restart systemd-timesyncd.service".to_owned()));
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!((node.files(), node.told()), (before, vec![]));
    assert_eq!(node.engine().last_receipt().unwrap()["outcome"], "applied");
}

#[test]
fn what_can_be_put_back_is_told_so() {
    let node = Node::new();
    node.engine().change(&set(web("web:1"))).unwrap();
    assert_eq!(node.told(), ["reload-manager", &format!("restart {WEB}")]);
    // The new one is stopped, and the old one is not touched.
    node.failing(&["restart settings-db.service"]);
    let error =
        node.engine().change(&set(json!({"containers": {"db": {"source": "registry.example/db:1"}}}))).unwrap_err();
    assert_eq!(error.receipt().unwrap().outcome, Outcome::PutBack);
    let told = ["reload-manager", "restart settings-db.service", "reload-manager", "stop settings-db.service"];
    assert_eq!(node.told(), told);
    assert!(error.to_string().contains("what was there before is in force again"), "{error}");
    node.failing(&[]);
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!(node.told(), [""; 0]);
    // One that goes is stopped while its unit is there, and is started again where something else fails.
    node.failing(&["set-hostname"]);
    let change = Change { unset: vec![key("containers")], ..set(json!({"network": {"hostname": "one"}})) };
    let error = node.engine().change(&change).unwrap_err();
    assert_eq!(node.told(), [&format!("stop {WEB}"), "set-hostname", &format!("restart {WEB}"), "set-hostname"]);
    assert!(error.receipt().is_some() && node.path(QUADLET).exists());
}

#[test]
fn a_checker_that_complains_leaves_everything_alone() {
    let node = Node::new();
    node.services.0.lock().unwrap().complaint = Some("line 3".to_owned());
    let error = node.engine().change(&set(web("web:1"))).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("a checker refuses")), (Kind::Refused, true));
    assert_eq!((node.files(), node.told(), node.engine().standing().unwrap().generation), (vec![], vec![], 0));
}

#[test]
fn what_the_image_had_comes_back() {
    let node = Node::new();
    fs::write(node.path("etc/motd"), "The image's.\n").unwrap();
    fs::set_permissions(node.path("etc/motd"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("../usr/lib/hosts", node.path("etc/hosts")).unwrap();
    let change = json!({"motd": "Hello.", "network": {"hosts": [["192.0.2.1", ["a.example"]]]}});
    node.engine().change(&set(change)).unwrap();
    assert!(node.said("etc/hosts").unwrap().contains("192.0.2.1 a.example"));
    node.engine().change(&set(json!({"motd": "Hi."}))).unwrap();
    let receipt = node.engine().change(&unset(&["motd", "network"])).unwrap();
    assert!(receipt.files.iter().all(|file| file.change == FileFate::Restored), "{:?}", receipt.files);
    assert_eq!(fs::read_link(node.path("etc/hosts")).unwrap(), Path::new("../usr/lib/hosts"));
    assert_eq!(node.said("etc/motd").unwrap(), "The image's.\n");
    assert_eq!(fs::metadata(node.path("etc/motd")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn no_secret_is_in_a_receipt() {
    let node = Node::new();
    let credentials = json!([{"registry": "registry.example", "username": "u", "password": "hunter2"}]);
    let receipt = node.engine().change(&set(json!({"container-registry": {"credentials": credentials}}))).unwrap();
    let text = serde_json::to_string(&receipt).unwrap();
    let rendered = node.said("run/containers/0/auth.json").unwrap();
    let encoded = rendered.split('"').find(|word| word.starts_with("dTpo")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(encoded) && text.contains("(secret)"), "{text}");
    let modes = |path: &str| fs::metadata(node.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((modes("run/containers/0/auth.json"), modes("run/containers/0")), (0o600, 0o700));
    assert!(receipt.files[0].secret && receipt.files[0].diff.is_none());
    assert_eq!(modes("run/rocketos/settings/last.json"), 0o644);
    let kept = serde_json::to_string(&node.engine().standing().unwrap()).unwrap();
    assert!(!kept.contains("hunter2") && !kept.contains(encoded));
    // What reports look for is all of it, and stays so while a generation has it.
    let hidden = || node.engine().hidden().unwrap();
    assert_eq!(hidden(), ["hunter2".to_owned(), "u".to_owned()].into());
    node.engine().undo(&Undo { to: None, if_match: None, who: "uid 0".to_owned(), dry_run: false }).unwrap();
    assert_eq!(hidden().len(), 2);
    node.engine().change(&set(json!({"container-registry": {"credentials": credentials}}))).unwrap();
    assert_eq!(node.engine().change(&set(json!({"motd": 1}))).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_stale_change_and_one_of_locked_settings_are_refused() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    let error = node.engine().change(&Change { if_match: Some(0), ..set(json!({"motd": "b"})) }).unwrap_err();
    assert!(matches!(error, ConfigureError::Store(StoreError::Stale { expected: 0, found: 1 })), "{error}");
    assert_eq!(error.kind(), Kind::Stale);
    assert_eq!(node.said("etc/motd").unwrap(), "a\n");
    node.engine().change(&Change { if_match: Some(1), ..set(json!({"motd": "b"})) }).unwrap();
    let locked = node.engine().lock("uid 7").unwrap();
    assert_eq!(node.engine().lock("uid 8").unwrap(), locked);
    for error in [
        node.engine().change(&set(json!({"motd": "c"}))).unwrap_err(),
        node.engine().undo(&Undo { who: "uid 0".to_owned(), ..Undo::default() }).unwrap_err(),
    ] {
        assert!(error.kind() == Kind::Locked && error.to_string().contains("uid 7"), "{error}");
    }
    assert_eq!(node.engine().standing().unwrap().locked.unwrap().by, "uid 7");
    assert_eq!((node.said("etc/motd").unwrap(), node.engine().history().unwrap().len()), ("b\n".into(), 2));
}

#[test]
fn going_back_is_a_change_as_any_other() {
    let node = Node::new();
    let undo = |to| Undo { to, who: "uid 0".to_owned(), ..Undo::default() };
    assert_eq!(node.engine().undo(&undo(None)).unwrap_err().kind(), Kind::NoSuch);
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    node.engine().change(&set(json!({"motd": "b"}))).unwrap();
    assert_eq!(node.engine().undo(&undo(None)).unwrap().after, 3);
    assert_eq!(node.said("etc/motd").unwrap(), "a\n");
    assert_eq!(node.engine().undo(&undo(Some(0))).unwrap().after, 4);
    assert_eq!(node.said("etc/motd"), None);
    assert_eq!(node.engine().undo(&undo(Some(9))).unwrap_err().kind(), Kind::NoSuch);
    let history = node.engine().history().unwrap();
    assert_eq!(history.iter().map(|past| past.generation).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(history[0].settings[0].before, Some(json!("a")));
    assert_eq!(node.engine().diff(1, 2).unwrap()[0].after, Some(json!("b")));
}

#[test]
fn of_many_who_change_at_once_none_is_lost() {
    const WRITERS: usize = 8;
    let node = Node::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let node = &node;
            scope.spawn(move || {
                let name = format!("net.ipv4.conf.eth{writer}.rp_filter");
                node.engine().change(&set(json!({"kernel": {"sysctl": {name: "2"}}}))).unwrap();
            });
        }
    });
    let said = node.said("etc/sysctl.d/90-settings.conf").unwrap();
    assert_eq!((said.lines().count(), node.engine().standing().unwrap().generation), (WRITERS, WRITERS as u64));
}
