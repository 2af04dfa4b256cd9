//! Host containers come and go with their files; nobody waits for them.

use serde_json::{Value, json};

use super::{Node, set, unset};

const UNIT: &str = "rocketos-host-container-admin.service";

fn admin(more: &[(&str, Value)]) -> Value {
    let mut admin = json!({"enabled": true, "source": "registry.example/admin:1"});
    admin.as_object_mut().unwrap().extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    json!({ "host-containers": { "admin": admin } })
}

#[test]
fn a_host_container_is_started_anew_and_stopped_once() {
    let node = Node::new();
    let [restart, stop] = ["restart", "stop"].map(|verb| format!("{verb} {UNIT}"));
    let anew = ["reload-manager".to_owned(), restart.clone()];
    node.engine().change(&set(admin(&[]))).unwrap();
    assert_eq!(node.told(), anew);
    let receipt = node.engine().change(&set(admin(&[("user-data", json!("aHVudGVyMg=="))]))).unwrap();
    assert_eq!(node.told(), anew);
    let data = node.files().into_iter().find(|(path, ..)| path.ends_with("user-data")).unwrap();
    assert_eq!((data.1.as_str(), data.2), ("hunter2", 0o600));
    assert!(!serde_json::to_string(&receipt).unwrap().contains("hunter2"));
    // One of its files goes, and it does not.
    node.engine().change(&unset(&["host-containers.admin.user-data"])).unwrap();
    assert_eq!(node.told(), anew);
    assert!(node.files().iter().all(|(path, ..)| !path.ends_with("user-data")));

    node.failing(&[&restart]);
    node.engine().change(&set(admin(&[("persistent", json!(false))]))).unwrap_err();
    assert_eq!(node.told(), [anew.clone(), anew.clone()].concat());
    node.failing(&[]);
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!(node.told(), anew);
    node.failing(&["reload-manager"]);
    node.engine().change(&unset(&["host-containers"])).unwrap_err();
    assert_eq!(node.told(), [&stop, "reload-manager", &restart, "reload-manager"]);
    node.failing(&[]);
    node.engine().apply("uid 0", false).unwrap();
    node.told();
    node.engine().change(&unset(&["host-containers"])).unwrap();
    assert_eq!(node.told(), [&stop, "reload-manager"]);
    assert!(node.files().is_empty(), "{:?}", node.files());
}

#[test]
fn one_of_the_image_is_started_at_boot_and_only_told_to() {
    let node = Node::new();
    let folder = node.path("usr/lib/rocketos/settings.d");
    std::fs::create_dir_all(&folder).unwrap();
    let digest = "ab".repeat(32);
    let text = format!("[settings.host-containers.admin]\nenabled = true\nsource = 'admin@sha256:{digest}'\n");
    std::fs::write(folder.join("10-host-containers.toml"), text).unwrap();
    node.engine().boot(|_| Vec::new()).unwrap();
    // `start` returns before anything came of it: whether its image comes is not the boot's.
    assert_eq!(node.told(), ["reload-manager".to_owned(), format!("start {UNIT}")]);
    assert!(node.said("etc/rocketos/host-containers/admin.toml").unwrap().contains(&format!("admin@sha256:{digest}")));
}

#[test]
fn at_boot_it_is_started_when_its_turn_comes() {
    let node = Node::new();
    node.engine().change(&set(admin(&[]))).unwrap();
    node.told();
    // A new /etc.
    std::fs::remove_dir_all(node.path("etc")).unwrap();
    std::fs::create_dir(node.path("etc")).unwrap();
    node.engine().boot(|_| Vec::new()).unwrap();
    let told = node.told();
    assert_eq!(told, ["reload-manager".to_owned(), format!("start {UNIT}")]);
}
