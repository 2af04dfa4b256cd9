//! Settings before services start, and from one deployment to another.

use rocketos_settings::{
    provider::{Handed, Machine, Provider, Said, collect, esp, nocloud},
    store::{Content, Store},
    userdata,
};
use sha2::{Digest as _, Sha256};

use super::*;

/// /etc and /run are made anew, as by a reboot.
fn reboot(node: &Node) {
    for folder in ["etc", "run"] {
        let _ = fs::remove_dir_all(node.path(folder));
    }
    fs::create_dir(node.path("etc")).unwrap();
    node.told();
}

fn boot(node: &Node, deployment: &str) -> Value {
    boot_with(node, deployment, &[])
}

fn boot_with(node: &Node, deployment: &str, handed: &[Handed]) -> Value {
    reboot(node);
    node.engine_of(deployment).boot(|_| handed.to_vec()).unwrap();
    node.engine_of(deployment).boot_receipt().unwrap()
}

fn install(node: &Node, deployment: &str) {
    fs::create_dir_all(node.path("sysroot").join(layout::deployment_dir(&id(deployment)))).unwrap();
}

fn prompt(node: &Node) -> Option<String> {
    node.said("run/issue.d/50-rocketos-settings.issue")
}

fn handed(text: &str) -> Handed {
    handed_by(&nocloud::PROVIDER, text)
}

fn handed_by(provider: &'static Provider, text: &str) -> Handed {
    let sha256 = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let said = match userdata::parse(text.as_bytes()) {
        Ok(document) => Said::Document { sha256, document },
        Err(error) => Said::Wrong(error.to_string()),
    };
    Handed { provider, said }
}

/// As an older system stored it, which took it.
fn stored(node: &Node, text: &str) {
    let folder = node.path("sysroot").join(layout::deployment_settings(&id("aa")));
    let mut content = Content::default();
    content.set_user_data("nocloud", "", userdata::parse(text.as_bytes()).unwrap());
    Store::open(&folder).unwrap().commit(0, content, "rocketctl", "", chrono::Utc::now()).unwrap();
}

#[test]
fn a_node_without_settings_has_a_receipt_and_nothing_else() {
    let node = Node::new();
    let receipt = boot(&node, "aa");
    assert_eq!((receipt["outcome"].as_str(), receipt["after"].as_u64()), (Some("applied"), Some(0)));
    assert_eq!((node.files(), node.told(), prompt(&node)), (vec![], vec![], None));
    assert!(
        !node.path("etc/rocketos").exists()
            && !node.path("sysroot").join(layout::deployment_settings(&id("aa"))).exists()
    );
}

#[test]
fn at_boot_only_what_runs_already_is_told() {
    let node = Node::new();
    let all = json!({
        "motd": "a", "network": {"hostname": "one"}, "ntp": {"time-servers": ["a.example"]},
        "kernel": {"sysctl": {"vm.max_map_count": "262144"}}, "containers": {"web": {"source": "registry.example/web:1"}},
    });
    node.engine().change(&set(all)).unwrap();
    let before = node.files();
    let receipt = boot(&node, "aa");
    assert_eq!(node.told(), ["set-hostname", "reload-manager", &format!("start {WEB}")]);
    assert_eq!((node.files(), receipt["outcome"].as_str()), (before, Some("applied")));
    // And nobody afterwards.
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!(node.told(), [""; 0]);
}

#[test]
fn settings_go_along_to_the_next_deployment_and_back() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "a", "network": {"hostname": "one"}}))).unwrap();
    install(&node, "bb");
    boot(&node, "bb");
    assert_eq!(node.said("etc/motd").unwrap(), "a\n");
    assert_eq!(node.engine_of("bb").standing().unwrap().generation, 1);
    // Once: the next boot brings nothing.
    boot(&node, "bb");
    assert_eq!(node.engine_of("bb").standing().unwrap().generation, 1);
    node.engine_of("bb").change(&set(json!({"motd": "b"}))).unwrap();
    node.engine_of("bb").change(&unset(&["network.hostname"])).unwrap();
    // Back: with what was changed since.
    boot(&node, "aa");
    assert_eq!((node.said("etc/motd").unwrap(), node.said("etc/hostname")), ("b\n".into(), None));
    // A third one has those of the one that ran last, whichever was changed last.
    node.engine_of("aa").change(&set(json!({"motd": "c"}))).unwrap();
    install(&node, "cc");
    boot(&node, "cc");
    assert_eq!(node.said("etc/motd").unwrap(), "c\n");
    boot(&node, "bb");
    assert_eq!(node.said("etc/motd").unwrap(), "c\n");
}

#[test]
fn what_ran_last_counts_though_nothing_was_changed_there() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    install(&node, "bb");
    boot(&node, "bb");
    let undo = Undo { to: Some(0), who: "uid 0".to_owned(), ..Undo::default() };
    node.engine_of("bb").undo(&undo).unwrap();
    let changes = |deployment: &str| {
        let folder = node.path("sysroot").join(layout::deployment_settings(&id(deployment)));
        Store::at(&folder).current().unwrap().generation.content.revision
    };
    assert!(changes("bb") > changes("aa"));
    boot(&node, "aa");
    assert_eq!(node.said("etc/motd"), None);
    // Whichever is looked at first, no two of them could be the last.
    assert!(changes("aa") > changes("bb"));
    install(&node, "cc");
    boot(&node, "cc");
    assert_eq!(node.said("etc/motd"), None);
    assert!(changes("cc") > changes("aa"));
}

