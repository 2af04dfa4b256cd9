//! Sizes that are declared and not there, or there and not declared; answers without an end.

use rocketos_model::limits;
use serde_json::{Value, json};

use crate::{
    content::{Bytes, Content, Image, Layer, archive, base, digest, key},
    scene::{
        Scene,
        Seen::{self, BeforeLayers, InLayers},
        forget_peak, peak,
    },
};

/// What is declared: nothing, and what does not fit into 31 or 32 bits.
pub const DECLARED: [u64; 7] = [0, (2 << 30) - 1, 2 << 30, (2 << 30) + 1, (4 << 30) - 1, 4 << 30, (4 << 30) + 1];
/// What reading any of it may cost, in bytes of memory.
pub const MEMORY: u64 = 96 << 20;

/// An image whose manifest was bent before it was signed: its publisher errs, or lies.
fn bent(bend: impl FnOnce(&mut Value)) -> (Image, Content, rocketos_trust::PrivateKey) {
    let release = key("release");
    let mut image = Image::release("1");
    image.describe(bend);
    let mut content = Content::of("1", &image);
    content.sign(&image, &release);
    (image, content, release)
}

/// Neither place brings it, in little memory.
async fn refuses(scene: &mut Scene, content: &Content, seen: Seen, says: &[&str]) {
    for reference in scene.show(content, "1") {
        scene.renew();
        let began = forget_peak();
        let said = scene.refusal(&reference, seen).await.unwrap_or_else(|| panic!("{reference} was taken: {says:?}"));
        assert!(says.iter().any(|part| said.contains(part)), "{reference}: none of {says:?} is in: {said}");
        assert!(peak() - began < MEMORY, "{reference}: {} bytes of memory: {said}", peak() - began);
    }
}

#[tokio::test]
async fn believes_no_size_of_a_layer() {
    let (image, content, release) = bent(|_| {});
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let names: Vec<String> = image.layers.iter().map(|layer| digest(&layer.bytes)).collect();
    for size in DECLARED {
        let (_, mut content, key) = bent(|manifest| manifest["layers"][0]["size"] = json!(size));
        scene.trust(&key);
        // What is there is short, and honest.
        refuses(&mut scene, &content, InLayers, &[&format!("layer {} is", names[0])]).await;
        // As much as was declared, of zeros.
        content.blobs.insert(names[0].clone(), Bytes::Zeros(size));
        let says = [format!("layer {} arrived with digest", names[0]), format!("storing layer {}", names[0])];
        refuses(&mut scene, &content, InLayers, &says.each_ref().map(String::as_str)).await;
        // More than was declared.
        content.blobs.insert(names[0].clone(), Bytes::Zeros(size + 1));
        refuses(&mut scene, &content, InLayers, &[&format!("layer {} is oversized", names[0])]).await;
    }
    let (_, content, key) = bent(|manifest| manifest["layers"][1]["size"] = json!(limits::LAYER_BYTES + 1));
    scene.trust(&key);
    refuses(&mut scene, &content, BeforeLayers, &["is over the limit of 8589934592"]).await;
}

#[tokio::test]
async fn believes_no_size_of_a_configuration() {
    let (_, content, release) = bent(|_| {});
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    for size in DECLARED {
        let (image, mut content, key) = bent(|manifest| manifest["config"]["size"] = json!(size));
        scene.trust(&key);
        let says =
            ["the image's configuration, in bytes, is over the limit of 4194304", "is oversized: more than its 0"];
        refuses(&mut scene, &content, BeforeLayers, &says).await;
        content.blobs.insert(digest(&image.config), Bytes::Zeros(size));
        refuses(&mut scene, &content, BeforeLayers, &[says[0], "its manifest says"]).await;
    }
}

#[tokio::test]
async fn believes_no_size_of_a_manifest() {
    let (image, content, release) = bent(|_| {});
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    for size in DECLARED {
        let mut content = content.clone();
        content.manifests.insert(image.digest(), Bytes::Zeros(size));
        refuses(&mut scene, &content, BeforeLayers, &["is over the limit of 4194304", "has digest", "parsing"]).await;
        // A layout's own files.
        for name in ["index.json", "oci-layout"] {
            let [_, layout] = scene.show(&content, "1");
            std::fs::File::create(scene.folder.path().join("layout").join(name)).unwrap().set_len(size).unwrap();
            let began = forget_peak();
            let said = scene.refusal(&layout, BeforeLayers).await.unwrap();
            assert!(said.contains(name) && (size == 0 || said.contains("over the limit")), "{said}");
            assert!(peak() - began < MEMORY, "{name}: {} bytes of memory", peak() - began);
        }
    }
}

