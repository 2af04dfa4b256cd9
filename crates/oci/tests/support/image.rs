//! Images made by hand.

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use openssl::sha::sha256;
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&sha256(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layer as served.
#[derive(Clone)]
pub struct Blob {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub diff_id: String,
}

impl Blob {
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }
}

/// An image: its bytes may be bent before it is written or pushed.
#[derive(Clone)]
pub struct Image {
    pub layers: Vec<Blob>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// One member of a tar archive (POSIX pax, "ustar Interchange Format").
pub fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

pub fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(|(name, content)| member(name, content)).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn plain(tar: &[u8]) -> Blob {
    Blob { bytes: tar.to_vec(), media_type: TAR, diff_id: digest(tar) }
}

pub fn gzipped(tar: &[u8]) -> Blob {
    Blob { bytes: gzip(tar), media_type: GZIP, diff_id: digest(tar) }
}

/// Two gzip members, as some builders write.
pub fn gzipped_twice(tar: &[u8]) -> Blob {
    let (a, b) = tar.split_at(tar.len() / 2);
    Blob { bytes: [gzip(a), gzip(b)].concat(), media_type: GZIP, diff_id: digest(tar) }
}

/// Two zstd frames and a skippable one, as zstd:chunked has.
pub fn zstandard(tar: &[u8]) -> Blob {
    let (a, b) = tar.split_at(tar.len() / 2);
    let mut bytes = [zstd::encode_all(a, 3).unwrap(), zstd::encode_all(b, 3).unwrap()].concat();
    bytes.extend_from_slice(&0x184d_2a50_u32.to_le_bytes());
    bytes.extend_from_slice(&5_u32.to_le_bytes());
    bytes.extend_from_slice(b"extra");
    Blob { bytes, media_type: ZSTD, diff_id: digest(tar) }
}

impl Image {
    pub fn new(layers: Vec<Blob>) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": {"containers.bootc": "1"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Self::with_config(layers, &config)
    }

    pub fn with_config(layers: Vec<Blob>, config: &Value) -> Self {
        let config = config.to_string().into_bytes();
        let mut image = Self { layers, config, manifest: Vec::new() };
        image.write_manifest();
        image
    }

    fn write_manifest(&mut self) {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.digest(), "size": layer.bytes.len()}))
            .collect();
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&self.config), "size": self.config.len(),
            },
            "layers": layers,
        })
        .to_string()
        .into_bytes();
    }

    /// Four small layers, one for each way to pack, and an incompressible one of about `bytes`.
    pub fn of_every_kind(bytes: usize) -> Self {
        let content = |seed| noise(seed, 5000);
        Self::new(vec![
            gzipped(&tar(&[("usr/big", &noise(1, bytes)), ("usr/small", b"x")])),
            plain(&tar(&[("a", &content(2))])),
            gzipped_twice(&tar(&[("b", &content(3))])),
            zstandard(&tar(&[("c", &content(4)), ("d", b"")])),
        ])
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Every file of an image layout but its index.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let blob = |digest: String, bytes: &[u8]| (format!("blobs/{}", digest.replace(':', "/")), bytes.to_vec());
        let mut files = vec![
            ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
            blob(self.digest(), &self.manifest),
            blob(digest(&self.config), &self.config),
        ];
        files.extend(self.layers.iter().map(|layer| blob(layer.digest(), &layer.bytes)));
        files
    }

    fn index(&self, tags: &[&str]) -> Vec<u8> {
        let manifests: Vec<Value> = tags
            .iter()
            .map(|tag| {
                json!({"mediaType": MANIFEST, "digest": self.digest(), "size": self.manifest.len(),
                       "annotations": {"org.opencontainers.image.ref.name": tag}})
            })
            .collect();
        json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes()
    }

    /// Writes an image layout; `bend` may alter each file's content.
    pub fn write_layout(&self, path: &Path, tags: &[&str], bend: impl Fn(&str, &mut Vec<u8>)) {
        for (name, mut bytes) in self.files().into_iter().chain([("index.json".to_owned(), self.index(tags))]) {
            let path = path.join(&name);
            bend(&name, &mut bytes);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// Writes the same as a tar archive.
    pub fn write_archive(&self, path: &Path, tags: &[&str], bend: impl Fn(&str, &mut Vec<u8>)) {
        let mut archive = Vec::new();
        for (name, mut bytes) in self.files().into_iter().chain([("index.json".to_owned(), self.index(tags))]) {
            bend(&name, &mut bytes);
            archive.extend(member(&name, &bytes));
        }
        archive.extend_from_slice(&[0; 1024]);
        fs::write(path, archive).unwrap();
    }
}