#[test]
fn settings_of_another_that_cannot_be_read_are_told_and_stop_nothing() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    install(&node, "bb");
    let folder = node.path("sysroot").join(layout::deployment_settings(&id("bb")));
    fs::write(&folder, "no folder").unwrap();
    let receipt = boot(&node, "aa");
    assert_eq!((receipt["outcome"].as_str(), node.said("etc/motd").unwrap().as_str()), (Some("applied"), "a\n"));
    assert!(receipt["notes"][0].as_str().unwrap().contains("cannot be read"), "{receipt}");
}

#[test]
fn what_is_not_sound_here_is_left_out_and_fails_the_check_of_the_release() {
    let node = Node::new();
    node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    node.engine().change(&set(json!({"motd": "b", "network": {"hostname": "one"}}))).unwrap();
    // This release's own settings are in the way of what is stored.
    let folder = node.path("usr/lib/rocketos/settings.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.toml"), "[settings]\n[settings.network]\n[settings.network.hostname]\na = 1\n").unwrap();
    let receipt = boot(&node, "aa");
    assert_eq!((receipt["outcome"].as_str(), receipt["in-force"]["kind"].as_str()), (Some("failed"), Some("nothing")));
    assert!(receipt["because"][0].as_str().unwrap().contains("network.hostname"), "{receipt}");
    assert_eq!(node.files().len(), 2, "the banners alone: {:?}", node.files());
    assert!(prompt(&node).unwrap().starts_with("Settings are not in force as they are stored: "));
    fs::remove_dir_all(folder).unwrap();
    let receipt = boot(&node, "aa");
    assert_eq!((receipt["outcome"].as_str(), prompt(&node)), (Some("applied"), None));
}

#[test]
fn user_data_comes_in_once_and_broken_user_data_leaves_the_node_as_it_was() {
    let node = Node::new();
    let sound = handed("[settings]\nmotd = 'user data'\n");
    boot_with(&node, "aa", std::slice::from_ref(&sound));
    assert_eq!(
        (node.said("etc/motd").unwrap(), node.engine().standing().unwrap().generation),
        ("user data\n".into(), 1)
    );
    boot_with(&node, "aa", &[sound]);
    assert_eq!(node.engine().standing().unwrap().generation, 1);
    // No document at all: what is stored stays.
    let receipt = boot_with(&node, "aa", &[handed("[settings\n")]);
    assert_eq!((receipt["outcome"].as_str(), node.said("etc/motd").unwrap()), (Some("applied"), "user data\n".into()));
    assert!(prompt(&node).unwrap().contains("line 1"), "{:?}", prompt(&node));
    // A document that is not sound: none of it counts, and its line is told. The release is not to blame.
    let receipt = boot_with(&node, "aa", &[handed("[settings]\nmotd = 1\n[settings.network]\nhostname = 'one'\n")]);
    assert_eq!((receipt["outcome"].as_str(), node.said("etc/motd").unwrap()), (Some("applied"), "user data\n".into()));
    assert_eq!((node.said("etc/hostname"), receipt["in-force"]["kind"].as_str()), (None, Some("generation")));
    assert_eq!(receipt["refused"][0]["what"], "user data (nocloud)");
    assert!(prompt(&node).unwrap().contains("line 2 of the user data"), "{:?}", prompt(&node));
}

#[test]
fn user_data_that_is_not_sound_stands_in_the_way_of_no_change() {
    let node = Node::new();
    stored(&node, "[settings]\nmotd = 1\n[settings.network]\nhostname = 'one'\n");
    boot(&node, "aa");
    let receipt = node.engine().change(&set(json!({"ntp": {"time-servers": ["a.example"]}}))).unwrap();
    assert_eq!((receipt.in_force.kind, receipt.refused.len()), ("without-user-data", 1));
    assert_eq!(node.said("etc/hostname"), None);
    // Who sets what is wrong has the rest of it, too.
    let receipt = node.engine().change(&set(json!({"motd": "a"}))).unwrap();
    assert_eq!((receipt.in_force.kind, receipt.refused.len()), ("generation", 0));
    assert_eq!((node.said("etc/motd").unwrap(), node.said("etc/hostname").unwrap()), ("a\n".into(), "one\n".into()));
    // Where it is sound, a change that is not is refused, and does not take it away.
    let error = node.engine().change(&set(json!({"network": {"hostname": "-"}}))).unwrap_err();
    assert_eq!((error.kind(), node.said("etc/hostname").unwrap()), (Kind::Invalid, "one\n".into()));
}

