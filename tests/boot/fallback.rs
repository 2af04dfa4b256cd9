//! A release whose initramfs fails uses its tries up, and the old release runs at the end.

use anyhow::{Result, ensure};
use rocketos_tests::Progress;
use rocketos_tests::fixture::{BOOT, BROKEN, Fixture, UPGRADE, VERSIONS};

/// Tries of a new entry (`rocketos_model::limits::TRIES`).
const TRIES: u32 = 3;

#[test]
fn tries_run_out_on_a_release_whose_initramfs_fails() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("broken")?;
    let mut machine = fixture.machine("broken", &disk).start()?;
    let mut guest = progress.step("boot of the good release", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let switch = format!("rocketctl switch {}", fixture.reference(BROKEN));
    progress.step("staging the broken release", || guest.check(&switch, UPGRADE))?;
    progress.step("three tries and the way back", || guest.reboot(BOOT * (TRIES + 1)))?;
    let found = guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
    ensure!(found == VERSIONS[0], "release {found} runs");
    let entries = guest.ask("rocketctl status --json")?;
    ensure!(entries.contains(&format!("+0-{TRIES}.conf")), "the tries were not used up: {entries}");
    let status = guest.ask("rocketctl status")?;
    ensure!(status.contains("failed"), "status does not say that it failed:\n{status}");
    machine.cut_power()
}
