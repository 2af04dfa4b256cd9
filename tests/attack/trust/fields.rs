//! One flipped byte in every field of manifest, configuration, layer and signature.

use rocketos_trust::PrivateKey;
use serde_json::Value;

use crate::{
    content::{Bytes, Content, Image, key},
    scene::{
        Scene,
        Seen::{BeforeLayers, InLayers},
        flip, leaves,
    },
};

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn held(bytes: &Bytes) -> Vec<u8> {
    match bytes {
        Bytes::Held(bytes) => bytes.to_vec(),
        _ => panic!("it is not held"),
    }
}

async fn scene() -> (Image, Content, Scene, PrivateKey) {
    let release = key("release");
    let image = Image::release("1");
    let mut content = Content::of("1", &image);
    content.sign(&image, &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    (image, content, scene, release)
}

#[tokio::test]
async fn refuses_every_flipped_field_of_the_manifest() {
    let (image, content, scene, _) = scene().await;
    let manifest = parsed(&image.manifest);
    let fields = leaves(&manifest);
    assert!(fields.len() >= 12, "{fields:?}");
    for leaf in fields {
        let flipped = flip(&manifest, &leaf);
        // Under the digest that was asked for, and in a layout under the name of the file.
        let mut bent = content.clone();
        bent.manifests.insert(image.digest(), flipped.clone().into());
        let [_, layout] = scene.show(&bent, "1");
        let says = format!("{} was asked for", image.digest());
        for reference in [scene.by_digest(&image.digest()), layout] {
            scene.refuses_from(&reference, BeforeLayers, &["the manifest of", &says]).await;
        }
        // Under the tag, as an image of its own with the signatures of the real one.
        let mut bent = content.clone();
        let renamed = Image { manifest: flipped.clone(), ..image.clone() };
        bent.tag("1", flipped);
        bent.tag(&renamed.signature_tag(), content.tagged(&image.signature_tag()));
        for reference in scene.show(&bent, "1") {
            let said = scene.refusal(&reference, BeforeLayers).await.unwrap_or_else(|| panic!("{leaf} was taken"));
            // Some flips make it something that is no image at all.
            let known = [
                "it is for another image",
                "parsing",
                "media type",
                "has a digest",
                "digest sha256:",
                "missing",
                "truncated",
                "oversized",
                "limit",
                "lacks its",
                "many",
            ];
            assert!(known.iter().any(|part| said.contains(part)), "{leaf}: {said}");
        }
    }
}

#[tokio::test]
async fn refuses_every_flipped_field_of_the_configuration() {
    let (_, content, scene, _) = scene().await;
    let image = Image::release("1");
    let config = parsed(&image.config);
    let name = crate::content::digest(&image.config);
    for leaf in leaves(&config) {
        let flipped = flip(&config, &leaf);
        let mut bent = content.clone();
        bent.blobs.insert(name.clone(), flipped.into());
        for reference in scene.show(&bent, "1") {
            let said = scene.refusal(&reference, BeforeLayers).await.unwrap_or_else(|| panic!("{leaf} was taken"));
            let told = said.contains(&format!("its manifest says {name}")) || said.contains("the configuration of");
            assert!(told && said.contains("configuration"), "{leaf}: {said}");
        }
    }
}

/// Offsets into a tar header and what follows it (POSIX pax, "ustar Interchange Format").
const TAR_FIELDS: [(&str, usize); 14] = [
    ("name", 1),
    ("mode", 104),
    ("uid", 112),
    ("gid", 120),
    ("size", 133),
    ("mtime", 140),
    ("checksum", 150),
    ("type", 156),
    ("linkname", 157),
    ("magic", 258),
    ("version", 264),
    ("owner", 265),
    ("prefix", 345),
    ("padding", 505),
];

#[tokio::test]
async fn refuses_every_flipped_field_of_a_layer() {
    let (image, content, mut scene, _) = scene().await;
    let (plain, packed) = (&image.layers[0], &image.layers[1]);
    // The first folder's header, the first file's, its content, and the end.
    let mut places: Vec<(String, &str, usize)> = Vec::new();
    for (at, what) in [(0, "folder"), (512, "file")] {
        places.extend(TAR_FIELDS.iter().map(|(field, offset)| (format!("{what}: {field}"), "plain", at + offset)));
    }
    places.push(("content".to_owned(), "plain", 1024 + 700));
    places.push(("end mark".to_owned(), "plain", plain.bytes.len() - 1000));
    places.push(("last byte".to_owned(), "plain", plain.bytes.len() - 1));
    for (what, at) in [("magic", 0), ("method", 2), ("flags", 3), ("time", 5), ("system", 9), ("stream", 40)] {
        places.push((format!("gzip {what}"), "packed", at));
    }
    places.push(("gzip checksum".to_owned(), "packed", packed.bytes.len() - 7));
    places.push(("gzip length".to_owned(), "packed", packed.bytes.len() - 3));
    for (what, which, at) in places {
        let layer = if which == "plain" { plain } else { packed };
        let name = crate::content::digest(&layer.bytes);
        let mut bytes = layer.bytes.clone();
        bytes[at] ^= 1;
        let mut bent = content.clone();
        bent.blobs.insert(name.clone(), bytes.into());
        for reference in scene.show(&bent, "1") {
            // A layer that is here is not fetched again.
            scene.renew();
            let says = [&format!("layer {name} arrived with digest"), "altered"];
            scene.refuses_from(&reference, InLayers, &says.map(|part| part as &str)).await;
            assert!(!scene.node.store.has_layer(&layer.diff_id.parse().unwrap()).unwrap(), "{what}: it was named");
        }
    }
    // The other layer is named by now, whole; with the flips gone the rest comes.
    for reference in scene.show(&content, "1") {
        scene.node.take(&reference).await.unwrap();
    }
}

#[tokio::test]
async fn refuses_a_layer_that_is_not_what_its_configuration_says() {
    let (image, content, mut scene, release) = scene().await;
    scene.accepts(&content, "1").await;
    // Signed: its publisher errs, or has the digest of one archive and serves another that it names as well.
    let mut layers = image.layers.clone();
    layers[1].diff_id = crate::content::digest(b"another archive");
    let lying = Image::new(layers);
    let mut content = Content::of("1", &lying);
    content.sign(&lying, &release);
    let says = format!("its configuration says {}", lying.layers[1].diff_id);
    for reference in scene.show(&content, "1") {
        scene.renew();
        scene.refuses_from(&reference, InLayers, &["the layer's content has digest", &says]).await;
    }
}

/// What a signature's carrier says of itself beside the signature; nobody believes it, so it may be anything.
const IGNORED: [&str; 5] = ["/schemaVersion", "/mediaType", "/config/mediaType", "/config/digest", "/config/size"];

/// Each flip is either refused, or the very same image is accepted, and then only where the field says nothing.
async fn flips_of_carrier(scene: &Scene, contents: impl Fn(Vec<u8>) -> Content, carrier: &[u8], ignored: &[&str]) {
    let document = parsed(carrier);
    for leaf in leaves(&document) {
        let bent = contents(flip(&document, &leaf));
        for reference in scene.show(&bent, "1") {
            let resolved = scene.node.reader.resolve(&reference.parse().unwrap()).await.unwrap();
            let judged = scene.node.judge(&resolved).await;
            match ignored.contains(&leaf.as_str()) {
                true => {
                    judged.unwrap_or_else(|said| panic!("{reference}: {leaf} means something: {said}"));
                    assert_eq!(resolved.manifest_digest.to_string(), bent.tags["1"]);
                }
                false => {
                    let said = judged.err().unwrap_or_else(|| panic!("{reference}: {leaf} was taken"));
                    assert!(said.contains("wants a signature by release"), "{reference}: {leaf}: {said}");
                    scene.refusal(&reference, BeforeLayers).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn refuses_every_flipped_field_of_a_simple_signature() {
    let (image, content, scene, _) = scene().await;
    let carrier = content.tagged(&image.signature_tag());
    let with = |carrier: Vec<u8>| {
        let mut bent = content.clone();
        bent.tag(&image.signature_tag(), carrier);
        bent
    };
    flips_of_carrier(&scene, with, &carrier, &IGNORED).await;
    // The payload, with a carrier that names what is there.
    let named = parsed(&carrier)["layers"][0]["digest"].as_str().unwrap().to_owned();
    let payload = parsed(&held(&content.blobs[&named]));
    for leaf in leaves(&payload).iter().filter(|leaf| *leaf != "/optional") {
        let flipped = flip(&payload, leaf);
        let mut carrier = parsed(&carrier);
        let mut bent = content.clone();
        carrier["layers"][0]["digest"] = bent.blob(&flipped).into();
        carrier["layers"][0]["size"] = flipped.len().into();
        bent.tag(&image.signature_tag(), carrier.to_string().into_bytes());
        let says = ["wants a signature by release", "no key of the policy made it, or it was altered since"];
        scene.refuses(&bent, "1", BeforeLayers, &says).await;
    }
}

#[tokio::test]
async fn refuses_every_flipped_field_of_a_bundle() {
    let release = key("release");
    let image = Image::release("1");
    let mut content = Content::of("1", &image);
    content.sign_bundle(&image, &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let list = parsed(&content.tagged(&image.list_tag()));
    let carrier = held(&content.manifests[list["manifests"][0]["digest"].as_str().unwrap()]);
    let bundle = held(&content.blobs[parsed(&carrier)["layers"][0]["digest"].as_str().unwrap()]);
    let with = |carrier: Vec<u8>| {
        let mut bent = content.clone();
        bent.list(&image, carrier);
        bent
    };
    let ignored = [&IGNORED[..], &["/artifactType", "/subject/mediaType", "/subject/size"]].concat();
    flips_of_carrier(&scene, with, &carrier, &ignored).await;
    let with = |bundle: Vec<u8>| {
        let mut bent = content.clone();
        bent.attach(&image, &bundle);
        bent
    };
    // "A hint is not authenticated" (sigstore_common.proto): the policy's keys are tried instead.
    flips_of_carrier(&scene, with, &bundle, &["/verificationMaterial/publicKey/hint"]).await;
    let with = |list: Vec<u8>| {
        let mut bent = content.clone();
        bent.tag(&image.list_tag(), list);
        bent
    };
    let ignored = ["/schemaVersion", "/mediaType", "/manifests/0/mediaType", "/manifests/0/size"];
    flips_of_carrier(&scene, with, &list.to_string().into_bytes(), &ignored).await;
}
