//! A machine that refuses what it must, and loses nothing by it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::guest::Output;
use rocketos_tests::{Disk, Guest, Progress, Tools};

use crate::{damage, layout::Fault, policy, schema::validate};

/// Exit codes, as `rocketctl --help` lists them.
pub const FAILED: i32 = 1;
const FULL: i32 = 73;
const LOCKED: i32 = 75;
/// Starts an upgrade as `$upgrade` and returns when it has begun to fetch.
const BEGIN: &str = "rm -f /run/events; rocketctl upgrade --progress-fd 3 3> /run/events & upgrade=$!; \
                     until [ -s /run/events ]; do kill -0 $upgrade || break; done";
/// Stops the updater where it is, and lets it go on.
const FREEZE: &str = "systemctl freeze 'rocketos-updater@*.service'";
const THAW: &str = "systemctl thaw 'rocketos-updater@*.service'";
/// Shows the ESP in a folder of its own.
const ESP: &str = "mkdir -p /run/esp && mount /dev/disk/by-partlabel/esp /run/esp";

/// What must not change: status, every file of the ESP, every name in the store.
pub fn state(guest: &mut Guest) -> Result<String> {
    guest.check(
        &format!(
            "rocketctl status --json && {ESP} && cd /run/esp && find . -type f ! -name filler | sort | xargs sha256sum; \
             cd /; umount /run/esp; find /sysroot/composefs /sysroot/state/deploy | sort | sha256sum"
        ),
        BOOT,
    )
}

/// The command fails with a code, says all of `parts`, and changes nothing.
pub fn refuses(guest: &mut Guest, command: &str, code: i32, parts: &[&str]) -> Result<()> {
    let before = state(guest)?;
    let answer = guest.run(command, UPGRADE)?;
    expect(command, &answer, code, parts)?;
    let after = state(guest)?;
    ensure!(after == before, "{command} changed something:\n{before}\n{after}");
    Ok(())
}

pub fn expect(command: &str, answer: &Output, code: i32, parts: &[&str]) -> Result<()> {
    ensure!(answer.status == code, "{command} gave {}, expected {code}: {}", answer.status, answer.stdout);
    for part in parts {
        ensure!(answer.stdout.contains(part), "{command} does not say '{part}': {}", answer.stdout);
    }
    Ok(())
}

#[test]
fn refuses_bad_input_and_loses_nothing() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("cli")?;
    let (small, data) = (extra(&fixture, "small", "1G")?, extra(&fixture, "data", "8G")?);
    let mut machine = fixture
        .machine("cli", &disk)
        .disk(Disk::qcow2(&small).serial("small"))
        .disk(Disk::qcow2(&data).serial("data"))
        .start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;

    progress.step("refusing disks", || disks(&mut guest))?;
    progress.step("refusing images", || images(&mut guest, &fixture))?;
    progress.step("a damaged store", || damage::refused_or_healed(&mut guest, &fixture))?;
    fixture.tag(VERSIONS[1])?;
    progress.step("refusing what nobody signed", || policy::refuses_the_unsigned(&mut guest, &fixture))?;
    progress.step("refusing to fill disks", || full(&mut guest))?;
    progress.step("an interrupted upgrade, and two at once", || interrupted(&mut guest))?;
    progress.step("taking what was signed", || policy::takes_the_signed(&mut guest, &fixture))?;

    drop(guest);
    machine.cut_power()
}

