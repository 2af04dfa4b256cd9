//! What a registry or a layout holds: made honestly, then bent.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use openssl::{pkey::PKey, sha::sha256};
use rocketos_model::ImageReference;
use rocketos_trust::{BUNDLE_TYPE, PrivateKey, Subject, sign_bundle, sign_payload, signature_manifest, signature_tag};
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha256(bytes)))
}

/// Bytes as they are handed out.
#[derive(Clone, PartialEq)]
pub enum Bytes {
    Held(Arc<Vec<u8>>),
    /// A sparse file; as many zeros from a server.
    Zeros(u64),
    /// A server that never ends; a layout's files do.
    Endless,
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Held(Arc::new(bytes))
    }
}

/// A layer as it is served.
#[derive(Clone)]
pub struct Layer {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub diff_id: String,
}

impl Layer {
    pub fn plain(tar: Vec<u8>) -> Self {
        Self { diff_id: digest(&tar), bytes: tar, media_type: TAR }
    }

    pub fn gzip(tar: &[u8]) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, tar).unwrap();
        Self { diff_id: digest(tar), bytes: encoder.finish().unwrap(), media_type: GZIP }
    }
}

/// An image whose documents may be bent before they are put anywhere.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Layer>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

/// A tar archive of folders and files; a name that ends in `/` is a folder.
pub fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        let folder = name.ends_with('/');
        header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if folder { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The layer that every image here begins with: a node takes sealed images alone.
pub fn base(version: &str) -> Vec<u8> {
    archive(&[
        ("sysroot/", b""),
        ("run/", b""),
        ("var/", b""),
        ("usr/", b""),
        ("usr/version", version.repeat(2000).as_bytes()),
        ("boot/", b""),
        ("boot/EFI/", b""),
        ("boot/EFI/Linux/", b""),
        ("boot/EFI/Linux/k.efi", &[b'k'; 9000]),
    ])
}

impl Image {
    pub fn new(layers: Vec<Layer>) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": rocketos_oci::running_architecture(), "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": {"containers.bootc": "1"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "sealed"}],
        });
        let mut image = Self { layers, config: config.to_string().into_bytes(), manifest: Vec::new() };
        image.describe(|_| {});
        image
    }

    /// A release: one layer as it is, one packed.
    pub fn release(version: &str) -> Self {
        let more = archive(&[("etc/", b""), ("etc/motd", version.repeat(500).as_bytes())]);
        Self::new(vec![Layer::plain(base(version)), Layer::gzip(&more)])
    }

    /// Writes the manifest; `bend` may alter it.
    pub fn describe(&mut self, bend: impl FnOnce(&mut Value)) {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| json!({"mediaType": layer.media_type, "digest": digest(&layer.bytes), "size": layer.bytes.len()}))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(&self.config), "size": self.config.len()},
            "layers": layers, "annotations": {"org.example.note": "free text"},
        });
        bend(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The tag that lists what refers to it.
    pub fn list_tag(&self) -> String {
        self.digest().replace(':', "-")
    }

    pub fn signature_tag(&self) -> String {
        signature_tag(Subject::of(&self.manifest).digest())
    }
}

/// A new Ed25519 key.
pub fn key(name: &str) -> PrivateKey {
    let pem = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
    PrivateKey::from_pem(name, &pem).unwrap()
}

/// Everything that one repository, or one layout, has.
#[derive(Clone, Default)]
pub struct Content {
    /// By the digest they are asked for by, whatever they are.
    pub blobs: BTreeMap<String, Bytes>,
    pub manifests: BTreeMap<String, Bytes>,
    pub tags: BTreeMap<String, String>,
}

impl Content {
    pub fn of(tag: &str, image: &Image) -> Self {
        let mut content = Self::default();
        content.add(tag, image);
        content
    }

    pub fn add(&mut self, tag: &str, image: &Image) {
        for layer in &image.layers {
            self.blob(&layer.bytes);
        }
        self.blob(&image.config);
        self.tag(tag, image.manifest.clone());
    }

    pub fn blob(&mut self, bytes: &[u8]) -> String {
        let name = digest(bytes);
        self.blobs.insert(name.clone(), bytes.to_vec().into());
        name
    }

