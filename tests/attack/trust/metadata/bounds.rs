//! Endless files, and sizes that are lies.

use std::time::{Duration, Instant};

use rocketos_trust::tuf::limits;
use serde_json::json;

use super::publisher::{Scene, before};
use crate::{
    hostile::Pace,
    scene::{forget_peak, long, peak},
    sizes::{DECLARED, MEMORY},
    tuf::Served,
};

/// What the kernel buffers of a connection that nobody reads any more, and one piece.
const IN_FLIGHT: u64 = 16 << 20;
/// What a file from a web server may take, and some.
const WEB: Duration = Duration::from_secs(150);

#[tokio::test]
async fn reads_no_more_than_a_limit_of_endless_files() {
    for (role, limit) in [
        ("root", limits::ROOT_BYTES),
        ("timestamp", limits::TIMESTAMP_BYTES),
        ("snapshot", limits::SNAPSHOT_BYTES),
        ("targets", limits::TARGETS_BYTES),
    ] {
        let mut scene = Scene::new().await;
        scene.repository.publish(&["targets", "snapshot", "timestamp"]);
        let file = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("3.{role}.json") };
        let honest = scene.repository.files.insert(file.clone(), Served::Endless);
        scene.publish().await;
        let began = forget_peak();
        let said = scene.refused(role, &[&format!("{role}.json")], before(role)).await;
        for (said, place) in said.iter().zip(scene.places()) {
            let told = format!("has more than {limit} bytes");
            assert!(said.contains(&told) || said.contains("oversized"), "{place}: {said}");
        }
        for front in &scene.fronts {
            assert!(front.sent() < limit + IN_FLIGHT, "{role}: {} bytes", front.sent());
        }
        assert!(peak() - began < MEMORY, "{role}: {} bytes of memory", peak() - began);
        match honest {
            Some(honest) => drop(scene.repository.files.insert(file, honest)),
            None => drop(scene.repository.files.remove(&file)),
        }
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn believes_no_size_of_a_target() {
    let mut scene = Scene::new().await;
    let honest = scene.repository.document("targets")["targets"]["stable.json"].clone();
    for size in DECLARED {
        scene.repository.document("targets")["targets"]["stable.json"]["length"] = json!(size);
        scene.repository.publish(&["targets", "snapshot", "timestamp"]);
        let names: Vec<String> =
            scene.repository.files.keys().filter(|name| name.ends_with("stable.json")).cloned().collect();
        let held: Vec<Served> = names.iter().map(|name| scene.repository.files[name].clone()).collect();
        for name in &names {
            scene.repository.files.insert(name.clone(), Served::Endless);
        }
        scene.publish().await;
        let began = forget_peak();
        let limit = size.min(limits::TARGET_BYTES_IN_MEMORY);
        let advanced = ["timestamp", "snapshot", "targets"];
        for said in scene.refused(&size.to_string(), &["stable.json"], &advanced).await {
            let told = format!("has more than {limit} bytes");
            assert!(said.contains(&told) || said.contains("oversized"), "{said}");
        }
        assert!(peak() - began < MEMORY, "{size}: {} bytes of memory", peak() - began);
        for (name, held) in names.into_iter().zip(held) {
            scene.repository.files.insert(name, held);
        }
    }
    scene.repository.document("targets")["targets"]["stable.json"] = honest;
    scene.repository.publish(&["targets", "snapshot", "timestamp"]);
    scene.publish().await;
    scene.accepted("the real size").await;
}

#[tokio::test]
async fn believes_no_size_of_a_document() {
    let mut scene = Scene::new().await;
    scene.repository.hashes = true;
    for (role, above) in [("snapshot", "timestamp"), ("targets", "snapshot")] {
        for size in DECLARED {
            scene.repository.publish(&["targets", "snapshot", "timestamp"]);
            let version = scene.repository.document(role)["version"].as_u64().unwrap();
            let file = format!("{version}.{role}.json");
            scene.repository.document(above)["meta"][format!("{role}.json")]["length"] = json!(size);
            scene.repository.publish(if above == "snapshot" { &["snapshot", "timestamp"] } else { &["timestamp"] });
            scene.repository.files.insert(file.clone(), Served::Endless);
            scene.publish().await;
            let began = forget_peak();
            let said = scene.refused(&file, &[&file], before(role)).await;
            for said in said {
                assert!(said.contains("has more than") || said.contains("oversized"), "{said}");
            }
            assert!(peak() - began < MEMORY, "{file}: {} bytes of memory", peak() - began);
        }
        scene.repository.publish(&["targets", "snapshot", "timestamp"]);
        scene.publish().await;
        scene.accepted(role).await;
    }
}

/// A web server's drip is cut off after a time that no option shortens.
#[tokio::test]
async fn waits_for_no_web_server_that_drips() {
    if !long() {
        return;
    }
    let scene = Scene::new().await;
    scene.fronts[1].pace("timestamp.json", Pace::Drip(Duration::from_secs(1)));
    let began = Instant::now();
    let said = scene.read(2).await.unwrap_err();
    assert!(said.contains("fetching timestamp.json"), "{said}");
    assert!(began.elapsed() < WEB, "{:?}", began.elapsed());
    scene.publish().await;
    scene.accepted("a fast one").await;
}
