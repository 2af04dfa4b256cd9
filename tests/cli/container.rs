//! A machine installs itself from inside a container onto other disks, and those disks boot, whatever they are attached to.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Bus, Disk, Ended, Guest, Progress};
use serde_json::Value;

/// Room for podman to unpack an image beside what runs, in MiB.
const MEMORY: u32 = 3072;

/// What one of the disks follows; nobody published it yet.
const CHANNEL: &str = "--target-channel=stable --target-from=https://releases.example/os";

/// Makes file systems by hand, as a person who wants others than ours would, and mounts them.
const FILE_SYSTEMS: &str = "systemd-repart --dry-run=no --empty=force --no-pager --definitions=/usr/lib/repart.d /dev/sda && \
     udevadm settle && mkfs.ext4 -q -F -O verity -b 4096 /dev/sda2 && mkdir -p /run/target && \
     mount /dev/sda2 /run/target && mkdir /run/target/efi && mount /dev/sda1 /run/target/efi";

#[test]
fn installs_from_inside_a_container() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("container")?;
    let (whole, mounted) = (blank(&fixture, "whole")?, blank(&fixture, "mounted")?);
    let mut machine = fixture
        .machine("container", &disk)
        .memory(MEMORY)
        .disk(Disk::qcow2(&whole).bus(Bus::Nvme))
        .disk(Disk::qcow2(&mounted).bus(Bus::Scsi))
        .start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;

    let source = format!("{}/rocketos/dev:{}", fixture.registry.in_guest(), VERSIONS[0]);
    progress
        .step("pulling into podman's storage", || guest.check(&format!("podman pull --quiet {source}"), UPGRADE))?;
    let inside = |volumes: &str, install: &str| {
        format!(
            "podman run --rm --privileged --pid=host -v /dev:/dev -v /var/lib/containers:/var/lib/containers {volumes} \
             {source} rocketctl install {install}"
        )
    };
    progress.step("installing to a disk from inside a container", || {
        let answer = guest.check(&inside("", &format!("to-disk --separate-var {CHANNEL} /dev/nvme0n1")), UPGRADE)?;
        ensure!(answer.contains("Installed containers-storage:"), "{answer}");
        Ok(())
    })?;
    progress.step("installing to file systems from inside a container", || {
        guest.check(FILE_SYSTEMS, UPGRADE)?;
        let answer = guest.check(&inside("-v /run/target:/target", "to-filesystem /target"), UPGRADE)?;
        ensure!(answer.contains("Installed containers-storage:"), "{answer}");
        let again = guest.run(&inside("-v /run/target:/target", "to-filesystem /target"), UPGRADE)?;
        ensure!(!again.success() && again.stdout.contains("is not empty"), "a second time: {again:?}");
        Ok(())
    })?;
    // The answer may be lost in the shutdown.
    let _ = guest.run("systemctl poweroff", std::time::Duration::from_secs(5));
    ensure!(machine.wait_for_end(BOOT)? == Ended::PoweredOff);
    progress.step("boot from NVMe", || boots(&fixture, Disk::qcow2(&whole).bus(Bus::Nvme), Some(&source)))?;
    progress.step("boot from SCSI", || boots(&fixture, Disk::qcow2(&mounted).bus(Bus::Scsi), Some(&source)))?;
    progress.step("boot from AHCI", || boots(&fixture, Disk::qcow2(&mounted).bus(Bus::Ahci), None))?;
    progress.step("boot from USB", || boots(&fixture, Disk::qcow2(&whole).bus(Bus::Usb), None))
}

/// An empty disk.
fn blank(fixture: &Fixture, name: &str) -> Result<PathBuf> {
    let file = fixture.scratch().join(format!("{name}.qcow2"));
    fixture.tools.run("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&file).arg("8G").quiet()?;
    Ok(file)
}

/// The installed disk is a machine of its own, here all of whose units start where `follows` says what it follows.
fn boots(fixture: &Fixture, disk: Disk, follows: Option<&str>) -> Result<()> {
    let mut machine = fixture.machine_with("installed", disk).start()?;
    let mut guest = machine.wait_for_shell(BOOT)?;
    let root = guest.ask("grep ' / ' /proc/mounts")?;
    ensure!(root.contains("verity=require"), "the root is: {root}");
    let Some(source) = follows else {
        return machine.cut_power();
    };
    let state = guest.wait_booted(BOOT)?;
    ensure!(state == "running", "the system is {state}:\n{}", guest.ask("systemctl --failed --no-legend")?);
    let version = guest.release()?;
    ensure!(version == VERSIONS[0], "release {version} runs");
    let status = guest.status()?;
    let booted = &status["status"]["booted"]["image"];
    ensure!(booted["image"]["image"] == Value::String(source.to_owned()), "it follows {booted}");
    ensure!(booted["image"]["transport"] == "registry", "it follows {booted}");
    ensure!(booted["version"] == VERSIONS[0], "{booted}");
    let channel = status["status"]["booted"]["rocketos"]["channel"]["from"].as_str();
    let expected = root_is_nvme(&mut guest)?.then_some("https://releases.example/os");
    ensure!(channel == expected, "it follows the channel of {channel:?}");
    // What was asked for, and only that, has a partition for /var.
    let var = guest.ask("grep ' /var ' /proc/mounts")?;
    ensure!(var.starts_with("/dev/nvme0n1p3 ") == root_is_nvme(&mut guest)?, "/var is: {var}");
    guest.ask("touch /var/written && sync")?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}

fn root_is_nvme(guest: &mut Guest) -> Result<bool> {
    Ok(guest.ask("grep ' /sysroot ' /proc/mounts")?.starts_with("/dev/nvme"))
}
