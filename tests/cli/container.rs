//! A machine installs itself from inside a container onto a second disk, and that disk boots.

use std::path::Path;

use anyhow::{Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Disk, Ended, Progress};
use serde_json::Value;

/// Room for podman to unpack an image beside what runs, in MiB.
const MEMORY: u32 = 3072;

#[test]
fn installs_from_inside_a_container() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("container")?;
    let blank = fixture.scratch().join("blank.qcow2");
    fixture.tools.run("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&blank).arg("8G").quiet()?;
    let mut machine =
        fixture.machine("container", &disk).memory(MEMORY).disk(Disk::qcow2(&blank).serial("blank")).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;

    let source = format!("{}/rocketos/dev:{}", fixture.registry.in_guest(), VERSIONS[0]);
    progress
        .step("pulling into podman's storage", || guest.check(&format!("podman pull --quiet {source}"), UPGRADE))?;
    progress.step("installing from inside a container", || {
        let install = format!(
            "podman run --rm --privileged --pid=host -v /dev:/dev -v /var/lib/containers:/var/lib/containers \
             {source} rocketctl install to-disk /dev/disk/by-id/virtio-blank"
        );
        let answer = guest.check(&install, UPGRADE)?;
        ensure!(answer.contains("Installed containers-storage:"), "{answer}");
        Ok(())
    })?;
    // The answer may be lost in the shutdown.
    let _ = guest.run("systemctl poweroff", std::time::Duration::from_secs(5));
    ensure!(machine.wait_for_end(BOOT)? == Ended::PoweredOff);
    progress.step("boot of what the container installed", || boots(&fixture, &blank, &source))
}

/// The installed disk is a machine of its own.
fn boots(fixture: &Fixture, disk: &Path, source: &str) -> Result<()> {
    let mut machine = fixture.machine("installed", disk).start()?;
    let mut guest = machine.wait_for_shell(BOOT)?;
    let state = guest.wait_booted(BOOT)?;
    ensure!(state == "running", "the system is {state}:\n{}", guest.ask("systemctl --failed --no-legend")?);
    let version = guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
    ensure!(version == VERSIONS[0], "release {version} runs");
    let root = guest.ask("grep ' / ' /proc/mounts")?;
    ensure!(root.contains("verity=require"), "the root is: {root}");
    let status: Value = serde_json::from_str(&guest.ask("rocketctl status --json")?)?;
    let booted = &status["status"]["booted"]["image"];
    ensure!(booted["image"]["image"] == Value::String(source.to_owned()), "it follows {booted}");
    ensure!(booted["image"]["transport"] == "registry", "it follows {booted}");
    ensure!(booted["version"] == VERSIONS[0], "{booted}");
    machine.cut_power()
}
