//! `store`: how much of the disk five releases take, and how many bytes are written for each new one.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cost::{measure as cost_of, optimised_self};
use crate::figure::{FIVE_RELEASES, Figures, mb};
use crate::pull::{insecure, ours};
use crate::releases::{self, Pushed, REPOSITORY};
use crate::{Bench, tree};

/// Bytes of a block that stat(2) counts.
const BLOCK: u64 = 512;

/// Measures.
pub(super) fn measure(bench: &Bench) -> Result<Figures> {
    let registry = bench.registry("store-registry")?;
    let releases = releases::push(bench, &registry, releases::COUNT)?;
    let myself = optimised_self()?;
    let conf = bench.work.path().join("registries.conf");
    std::fs::write(&conf, insecure(&registry))?;
    let folder = bench.work.path().join("node");
    std::fs::create_dir_all(&folder)?;

    let mut figures = Figures::default();
    let mut known = HashSet::new();
    let (mut unique, mut written, mut served, mut last) = (0, 0, 0, 0);
    for (number, Pushed { tag, .. }) in releases.iter().enumerate() {
        let image = tree::read(bench, &registry, REPOSITORY, tag)?;
        let contents = tree::unique(&image.files);
        let new: u64 = contents.iter().filter(|(digest, _)| known.insert(**digest)).map(|(_, size)| size).sum();
        let reference = format!("{}/{REPOSITORY}:{tag}", registry.on_host());
        let cost = bench.progress.step(&format!("pulling release {tag}"), || {
            cost_of(&myself, &ours(&myself, &reference, &folder), &[("CONTAINERS_REGISTRIES_CONF", &conf)])
        })?;
        unique += new;
        let size = sizes(&folder.join("root/composefs"))?;
        if number == 0 {
            figures.add("first release: unique bytes", mb(new), "MB");
            figures.add("first release: written per new byte", cost.written as f64 / new as f64, "x");
        } else {
            written += cost.written;
            served += new;
            figures.add(format!("release {}: new unique bytes", number + 1), mb(new), "MB");
            figures.add(format!("release {}: more in the store", number + 1), mb(size.length - last), "MB");
        }
        last = size.length;
    }
    let size = sizes(&folder.join("root/composefs"))?;
    figures.add("later releases: written per new byte", written as f64 / served as f64, "x");
    figures.add("five releases: unique bytes", mb(unique), "MB");
    figures.add("five releases: files in the store", size.files as f64, "");
    figures.add_budgeted(
        "five releases: bytes in the store, per unique byte",
        size.length as f64 / unique as f64,
        "x",
        FIVE_RELEASES,
    );
    figures.add_budgeted(
        "five releases: blocks of the disk, per unique byte",
        size.blocks as f64 / unique as f64,
        "x",
        FIVE_RELEASES,
    );
    Ok(figures)
}

#[derive(Default)]
struct Sizes {
    files: u64,
    length: u64,
    blocks: u64,
}

/// What everything below a folder takes, each inode once.
fn sizes(folder: &Path) -> Result<Sizes> {
    let mut found = Sizes::default();
    let mut seen = HashSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))? {
            let entry = entry?;
            let facts = entry.metadata()?;
            if !seen.insert(facts.ino()) {
                continue;
            }
            found.blocks += facts.blocks() * BLOCK;
            if facts.is_dir() {
                folders.push(entry.path());
            } else if facts.is_file() {
                found.files += 1;
                found.length += facts.len();
            }
        }
    }
    Ok(found)
}
