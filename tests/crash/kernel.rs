//! A guest's kernel looks at states too: it mounts both file systems, and reads every file of the image that boots.
//!
//! The partitions are attached each as a disk of its own: two disks with a partition table that claims to be ours would keep
//! the guest from booting.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rocketos_replay::oracle::{Found, Partitions};
use rocketos_tests::fixture::BOOT;
use rocketos_tests::{Guest, Machine};

/// A state as a raw disk, and what the oracle found on it.
#[derive(Debug)]
pub struct Written {
    /// What it is a state of.
    pub name: String,
    /// The disk.
    pub disk: PathBuf,
    /// Where its partitions are.
    pub partitions: Partitions,
    /// What the oracle found.
    pub found: Found,
}

/// Attaches their partitions.
pub fn attach(mut machine: Machine, states: &[Written]) -> Machine {
    for (index, state) in states.iter().enumerate() {
        let file = state.disk.display().to_string().replace(',', ",,");
        for (name, (start, size)) in [("esp", state.partitions.esp), ("root", state.partitions.root)] {
            let node = format!(
                "driver=raw,node-name={name}{index},offset={start},size={size},file.driver=file,file.filename={file},\
                 file.locking=off,cache.no-flush=on,file.cache.no-flush=on"
            );
            let device = format!("virtio-blk-pci,drive={name}{index},serial={name}{index}");
            machine = machine.arguments(["-blockdev", &node, "-device", &device]);
        }
    }
    machine
}

/// Has the guest look at each.
pub fn judge(guest: &mut Guest, states: &[Written]) -> Result<()> {
    for (index, state) in states.iter().enumerate() {
        look(guest, index, &state.found).with_context(|| format!("the kernel looks at a state of {}", state.name))?;
    }
    Ok(())
}

fn look(guest: &mut Guest, index: usize, found: &Found) -> Result<()> {
    let (esp, root, top) = ("/run/state/esp", "/run/state/root", "/run/state/top");
    guest.ask(&format!(
        "mkdir -p {esp} {root} {top} /run/state/image && mount -t ext4 /dev/disk/by-id/virtio-root{index} {root} && \
         mount -t vfat -o ro /dev/disk/by-id/virtio-esp{index} {esp}"
    ))?;
    let listed = guest.ask(&format!("ls {esp}/loader/entries"))?;
    for entry in &found.order {
        ensure!(listed.lines().any(|name| *name == entry.to_string()), "there is no {entry}: {listed}");
    }
    let id = found.boots();
    let release = found.releases.get(&id).context("the oracle named no release")?;
    let sums = guest.ask(&format!("sha256sum {esp}/EFI/rocketos/{id}/*.efi"))?;
    let expected: String = release.uki.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(sums.starts_with(&expected), "the kernel of {id} is {sums}, expected {expected}");
    let store = format!("{root}/composefs");
    guest.check(
        &format!(
            "mount -t erofs {store}/images/{image} /run/state/image && mount -t overlay -o \
             ro,metacopy=on,redirect_dir=on,verity=require,lowerdir=/run/state/image::{store}/objects none {top} && \
             find {top} -xdev -type f -exec cat {{}} + > /dev/null; status=$?; \
             umount {top} /run/state/image; exit $status",
            image = release.image
        ),
        BOOT,
    )?;
    guest.ask(&format!("umount {esp} {root}"))?;
    Ok(())
}
