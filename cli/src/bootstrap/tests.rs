//! On real files, by the real API, with units that end as they are told.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rocketos_deploy::SettingsFolders;
use rocketos_model::DeploymentId;
use rocketos_settings::{Tree, plan::Plan, render::Files};
use serde_json::{Value, json};

use super::*;
use crate::{
    adapters::systemctl::{Ended, Run, State},
    configure::{Change, Complaint, Order, Services, Told, was_configured},
};

/// Services that write down what they are told.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<Vec<String>>>);

impl Services for Listening {
    fn check(&self, _: &Path, _: &Files, _: &Plan) -> Result<(), Complaint> {
        Ok(())
    }

    fn tell(&self, order: &Order) -> Result<Told, String> {
        let (what, unit) = order.words();
        self.0.lock().unwrap().push(format!("{what} {}", unit.unwrap_or_default()));
        Ok(Told::Done)
    }
}

/// How units end, by the names of their containers; what is not named ends as it should. And what was done with all.
#[derive(Default)]
struct Ends {
    ends: BTreeMap<&'static str, Run>,
    done: Mutex<Vec<String>>,
}

impl Units for Ends {
    fn start(&self, units: &[String]) -> Result<(), String> {
        self.done.lock().unwrap().push(format!("start {}", units.join(" ")));
        Ok(())
    }

    fn runs(&self, units: &[String]) -> Result<Vec<Run>, String> {
        let name =
            |unit: &String| unit["rocketos-bootstrap-container-".len()..unit.len() - ".service".len()].to_owned();
        Ok(units.iter().map(|unit| self.ends.get(name(unit).as_str()).cloned().unwrap_or_else(well)).collect())
    }

    fn stop(&self, units: &[String]) -> Result<(), String> {
        self.done.lock().unwrap().push(format!("stop {}", units.join(" ")));
        Ok(())
    }

    fn last(&self, unit: &str) -> String {
        format!("the last words of {unit}")
    }
}

