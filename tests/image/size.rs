//! How large a sealed image is.

use anyhow::{Context, Result, ensure};

use crate::published::Published;

/// What a node downloads at most when it has nothing: the standalone image as the registry serves it.
const STANDALONE_COMPRESSED_BYTES: u64 = 150_000_000;
/// The layer of kernel modules.
const MODULES: usize = 1;

#[test]
fn standalone_stays_inside_its_budget() -> Result<()> {
    let published = Published::new()?;
    let (_, pulled) = published.standalone()?;
    let layers = &pulled.resolved.layers;
    let total = pulled.resolved.layer_bytes();
    let uki = layers.last().context("no layers")?.size;
    let modules = layers.get(MODULES).context("no layer of modules")?.size;
    let say = |what: &str, bytes: u64| published.progress.say(&format!("{what:<28}{:>8.1} MB", bytes as f64 / 1e6));
    say("standalone, compressed", total);
    say("  kernel modules", modules);
    say("  UKI", uki);
    say("  all else", total - modules - uki);
    say("UKI on the ESP", pulled.image.uki.size);
    say("objects on disk", pulled.image.facts.bytes);
    ensure!(total <= STANDALONE_COMPRESSED_BYTES, "{total} bytes");
    Ok(())
}
