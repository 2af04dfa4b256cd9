//! Signatures that are forged, stripped, swapped, of the wrong key, too few; images that are old.

use rocketos_trust::{PrivateKey, Subject, sign_payload, signature_manifest};
use serde_json::{Value, json};

use crate::{
    content::{Content, INDEX, Image, MANIFEST, digest, key},
    scene::{Scene, Seen::BeforeLayers},
};

/// One image, signed in both forms.
fn signed(version: &str, key: &PrivateKey) -> (Image, Content) {
    let image = Image::release(version);
    let mut content = Content::of("1", &image);
    content.sign(&image, key);
    content.sign_bundle(&image, key);
    (image, content)
}

#[tokio::test]
async fn refuses_an_image_whose_signatures_were_stripped() {
    let release = key("release");
    let (image, content) = signed("1", &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let mut stripped = content.clone();
    for tag in [image.signature_tag(), image.list_tag()] {
        let name = stripped.tags.remove(&tag).unwrap();
        stripped.manifests.remove(&name);
    }
    let says = ["policy.toml wants a signature by release", "no signature was found", "have it signed"];
    scene.refuses(&stripped, "1", BeforeLayers, &says).await;
    assert_eq!(scene.hostile.asked(&image.layers[0].diff_id), 0, "a layer was asked for");
}

#[tokio::test]
async fn refuses_a_signature_by_another_key() {
    let (release, stranger) = (key("release"), key("stranger"));
    let (image, content) = signed("1", &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let says = ["wants a signature by release", "no key of the policy made it, or it was altered since"];
    let mut simple = Content::of("1", &image);
    simple.sign(&image, &stranger);
    scene.refuses(&simple, "1", BeforeLayers, &says).await;
    let mut bundle = Content::of("1", &image);
    bundle.sign_bundle(&image, &stranger);
    scene.refuses(&bundle, "1", BeforeLayers, &says).await;
    // A stranger's beside the right one does no harm.
    bundle.sign(&image, &release);
    scene.accepts(&bundle, "1").await;
}

#[tokio::test]
async fn refuses_a_forged_signature() {
    let release = key("release");
    let (image, content) = signed("1", &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    // The payload is right, and what stands beside it was made up: of the right length, empty, none, no base64.
    for made_up in [json!("A".repeat(86) + "=="), json!(""), Value::Null, json!("no base64")] {
        let mut forged = Content::of("1", &image);
        forged.sign(&image, &release);
        let mut carrier: Value = serde_json::from_slice(&forged.tagged(&image.signature_tag())).unwrap();
        let annotations = carrier["layers"][0]["annotations"].as_object_mut().unwrap();
        match &made_up {
            Value::Null => drop(annotations.remove("dev.cosignproject.cosign/signature")),
            text => drop(annotations.insert("dev.cosignproject.cosign/signature".to_owned(), text.clone())),
        }
        forged.tag(&image.signature_tag(), carrier.to_string().into_bytes());
        scene.refuses(&forged, "1", BeforeLayers, &["wants a signature by release", "none of 1 found counts"]).await;
    }
}

#[tokio::test]
async fn refuses_the_right_signature_of_another_image() {
    let release = key("release");
    let (image, mut content) = signed("1", &release);
    let (other, others) = signed("2", &release);
    content.add("2", &other);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let names_the_other = format!("it is for another image, {}", other.digest());
    let mut swapped = content.clone();
    swapped.tags.remove(&image.list_tag());
    swapped.blobs.extend(others.blobs.clone());
    swapped.tag(&image.signature_tag(), others.tagged(&other.signature_tag()));
    scene.refuses(&swapped, "1", BeforeLayers, &["wants a signature by release", &names_the_other]).await;
    // The same with a bundle, in a carrier that says it belongs to this image.
    let bundle = rocketos_trust::sign_bundle(&Subject::of(&other.manifest), &release).unwrap();
    let mut swapped = content.clone();
    swapped.tags.remove(&image.signature_tag());
    swapped.attach(&image, &bundle);
    scene.refuses(&swapped, "1", BeforeLayers, &["wants a signature by release", "it is for another image"]).await;
    // And the other way round: another image under the name, with this one's signatures under its tags.
    let third = Image::release("3");
    let mut swapped = content.clone();
    swapped.add("1", &third);
    swapped.tag(&third.signature_tag(), content.tagged(&image.signature_tag()));
    scene.refuses(&swapped, "1", BeforeLayers, &["wants a signature by release", &image.digest()]).await;
}

#[tokio::test]
async fn refuses_fewer_keys_than_the_threshold() {
    let (release, second) = (key("release"), key("second"));
    let (image, content) = signed("1", &release);
    let scene = Scene::new(&content, &[&release, &second], 2).await;
    let says = ["wants signatures by 2 of release, second", "found only release"];
    scene.refuses(&content, "1", BeforeLayers, &says).await;
    // The same key again, twice in one carrier and once in a bundle.
    let reference = "docker://registry.example/os/other:1".parse().unwrap();
    let again = sign_payload(&Subject::of(&image.manifest), &reference, &release).unwrap();
    let mut twice = content.clone();
    let carrier = signature_manifest(Some(&content.tagged(&image.signature_tag())), &again).unwrap();
    twice.blob(&again.payload);
    twice.blob(&carrier.config);
    twice.tag(&image.signature_tag(), carrier.manifest);
    scene.refuses(&twice, "1", BeforeLayers, &says).await;
    twice.sign(&image, &second);
    scene.accepts(&twice, "1").await;
}

#[tokio::test]
async fn refuses_an_index_that_leads_elsewhere_than_the_signed_one() {
    let release = key("release");
    let (image, evil) = (Image::release("1"), Image::release("evil"));
    let index = |image: &Image| {
        let platform = json!({"os": "linux", "architecture": rocketos_oci::running_architecture()});
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len(), "platform": platform},
        ]})
    };
    let honest = index(&image).to_string().into_bytes();
    let mut content = Content::of("single", &image);
    content.tag("1", honest.clone());
    // Who signs an index signs what it names.
    let listed = Image { manifest: honest, ..image.clone() };
    content.sign(&listed, &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    for reference in scene.show(&content, "1") {
        let found = scene.node.reader.resolve(&reference.parse().unwrap()).await.unwrap();
        assert_eq!(found.manifest_digest.to_string(), image.digest());
        assert!(scene.verify(&reference).status.success(), "{reference}");
    }
    let mut bent = content.clone();
    bent.add("evil", &evil);
    let elsewhere = index(&evil).to_string().into_bytes();
    bent.tag(&listed_tag(&elsewhere), content.tagged(&listed.signature_tag()));
    bent.tag("1", elsewhere);
    scene.refuses(&bent, "1", BeforeLayers, &["wants a signature by release", "it is for another image"]).await;
}

