//! Each role expired and rolled back; frozen and mixed repositories.

use serde_json::json;

use super::publisher::{LONG_AGO, Scene, before, document, publish_up};
use crate::tuf::{Served, TOP};

#[tokio::test]
async fn refuses_each_role_that_has_expired() {
    let mut scene = Scene::new().await;
    for role in TOP {
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        scene.accepted(role).await;
        let honest = scene.repository.document(role)["expires"].clone();
        scene.repository.document(role)["expires"] = json!(LONG_AGO);
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        // The root's next version is taken before it is asked when it expires (5.3.10).
        let advanced = if role == "root" { &["root"] } else { before(role) };
        let says = [&format!("the document of the role {role}, version"), "expired at 2026-01-01", "clock"];
        scene.refused_by_all(role, &says.map(|part| part as &str), advanced).await;
        scene.repository.document(role)["expires"] = honest;
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_a_frozen_timestamp() {
    let mut scene = Scene::new().await;
    scene.repository.document("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    scene.repository.publish(&["timestamp"]);
    scene.publish().await;
    scene.accepted("fresh").await;
    // The same bytes for ever, and two days pass.
    scene.now += 2 * 86400;
    let says = ["the role timestamp, version 3, expired at 2030-01-02", "the repository is frozen"];
    scene.refused("frozen", &says, &[]).await;
    scene.repository.document("timestamp")["expires"] = json!("2030-01-12T00:00:00Z");
    scene.repository.publish(&["timestamp"]);
    scene.publish().await;
    scene.accepted("thawed").await;
}

#[tokio::test]
async fn refuses_each_role_rolled_back() {
    for role in ["timestamp", "snapshot", "targets"] {
        let mut scene = Scene::new().await;
        let old = scene.repository.files.clone();
        publish_up(&mut scene.repository, role);
        scene.publish().await;
        scene.accepted(role).await;
        if role == "timestamp" {
            // All of it, as it was once: a mirror that was set back.
            let new = std::mem::replace(&mut scene.repository.files, old);
            scene.publish().await;
            let says = ["offers version 2 of the role timestamp", "3 was trusted already", "rolled back"];
            scene.refused(role, &says, &[]).await;
            scene.repository.files = new;
        } else {
            // By who has the keys of those that announce it.
            scene.repository.publish_as(role, 1);
            let above: &[&str] = if role == "targets" { &["snapshot", "timestamp"] } else { &["timestamp"] };
            scene.repository.publish(above);
            scene.publish().await;
            let says = [&format!("offers version 1 of the role {role}"), "3 was trusted already", "rolled back"];
            let advanced = if role == "targets" { &["timestamp"][..] } else { &[] };
            scene.refused(role, &says.map(|part| part as &str), advanced).await;
            scene.repository.publish_as(role, 4);
            scene.repository.publish(above);
        }
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_an_old_root_under_the_next_ones_name() {
    let mut scene = Scene::new().await;
    let old = scene.repository.bytes("2.root.json");
    scene.repository.files.insert("3.root.json".to_owned(), Served::Bytes(old));
    scene.publish().await;
    let says = ["the document of the role root has version 2", "says 3"];
    scene.refused_by_all("old root", &says, &[]).await;
    scene.repository.publish(&["root"]);
    scene.publish().await;
    scene.accepted("the real one").await;
}

#[tokio::test]
async fn refuses_documents_of_different_moments() {
    for (role, hashes) in [("snapshot", false), ("snapshot", true), ("targets", false), ("targets", true)] {
        let mut scene = Scene::new().await;
        scene.repository.hashes = hashes;
        let all = ["targets", "snapshot", "timestamp"];
        scene.repository.publish(&all);
        let earlier = scene.repository.bytes(&format!("3.{role}.json"));
        scene.repository.target("targets", "more.json", &document("2"));
        scene.repository.publish(&all);
        let name = format!("4.{role}.json");
        let honest = scene.repository.files.insert(name.clone(), Served::Bytes(earlier)).unwrap();
        scene.publish().await;
        let mixed: &[&str] = match (hashes, role) {
            (false, "snapshot") => &["the role snapshot has version 3", "the timestamp says 4", "not consistent"],
            (false, _) => &["the role targets has version 3", "the snapshot says 4", "not consistent"],
            (true, "snapshot") => &["4.snapshot.json", "its metadata says", "not consistent"],
            (true, _) => &["4.targets.json", "its metadata says", "not consistent"],
        };
        scene.refused_by_all(role, mixed, before(role)).await;
        scene.repository.files.insert(name, honest);
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_a_snapshot_that_forgets_a_role() {
    let mut scene = Scene::new().await;
    scene.repository.delegate("targets", "team", json!({"paths": ["team/*"]}));
    scene.repository.publish(&["team", "targets", "snapshot", "timestamp"]);
    scene.publish().await;
    scene.accepted("with the role").await;
    let snapshot = scene.repository.document("snapshot").clone();
    scene.repository.document("snapshot")["meta"].as_object_mut().unwrap().remove("team.json");
    scene.repository.publish(&["snapshot", "timestamp"]);
    scene.publish().await;
    scene.refused("without", &["no longer lists 'team.json'", "ask the repository's owner"], &["timestamp"]).await;
    *scene.repository.document("snapshot") = snapshot;
    scene.repository.publish_as("snapshot", 5);
    scene.repository.publish(&["timestamp"]);
    scene.publish().await;
    scene.accepted("again").await;
}
