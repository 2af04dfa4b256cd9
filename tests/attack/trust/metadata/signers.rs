//! Metadata that nobody signed, or the wrong ones, or too few.

use serde_json::{Value, json};

use super::publisher::{Scene, before, document, publish_up};
use crate::tuf::{Key, Served, TOP};

/// What a node took before it looks at this role, where a new root came first.
fn with_root(role: &str) -> Vec<&'static str> {
    [&["root"], before(role)].concat()
}

#[tokio::test]
async fn refuses_each_role_signed_by_a_stranger() {
    for role in TOP {
        let mut scene = Scene::new().await;
        let honest = scene.repository.keys[role].clone();
        scene.repository.keys.insert(role.to_owned(), vec![Key::ed25519()]);
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        let says = format!("the document of the role {role} is signed by 0 of its keys, and root version 2 asks for 1");
        scene.refused_by_all(role, &[&says], before(role)).await;
        // The stranger's name beside an honest signature changes nothing.
        scene.repository.keys.insert(role.to_owned(), honest);
        let version = scene.repository.document(role)["version"].as_u64().unwrap();
        scene.repository.publish_as(role, version);
        let above: &[&str] = match role {
            "targets" => &["snapshot", "timestamp"],
            "snapshot" => &["timestamp"],
            _ => &[],
        };
        scene.repository.publish(above);
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_each_role_whose_signatures_were_stripped_or_forged() {
    for role in TOP {
        let mut scene = Scene::new().await;
        publish_up(&mut scene.repository, role);
        let version = scene.repository.document(role)["version"].as_u64().unwrap();
        let honest = scene.repository.files.clone();
        let signed: Value = serde_json::from_slice(&scene.repository.bytes(&format!("{version}.{role}.json"))).unwrap();
        let mut forged = signed.clone();
        forged["signatures"][0]["sig"] = json!("ab".repeat(64));
        let mut swapped = signed.clone();
        let other = scene.repository.bytes(if role == "targets" { "2.snapshot.json" } else { "2.targets.json" });
        swapped["signatures"] = serde_json::from_slice::<Value>(&other).unwrap()["signatures"].clone();
        let mut stripped = signed.clone();
        stripped["signatures"] = json!([]);
        for (what, bent) in [("forged", forged), ("swapped", swapped), ("stripped", stripped)] {
            scene.repository.files = honest.clone();
            scene.repository.serve(role, version, bent.to_string().as_bytes());
            scene.publish().await;
            let says = format!("the document of the role {role} is signed by 0 of its keys");
            scene.refused_by_all(&format!("{what} {role}"), &[&says], before(role)).await;
        }
        scene.repository.files = honest;
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_fewer_keys_than_each_roles_threshold() {
    for role in TOP {
        let mut scene = Scene::new().await;
        let keys = vec![scene.repository.keys[role][0].clone(), Key::ed25519(), Key::ecdsa()];
        scene.repository.give_keys(role, keys.clone(), 2);
        scene.repository.publish(&["root"]);
        // Two of three are enough.
        scene.repository.keys.insert(role.to_owned(), keys[1..].to_vec());
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        scene.accepted(role).await;
        scene.repository.keys.insert(role.to_owned(), keys[2..].to_vec());
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        let says = [&format!("the document of the role {role} is signed by 1 of its keys"), "asks for 2"];
        scene.refused_by_all(role, &says.map(|part| part as &str), &with_root(role)).await;
        // One key under two ids is one key.
        let twins = vec![keys[2].clone(), keys[2].twin()];
        if role != "root" {
            scene.repository.give_keys(role, twins, 2);
            scene.repository.publish(&["root"]);
            publish_up(&mut scene.repository, role);
            scene.publish().await;
            scene.refused_by_all(role, &says.map(|part| part as &str), &["root", "timestamp", "snapshot"]).await;
        }
    }
}

#[tokio::test]
async fn refuses_a_root_that_only_its_own_keys_signed() {
    let mut scene = Scene::new().await;
    let (old, new) = (scene.repository.keys["root"].clone(), Key::ed25519());
    scene.repository.give_keys("root", vec![new.clone()], 1);
    scene.repository.publish(&["root"]);
    scene.publish().await;
    let says = ["the document of the role root is signed by 0 of its keys, and root version 2 asks for 1"];
    scene.refused_by_all("new keys alone", &says, &[]).await;
    scene.repository.keys.insert("root".to_owned(), old.clone());
    scene.repository.publish_as("root", 3);
    scene.publish().await;
    let says = ["the document of the role root is signed by 0 of its keys, and root version 3 asks for 1"];
    scene.refused_by_all("old keys alone", &says, &[]).await;
    scene.repository.keys.insert("root".to_owned(), [old, vec![new]].concat());
    scene.repository.publish_as("root", 3);
    scene.publish().await;
    scene.accepted("both").await;
}

#[tokio::test]
async fn refuses_a_channel_that_is_not_the_one_that_was_signed() {
    let mut scene = Scene::new().await;
    let honest = scene.repository.files.clone();
    for (what, content, says) in [
        ("swapped", document("2"), "digest"),
        ("longer", [document("1"), vec![b' ']].concat(), "bytes"),
        ("cut", document("1")[..100].to_vec(), "has 100 bytes"),
    ] {
        for (name, served) in &mut scene.repository.files {
            if name.ends_with("stable.json") {
                *served = Served::Bytes(content.clone());
            }
        }
        scene.publish().await;
        scene.refused_by_all(what, &["stable.json", says], &[]).await;
        scene.repository.files = honest.clone();
        scene.publish().await;
        scene.accepted(what).await;
    }
}
