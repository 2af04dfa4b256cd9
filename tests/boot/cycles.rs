//! Upgrades and rollbacks on one disk, over and over: what is there afterwards is what was there before.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress, Running, results};

/// Cycles inside one boot.
const CYCLES: u32 = 200;
/// Cycles in which each release boots, and proves itself.
const REBOOTS: u32 = 10;
/// The exit code of a verb that another one keeps waiting (`cli/src/exit.rs`).
const BUSY: i32 = 75;
/// What all of it may take.
const LIFE: Duration = Duration::from_secs(8 * 3600);

/// What a cycle must give back. The journal grows by itself, so that free space of the root partition says nothing.
const COUNT: &str = "find /sysroot/composefs -type f | wc -l; find /sysroot/state/deploy -mindepth 1 -maxdepth 1 | wc -l; \
                     mkdir -p /run/esp && mount /dev/disk/by-partlabel/esp /run/esp && ls /run/esp/loader/entries | wc -l; \
                     find /run/esp/EFI -type f | wc -l; df --output=avail -B1 /run/esp | tail -n 1; umount /run/esp; \
                     du -s -B1 --apparent-size /sysroot/composefs | cut -f 1; find /sysroot/state/rocketos | wc -l";
const NAMES: [&str; 7] = [
    "files in the store",
    "deployments",
    "boot entries",
    "other files on the ESP",
    "bytes free on the ESP",
    "bytes of the store",
    "files of the node's memory",
];

fn count(guest: &mut Guest) -> Result<Vec<u64>> {
    let said = guest.check(COUNT, BOOT)?;
    let numbers = said.split_whitespace().map(|word| Ok(word.parse()?)).collect::<Result<Vec<u64>>>()?;
    ensure!(numbers.len() == NAMES.len(), "counting gave {said}");
    Ok(numbers)
}

fn same(before: &[u64], after: &[u64], cycle: u32) -> Result<()> {
    for ((name, before), after) in NAMES.iter().zip(before).zip(after) {
        ensure!(before == after, "after cycle {cycle}: {name}: {after}, and {before} before");
    }
    Ok(())
}

/// Reboots into a release, and waits until it has proved itself.
fn proved(guest: &mut Guest, version: &str) -> Result<()> {
    guest.reboot(BOOT)?;
    guest.wait_booted(BOOT)?;
    let found = guest.release()?;
    ensure!(found == version, "release {found} runs, expected {version}");
    guest.check("while rocketctl status --booted | grep -q 'not yet proved'; do sleep 1; done", BOOT).map(drop)
}

/// Runs verbs; a machine where a release has just proved itself is at work for a moment, and says so.
fn verbs(guest: &mut Guest, commands: &[&str]) -> Result<()> {
    for command in commands {
        let patient = format!("while {command}; code=$?; test $code = {BUSY}; do sleep 1; done; exit $code");
        guest.check(&patient, UPGRADE)?;
    }
    Ok(())
}

/// A table of what was counted, written down with what was done.
fn write(progress: &Progress, kind: &str, done: &str, began: Instant, counted: &[u64]) -> Result<()> {
    let mut text =
        format!("{done}: {} s. After each of them the same:\n\n| | |\n|---|---|\n", began.elapsed().as_secs());
    for (name, number) in NAMES.iter().zip(counted) {
        writeln!(text, "| {name} | {number} |")?;
    }
    let file = results::write(kind, "Upgrades and rollbacks on one disk", &text)?;
    progress.say(&format!("written: {}", file.display()));
    Ok(())
}

fn start(fixture: &Fixture, progress: &Progress, name: &str) -> Result<(Running, Guest)> {
    let mut machine = fixture
        .machine(name, &fixture.disk(name)?)
        .file("/etc/rocketos/health.toml", "soak = '2s'\ninterval = '1s'\n")
        .time_limit(LIFE)
        .start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    fixture.tag(VERSIONS[1])?;
    Ok((machine, guest))
}

#[test]
#[ignore = "takes half an hour: cargo xtask test --long boot"]
fn cycles_in_one_boot_leave_nothing_behind() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let (machine, mut guest) = start(&fixture, &progress, "cycles")?;
    let cycle = ["rocketctl upgrade --retry", "rocketctl rollback", "rocketctl prune"];
    // The first one makes folders that stay.
    verbs(&mut guest, &cycle)?;
    let first = count(&mut guest)?;
    let began = Instant::now();
    progress.step(&format!("{CYCLES} cycles in one boot"), || {
        for number in 1..=CYCLES {
            verbs(&mut guest, &cycle)?;
            same(&first, &count(&mut guest)?, number)?;
        }
        Ok(())
    })?;
    write(&progress, "cycles", &format!("{CYCLES} times `upgrade`, `rollback`, `prune` in one boot"), began, &first)?;
    machine.cut_power()
}

#[test]
#[ignore = "takes ten minutes: cargo xtask test --long boot"]
fn cycles_with_reboots_leave_nothing_behind() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let (machine, mut guest) = start(&fixture, &progress, "reboots")?;
    let began = Instant::now();
    let mut first = None;
    progress.step(&format!("{REBOOTS} cycles in which each release boots"), || {
        for number in 1..=REBOOTS {
            verbs(&mut guest, &["rocketctl upgrade --retry"])?;
            proved(&mut guest, VERSIONS[1])?;
            verbs(&mut guest, &["rocketctl rollback"])?;
            proved(&mut guest, VERSIONS[0])?;
            verbs(&mut guest, &["rocketctl prune"])?;
            let now = count(&mut guest)?;
            same(first.get_or_insert_with(|| now.clone()), &now, number)?;
        }
        Ok(())
    })?;
    let first = first.context("there was no cycle")?;
    let done = format!("{REBOOTS} times `upgrade`, a boot that proves itself, `rollback`, another, `prune`");
    write(&progress, "reboots", &done, began, &first)?;
    machine.cut_power()
}
