//! Small image layouts that are wrong in one way each.

use std::path::Path;

use anyhow::Result;
use rocketos_tests::command::Run;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It lacks the label.
    NotBootable,
    /// It is for another machine.
    Architecture,
    /// It has no kernel.
    NotSealed,
    /// One byte of its layer is another.
    AlteredLayer,
    /// Its layer ends early.
    TruncatedLayer,
    /// One byte of its configuration is another.
    AlteredConfig,
    /// Its manifest is not the one that the index names.
    AlteredManifest,
}

impl Fault {
    /// Every one, with its folder's name, what `rocketctl` must say and its exit code.
    pub const ALL: [(Self, &str, &str, i32); 7] = [
        (Self::NotBootable, "not-bootable", "not bootable: it lacks the label containers.bootc=1", 65),
        (Self::Architecture, "architecture", "is for linux/arm64, this machine is linux/amd64", 65),
        (Self::NotSealed, "not-sealed", "sealed", 65),
        (Self::AlteredLayer, "altered-layer", "sha256:", 65),
        (Self::TruncatedLayer, "truncated-layer", "sha256:", 65),
        (Self::AlteredConfig, "altered-config", "sha256:", 65),
        (Self::AlteredManifest, "altered-manifest", "sha256:", 65),
    ];

    /// Writes the layout to a new folder.
    pub fn write(self, folder: &Path) -> Result<()> {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        let layer = tar(b"something\n")?;
        let layer_digest = digest(&layer)?;
        let labels = if self == Self::NotBootable { json!({}) } else { json!({"containers.bootc": "1"}) };
        let architecture = if self == Self::Architecture { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        });
        let config = config.to_string().into_bytes();
        let config_digest = digest(&config)?;
        let descriptor = |kind: &str, digest: &str, size: usize| -> Value {
            json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size})
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config_digest, config.len()),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer_digest, layer.len())],
        });
        let manifest = manifest.to_string().into_bytes();
        let manifest_digest = digest(&manifest)?;
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, &manifest_digest, manifest.len())]});
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        std::fs::write(folder.join("index.json"), index.to_string())?;
        std::fs::write(blobs.join(layer_digest), self.bend(Self::AlteredLayer, layer))?;
        std::fs::write(blobs.join(config_digest), self.bend(Self::AlteredConfig, config))?;
        std::fs::write(blobs.join(manifest_digest), self.bend(Self::AlteredManifest, manifest))?;
        Ok(())
    }

    /// Alters a file where `altered` is the fault, or cuts the layer where that is.
    fn bend(self, altered: Self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self == altered {
            // Within the content: what surrounds it still parses.
            let at = bytes.windows(5).position(|window| window == b"linux" || window == b"somet").unwrap_or(30);
            bytes[at] ^= 1;
        }
        if self == Self::TruncatedLayer && altered == Self::AlteredLayer {
            bytes.truncate(bytes.len() / 2);
        }
        bytes
    }
}

fn tar(content: &[u8]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "usr/share/something", content)?;
    Ok(builder.into_inner()?)
}

fn digest(bytes: &[u8]) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes)?;
    let line = Run::new("sha256sum").arg(file.path()).output()?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}
