//! A release on trial: it fails before its soak, in its soak, is excused, and is good in the end.

use anyhow::{Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress};

use crate::check;

/// Long enough for what is done within it on a busy host, and waited for once.
const SOAK: u64 = 60;
/// A check that fails on the second release while this file is there.
const SICK: &str = "/var/sick";
/// A required health check did not pass.
const UNHEALTHY: i32 = 70;

/// Nothing but the kernel runs any longer: no systemd that keeps the watchdog up, and nobody who would see that.
const HANG: &str = "cd /sys/fs/cgroup && echo 1 > init.scope/cgroup.freeze && echo 1 > system.slice/cgroup.freeze";

/// The tries in the entry of what is booted or, after it was left, of the other deployment.
fn entry(guest: &mut Guest, role: &str) -> Result<String> {
    let status = guest.status()?;
    let found = match role {
        "other" => &status["status"]["otherDeployments"][0],
        role => &status["status"][role],
    };
    Ok(found["rocketos"]["entries"].to_string())
}

/// The machine is back on the first release, and says why.
fn is_back(guest: &mut Guest, reason: &str) -> Result<()> {
    guest.wait_booted(BOOT)?;
    ensure!(guest.release()? == VERSIONS[0], "{} runs", guest.release()?);
    let status = guest.status()?;
    let failure = &status["status"]["rocketos"]["health"]["failures"][0];
    ensure!(failure["version"] == VERSIONS[1], "{failure}");
    ensure!(failure["reason"].as_str().is_some_and(|found| found.contains(reason)), "not '{reason}': {failure}");
    ensure!(status["status"]["rocketos"]["health"]["good"] == true, "{status}");
    let banner = guest.ask("cat /run/issue.d/60-rocketos.issue")?;
    ensure!(banner.contains(&format!("Release {} failed on this node", VERSIONS[1])), "{banner}");
    // Not after its tries: at once.
    ensure!(!entry(guest, "other")?.contains("+0-"), "{}", entry(guest, "other")?);
    let again = guest.check("rocketctl upgrade", UPGRADE)?;
    ensure!(again.contains("failed here") && again.contains("--retry"), "{again}");
    Ok(())
}

/// Takes the second release again, and boots it.
fn retry(guest: &mut Guest) -> Result<String> {
    guest.check("rocketctl upgrade --retry", UPGRADE)?;
    let before = guest.boot_id()?;
    guest.ask("sync")?;
    // Its answer may be lost in the shutdown.
    drop(guest.run("systemctl reboot", std::time::Duration::from_secs(5)));
    Ok(before)
}

#[test]
fn a_release_on_trial_is_left_or_good() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("health")?;
    let mut machine = fixture
        .machine("health", &disk)
        .file("/etc/rocketos/health.toml", &format!("soak = '{SOAK}s'\ninterval = '5s'\n"))
        .file("/etc/rocketos/health.d/sick.toml", &check::of_the_second_release(&format!("! test -e {SICK}")))
        .arguments(["-device", "i6300esb", "-action", "watchdog=reset"])
        .start()?;
    let mut guest = progress.step("first boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let healthy = guest.check("rocketctl health", BOOT)?;
    let circles = guest.ask("journalctl --no-pager -q -b -o cat --grep='ordering cycle' || true")?;
    ensure!(circles.is_empty(), "units wait for each other: {circles}");
    ensure!(healthy.contains("sick (required) passed") && healthy.contains("var (required) passed"), "{healthy}");

    progress.step("a release that fails its checks is left", || {
        guest.ask(&format!("touch {SICK}"))?;
        fixture.tag(VERSIONS[1])?;
        let before = retry(&mut guest)?;
        // Over two boots: into the second release, and back.
        guest.wait_for_boot_after(&before, BOOT)?;
        while guest.release().is_ok_and(|version| version == VERSIONS[1]) {
            let middle = guest.boot_id()?;
            guest.wait_for_boot_after(&middle, BOOT)?;
        }
        is_back(&mut guest, "sick (required) failed")
    })?;
    progress.step("a release that fails in its soak is left", || {
        guest.ask(&format!("rm {SICK}"))?;
        let before = retry(&mut guest)?;
        guest.wait_for_boot_after(&before, BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[1], "{} runs", guest.release()?);
        let middle = guest.boot_id()?;
        guest.ask(&format!("touch {SICK}"))?;
        guest.wait_for_boot_after(&middle, BOOT)?;
        is_back(&mut guest, "s after its boot was complete: sick (required) failed")
    })?;
    progress.step("a person's reboot costs no try", || {
        guest.ask(&format!("rm {SICK}"))?;
        let before = retry(&mut guest)?;
        guest.wait_for_boot_after(&before, BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(entry(&mut guest, "booted")?.contains("+2-1"), "{}", entry(&mut guest, "booted")?);
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[1], "{} runs", guest.release()?);
        ensure!(entry(&mut guest, "booted")?.contains("+2-1"), "it cost a try: {}", entry(&mut guest, "booted")?);
        Ok(())
    })?;
    progress.step("a hang in the soak costs a try, and the soak ends", || {
        let before = guest.boot_id()?;
        drop(guest.run(HANG, std::time::Duration::from_secs(10)));
        guest.wait_for_boot_after(&before, BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[1], "{} runs", guest.release()?);
        ensure!(entry(&mut guest, "booted")?.contains("+1-2"), "it cost no try: {}", entry(&mut guest, "booted")?);
        guest.check("while rocketctl status --booted | grep -q 'not yet proved'; do sleep 5; done", BOOT)?;
        ensure!(!entry(&mut guest, "booted")?.contains('+'), "{}", entry(&mut guest, "booted")?);
        let failures = guest.status()?["status"]["rocketos"]["health"]["failures"].to_string();
        ensure!(failures == "[]", "what is good has failures: {failures}");
        Ok(())
    })?;
    progress.step("what proved itself is never left by itself", || {
        guest.ask(&format!("touch {SICK}"))?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[1], "{} runs", guest.release()?);
        let sick = guest.run("rocketctl health --last", BOOT)?;
        ensure!(sick.status == UNHEALTHY && sick.stdout.contains("sick (required) failed"), "{}", sick.stdout);
        let told = guest.ask("journalctl --no-pager -q -o cat MESSAGE_ID=98a1f4d0b6c34e2f85c7d2e09b3f6a17")?;
        ensure!(told.contains("which proved itself before, does not do its work"), "the journal has: {told}");
        Ok(())
    })?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}