    /// Puts a manifest under a tag, and by its digest.
    pub fn tag(&mut self, tag: &str, manifest: Vec<u8>) -> String {
        let name = digest(&manifest);
        self.manifests.insert(name.clone(), manifest.into());
        self.tags.insert(tag.to_owned(), name.clone());
        name
    }

    /// The manifest under a tag.
    pub fn tagged(&self, tag: &str) -> Vec<u8> {
        match &self.manifests[&self.tags[tag]] {
            Bytes::Held(bytes) => bytes.to_vec(),
            _ => panic!("{tag} is not held"),
        }
    }

    /// Signs in cosign's older form, beside what is there.
    pub fn sign(&mut self, image: &Image, key: &PrivateKey) {
        let reference: ImageReference = "docker://registry.example/os/test:1".parse().unwrap();
        let made = sign_payload(&Subject::of(&image.manifest), &reference, key).unwrap();
        let tag = image.signature_tag();
        let existing = self.tags.contains_key(&tag).then(|| self.tagged(&tag));
        let carrier = signature_manifest(existing.as_deref(), &made).unwrap();
        self.blob(&made.payload);
        self.blob(&carrier.config);
        self.tag(&tag, carrier.manifest);
    }

    /// Signs with a bundle among the referrers.
    pub fn sign_bundle(&mut self, image: &Image, key: &PrivateKey) {
        self.attach(image, &sign_bundle(&Subject::of(&image.manifest), key).unwrap());
    }

    /// Attaches a bundle, alone.
    pub fn attach(&mut self, image: &Image, bundle: &[u8]) {
        let empty = self.blob(b"{}");
        let bundle_name = self.blob(bundle);
        let carrier = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE_TYPE,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": BUNDLE_TYPE, "digest": bundle_name, "size": bundle.len()}],
            "subject": {"mediaType": MANIFEST, "digest": image.digest(), "size": image.manifest.len()},
        });
        self.list(image, carrier.to_string().into_bytes());
    }

    /// Lists a carrier as the one that refers to an image.
    pub fn list(&mut self, image: &Image, carrier: Vec<u8>) {
        let (name, size) = (digest(&carrier), carrier.len());
        self.manifests.insert(name.clone(), carrier.into());
        let list = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": name, "size": size, "artifactType": BUNDLE_TYPE}],
        });
        self.tag(&image.list_tag(), list.to_string().into_bytes());
    }

    /// Everything, by the path below a repository.
    pub fn paths(&self) -> BTreeMap<String, Bytes> {
        let blobs = self.blobs.iter().map(|(name, bytes)| (format!("blobs/{name}"), bytes.clone()));
        let manifests = self.manifests.iter().map(|(name, bytes)| (format!("manifests/{name}"), bytes.clone()));
        let tags = self.tags.iter().map(|(tag, name)| (format!("manifests/{tag}"), self.manifests[name].clone()));
        blobs.chain(manifests).chain(tags).collect()
    }

    /// Writes an image layout in place of what is there.
    pub fn write(&self, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (name, bytes) in self.blobs.iter().chain(&self.manifests) {
            let path = folder.join("blobs/sha256").join(name.trim_start_matches("sha256:"));
            match bytes {
                Bytes::Held(bytes) => fs::write(path, &**bytes).unwrap(),
                Bytes::Zeros(length) => fs::File::create(path).unwrap().set_len(*length).unwrap(),
                Bytes::Endless => fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            }
        }
        let entry = |(tag, name): (&String, &String)| {
            let (kind, size) = match &self.manifests[name] {
                Bytes::Held(bytes) => (media_type(bytes), bytes.len()),
                _ => (MANIFEST, 1000),
            };
            json!({"mediaType": kind, "digest": name, "size": size,
                   "annotations": {"org.opencontainers.image.ref.name": tag}})
        };
        let entries: Vec<Value> = self.tags.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }
}

/// As what a document is served: a server says one or the other, whatever the document says of itself.
pub fn media_type(manifest: &[u8]) -> &'static str {
    match manifest.windows(11).any(|window| window == b"\"manifests\"") {
        true => INDEX,
        false => MANIFEST,
    }
}