fn listed_tag(manifest: &[u8]) -> String {
    format!("{}.sig", digest(manifest).replace(':', "-"))
}

/// A signature says that an image was released once. Which one is to run today is said by a channel, which names it by its
/// digest; who follows a bare tag takes an old release as well (docs/gaps.md).
#[tokio::test]
async fn refuses_an_old_image_in_place_of_the_one_a_channel_names() {
    let release = key("release");
    let (old, olds) = signed("1", &release);
    let (new, mut content) = signed("2", &release);
    content.blobs.extend(olds.blobs.clone());
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let mut replayed = content.clone();
    replayed.manifests.extend(olds.manifests.clone());
    replayed.tags.extend(olds.tags.clone());
    // Under the digest, too, lie the old bytes, with all that makes them right.
    replayed.manifests.insert(new.digest(), old.manifest.clone().into());
    let [by_tag, _] = scene.show(&replayed, "1");
    let says = [format!("has digest {}, {} was asked for", old.digest(), new.digest())];
    scene.refuses_from(&scene.by_digest(&new.digest()), BeforeLayers, &[&says[0]]).await;
    let taken = scene.node.take(&by_tag).await.unwrap();
    assert_eq!(taken.manifest_digest.to_string(), old.digest());
    // A layout whose table of contents names the new one and has the old bytes for it.
    let scene = Scene::new(&content, &[&release], 1).await;
    let mut replayed = content.clone();
    replayed.manifests.insert(new.digest(), old.manifest.clone().into());
    let [_, layout] = scene.show(&replayed, "1");
    scene.refuses_from(&layout, BeforeLayers, &[&says[0]]).await;
}
