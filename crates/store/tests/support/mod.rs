//! Layers and documents made by hand.

#![allow(dead_code, reason = "each test file uses another part")]

use std::{fs, io::Cursor, path::Path};

use rocketos_model::DiffId;
use rocketos_store::{Store, Verity};
use sha2::{Digest as _, Sha256};

/// Owner of the files, so that a tree on the disk can have the same one.
pub fn owner() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// A tar stream under construction.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        let (uid, gid) = owner();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(1_700_000_000);
        header
    }

    pub fn directory(mut self, path: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Directory, 0, 0o755);
        self.0.append_data(&mut header, path, Cursor::new([])).unwrap();
        self
    }

    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, content.len() as u64, 0o644);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind, 0, 0o777);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    pub fn done(self) -> (DiffId, Vec<u8>) {
        let bytes = self.0.into_inner().unwrap();
        (DiffId::from_bytes(Sha256::digest(&bytes).into()), bytes)
    }
}

/// Content that no other name has.
pub fn content(name: &str, length: usize) -> Vec<u8> {
    name.bytes().cycle().take(length).collect()
}

pub fn os(version: &str) -> (DiffId, Vec<u8>) {
    let mut layer = Layer::new();
    for directory in ["usr", "usr/bin", "boot", "boot/EFI", "boot/EFI/Linux", "sysroot", "run", "var"] {
        layer = layer.directory(directory);
    }
    layer
        .file("usr/bin/big", &content("big", 700_000))
        .file("usr/bin/version", &content(version, 5_000))
        .file("usr/bin/tiny", b"tiny")
        .link(tar::EntryType::Link, "usr/bin/again", "usr/bin/big")
        .link(tar::EntryType::Symlink, "bin", "usr/bin")
        .file("boot/EFI/Linux/k.efi", &content("kernel", 9_000))
        .done()
}

pub fn documents(layers: &[DiffId]) -> (Vec<u8>, Vec<u8>) {
    let ids = layers.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{ids}]}},"history":[]}}"#
    )
    .into_bytes();
    let descriptor = |kind: &str, digest: String, size: usize| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let layers: Vec<_> = layers.iter().map(|id| descriptor("layer.v1.tar", id.to_string(), 1)).collect();
    let digest = DiffId::from_bytes(Sha256::digest(&config).into()).to_string();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        descriptor("config.v1+json", digest, config.len()),
        layers.join(",")
    );
    (manifest.into_bytes(), config)
}

pub fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::init(&directory.path().join("composefs"), Verity::Optional).unwrap();
    (directory, store)
}

pub fn import(store: &Store, (id, bytes): &(DiffId, Vec<u8>)) -> rocketos_store::LayerStats {
    store.import_layer(id, &mut Cursor::new(bytes)).unwrap()
}

pub fn objects(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for first in fs::read_dir(directory.join("composefs/objects")).unwrap() {
        let first = first.unwrap();
        for second in fs::read_dir(first.path()).unwrap() {
            let second = second.unwrap();
            let name = format!("{}{}", first.file_name().to_str().unwrap(), second.file_name().to_str().unwrap());
            found.push((name, fs::read(second.path()).unwrap()));
        }
    }
    found
}
