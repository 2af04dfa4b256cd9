//! One flipped byte in every field of every role's document.

use serde_json::Value;

use super::publisher::{Scene, before, publish_up};
use crate::{
    scene::{flip, leaves},
    tuf::TOP,
};

#[tokio::test]
async fn refuses_every_flipped_field_of_every_role() {
    let mut scene = Scene::new().await;
    scene.repository.hashes = true;
    for role in TOP {
        publish_up(&mut scene.repository, role);
        let version = scene.repository.document(role)["version"].as_u64().unwrap();
        let honest = scene.repository.files.clone();
        let signed: Value = serde_json::from_slice(&scene.repository.bytes(&format!("{version}.{role}.json"))).unwrap();
        let fields = leaves(&signed);
        assert!(fields.len() >= 7, "{role}: {fields:?}");
        for leaf in fields {
            scene.repository.files = honest.clone();
            scene.repository.serve(role, version, &flip(&signed, &leaf));
            scene.publish().await;
            let what = format!("{role}{leaf}");
            for said in scene.refused(&what, &[], before(role)).await {
                // Its digest is looked at first, where another document has it.
                let named = [format!("the role {role}"), format!("{role}.json"), "name".to_owned()];
                assert!(named.iter().any(|name| said.contains(name)), "{what}: {said}");
            }
        }
        scene.repository.files = honest;
        scene.publish().await;
        scene.accepted(role).await;
    }
}

#[tokio::test]
async fn refuses_every_flipped_byte_of_a_channel() {
    let mut scene = Scene::new().await;
    let honest = scene.repository.files.clone();
    let document = super::publisher::document("1");
    for at in (0..document.len()).step_by(37) {
        let mut bent = document.clone();
        bent[at] ^= 1;
        for (name, served) in &mut scene.repository.files {
            if name.ends_with("stable.json") {
                *served = crate::tuf::Served::Bytes(bent.clone());
            }
        }
        scene.publish().await;
        scene.refused(&format!("byte {at}"), &["stable.json does not have the sha256 digest"], &[]).await;
    }
    scene.repository.files = honest;
    scene.publish().await;
    scene.accepted("honest").await;
}
