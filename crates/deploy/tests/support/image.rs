//! Bootable images made by hand: two layers of files and one with a kernel sealed for them.

use std::io::Cursor;

use rocketos_boot::uki;
use rocketos_model::{ComposefsDigest, DeploymentId, DiffId, ManifestDigest, cmdline, layout};
use rocketos_store::{Store, Verity};
use sha2::{Digest as _, Sha256};

/// What the kernel of an image is sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// The image it lies in.
    Own,
    /// Another image.
    Other,
    /// Nothing: its command line names no image.
    Absent,
    /// It is not a unified kernel image at all.
    NoUki,
}

/// An image as it comes from a registry, its layers unpacked.
pub struct Release {
    pub layers: Vec<(DiffId, Vec<u8>)>,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub digest: ManifestDigest,
    /// Composefs digest of its files.
    pub composefs: ComposefsDigest,
}

impl Release {
    pub fn id(&self) -> DeploymentId {
        self.digest.deployment()
    }
}

/// A release whose first layer all versions share.
pub fn release(version: &str) -> Release {
    sealed(version, Seal::Own)
}

pub fn sealed(version: &str, seal: Seal) -> Release {
    made(version, seal, "")
}

/// A release that names host containers, as sealing leaves it to its Containerfile.
#[allow(dead_code, reason = "not every test has host containers")]
pub fn naming(version: &str, host_containers: &str) -> Release {
    made(version, Seal::Own, &format!(r#","org.rocketos.host-containers":"{host_containers}""#))
}

fn made(version: &str, seal: Seal, labels: &str) -> Release {
    let files = vec![shared(), own(version)];
    let composefs = composefs_digest(&files);
    let kernel = match seal {
        Seal::Own => kernel(&cmdline::argument(&composefs), version),
        Seal::Other => kernel(&cmdline::argument(&"ab".repeat(64).parse().unwrap()), version),
        Seal::Absent => kernel("quiet", version),
        Seal::NoUki => b"no PE file".to_vec(),
    };
    let mut layers = files;
    layers.push(boot(&kernel));
    let (manifest, config) = documents(&layers, version, labels);
    let digest = ManifestDigest::from_bytes(Sha256::digest(&manifest).into());
    Release { layers, manifest, config, digest, composefs }
}

/// What the store makes of files whose kernel does not count.
fn composefs_digest(files: &[(DiffId, Vec<u8>)]) -> ComposefsDigest {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::init(&directory.path().join("store"), Verity::Optional).unwrap();
    let mut layers = files.to_vec();
    layers.push(boot(b"placeholder"));
    for (id, tar) in &layers {
        store.import_layer(id, &mut Cursor::new(tar)).unwrap();
    }
    let (manifest, config) = documents(&layers, "", "");
    store.commit_image(&manifest, &config).unwrap().facts.digest
}

type Layer = (DiffId, Vec<u8>);

fn shared() -> Layer {
    let directories = ["usr", "usr/bin", "boot", "sysroot", "run", "var"];
    layer(&directories, &[("usr/bin/shared", &content("shared", 300_000))])
}

fn own(version: &str) -> Layer {
    layer(&[], &[("usr/bin/version", &content(version, 50_000)), ("usr/bin/tiny", version.as_bytes())])
}

fn boot(kernel: &[u8]) -> Layer {
    layer(&["boot", "boot/EFI", layout::image::UKI], &[(&format!("{}/6.12.0.efi", layout::image::UKI), kernel)])
}

fn layer(directories: &[&str], files: &[(&str, &[u8])]) -> Layer {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, size: usize, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header
    };
    for path in directories {
        tar.append_data(&mut header(tar::EntryType::Directory, 0, 0o755), path, Cursor::new([])).unwrap();
    }
    for (path, content) in files {
        tar.append_data(&mut header(tar::EntryType::Regular, content.len(), 0o644), path, *content).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    (DiffId::from_bytes(Sha256::digest(&bytes).into()), bytes)
}

/// Content that no other name has.
fn content(name: &str, length: usize) -> Vec<u8> {
    name.bytes().cycle().take(length).collect()
}

/// A UKI of about 200 KB.
fn kernel(cmdline: &str, version: &str) -> Vec<u8> {
    let sections: [(&str, &[u8]); 3] = [
        (".cmdline", cmdline.as_bytes()),
        (".initrd", &content("initramfs", 100_000)),
        (".linux", &content(version, 100_000)),
    ];
    uki::assemble(&stub(), &sections).unwrap()
}

/// The smallest PE32+ file that sections can be added to (Microsoft "PE Format"): one section of code.
fn stub() -> Vec<u8> {
    let (signature, table) = (0x80, 0x80 + 4 + 20 + 240);
    let mut out = vec![0_u8; 0x600];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &(signature as u32).to_le_bytes());
    put(signature, b"PE\0\0");
    put(signature + 4 + 2, &1_u16.to_le_bytes());
    put(signature + 4 + 16, &240_u16.to_le_bytes());
    let optional = signature + 4 + 20;
    put(optional, &0x20b_u16.to_le_bytes());
    // Alignment in memory and in the file, size in memory, size of the headers, number of data directories.
    for (at, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x2000), (60, 0x400), (108, 16)] {
        put(optional + at, &value.to_le_bytes());
    }
    put(table, b".text\0\0\0");
    // Size in memory, address, size in the file, offset, then flags: code that is read.
    for (at, value) in [(8, 0x1f0_u32), (12, 0x1000), (16, 0x200), (20, 0x400), (36, 0x4000_0020)] {
        put(table + at, &value.to_le_bytes());
    }
    out
}

fn documents(layers: &[Layer], version: &str, labels: &str) -> (Vec<u8>, Vec<u8>) {
    let ids = layers.iter().map(|(id, _)| format!("\"{id}\"")).collect::<Vec<_>>().join(",");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","config":{{"Labels":{{"containers.bootc":"1","org.opencontainers.image.version":"{version}"{labels}}}}},"rootfs":{{"type":"layers","diff_ids":[{ids}]}},"history":[]}}"#
    )
    .into_bytes();
    let descriptor = |kind: &str, digest: String, size: usize| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let layers: Vec<_> = layers.iter().map(|(id, tar)| descriptor("layer.v1.tar", id.to_string(), tar.len())).collect();
    let digest = DiffId::from_bytes(Sha256::digest(&config).into()).to_string();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        descriptor("config.v1+json", digest, config.len()),
        layers.join(",")
    );
    (manifest.into_bytes(), config)
}
