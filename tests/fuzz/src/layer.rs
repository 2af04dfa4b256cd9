//! A layer's tar stream, laid under a layer that makes a bootable image of it.

use std::{
    cell::RefCell,
    path::{Component, Path},
};

use openssl::sha::sha256;
use rocketos_model::{BlobDigest, DiffId};
use rocketos_store::{Store, StoreError, Verity};
use tempfile::TempDir;

use crate::{
    layout::{self, TAR},
    scratch, tar,
};

/// Layers after which the store is made anew: it only grows.
const LAYERS: u32 = 128;

/// A store, and how many layers it has.
pub(crate) struct Shelf {
    /// Goes with the store.
    _folder: TempDir,
    pub(crate) store: Store,
    layers: u32,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let folder = scratch::folder();
        let store = Store::init(&folder.path().join("composefs"), Verity::Optional).expect("a store is made");
        Self { _folder: folder, store, layers: 0 }
    }

    /// Counts a layer.
    pub(crate) fn used(&mut self) {
        self.layers += 1;
        if self.layers >= LAYERS {
            *self = Self::new();
        }
    }
}

thread_local! {
    static SHELF: RefCell<Option<Shelf>> = const { RefCell::new(None) };
}

pub(crate) fn fuzz(bytes: &[u8]) {
    SHELF.with_borrow_mut(|shelf| {
        let shelf = shelf.get_or_insert_with(Shelf::new);
        import(&shelf.store, &tar::checksummed(bytes));
        shelf.used();
    });
}

fn import(store: &Store, tar: &[u8]) {
    let layer = DiffId::from_bytes(sha256(tar));
    let Ok(stats) = store.import_layer(&layer, &mut &*tar) else { return };
    assert!(stats.tar_bytes == tar.len() as u64 || stats.tar_bytes == 0);
    assert!(store.has_layer(&layer).expect("the store is read"));
    let kernel = kernel();
    let last = DiffId::from_bytes(sha256(&kernel));
    store.import_layer(&last, &mut kernel.as_slice()).expect("the layer with the kernel is good");
    let ids = [layer, last].map(|id| BlobDigest::from_bytes(*id.as_bytes()));
    let config = layout::config(&ids);
    let manifest = layout::manifest(&config, &[layout::descriptor(TAR, tar), layout::descriptor(TAR, &kernel)]);
    let image = match store.commit_image(&manifest, &config) {
        Ok(image) => image,
        Err(StoreError::Write(error)) => panic!("the scratch folder took no image: {error}"),
        Err(_) => return,
    };
    for line in store.list_files(&image.facts.digest).expect("what was written is listed").lines() {
        let path = Path::new(line.split(' ').next().unwrap_or_default());
        let stays = |component| matches!(component, Component::RootDir | Component::Normal(_));
        assert!(path.is_absolute() && path.components().all(stays), "{line}");
        assert!(!line.split(' ').next().unwrap_or_default().contains("//"), "{line}");
    }
    let checked = store.check_image(&image.facts.digest).expect("what was written is read");
    assert_eq!(checked.bad, []);
    let again = store.open_image(&image.manifest_digest).expect("what was written is opened").expect("it is there");
    assert_eq!(again.facts, image.facts);
}

/// A layer with the folders every image has and a kernel.
fn kernel() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, content) in [
        ("usr/", b'5', ""),
        ("sysroot/", b'5', ""),
        ("boot/", b'5', ""),
        ("boot/EFI/", b'5', ""),
        ("boot/EFI/Linux/", b'5', ""),
        ("boot/EFI/Linux/k.efi", b'0', "MZ"),
    ] {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000755");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[136..147].copy_from_slice(b"00000000000");
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        out.extend_from_slice(&block);
        out.extend_from_slice(content.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    tar::checksummed(&out)
}