impl Ends {
    fn with(ends: &[(&'static str, Run)]) -> Self {
        Self { ends: ends.iter().cloned().collect(), done: Mutex::default() }
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap())
    }
}

fn run_with(active: &str, result: &str, ended: Option<Ended>) -> Run {
    let state = State { load: "loaded".to_owned(), active: active.to_owned(), result: result.to_owned() };
    Run { state, has_job: false, ended, took: Duration::from_millis(7) }
}

fn well() -> Run {
    run_with("active", "success", Some(Ended::With(0)))
}

fn badly(code: i32) -> Run {
    run_with("failed", "exit-code", Some(Ended::With(code)))
}

fn hangs() -> Run {
    Run { has_job: true, ..run_with("activating", "success", None) }
}

/// A node below a root.
struct Node {
    root: tempfile::TempDir,
    services: Listening,
}

fn id(byte: &str) -> DeploymentId {
    byte.repeat(16).parse().unwrap()
}

impl Node {
    fn new(settings: Value) -> Self {
        let node = Self { root: tempfile::tempdir().unwrap(), services: Listening::default() };
        fs::create_dir_all(node.path("etc")).unwrap();
        node.install("aa");
        node.set("aa", settings);
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn install(&self, deployment: &str) {
        fs::create_dir_all(self.path("sysroot").join(layout::deployment_dir(&id(deployment)))).unwrap();
    }

    fn engine(&self, deployment: &str) -> Engine {
        let folders = SettingsFolders::at(&self.path("sysroot"), id(deployment));
        Engine::of(self.root.path(), folders, Box::new(self.services.clone()))
    }

    fn set(&self, deployment: &str, settings: Value) {
        let change = Change { set: Tree::from_value(settings).unwrap(), who: "uid 0".to_owned(), ..Change::default() };
        self.engine(deployment).change(&change).unwrap();
    }

    /// Boots, up to where something is due; whether that is.
    fn boot(&self, deployment: &str) -> bool {
        for folder in ["etc", "run"] {
            let _ = fs::remove_dir_all(self.path(folder));
        }
        fs::create_dir(self.path("etc")).unwrap();
        self.services.0.lock().unwrap().clear();
        self.engine(deployment).boot(|_| Vec::new()).unwrap();
        self.services.0.lock().unwrap().iter().any(|told| told == "start rocketos-bootstrap.service")
    }

    fn bootstrap(&self, deployment: &str, units: &Ends) -> Vec<Ran> {
        let inside = api::inside(self.engine(deployment), &self.path("run/transactions"));
        let calls = Calls { inside, runtime: runtime().unwrap() };
        let (engine, patience) = (self.engine(deployment), Duration::from_millis(50));
        let look = Duration::from_millis(5);
        Bootstrap { engine: &engine, calls: &calls, units, patience, look }.run().unwrap()
    }

    /// A boot with all of it; what came of each.
    fn whole(&self, units: &Ends) -> Vec<(String, Ending)> {
        assert!(self.boot("aa"), "nothing was due");
        self.bootstrap("aa", units).iter().map(|ran| (ran.key(), ran.outcome)).collect()
    }

    fn receipt(&self) -> Value {
        self.engine("aa").boot_receipt().unwrap()
    }

    fn is_configured(&self) -> Result<(), String> {
        was_configured(self.root.path(), || Ok(false)).map_err(|error| error.to_string())
    }

    fn motd(&self) -> Option<String> {
        fs::read_to_string(self.path("etc/motd")).ok()
    }
}

fn container(name: &str, mode: &str, essential: bool) -> Value {
    let source = format!("registry.example/{name}:1");
    json!({ "bootstrap-containers": { name: { "source": source, "mode": mode, "essential": essential } } })
}

fn commands(name: &str, mode: &str, commands: Value) -> Value {
    json!({ "bootstrap-commands": { name: { "commands": commands, "mode": mode } } })
}

/// One over the other.
fn both(one: Value, other: &Value) -> Value {
    let mut all = Tree::from_value(one).unwrap();
    all.merge(&Tree::from_value(other.clone()).unwrap()).unwrap();
    all.to_value()
}

fn key(name: &str, outcome: Ending) -> (String, Ending) {
    (name.to_owned(), outcome)
}

const UNIT_A: &str = "rocketos-bootstrap-container-a.service";
const IMAGE_A: &str = "rocketos-bootstrap-container-image@a.service";

#[test]
fn where_nothing_is_due_nobody_is_started_and_no_boot_waits() {
    let node = Node::new(both(container("a", "off", true), &commands("c", "off", json!([["apiclient", "apply"]]))));
    assert!(!node.boot("aa"));
    assert!(node.receipt().get("bootstrap").is_none());
    node.is_configured().unwrap();
}

#[test]
fn commands_are_made_in_the_order_of_their_names_and_before_containers() {
    let two = json!([["apiclient", "set", "motd=two"], ["rocketctl", "settings", "set", "network.hostname=n"]]);
    let settings =
        both(commands("two", "always", two), &commands("one", "always", json!([["apiclient", "set", "motd=one"]])));
    // One makes a container, which runs in the same boot.
    let more = json!([[
        "PATCH",
        "/v1/settings?why=because",
        "{\"bootstrap-containers\": {\"a\": {\"source\": \"registry.example/a:1\", \"mode\": \"once\"}}}",
    ]]);
    let node = Node::new(both(settings, &commands("three", "once", more)));
    let units = Ends::default();
    let done = [
        key("bootstrap-commands.one", Ending::Done),
        key("bootstrap-commands.three", Ending::Done),
        key("bootstrap-commands.two", Ending::Done),
        key("bootstrap-containers.a", Ending::Done),
    ];
    assert_eq!(node.whole(&units), done);
    assert_eq!(node.motd().unwrap(), "two\n");
    assert_eq!(units.done(), [format!("start {UNIT_A}"), format!("stop {UNIT_A} {IMAGE_A}")]);
    let history = node.engine("aa").history().unwrap();
    assert!(history.iter().any(|past| past.by == "bootstrap-commands.three" && past.why == "because"));
    node.is_configured().unwrap();
}

#[test]
fn what_succeeded_once_is_not_done_again_unless_it_is_another() {
    let node =
        Node::new(both(container("a", "once", true), &commands("c", "once", json!([["apiclient", "set", "motd=a"]]))));
    node.whole(&Ends::default());
    // What operators set stays as they set it.
    let before = node.engine("aa").standing().unwrap();
    assert!(!node.boot("aa"));
    assert_eq!(node.engine("aa").standing().unwrap().settings, before.settings);
    // With another beside it: it is told when it was done.
    node.set("aa", container("b", "always", false));
    let units = Ends::default();
    let came = node.whole(&units);
    assert_eq!(came[0], key("bootstrap-commands.c", Ending::DoneBefore));
    assert_eq!(
        came[1..],
        [key("bootstrap-containers.a", Ending::DoneBefore), key("bootstrap-containers.b", Ending::Done)]
    );
    assert_eq!(units.done().len(), 2);
    node.set("aa", json!({"bootstrap-containers": {"a": {"env": {"AGAIN": "1"}}}}));
    assert_eq!(node.whole(&Ends::default())[1], key("bootstrap-containers.a", Ending::Done));
}

#[test]
fn what_failed_is_tried_again_at_the_next_boot() {
    let node = Node::new(container("a", "once", false));
    assert_eq!(node.whole(&Ends::with(&[("a", badly(3))])), [key("bootstrap-containers.a", Ending::Failed)]);
    assert_eq!(node.whole(&Ends::default()), [key("bootstrap-containers.a", Ending::Done)]);
    assert!(!node.boot("aa"));
}

#[test]
fn what_was_done_goes_along_with_an_upgrade_and_stays_when_the_deployment_before_goes() {
    let node = Node::new(container("a", "once", true));
    node.whole(&Ends::default());
    node.install("bb");
    assert!(!node.boot("bb"));
    fs::remove_dir_all(node.path("sysroot").join(layout::deployment_dir(&id("aa")))).unwrap();
    assert!(!node.boot("bb"));
    // Back: what the other did counts here.
    node.set("bb", json!({"bootstrap-containers": {"a": {"source": "registry.example/a:2"}}}));
    assert!(node.boot("bb"));
    node.bootstrap("bb", &Ends::default());
    node.install("cc");
    assert!(!node.boot("cc"));
}

#[test]
fn what_is_essential_and_failed_fails_the_boot_and_the_rest_is_a_note() {
    let settings = both(container("a", "always", true), &container("b", "always", false));
    let node = Node::new(settings);
    let ran = {
        assert!(node.boot("aa"));
        // Who was to do it ended on the way.
        assert!(node.is_configured().unwrap_err().contains("was not done"));
        // Who is still at it has not failed.
        was_configured(node.root.path(), || Ok(true)).unwrap();
        node.bootstrap("aa", &Ends::with(&[("b", badly(3))]))
    };
    assert_eq!((ran[1].exit, ran[1].milliseconds, ran[1].why.as_str()), (Some(3), 7, "it ended with 3"));
    assert_eq!(ran[1].said, "the last words of rocketos-bootstrap-container-b.service");
    node.is_configured().unwrap();
    let receipt = node.receipt();
    assert_eq!(receipt["outcome"], "applied");
    assert!(receipt["notes"].to_string().contains("bootstrap-containers.b failed: it ended with 3"), "{receipt}");
    node.whole(&Ends::with(&[("a", badly(4))]));
    assert_eq!(
        node.is_configured().unwrap_err(),
        "settings are not in force: bootstrap-containers.a failed: it ended with 4"
    );
    assert_eq!(node.receipt()["bootstrap"]["ran"][0]["exit"], 4);
    // Done again in the same boot, by hand, it is well.
    node.bootstrap("aa", &Ends::default());
    node.is_configured().unwrap();
}

#[test]
fn every_way_of_ending_is_told() {
    let not_found = Run { state: State { load: "not-found".to_owned(), ..State::default() }, ..Run::default() };
    for (run, why) in [
        (badly(3), "it ended with 3"),
        (run_with("failed", "signal", Some(Ended::By(9))), "it was ended by signal 9"),
        (run_with("failed", "oom-kill", Some(Ended::By(9))), "systemd says oom-kill"),
        (
            run_with("inactive", "success", None),
            "it was not started: rocketos-bootstrap-container-image@a.service says why",
        ),
        (not_found, "its unit is not-found"),
        (hangs(), "it had not ended after 0 s"),
    ] {
        let node = Node::new(container("a", "once", true));
        assert!(node.boot("aa"));
        let units = Ends::with(&[("a", run)]);
        let ran = node.bootstrap("aa", &units);
        assert_eq!((ran[0].outcome, ran[0].why.as_str()), (Ending::Failed, why));
        // What hangs is ended, and what it ran on goes, whatever became of it.
        assert_eq!(units.done()[1], format!("stop {UNIT_A} {IMAGE_A}"));
    }
}

#[test]
fn one_that_hangs_does_not_keep_what_others_came_to() {
    let node = Node::new(both(container("a", "once", false), &container("b", "once", false)));
    let came = node.whole(&Ends::with(&[("a", hangs())]));
    assert_eq!(came, [key("bootstrap-containers.a", Ending::Failed), key("bootstrap-containers.b", Ending::Done)]);
    assert_eq!(node.whole(&Ends::default())[1], key("bootstrap-containers.b", Ending::DoneBefore));
}

#[test]
fn a_call_that_fails_ends_its_list_and_no_other() {
    let wrong = json!([
        ["apiclient", "set", "motd=a"],
        ["apiclient", "set", "ntp.time-servers=[\"a b\"]"],
        ["apiclient", "set", "motd=b"]
    ]);
    let settings =
        both(commands("c", "once", wrong), &commands("d", "once", json!([["apiclient", "set", "network.hostname=n"]])));
    let node = Node::new(both(settings, &json!({"bootstrap-commands": {"c": {"essential": true}}})));
    let came = node.whole(&Ends::default());
    assert_eq!(came, [key("bootstrap-commands.c", Ending::Failed), key("bootstrap-commands.d", Ending::Done)]);
    assert_eq!(node.motd().unwrap(), "a\n");
    let said = node.is_configured().unwrap_err();
    assert!(said.contains("bootstrap-commands.c failed: command 2: PATCH /v1/settings: "), "{said}");
    assert!(said.contains("ntp.time-servers"), "{said}");
}

#[test]
fn commands_that_set_commands_come_to_an_end() {
    // It writes itself anew at each boot, and another that would do so.
    let again = "{\"bootstrap-commands\": {\"d\": {\"commands\": [[\"apiclient\", \"set\", \"motd=d\"]], \"mode\": \"always\"}, \
                 \"c\": {\"mode\": \"always\"}}}";
    let node = Node::new(commands("c", "always", json!([["PATCH", "/v1/settings", again]])));
    assert_eq!(node.whole(&Ends::default()), [key("bootstrap-commands.c", Ending::Done)]);
    assert_eq!(node.motd(), None);
    let both = [key("bootstrap-commands.c", Ending::Done), key("bootstrap-commands.d", Ending::Done)];
    assert_eq!(node.whole(&Ends::default()), both);
    let generation = node.engine("aa").standing().unwrap().generation;
    // What is so already is no change: generations do not grow with boots.
    assert_eq!(node.whole(&Ends::default()), both);
    assert_eq!((node.motd().unwrap().as_str(), node.engine("aa").standing().unwrap().generation), ("d\n", generation));
}
