//! `image inspect`.

use anyhow::Context as _;
use indicatif::HumanBytes;
use rocketos_model::{ImageReference, labels};
use serde_json::json;

use crate::pull::Puller;

/// Says what an image is.
pub fn run(reference: &str, as_json: bool) -> anyhow::Result<()> {
    let reference: ImageReference = reference.parse()?;
    let resolved = Puller::new()?.resolve(&reference).with_context(|| format!("resolving {reference}"))?;
    let size = resolved.layer_bytes();
    if as_json {
        let layers: Vec<_> = resolved
            .layers
            .iter()
            .map(|layer| json!({ "digest": layer.digest, "diffId": layer.diff_id, "size": layer.size }))
            .collect();
        println!(
            "{}",
            json!({
                "image": reference,
                "manifestDigest": resolved.manifest_digest,
                "deployment": resolved.manifest_digest.deployment(),
                "architecture": resolved.architecture(),
                "bootable": resolved.label(labels::BOOTC) == Some("1"),
                "version": resolved.label(labels::VERSION),
                "variant": resolved.label(labels::VARIANT),
                "kernel": resolved.label(labels::KERNEL),
                "size": size,
                "layers": layers,
            })
        );
        return Ok(());
    }
    println!("{reference}");
    println!("    manifest: {}", resolved.manifest_digest);
    println!("    architecture: {}", resolved.architecture());
    for (name, key) in [("version", labels::VERSION), ("variant", labels::VARIANT), ("kernel", labels::KERNEL)] {
        println!("    {name}: {}", resolved.label(key).unwrap_or("unknown"));
    }
    println!("    layers: {}, {}", resolved.layers.len(), HumanBytes(size));
    Ok(())
}
