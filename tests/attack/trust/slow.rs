//! Servers that are silent, or drip.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    content::{Content, Image, digest, key},
    hostile::Pace,
    node::PATIENCE,
    scene::{Scene, Seen::InLayers},
};

/// What giving up may take: each attempt its patience, each request of a pull once.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn waits_for_no_server_that_is_silent_or_drips() {
    let release = key("release");
    let image = Image::release("1");
    let mut content = Content::of("1", &image);
    content.sign(&image, &release);
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let carrier: Value = serde_json::from_slice(&content.tagged(&image.signature_tag())).unwrap();
    let paths = [
        "manifests/1".to_owned(),
        format!("blobs/{}", digest(&image.config)),
        format!("manifests/{}", image.signature_tag()),
        format!("blobs/{}", carrier["layers"][0]["digest"].as_str().unwrap()),
        format!("blobs/{}", digest(&image.layers[0].bytes)),
        format!("blobs/{}", digest(&image.layers[1].bytes)),
    ];
    let [reference, _] = scene.show(&content, "1");
    for path in &paths {
        for pause in [PATIENCE.stall * 3, PATIENCE.stall / 10] {
            scene.renew();
            // An honest answer, as far as it comes.
            scene.hostile.answer([(path.clone(), content.paths().get(path).cloned())].into());
            scene.hostile.pace(path, Pace::Drip(pause));
            let began = Instant::now();
            let said = tokio::time::timeout(SOON, scene.refusal(&reference, InLayers)).await;
            let said = said.unwrap_or_else(|_| panic!("{path} keeps a node waiting, a byte each {pause:?}"));
            let said = said.unwrap_or_else(|| panic!("{path} was taken after {:?}", began.elapsed()));
            assert!(said.contains("broke off 2 times"), "{path}: {said}");
            assert_eq!(said.contains("bytes came within"), pause < PATIENCE.stall, "{path}: {said}");
        }
    }
    let [reference, _] = scene.show(&content, "1");
    scene.node.take(&reference).await.unwrap();
}