/// An empty disk beside the node's own.
fn extra(fixture: &Fixture, name: &str, size: &str) -> Result<std::path::PathBuf> {
    let file = fixture.scratch().join(format!("cli-{name}.qcow2"));
    let tools: &Tools = &fixture.tools;
    tools.run("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&file).arg(size).quiet()?;
    Ok(file)
}

fn disks(guest: &mut Guest) -> Result<()> {
    guest.ask("mkfs.ext4 -q /dev/disk/by-id/virtio-data")?;
    let own =
        guest.ask("lsblk --noheadings --nodeps --output PATH $(findmnt -no SOURCE /sysroot | head -1) | head -1")?;
    let whole = guest.ask(&format!("echo /dev/$(lsblk --noheadings --output PKNAME {own} | head -1)"))?;
    for (device, parts) in [
        ("/dev/disk/by-id/virtio-small", ["is too small", "an installation needs"]),
        ("/dev/disk/by-id/virtio-data", ["holds data", "--wipe destroys it"]),
        (whole.as_str(), ["is in use", "lsblk"]),
        (own.as_str(), ["is a partition", "takes the whole disk"]),
        ("/dev/absent", ["there is no /dev/absent", "lists the disks"]),
        ("/etc/passwd", ["is not a block device", "lists the disks"]),
    ] {
        let command = format!("rocketctl install to-disk --source-imgref oci:/run/none {device}");
        refuses(guest, &command, FAILED, &parts)?;
    }
    guest.ask("mkdir -p /run/data && mount /dev/disk/by-id/virtio-data /run/data")?;
    let command = "rocketctl install to-disk --wipe --source-imgref oci:/run/none /dev/disk/by-id/virtio-data";
    refuses(guest, command, FAILED, &["is in use"])?;
    let command = "rocketctl install to-filesystem --esp /run/data --source-imgref oci:/run/none /run/data";
    refuses(guest, command, FAILED, &["has no fs-verity", "'verity' feature"])?;
    ensure!(guest.ask("ls /run/data")? == "lost+found", "something was written");
    guest.ask("umount /run/data")?;
    Ok(())
}

fn images(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    let scratch = fixture.scratch();
    for (fault, name, says, code) in Fault::ALL {
        let folder = scratch.join(name);
        fault.write(&folder)?;
        copy(guest, &folder, &format!("/run/layouts/{name}"))?;
        let command = format!("rocketctl switch --transport oci /run/layouts/{name}");
        if fault == Fault::NotSealed {
            // Its layer is sound and may stay until the next prune.
            let answer = guest.run(&command, UPGRADE)?;
            expect(&command, &answer, code, &[says])?;
            guest.ask("rocketctl prune")?;
            continue;
        }
        refuses(guest, &command, code, &[says, name])?;
    }
    refuses(guest, "rocketctl switch frob:x", FAILED, &["'frob' is an unknown transport; known are docker://"])?;
    let nobody = format!("{}/rocketos/none:none", fixture.registry.in_guest());
    refuses(guest, &format!("rocketctl switch {nobody}"), FAILED, &["resolving docker://", "no such image"])?;
    let unreachable = "rocketctl switch 127.0.0.1:1/none/none:none";
    refuses(guest, unreachable, 69, &["resolving docker://127.0.0.1:1/none/none:none", "unreachable"])
}

/// Copies a folder of small files into the guest.
fn copy(guest: &mut Guest, from: &Path, to: &str) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let target = format!("{to}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => copy(guest, &entry.path(), &target)?,
            false => guest.write_file(&target, &std::fs::read(entry.path())?)?,
        }
    }
    Ok(())
}

fn full(guest: &mut Guest) -> Result<()> {
    guest.check(&format!("{ESP}; dd if=/dev/zero of=/run/esp/filler bs=1M; umount /run/esp"), BOOT)?;
    let parts = ["the ESP is full", "are needed for the kernel", "'rocketctl prune' may make room"];
    refuses(guest, "rocketctl upgrade", FULL, &parts)?;
    guest.ask(&format!("{ESP} && rm /run/esp/filler && umount /run/esp"))?;

    // Down to the last block, those kept for root too.
    let fill = "i=0; while fallocate -l 64M /var/filler.$i; do i=$((i+1)); done; \
                while fallocate -l 1M /var/filler.$i; do i=$((i+1)); done; true";
    guest.check(fill, BOOT)?;
    let parts = ["the root partition is too full", "are free", "'rocketctl prune' may make room"];
    refuses(guest, "rocketctl upgrade", FULL, &parts)?;
    guest.ask("rm /var/filler.*")?;

    // The room ends while it works: stopped meanwhile, it cannot be done before.
    let before = state(guest)?;
    let race = format!("{BEGIN}; {FREEZE}; {fill}; {THAW}; wait $upgrade");
    let answer = guest.run(&race, UPGRADE)?;
    expect("an upgrade whose room is taken", &answer, FULL, &["space"])?;
    guest.ask("rm /var/filler.* && rocketctl prune")?;
    let after = state(guest)?;
    ensure!(after == before, "what a full disk left was not pruned:\n{before}\n{after}");
    Ok(())
}

fn interrupted(guest: &mut Guest) -> Result<()> {
    let before = state(guest)?;
    let answer = guest.run("timeout --signal=INT 1 rocketctl upgrade; echo ended with $?", UPGRADE)?;
    ensure!(answer.stdout.contains("ended with 124"), "it was not interrupted in time: {}", answer.stdout);
    guest.ask("rocketctl prune")?;
    let after = state(guest)?;
    ensure!(after == before, "an interrupted upgrade left something:\n{before}\n{after}");

    let both = format!("{BEGIN}; {FREEZE}; rocketctl prune; echo second $?; {THAW}; wait $upgrade; echo first $?");
    let answer = guest.check(&both, UPGRADE)?;
    for part in ["another rocketctl is at work: process ", "(upgrade)", &format!("second {LOCKED}"), "first 0"] {
        ensure!(answer.contains(part), "two at once do not say '{part}': {answer}");
    }
    let status = guest.status()?;
    ensure!(status["status"]["staged"]["image"]["version"] == VERSIONS[1], "{status}");
    validate("bootc-host-v1", &status)?;
    let events = guest.ask("cat /run/events")?;
    ensure!(events.lines().count() > 3, "few events: {events}");
    for line in events.lines() {
        validate("bootc-progress-v0", &serde_json::from_str(line)?).with_context(|| line.to_owned())?;
    }
    Ok(())
}
