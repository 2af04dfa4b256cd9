//! `size`: how large images are, and what in them is.

use std::io::Read as _;

use anyhow::{Context, Result, ensure};
use rocketos_boot::uki;

use crate::figure::{Figures, INITRAMFS_MB, STANDALONE_MB, mb, name};
use crate::tree::{self, Content, Image};
use crate::{Bench, VERSION};

/// Where firmware lies, and kernel modules.
const FIRMWARE: &str = "usr/lib/firmware";
const MODULES: &str = "usr/lib/modules";
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
    let (firmware, of_modules) = (mb(layers_of(image, FIRMWARE)), mb(layers_of(image, MODULES)));
    let uki = mb(image.layers.last().copied().unwrap_or(0));
    figures.add(format!("{variant}: compressed"), compressed, "MB");
    figures.add(format!("{variant}: of it the layers of firmware"), firmware, "MB");
    let apart = compressed - firmware - of_modules;
    match variant {
        "standalone" => figures.add_budgeted(name::STANDALONE, apart, "MB", STANDALONE_MB),
        _ => figures.add(format!("{variant}: compressed, without firmware and kernel modules"), apart, "MB"),
    }
    ensure!(of_modules > 0.0, "an image without kernel modules");
    figures.add(format!("{variant}: of it the layers of kernel modules"), of_modules, "MB");
    figures.add(format!("{variant}: of it the layer of the UKI"), uki, "MB");
    figures.add(format!("{variant}: of it the rest"), apart - uki, "MB");
    // One layer a group, the UKI's on top.
    for (group, bytes) in image.layers.iter().take(image.layers.len().saturating_sub(1)).enumerate() {
        figures.add(format!("{variant}: group {group:02}"), mb(*bytes), "MB");
    }
    let module = |file: &&Content| file.path.starts_with(MODULES);
    let size = |files: &dyn Fn(&&Content) -> bool| mb(image.files.iter().filter(files).map(|file| file.size).sum());
    figures.add(format!("{variant}: unpacked"), size(&|_| true), "MB");
    figures.add(format!("{variant}: of it kernel modules"), size(&module), "MB");
    figures.add(format!("{variant}: files"), image.files.len() as f64, "");
    Ok(())
}

/// Compressed bytes of the layers that are mostly files below a folder: sealing gives such packages groups of their own.
fn layers_of(image: &Image, folder: &str) -> u64 {
    let bytes = |layer: usize, below: &str| -> u64 {
        let files = image.files.iter().filter(|file| file.layer == layer && file.path.starts_with(below));
        files.map(|file| file.size).sum()
    };
    let mostly = |layer: &usize| bytes(*layer, folder) * 2 > bytes(*layer, "");
    (0..image.layers.len()).filter(mostly).map(|layer| image.layers[layer]).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_counts_as_what_most_of_it_is() {
        let file = |path: &str, size, layer| Content { path: path.into(), size, digest: [0; 32], layer };
        let image = Image {
            layers: vec![1, 10, 100, 1000],
            files: vec![
                file("usr/lib/modules/6/a.ko", 90, 0),
                file("usr/share/doc", 10, 0),
                file("usr/lib/firmware/a.bin", 50, 1),
                file("usr/lib/firmware/b.bin", 51, 2),
                file("usr/bin/b", 50, 2),
                file("usr/lib/firmware/c.bin", 1, 3),
                file("usr/bin/c", 9, 3),
            ],
            uki: Vec::new(),
        };
        assert_eq!((layers_of(&image, MODULES), layers_of(&image, FIRMWARE)), (1, 110));
    }
}
