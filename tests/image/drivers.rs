//! A driver of disks that the image carries and the initramfs does not is a machine that does not boot.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rocketos_tests::images::copy_out;
use rocketos_tests::paths;

use crate::published::Published;

/// Where drivers of disks lie among the kernel's modules, and of what disks hang on.
const FOLDERS: [&str; 11] = [
    "drivers/ata/",
    "drivers/block/",
    "drivers/message/fusion/",
    "drivers/mmc/host/",
    "drivers/nvdimm/",
    "drivers/nvme/host/",
    "drivers/pci/controller/",
    "drivers/scsi/",
    "drivers/ufs/host/",
    "drivers/usb/host/",
    "drivers/usb/storage/",
];
/// Buses on which hardware announces itself.
const BUSES: [&str; 5] = ["pci:", "virtio:", "vmbus:", "xen:", "usb:"];
/// Drivers that no machine with UEFI boots from: by name, or by its beginning where that ends with `_`.
const EXCUSED: &[(&str, &str)] = &[
    ("pata_", "parallel ATA is older than UEFI"),
    ("pdc_adma", "likewise"),
    ("floppy", "no disk"),
    ("3w_xxxx", "parallel ATA"),
    ("a100u2w", "parallel SCSI is older than UEFI"),
    ("advansys", "likewise"),
    ("aic79xx", "likewise"),
    ("aic7xxx", "likewise"),
    ("am53c974", "likewise"),
    ("atp870u", "likewise"),
    ("dc395x", "likewise"),
    ("dmx3191d", "likewise"),
    ("initio", "likewise"),
    ("megaraid", "likewise; its successors are there"),
    ("myrb", "likewise"),
    ("myrs", "likewise"),
    ("qla1280", "likewise"),
    ("sym53c8xx", "likewise"),
    ("wd719x", "likewise"),
    ("aic94xx", "asks for firmware, which the initramfs does not carry"),
    ("bfa", "likewise"),
    ("qla2xxx", "likewise"),
    ("toshsd", "a reader of cards"),
    ("via_sdmmc", "likewise"),
    ("vub300", "likewise"),
    ("ushc", "likewise"),
    ("ums_", "likewise"),
];

#[test]
fn the_initramfs_has_every_disks_driver() -> Result<()> {
    let published = Published::new()?;
    let release = published.variant("standalone")?;
    let kernel = release.facts["kernel"].as_str().context("a release without a kernel")?;
    let top = format!("/usr/lib/modules/{kernel}");
    let read = |name: &str| -> Result<String> {
        let file = published.scratch.path().join(name);
        copy_out(&release.image, &format!("{top}/{name}"), &file)?;
        std::fs::read_to_string(&file).with_context(|| format!("reading {name}"))
    };
    let name = |text: &str| text.replace('-', "_");
    let announced: BTreeSet<String> = read("modules.alias")?
        .lines()
        .filter_map(|line| {
            let (pattern, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
            BUSES.iter().any(|bus| pattern.starts_with(bus)).then(|| name(module))
        })
        .collect();
    let text = std::fs::read_to_string(paths::workspace().join("kernel/initramfs.modules"))?;
    let carried: BTreeSet<String> = text
        .lines()
        .map(|line| name(line.split('#').next().unwrap_or_default().trim().trim_end_matches('?')))
        .filter(|module| !module.is_empty())
        .collect();
    let dependencies = read("modules.dep")?;
    let of_disks = dependencies.lines().filter_map(|line| {
        let path = line.split(':').next()?.strip_prefix("kernel/")?;
        FOLDERS.iter().any(|folder| path.starts_with(folder)).then_some(path)
    });
    let modules: Vec<(&str, String)> = of_disks
        .filter_map(|path| Some((path, name(path.rsplit('/').next()?.split(".ko").next()?))))
        .filter(|(_, module)| announced.contains(module))
        .collect();
    ensure!(modules.len() > EXCUSED.len(), "only {} drivers of disks are known", modules.len());
    let excused = |module: &str| {
        EXCUSED.iter().any(|(name, _)| module == *name || name.ends_with('_') && module.starts_with(name))
    };
    let forgotten: Vec<&str> = modules
        .iter()
        .filter(|(_, module)| !carried.contains(module) && !excused(module))
        .map(|(path, _)| *path)
        .collect();
    ensure!(forgotten.is_empty(), "kernel/initramfs.modules has none of {forgotten:?}");
    Ok(())
}
