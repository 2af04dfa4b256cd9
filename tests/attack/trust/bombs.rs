//! Layers that become more than they look.

use std::io::Write as _;

use rocketos_model::limits;

use crate::{
    content::{Content, Image, Layer, ZSTD, archive, base, digest, key},
    scene::{Scene, Seen::InLayers, forget_peak, peak},
    sizes::MEMORY,
};

/// What a layer may cost, in bytes of memory: what is kept of it, twice while that grows.
const MOST: u64 = MEMORY + 2 * limits::LAYER_INLINE_BYTES;
/// Zeros behind a layer's end.
const TRAILING: usize = 256 << 20;

fn zstandard(tar: &[u8], window: u32) -> Layer {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window).unwrap();
    encoder.write_all(tar).unwrap();
    Layer { bytes: encoder.finish().unwrap(), media_type: ZSTD, diff_id: digest(tar) }
}

/// An image whose second layer this is, signed; both places, and little memory.
async fn refuses(scene: &mut Scene, layer: Layer, key: &rocketos_trust::PrivateKey, says: &str) {
    let image = Image::new(vec![Layer::plain(base("1")), layer]);
    let mut content = Content::of("1", &image);
    content.sign(&image, key);
    for reference in scene.show(&content, "1") {
        scene.renew();
        let began = forget_peak();
        scene.refuses_from(&reference, InLayers, &["layer", says]).await;
        assert!(peak() - began < MOST, "{says}: {} bytes of memory", peak() - began);
    }
}

async fn scene() -> (Scene, rocketos_trust::PrivateKey) {
    let release = key("release");
    let image = Image::new(vec![Layer::plain(base("1")), zstandard(&archive(&[("etc/", b"")]), 20)]);
    let mut content = Content::of("1", &image);
    content.sign(&image, &release);
    let scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    (scene, release)
}

#[tokio::test]
async fn unpacks_no_more_than_an_image_may_have() {
    let (mut scene, key) = scene().await;
    let mut long = archive(&[("etc/", b"")]);
    long.resize(TRAILING, 0);
    let says = "more than 1048576 bytes behind its end mark";
    refuses(&mut scene, Layer::gzip(&long), &key, says).await;
    refuses(&mut scene, zstandard(&long, 20), &key, says).await;
}

#[tokio::test]
async fn refuses_a_window_that_takes_much_memory() {
    let (mut scene, key) = scene().await;
    let honest = archive(&[("etc/", b""), ("etc/file", &vec![7; 65 << 20])]);
    refuses(&mut scene, zstandard(&honest, rocketos_oci::ZSTD_WINDOW_LOG + 2), &key, "does not decompress").await;
}

#[tokio::test]
async fn keeps_no_more_names_than_fit_into_memory() {
    let (mut scene, key) = scene().await;
    // Empty files, whose headers alone are kept; each frame is the same. A liar may serve them in a signed layer's place: what
    // digest they have is known at their end.
    const ENTRIES: usize = 1 << 17;
    let one = &archive(&[("file", b"")])[..512];
    let frame = zstandard(&one.repeat(ENTRIES), 20).bytes;
    let many = frame.repeat(usize::try_from(limits::LAYER_INLINE_BYTES).unwrap() / (512 * ENTRIES) + 1);
    let layer = Layer { bytes: many, media_type: ZSTD, diff_id: digest(b"whatever") };
    refuses(&mut scene, layer, &key, "more than 268435456 bytes of headers and small files").await;
}
