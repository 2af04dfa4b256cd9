//! The files of an image, read from its layers as a registry serves them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use openssl::sha::Sha256;
use rocketos_tests::Registry;
use serde_json::Value;

use crate::Bench;

/// One regular file of an image.
pub(super) struct Content {
    /// Without a leading slash.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
    /// The layer that has it, the lowest being 0.
    pub(super) layer: usize,
}

/// An image, copied out of a registry.
pub(super) struct Image {
    /// Compressed bytes of each layer, the lowest first.
    pub(super) layers: Vec<u64>,
    /// Every file of every layer.
    pub(super) files: Vec<Content>,
    /// The UKI.
    pub(super) uki: Vec<u8>,
}

/// Copies an image out of a registry and reads every byte of it.
pub(super) fn read(bench: &Bench, registry: &Registry, repository: &str, tag: &str) -> Result<Image> {
    let layout = bench.work.path().join(format!("{}-{tag}", repository.replace('/', "-")));
    let from = format!("docker://{}/{repository}:{tag}", registry.on_host());
    let to = format!("oci:{}:image", layout.display());
    bench
        .tools
        .run("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &from, &to])
        .quiet()?;
    let index = json(&layout.join("index.json"))?;
    let manifest = json(&blob(&layout, &index["manifests"][0])?)?;
    let mut image = Image { layers: Vec::new(), files: Vec::new(), uki: Vec::new() };
    for (number, layer) in manifest["layers"].as_array().context("a manifest without layers")?.iter().enumerate() {
        image.layers.push(layer["size"].as_u64().context("a layer without a size")?);
        let file = BufReader::new(File::open(blob(&layout, layer)?)?);
        let zstd = layer["mediaType"].as_str().is_some_and(|kind| kind.ends_with("zstd"));
        let tar: Box<dyn Read> = match zstd {
            true => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            false => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        };
        add(&mut image, number, tar).with_context(|| format!("reading layer {number} of {from}"))?;
    }
    std::fs::remove_dir_all(&layout)?;
    Ok(image)
}

/// Distinct contents of all files, and their bytes.
pub(super) fn unique<'a>(files: impl IntoIterator<Item = &'a Content>) -> HashMap<[u8; 32], u64> {
    files.into_iter().map(|file| (file.digest, file.size)).collect()
}

fn add(image: &mut Image, layer: usize, tar: Box<dyn Read>) -> Result<()> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.strip_prefix("./").map_or_else(|_| entry.path().map(Into::into), |p| Ok(p.into()));
        let path: PathBuf = path?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let mut hash = Sha256::new();
        hash.update(&content);
        image.files.push(Content { size: content.len() as u64, digest: hash.finish(), layer, path: path.clone() });
        if path.starts_with("boot/EFI/Linux") {
            image.uki = content;
        }
    }
    Ok(())
}

fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    Ok(layout.join("blobs").join(digest.replace(':', "/")))
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", path.display()))
}
