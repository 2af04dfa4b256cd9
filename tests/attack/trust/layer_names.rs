//! Files in a layer whose names lead out of it.

use std::{fs, path::Path};

use crate::{
    content::{Content, Image, Layer, archive, base, key},
    scene::{Scene, Seen::InLayers},
};

/// A tar entry with a name that no builder would write: kind, name, target of a link.
fn entry(kind: u8, name: &str, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let content: &[u8] = if kind == b'0' { b"evil" } else { b"" };
    let raw = header.as_gnu_mut().unwrap();
    raw.name[..name.len()].copy_from_slice(name.as_bytes());
    raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn layer(entries: &[Vec<u8>]) -> Layer {
    Layer::plain([entries.concat(), vec![0; 1024]].concat())
}

/// Everything below a folder but the store of the node and what is shown.
fn outside(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn refuses_files_whose_names_lead_out() {
    let release = key("release");
    let image = Image::new(vec![Layer::plain(base("1")), Layer::plain(archive(&[("etc/", b""), ("etc/file", b"x")]))]);
    let mut content = Content::of("1", &image);
    content.sign(&image, &release);
    let mut scene = Scene::new(&content, &[&release], 1).await;
    scene.accepts(&content, "1").await;
    let link = entry(b'2', "usr/link", "/tmp");
    for (what, entries) in [
        ("up", vec![entry(b'0', "../evil", "")]),
        ("far up", vec![entry(b'0', "../../../../../../evil", "")]),
        ("absolute and up", vec![entry(b'0', "/../evil", "")]),
        ("down and up", vec![entry(b'0', "usr/../../evil", "")]),
        ("a folder up", vec![entry(b'5', "usr/../../evil/", "")]),
        ("the folder above", vec![entry(b'0', "usr/..", "")]),
        ("through a link", vec![link.clone(), entry(b'0', "usr/link/evil", "")]),
        ("a hard link out", vec![entry(b'1', "usr/evil", "../../../etc/passwd")]),
        ("a hard link through a link", vec![link.clone(), entry(b'1', "usr/evil", "usr/link/x")]),
        ("a folder in a link's place, used as one", vec![link, entry(b'5', "usr/link/evil/", "")]),
    ] {
        let image = Image::new(vec![Layer::plain(base("1")), layer(&entries)]);
        let mut content = Content::of("1", &image);
        content.sign(&image, &release);
        for reference in scene.show(&content, "1") {
            scene.renew();
            let before = outside(scene.folder.path());
            let said = scene.refusal(&reference, InLayers).await.unwrap_or_else(|| panic!("{what} was taken"));
            assert!(said.contains("layer is damaged"), "{what}: {said}");
            assert_eq!(outside(scene.folder.path()), before, "{what}");
            assert!(!Path::new("/tmp/evil").exists() && !Path::new("/evil").exists(), "{what}");
        }
    }
}
