//! Upgrades and rollbacks on one disk, over and over: what is there afterwards is what was there before.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress, results};

/// Cycles inside one boot.
const CYCLES: u32 = 200;
/// Cycles in which each release boots, and proves itself.
const REBOOTS: u32 = 10;
/// What all of it may take.
const LIFE: Duration = Duration::from_secs(8 * 3600);

/// What a cycle must give back. The journal grows by itself, so that free space of the root partition says nothing.
const COUNT: &str = "find /sysroot/composefs -type f | wc -l; find /sysroot/state/deploy -mindepth 1 -maxdepth 1 | wc -l; \
                     ls /boot/loader/entries | wc -l; find /boot/EFI -type f | wc -l; df --output=avail -B1 /boot | tail -n 1; \
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
    let found = guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
    ensure!(found == version, "release {found} runs, expected {version}");
    guest.check("while rocketctl status --booted | grep -q 'not yet proved'; do sleep 1; done", BOOT).map(drop)
}

#[test]
#[ignore = "takes an hour: cargo xtask test --long boot"]
fn cycles_leave_nothing_behind() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("cycles")?;
    let mut machine = fixture
        .machine("cycles", &disk)
        .file("/etc/rocketos/health.toml", "soak = '2s'\ninterval = '1s'\n")
        .time_limit(LIFE)
        .start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let mut text = String::new();

    let cycle = |guest: &mut Guest| -> Result<()> {
        fixture.tag(VERSIONS[1])?;
        guest.check("rocketctl upgrade --retry", UPGRADE)?;
        guest.check("rocketctl rollback && rocketctl prune", UPGRADE).map(drop)
    };
    // The first one makes folders that stay.
    cycle(&mut guest)?;
    let before = count(&mut guest)?;
    let began = Instant::now();
    progress.step(&format!("{CYCLES} cycles in one boot"), || {
        for number in 1..=CYCLES {
            cycle(&mut guest)?;
            same(&before, &count(&mut guest)?, number)?;
        }
        Ok(())
    })?;
    writeln!(text, "* {CYCLES} times `upgrade`, `rollback`, `prune` in one boot: {} s", began.elapsed().as_secs())?;

    let began = Instant::now();
    let mut first = None;
    progress.step(&format!("{REBOOTS} cycles in which each release boots"), || {
        for number in 1..=REBOOTS {
            guest.check("rocketctl upgrade --retry", UPGRADE)?;
            proved(&mut guest, VERSIONS[1])?;
            guest.check("rocketctl rollback", BOOT)?;
            proved(&mut guest, VERSIONS[0])?;
            guest.check("rocketctl prune", UPGRADE)?;
            let now = count(&mut guest)?;
            same(first.get_or_insert_with(|| now.clone()), &now, number)?;
        }
        Ok(())
    })?;
    writeln!(text, "* {REBOOTS} times with a boot of each release: {} s\n", began.elapsed().as_secs())?;
    text.push_str("| | after each of the first | after each of the others |\n|---|---|---|\n");
    for ((name, first), second) in NAMES.iter().zip(&before).zip(first.context("there was no cycle")?) {
        writeln!(text, "| {name} | {first} | {second} |")?;
    }
    let file = results::write("cycles", "Upgrades and rollbacks on one disk", &text)?;
    progress.say(&format!("written: {}", file.display()));
    machine.cut_power()
}