#[test]
fn of_several_documents_a_later_one_lies_over_an_earlier_one() {
    let node = Node::new();
    let (low, high) = (
        handed_by(&esp::PROVIDER, "[settings]\nmotd = 'low'\n[settings.network]\nhostname = 'one'\n"),
        handed("[settings]\nmotd = 'high'\n"),
    );
    boot_with(&node, "aa", &[low.clone(), high.clone()]);
    assert_eq!((node.said("etc/motd").unwrap(), node.said("etc/hostname").unwrap()), ("high\n".into(), "one\n".into()));
    // Another one among them is another whole.
    boot_with(&node, "aa", &[handed_by(&esp::PROVIDER, "[settings]\nmotd = 'lower'\n"), high]);
    assert_eq!((node.said("etc/motd").unwrap(), node.said("etc/hostname")), ("high\n".into(), None));
}

/// A machine whose command line names user data that takes the network.
struct Waits(tempfile::TempDir);

impl Machine for Waits {
    fn root(&self) -> &Path {
        self.0.path()
    }
    fn on_esp(&mut self, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
    fn on_labelled(&mut self, _: &str, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

#[test]
fn what_waits_for_the_network_is_written_down_and_taken_when_it_is_there() {
    let node = Node::new();
    let mut machine = Waits(tempfile::tempdir().unwrap());
    fs::create_dir(machine.0.path().join("proc")).unwrap();
    let line = format!("rocketos.user-data-url=https://a.example rocketos.user-data-sha256={}", "ab".repeat(32));
    fs::write(machine.0.path().join("proc/cmdline"), line).unwrap();
    reboot(&node);
    node.engine().boot(|stored| collect(&mut machine, None, stored, None)).unwrap();
    let receipt = node.engine().boot_receipt().unwrap();
    assert_eq!((receipt["outcome"].as_str(), prompt(&node)), (Some("applied"), None));
    assert_eq!(receipt["notes"][0], "user data (url) waits for the network");
    assert_eq!(node.said("run/rocketos/user-data-waits").unwrap(), "url\n");
    // What is broken is told now, and the node stays as it is.
    let wrong = || vec![handed("[settings]\n\nmotd = 1\n")];
    let came = node.engine().hand_in(|_| wrong()).unwrap();
    assert_eq!((came.changed.len(), came.refused.len(), node.said("etc/motd")), (0, 1, None));
    assert!(prompt(&node).unwrap().contains("line 3 of the user data (nocloud)"), "{:?}", prompt(&node));
    assert!(node.said("run/rocketos/settings/network.json").unwrap().contains("line 3"));
    // What is sound is in force, and services are told.
    let sound = handed("[settings]\nmotd = 'late'\n[settings.network]\nhostname = 'late'\n");
    let came = node.engine().hand_in(|_| vec![sound.clone()]).unwrap();
    assert_eq!((came.changed.as_slice(), node.said("etc/motd").unwrap()), (["nocloud"].as_slice(), "late\n".into()));
    assert_eq!(node.told(), ["set-hostname"]);
    assert_eq!(node.engine().standing().unwrap().generation, 1);
    node.engine().hand_in(|_| vec![sound]).unwrap();
    assert_eq!((node.engine().standing().unwrap().generation, node.told().len()), (1, 0));
}

#[test]
fn what_late_user_data_asks_for_is_done_in_the_same_boot() {
    let node = Node::new();
    boot(&node, "aa");
    let configured = || was_configured(node.root.path(), || Ok(false));
    configured().unwrap();
    let late = "[settings.bootstrap-containers.a]\nsource = 'registry.example/a:1'\nmode = 'once'\nessential = true\n";
    node.engine().hand_in(|_| vec![handed(late)]).unwrap();
    assert_eq!(node.told(), ["reload-manager", "start rocketos-bootstrap.service"]);
    assert_eq!(node.engine().boot_receipt().unwrap()["bootstrap"]["state"], "waiting");
    assert!(configured().unwrap_err().to_string().contains("rocketos-bootstrap.service says why"));
    node.engine().bootstrapped(&[]).unwrap();
    configured().unwrap();
    // What asks for nothing starts nobody.
    node.engine().hand_in(|_| vec![handed("[settings]\nmotd = 'a'\n")]).unwrap();
    assert_eq!(node.told(), ["reload-manager"]);
}

#[test]
fn a_file_that_cannot_be_placed_stops_no_other() {
    let node = Node::new();
    node.engine()
        .change(&set(json!({"motd": "a", "network": {"hostname": "one"}, "ntp": {"time-servers": ["a.example"]}})))
        .unwrap();
    reboot(&node);
    // No folder can be made there.
    fs::write(node.path("etc/systemd"), "").unwrap();
    node.engine().boot(|_| Vec::new()).unwrap();
    let receipt = node.engine().boot_receipt().unwrap();
    assert_eq!((receipt["outcome"].as_str(), node.said("etc/motd").unwrap()), (Some("failed"), "a\n".into()));
    assert_eq!(node.told(), ["set-hostname"]);
    let because = receipt["because"][0].as_str().unwrap();
    assert!(because.starts_with("write etc/systemd/timesyncd.conf.d/90-settings.conf failed: "), "{because}");
}
