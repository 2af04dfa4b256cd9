//! Names that would be paths: of roles, of targets, of files that are links.

use std::fs;

use rocketos_trust::tuf::TargetName;
use serde_json::json;

use super::publisher::{Scene, files};

#[tokio::test]
async fn keeps_a_role_whose_name_is_a_path_in_its_folder() {
    let mut scene = Scene::new().await;
    let outside = files_of(&scene);
    for name in ["../../evil", "/etc/evil", "..", "../state-0/root"] {
        scene.repository.delegate("targets", name, json!({"paths": ["*"]}));
    }
    scene.repository.target("../../evil", "evil.json", b"{}");
    scene.repository.publish(&["../../evil", "/etc/evil", "..", "../state-0/root"]);
    scene.repository.publish(&["targets", "snapshot", "timestamp"]);
    scene.publish().await;
    // The delegations are signed; what they are called takes no file from anybody.
    scene.accepted("roles with names of paths").await;
    assert_eq!(files_of(&scene), outside);
    for place in 0..3 {
        let state = files(&scene.folder.path().join(format!("state-{place}")));
        let root: serde_json::Value = serde_json::from_slice(&state["root.json"]).unwrap();
        assert_eq!(root["signed"]["_type"], "root");
        assert!(state.keys().all(|name| !name.contains('/')), "{:?}", state.keys());
    }
}

/// What lies beside the nodes' folders.
fn files_of(scene: &Scene) -> Vec<String> {
    let entries = fs::read_dir(scene.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn refuses_targets_whose_name_leads_out() {
    let mut scene = Scene::new().await;
    // They are signed, too.
    for name in ["../../evil.json", "/etc/evil.json", "a/../../evil.json"] {
        scene.repository.document("targets")["targets"][name] =
            json!({"length": 2, "hashes": {"sha256": "ab".repeat(32)}});
    }
    scene.repository.publish(&["targets", "snapshot", "timestamp"]);
    scene.publish().await;
    scene.accepted("an honest target beside them").await;
    for name in ["../../evil.json", "/etc/evil.json", "a/../../evil.json"] {
        let said = TargetName::new(name).unwrap_err().to_string();
        assert!(said.contains("target name") && said.contains("would leave the repository"), "{said}");
    }
    for place in 0..3 {
        assert!(scene.show(place, "stable").status.success());
        let output = scene.show(place, "../../evil");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("'../../evil' is not a channel's name"), "{said}");
    }
}

#[tokio::test]
async fn follows_no_link_out_of_a_directory() {
    let scene = Scene::new().await;
    let served = scene.folder.path().join("served");
    for name in ["metadata/timestamp.json", "targets"] {
        // The very same bytes, elsewhere: on a stick, a link to somebody's home would be read for its owner.
        let (inside, outside) = (served.join(name), scene.folder.path().join(name.replace('/', "-")));
        fs::rename(&inside, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &inside).unwrap();
        let read = scene.read(0).await;
        if name == "targets" {
            // The folder itself may be a link: its owner chose it.
            read.unwrap();
        } else {
            let said = read.unwrap_err();
            assert!(said.contains("fetching timestamp.json"), "{said}");
        }
        fs::remove_file(&inside).unwrap();
        fs::rename(&outside, &inside).unwrap();
    }
    scene.accepted("no links").await;
}