#[tokio::test]
async fn believes_no_size_of_a_signature() {
    let (image, content, release) = bent(|_| {});
    let mut bundled = Content::of("1", &image);
    bundled.sign_bundle(&image, &release);
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    scene.accepts(&bundled, "1").await;
    let carrier: Value = serde_json::from_slice(&content.tagged(&image.signature_tag())).unwrap();
    let list: Value = serde_json::from_slice(&bundled.tagged(&image.list_tag())).unwrap();
    let Bytes::Held(bundle_carrier) = &bundled.manifests[list["manifests"][0]["digest"].as_str().unwrap()] else {
        panic!("it is held")
    };
    let bundle_carrier: Value = serde_json::from_slice(bundle_carrier).unwrap();
    for size in DECLARED {
        let says = ["more than 65536", "more than 262144", "is oversized: more than its 0", "is truncated", "digest"];
        for (honest, document) in [(&content, &carrier), (&bundled, &bundle_carrier)] {
            let mut document = document.clone();
            let named = document["layers"][0]["digest"].as_str().unwrap().to_owned();
            document["layers"][0]["size"] = json!(size);
            let mut bent = honest.clone();
            match document["subject"].is_null() {
                true => drop(bent.tag(&image.signature_tag(), document.to_string().into_bytes())),
                false => bent.list(&image, document.to_string().into_bytes()),
            }
            refuses(&mut scene, &bent, BeforeLayers, &says).await;
            bent.blobs.insert(named, Bytes::Zeros(size));
            refuses(&mut scene, &bent, BeforeLayers, &says).await;
        }
        // The carrier itself.
        let mut bent = content.clone();
        bent.manifests.insert(bent.tags[&image.signature_tag()].clone(), Bytes::Zeros(size));
        let says = ["over the limit of 4194304", "reading the signature manifest", "was asked for"];
        refuses(&mut scene, &bent, BeforeLayers, &says).await;
    }
}

#[tokio::test]
async fn reads_no_more_than_a_limit_of_endless_answers() {
    let (image, content, release) = bent(|_| {});
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    /// What is on its way when nobody reads any more.
    const IN_FLIGHT: u64 = 16 << 20;
    let payload: Value = serde_json::from_slice(&content.tagged(&image.signature_tag())).unwrap();
    let blobs = [
        (digest(&image.layers[0].bytes), "is oversized"),
        (digest(&image.layers[1].bytes), "is oversized"),
        (digest(&image.config), "is oversized"),
        (payload["layers"][0]["digest"].as_str().unwrap().to_owned(), "is oversized"),
    ];
    for (name, says) in &blobs {
        let mut bent = content.clone();
        bent.blobs.insert(name.clone(), Bytes::Endless);
        refuses(&mut scene, &bent, InLayers, &[says]).await;
        assert!(scene.hostile.sent() < IN_FLIGHT, "{name}: {} bytes", scene.hostile.sent());
    }
    for tag in ["1".to_owned(), image.signature_tag()] {
        let mut bent = content.clone();
        bent.manifests.insert(content.tags[&tag].clone(), Bytes::Endless);
        refuses(&mut scene, &bent, BeforeLayers, &["is over the limit of 4194304"]).await;
        assert!(scene.hostile.sent() < limits::MANIFEST_BYTES + IN_FLIGHT, "{tag}: {} bytes", scene.hostile.sent());
    }
}

/// A tar header for an entry of this kind and size.
fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[tokio::test]
async fn believes_no_size_of_a_file_in_a_layer() {
    let (_, content, release) = bent(|_| {});
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    for (kind, size, says) in DECLARED
        .map(|size| (b'0', size, "the stream ends in the middle of a file"))
        .into_iter()
        .chain(DECLARED.map(|size| (b'L', size, "")))
        .chain(DECLARED.map(|size| (b'x', size, "")))
        .chain([(b'0', 1000, "the stream ends in the middle of a file")])
        .chain([(b'0', limits::FILE_BYTES + 1, "more than 8589934592 bytes in one file")])
        .chain([(b'0', u64::MAX >> 1, "more than 8589934592 bytes in one file")])
    {
        // Nothing after it: of an empty file there is nothing missing but the end mark.
        let lying = [&archive(&[("etc/", b"")])[..512], &header("etc/file", kind, size)].concat();
        let image = Image::new(vec![Layer::plain(base("1")), Layer::gzip(&lying)]);
        let mut content = Content::of("1", &image);
        content.sign(&image, &release);
        scene.trust(&release);
        let says = if size == 0 || says.is_empty() { "storing layer" } else { says };
        refuses(&mut scene, &content, InLayers, &[says]).await;
    }
}
