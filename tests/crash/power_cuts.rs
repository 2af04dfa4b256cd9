//! The power goes at random moments of an upgrade: what is left boots the old release or the new one, whole.
//!
//! The machine is saved once, ready to upgrade, and every cut starts from there. Each disk that is left is judged as
//! firmware, loader and initramfs would find it; a few are booted, and must take the upgrade.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{OfflineDisk, Progress};

use crate::long::Journal;

/// Cuts in the ordinary run.
const CUTS: u32 = 8;
/// Of them booted.
const BOOTED: u32 = 3;
/// Cuts of the long run, all booted.
const LONG_CUTS: u32 = 50;
/// The last cuts come after the upgrade is done, so that some find the new release.
const BEYOND: f64 = 1.4;
/// Name of the saved machine.
const READY: &str = "ready";
/// Starts the upgrade without waiting for it.
const START: &str = "systemd-run --unit=cut --quiet rocketctl upgrade";

/// A fraction in [0, 1), spread evenly and the same in every run (van der Corput, base 2).
fn fraction(mut n: u32) -> f64 {
    let (mut value, mut half) = (0.0, 0.5);
    while n > 0 {
        value += f64::from(n & 1) * half;
        n >>= 1;
        half /= 2.0;
    }
    value
}

#[test]
fn power_cuts_leave_the_old_release_or_the_new_one() -> Result<()> {
    let progress = Progress::new();
    let long = std::env::var_os("ROCKETOS_TESTS_LONG").is_some();
    let (cuts, booted) = if long { (LONG_CUTS, LONG_CUTS) } else { (CUTS, BOOTED) };
    let fixture = Fixture::ready(&progress)?;
    fixture.tag(VERSIONS[1])?;
    let disk = fixture.disk("cuts")?;
    let variables = fixture.scratch().join("cuts.variables.qcow2");
    let machine = |name: &str| fixture.machine(name, &disk).variables(&variables);

    let mut ready = machine("cuts").start()?;
    let mut guest = progress.step("boot", || ready.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    guest.ask("sync")?;
    ready.save(READY)?;
    let begun = Instant::now();
    guest.check("rocketctl upgrade", UPGRADE)?;
    let whole = begun.elapsed();
    progress.say(&format!("an upgrade takes {:.0} s here", whole.as_secs_f64()));
    drop(guest);
    ready.cut_power()?;

    let mut journal = if long { Some(Journal::open(&fixture)?) } else { None };
    let done = journal.as_ref().map_or(0, Journal::done);
    let mut outcomes = Vec::new();
    for cut in done + 1..=cuts {
        let after = whole.mul_f64(fraction(cut) * BEYOND);
        let left = progress.step(&format!("cut {cut} of {cuts}, after {:.1} s", after.as_secs_f64()), || {
            let mut running = machine("cut").arguments(["-loadvm", READY]).start()?;
            let mut guest = running.loaded_shell(BOOT)?;
            guest.ask(START)?;
            std::thread::sleep(after);
            running.cut_power()?;
            let left = fixture.scratch().join(format!("cut-{cut}.qcow2"));
            std::fs::copy(&disk, &left).context("copying what the cut left")?;
            Ok::<PathBuf, anyhow::Error>(left)
        })?;
        let folder = fixture.scratch().join(format!("cut-{cut}"));
        let verdict = OfflineDisk::copy(&fixture.tools, &left, &folder)?
            .judge()
            .with_context(|| format!("judging what the cut after {:.1} s left", after.as_secs_f64()))?;
        let boots = VERSIONS.iter().zip(&fixture.digests).find(|(_, digest)| {
            digest.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(&verdict.deployment.to_string()))
        });
        let (version, _) = boots.context("what boots first is neither the old nor the new release")?;
        outcomes.push((after, *version));
        std::fs::remove_dir_all(&folder)?;
        if cut <= booted {
            progress.step(&format!("boot after cut {cut}"), || boot(&fixture, &left, version))?;
        }
        std::fs::remove_file(&left)?;
        if let Some(journal) = &mut journal {
            journal.add(format!("{:.1} s of {:.1} s | {version}", after.as_secs_f64(), whole.as_secs_f64()))?;
        }
    }
    for (after, version) in outcomes {
        progress.say(&format!("cut after {:.1} s: {version} boots", after.as_secs_f64()));
    }
    if let Some(journal) = journal {
        let accelerator = format!("{:?}", fixture.tools.accel()).to_uppercase();
        let result = journal.finish(&accelerator, &fixture.digests)?;
        progress.say(&format!("written: {}", result.display()));
    }
    Ok(())
}

/// Boots what a cut left, and finishes the upgrade.
fn boot(fixture: &Fixture, disk: &std::path::Path, version: &str) -> Result<()> {
    let mut machine = fixture.machine("after-cut", disk).start()?;
    let mut guest = machine.wait_for_shell(BOOT)?;
    guest.wait_booted(BOOT)?;
    let found = guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
    ensure!(found == version, "release {found} runs, the disk said {version}");
    guest.check("rocketctl upgrade", UPGRADE)?;
    let status = guest.ask("rocketctl status")?;
    ensure!(status.contains(&fixture.digests[1]), "the upgrade after the cut brought nothing:\n{status}");
    drop(guest);
    machine.cut_power()?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(())
}
