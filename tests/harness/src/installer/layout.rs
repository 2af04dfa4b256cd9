//! An OCI layout on disk: its only image's layers, and the layout as an archive.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Bytes that a disk's length must be a multiple of.
const SECTOR: u64 = 512;

/// One layer of an image.
pub(super) struct Layer {
    /// Its blob.
    pub path: PathBuf,
    media_type: String,
}

impl Layer {
    /// Opens it as a plain tar stream.
    pub(super) fn open(&self) -> Result<Box<dyn Read>> {
        let file = File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        let file = BufReader::new(file);
        Ok(match self.media_type.rsplit(['+', '.']).next() {
            Some("gzip") => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Some("zstd") => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            Some("tar") => Box::new(file),
            _ => bail!("a layer of an unknown kind: {}", self.media_type),
        })
    }
}

/// Returns the layers of a layout's only image, lowest first.
pub(super) fn layers(layout: &Path) -> Result<Vec<Layer>> {
    let index = json(&layout.join("index.json"))?;
    let manifests = index["manifests"].as_array().context("an index without manifests")?;
    let [only] = manifests.as_slice() else { bail!("expected one image, found {}", manifests.len()) };
    let manifest = json(&blob(layout, only)?)?;
    let layers = manifest["layers"].as_array().context("a manifest without layers")?;
    let layer = |layer: &Value| {
        let media_type = layer["mediaType"].as_str().context("a layer without a media type")?.to_owned();
        Ok(Layer { path: blob(layout, layer)?, media_type })
    };
    layers.iter().map(layer).collect()
}

/// Writes the layout as an `oci-archive`, long enough to be a disk.
pub(super) fn archive(layout: &Path, to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| format!("making {}", to.display()))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    archive.mode(tar::HeaderMode::Deterministic);
    // The small files first: a reader finds the manifest before the layers pass by.
    for name in ["oci-layout", "index.json"] {
        archive.append_path_with_name(layout.join(name), name)?;
    }
    archive.append_dir_all("blobs", layout.join("blobs"))?;
    let mut file = archive.into_inner()?;
    file.flush()?;
    let file = file.into_inner().context("writing the archive's end")?;
    let length = file.metadata()?.len().next_multiple_of(SECTOR);
    file.set_len(length).with_context(|| format!("writing {}", to.display()))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    let hex = digest.strip_prefix("sha256:").with_context(|| format!("a digest of another kind: {digest}"))?;
    Ok(layout.join("blobs/sha256").join(hex))
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", path.display()))
}
