//! A layout with one small good image, into which targets put what they are given.

use std::{
    cell::LazyCell,
    path::{Path, PathBuf},
};

use openssl::sha::sha256;
use rocketos_model::{BlobDigest, ImageReference, limits};
use rocketos_oci::{OciError, Reader, ReaderConfig, Resolved};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::scratch;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// The tag of the image.
pub(crate) const TAG: &str = "image";
/// The architecture of the image, whatever this machine is.
pub(crate) const ARCHITECTURE: &str = "amd64";

thread_local! {
    static LAYOUT: LazyCell<Layout> = LazyCell::new(Layout::new);
}

/// The layout, and who reads it.
pub(crate) struct Layout {
    folder: TempDir,
    pub(crate) reader: Reader,
    pub(crate) runtime: Runtime,
}

/// The digest of a blob.
pub(crate) fn digest(bytes: &[u8]) -> BlobDigest {
    BlobDigest::from_bytes(sha256(bytes))
}

/// A descriptor of some bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// A manifest of this configuration and these layers.
pub(crate) fn manifest(config: &[u8], layers: &[Value]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config), "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// A configuration of these layers.
pub(crate) fn config(diff_ids: &[BlobDigest]) -> Vec<u8> {
    let config = json!({
        "architecture": ARCHITECTURE, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

impl Layout {
    fn new() -> Self {
        let folder = scratch::folder();
        let config = ReaderConfig { architecture: ARCHITECTURE.to_owned(), ..ReaderConfig::default() };
        let reader = Reader::new(config).expect("no file is no bad file");
        let layout = Self { folder, reader, runtime: scratch::runtime() };
        scratch::write(&layout.path("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a blob into it.
    pub(crate) fn blob(&self, bytes: &[u8]) {
        scratch::write(&self.path("blobs/sha256").join(digest(bytes).to_hex()), bytes);
    }

    /// Sets what it lists.
    pub(crate) fn index(&self, bytes: &[u8]) {
        scratch::write(&self.path("index.json"), bytes);
    }

    /// Sets what it lists to a manifest under [`TAG`], and more.
    pub(crate) fn list(&self, manifest: &[u8], media_type: &str, more: &[Value]) {
        let mut first = descriptor(media_type, manifest);
        first["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
        let all: Vec<&Value> = std::iter::once(&first).chain(more).collect();
        self.index(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": all}).to_string().as_bytes());
    }

    /// Resolves what is under a tag, or the only image.
    pub(crate) fn resolve(&self, tag: Option<&str>) -> Result<Resolved, OciError> {
        resolve(&self.reader, &self.runtime, self.folder.path(), tag)
    }
}

fn resolve(reader: &Reader, runtime: &Runtime, path: &Path, tag: Option<&str>) -> Result<Resolved, OciError> {
    let reference = ImageReference::Layout { path: path.to_owned(), tag: tag.map(str::to_owned) };
    let resolved = runtime.block_on(reader.resolve(&reference))?;
    check(&resolved);
    Ok(resolved)
}

/// What holds of every image that is taken.
pub(crate) fn check(resolved: &Resolved) {
    assert_eq!(resolved.manifest_digest.as_bytes(), &sha256(&resolved.manifest));
    assert!(resolved.manifest.len() as u64 <= limits::MANIFEST_BYTES);
    assert!(resolved.config.len() as u64 <= limits::CONFIG_BYTES);
    assert_eq!(resolved.image_manifest.config().digest().to_string(), digest(&resolved.config).to_string());
    assert_eq!(resolved.architecture(), ARCHITECTURE);
    assert!(resolved.layers.len() <= limits::LAYERS);
    assert_eq!(resolved.layers.len(), resolved.image_manifest.layers().len());
    assert!(resolved.layers.iter().all(|layer| layer.size <= limits::LAYER_BYTES));
    let _ = (resolved.layer_bytes(), resolved.created(), resolved.label("version"));
}

/// Hands out the thread's layout, without blobs.
pub(crate) fn with(run: impl FnOnce(&Layout)) {
    LAYOUT.with(|layout| {
        let blobs = layout.path("blobs/sha256");
        if blobs.exists() {
            scratch::clear(&blobs);
        }
        run(layout);
    });
}
