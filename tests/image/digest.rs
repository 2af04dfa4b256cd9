//! One digest: computed while sealing, carried by the UKI, computed again from what the registry serves.

use std::io::Read as _;

use anyhow::{Context, Result, ensure};
use rocketos_boot::uki;
use rocketos_model::cmdline;

use crate::published::Published;

#[test]
fn the_digest_of_the_build_is_the_digest_of_the_registrys_layers() -> Result<()> {
    let published = Published::new()?;
    let (release, pulled) = published.standalone()?;
    let sealed = release.facts["composefs-digest"].as_str().context("no digest in facts.json")?;
    ensure!(sealed == pulled.image.facts.digest.to_string(), "sealed as {sealed}, {:?}", pulled.image.facts);

    let mut kernel = Vec::new();
    pulled.store.read_uki(&pulled.image.uki)?.read_to_end(&mut kernel)?;
    let line = uki::cmdline(&kernel)?;
    ensure!(cmdline::digest(&line)?.to_string() == sealed, "the UKI says {line}");

    ensure!(release.facts["objects"] == pulled.image.facts.objects, "{} {:?}", release.facts, pulled.image.facts);
    ensure!(release.facts["bytes"] == pulled.image.facts.bytes, "{} {:?}", release.facts, pulled.image.facts);
    let checked = pulled.store.check_image(&pulled.image.facts.digest)?;
    ensure!(checked.bad.is_empty(), "damaged: {:?}", checked.bad);
    Ok(())
}

#[test]
fn labels_say_what_sealing_found() -> Result<()> {
    let published = Published::new()?;
    let (release, pulled) = published.standalone()?;
    let fact = |name: &str| {
        let value = &release.facts[name];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    for (label, wanted) in [
        ("containers.bootc", "1".to_owned()),
        ("ostree.linux", fact("kernel")),
        ("org.opencontainers.image.version", fact("version")),
        ("org.rocketos.variant", fact("variant")),
        ("org.rocketos.objects", fact("objects")),
        ("org.rocketos.bytes", fact("bytes")),
    ] {
        let found = pulled.resolved.label(label);
        ensure!(found == Some(&wanted), "the label {label} is {found:?}, not {wanted}");
    }
    Ok(())
}
