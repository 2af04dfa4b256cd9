//! Layers: alike when built again, and few of them new when little changed.

use anyhow::{Result, ensure};
use rocketos_oci::{Layer, Resolved};
use rocketos_tests::Images;

use crate::published::Published;

/// Groups of files, one layer each; the UKI's layer follows.
const GROUPS: usize = 12;
/// Groups that one changed package may alter: its own, and that of what is generated from it.
const ALTERED: usize = 2;

fn layers(published: &Published, image: &str, repository: &str) -> Result<Vec<Layer>> {
    let reference = published.push(image, repository)?;
    let reader = published.reader()?;
    let resolved: Resolved = crate::published::runtime()?.block_on(reader.resolve(&reference))?;
    Ok(resolved.layers)
}

#[test]
fn a_sealed_image_has_a_layer_for_each_group_and_one_for_the_uki() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let found = layers(&published, &release.image, "rocketos/standalone")?;
    ensure!(found.len() == GROUPS + 1, "{} layers", found.len());
    Ok(())
}

#[test]
fn sealing_again_gives_the_same_layers() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let again = Images::new(&published.progress).again(&release, "standalone-again")?;
    ensure!(again.facts == release.facts, "sealed as {}, then as {}", release.facts, again.facts);
    let first = layers(&published, &release.image, "rocketos/standalone")?;
    let second = layers(&published, &again.image, "rocketos/standalone-again")?;
    for (number, (first, second)) in first.iter().zip(&second).enumerate() {
        ensure!(first.diff_id == second.diff_id, "layer {number} holds other files");
        ensure!(first.digest == second.digest, "layer {number} is compressed to other bytes");
    }
    ensure!(first.len() == second.len(), "{} and {} layers", first.len(), second.len());
    Ok(())
}

#[test]
fn one_changed_package_alters_at_most_two_groups_and_the_uki() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let repacked = published.derived("repacked")?;
    let before = layers(&published, &release.image, "rocketos/standalone")?;
    let after = layers(&published, &repacked.image, "rocketos/repacked")?;
    let altered: Vec<usize> = (0..=GROUPS).filter(|at| before[*at].diff_id != after[*at].diff_id).collect();
    published.progress.say(&format!("one changed package alters layers {altered:?}"));
    ensure!(altered.contains(&GROUPS), "the UKI carries the digest of another image: {altered:?}");
    let groups = altered.len() - 1;
    ensure!((1..=ALTERED).contains(&groups), "{groups} groups changed: {altered:?}");
    Ok(())
}
