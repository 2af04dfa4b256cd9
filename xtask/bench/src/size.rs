//! `size`: how large images are, and what in them is.

use std::io::Read as _;

use anyhow::{Context, Result};
use rocketos_boot::uki;

use crate::figure::{Figures, INITRAMFS_MB, STANDALONE_MB, mb};
use crate::tree::{self, Content, Image};
use crate::{Bench, VERSION};

/// Level at which sealing compresses the initramfs.
const LEVEL: i32 = 19;
/// Bytes of a newc header (Linux, "initramfs buffer format").
const HEADER: usize = 110;

/// Measures.
pub(super) fn measure(bench: &Bench) -> Result<Figures> {
    let registry = bench.registry("size-registry")?;
    let mut figures = Figures::default();
    for variant in ["standalone", "dev"] {
        let image = bench.variant(variant, VERSION)?;
        let repository = format!("rocketos/{variant}");
        bench.push(&image, &registry, &repository, VERSION)?;
        let image = tree::read(bench, &registry, &repository, VERSION)?;
        describe(&mut figures, variant, &image)?;
        if variant == "standalone" {
            describe_kernel(&mut figures, &image).context("reading the UKI")?;
        }
    }
    Ok(figures)
}

fn describe(figures: &mut Figures, variant: &str, image: &Image) -> Result<()> {
    let compressed = mb(image.layers.iter().sum());
    match variant {
        "standalone" => figures.add_budgeted("standalone: compressed", compressed, "MB", STANDALONE_MB),
        _ => figures.add(format!("{variant}: compressed"), compressed, "MB"),
    }
    let module = |file: &&Content| file.path.starts_with("usr/lib/modules");
    let modules = image.files.iter().find(module).map(|file| file.layer).context("an image without kernel modules")?;
    let (of_modules, uki) = (mb(image.layers[modules]), mb(image.layers.last().copied().unwrap_or(0)));
    figures.add(format!("{variant}: of it the layer of kernel modules"), of_modules, "MB");
    figures.add(format!("{variant}: of it the layer of the UKI"), uki, "MB");
    figures.add(format!("{variant}: of it the rest"), compressed - of_modules - uki, "MB");
    let size = |files: &dyn Fn(&&Content) -> bool| mb(image.files.iter().filter(files).map(|file| file.size).sum());
    figures.add(format!("{variant}: unpacked"), size(&|_| true), "MB");
    figures.add(format!("{variant}: of it kernel modules"), size(&module), "MB");
    figures.add(format!("{variant}: files"), image.files.len() as f64, "");
    Ok(())
}

fn describe_kernel(figures: &mut Figures, image: &Image) -> Result<()> {
    let section = |name: &str| uki::read_section(&image.uki, name)?.with_context(|| format!("the UKI has no {name}"));
    let initrd = section(".initrd")?;
    figures.add("UKI", mb(image.uki.len() as u64), "MB");
    figures.add("UKI: kernel", mb(section(".linux")?.len() as u64), "MB");
    figures.add("UKI: initramfs", mb(initrd.len() as u64), "MB");
    // What was sealed follows it, not compressed.
    let mut archive = Vec::new();
    let unpacked = zstd::Decoder::new(initrd).and_then(|from| from.single_frame().read_to_end(&mut archive));
    unpacked.context("unpacking the initramfs")?;
    figures.add("initramfs: unpacked", mb(archive.len() as u64), "MB");
    let without = without_drivers(&archive)?;
    let packed = zstd::stream::encode_all(&without[..], LEVEL)?;
    figures.add_budgeted("initramfs: without storage drivers", mb(packed.len() as u64), "MB", INITRAMFS_MB);
    Ok(())
}

/// An archive without the modules below `kernel/drivers/`: what is carried from there, disks hang on.
fn without_drivers(archive: &[u8]) -> Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < archive.len() {
        let header = archive.get(at..at + HEADER).context("a header cut short")?;
        let number = |field: usize| -> Result<usize> {
            let digits = std::str::from_utf8(&header[6 + field * 8..14 + field * 8])?;
            usize::from_str_radix(digits, 16).context("a number in a header")
        };
        let (size, name) = (number(6)?, number(11)?);
        let content = (at + HEADER + name).next_multiple_of(4);
        let end = (content + size).next_multiple_of(4).min(archive.len());
        let entry = archive.get(at..end).context("an entry cut short")?;
        let path = String::from_utf8_lossy(&entry[HEADER..HEADER + name]);
        if !path.contains("/kernel/drivers/") {
            kept.extend_from_slice(entry);
        }
        if path.starts_with("TRAILER!!!") {
            break;
        }
        at = end;
    }
    Ok(kept)
}
