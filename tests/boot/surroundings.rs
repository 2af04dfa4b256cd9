//! Releases on trial that are sound, in surroundings in which they cannot do their work: a full disk, units that wait for each
//! other, a clock that is years off, a systemd that crashes. Each ends on the release before.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Ended, Guest, Machine, Progress, Running};
use serde_json::Value;

use crate::check;

/// What a boot may take until it is complete and somebody watches it.
const DEADLINE: u64 = 60;
/// Fills the file system below /var to its last block.
const FILL: &str =
    "fallocate -l $(df -B1 --output=avail /var | tail -n 1) /var/full; cat /dev/zero >> /var/full2; sync";
const EMPTY: &str = "rm -f /var/full /var/full2; sync";

/// A unit that is needed, and waits for the one that watches a release, which waits for it.
const CIRCLE: &str = "[Unit]\nDefaultDependencies=no\nAfter=rocketos-bless.service\nBefore=rocketos-bless.service\n\
                      [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n";
const NEEDED: &str = "[Unit]\nRequires=circle.service\n";
/// Files of a test come by systemd-tmpfiles, and who counts starts before it otherwise.
const SETTINGS_FIRST: &str = "[Unit]\nAfter=systemd-tmpfiles-setup.service\n";

/// As far off as systemd lets a clock be: what is fifteen years beyond its own date it sets back (systemd 257).
const YEARS_OFF: &str = "base=2037-01-01T00:00:00";
const CLOCK: &str = "level = 'required'\nkind = 'time-synchronised'\n";

/// Brings systemd down.
const CRASH: &str = "kill -SEGV 1";

/// Waits until the first release is at work, whatever boots until then; returns what failed, newest first.
fn is_back(guest: &mut Guest, progress: &Progress, began: Instant) -> Result<Value> {
    let until = began + 3 * BOOT;
    while !guest.release().is_ok_and(|version| version == VERSIONS[0]) {
        ensure!(Instant::now() < until, "the second release still runs");
        let Ok(now) = guest.boot_id() else { continue };
        guest.wait_for_boot_after(&now, until.saturating_duration_since(Instant::now()))?;
    }
    guest.wait_booted(BOOT)?;
    progress.say(&format!("{:.0} s until the release before was at work", began.elapsed().as_secs_f64()));
    let status = guest.status()?;
    let (runs, node) = (&status["status"]["booted"]["rocketos"]["deployment"], &status["status"]["rocketos"]);
    ensure!(runs.is_string() && node["next"] == *runs, "something else boots next: {status}");
    Ok(node["health"]["failures"].clone())
}

/// A machine whose disk and firmware variables outlive it.
struct Node<'a> {
    fixture: &'a Fixture,
    progress: &'a Progress,
    disk: &'a Path,
}

impl Node<'_> {
    fn machine(&self) -> Machine {
        self.fixture
            .machine("surroundings", self.disk)
            .variables(&self.fixture.scratch().join("surroundings-variables.qcow2"))
    }

    fn start(&self, machine: Machine) -> Result<(Running, Guest)> {
        let mut running = machine.start()?;
        let guest = running.wait_for_shell(BOOT)?;
        Ok((running, guest))
    }

    /// Stages the second release, and turns the machine off.
    fn stage(&self, mut guest: Guest, mut machine: Running) -> Result<()> {
        guest.check("rocketctl upgrade --retry", UPGRADE)?;
        drop(guest.run("systemctl poweroff", Duration::from_secs(5)));
        drop(guest);
        let ended = machine.wait_for_end(BOOT)?;
        ensure!(ended == Ended::PoweredOff, "it ended otherwise: {ended:?}");
        Ok(())
    }

    /// Boots the second release in new surroundings; the first one must be at work in the end, and know `reason`.
    fn left(&self, machine: Machine, reason: &str) -> Result<(Running, Guest)> {
        let began = Instant::now();
        let (running, mut guest) = self.start(machine)?;
        let failures = is_back(&mut guest, self.progress, began)?;
        let told = failures[0]["reason"].as_str().context("nothing failed")?;
        ensure!(told.contains(reason), "the reason is not '{reason}': {failures}");
        Ok((running, guest))
    }
}

#[test]
fn releases_that_cannot_do_their_work_are_left() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("surroundings")?;
    let node = Node { fixture: &fixture, progress: &progress, disk: &disk };
    let (machine, mut guest) = progress.step("boot of the good release", || node.start(node.machine()))?;
    guest.wait_booted(BOOT)?;
    fixture.tag(VERSIONS[1])?;

    progress.step("/var is full", || {
        guest.check("rocketctl upgrade --retry", UPGRADE)?;
        // The last block is taken: both end with an error.
        drop(guest.run(FILL, BOOT)?);
        let began = Instant::now();
        guest.reboot(BOOT)?;
        is_back(&mut guest, &progress, began)?;
        let left = guest.ask("df -B1 --output=avail /var | tail -n 1")?;
        ensure!(left.trim() == "0", "/var has {left} bytes left: this proves nothing");
        guest.ask(EMPTY)?;
        guest.check("rocketctl health", BOOT).map(drop)
    })?;

    progress.step("units wait for each other", || node.stage(guest, machine))?;
    let deadline = format!("deadline = '{DEADLINE}s'\n");
    let circle = node.machine().file("/etc/rocketos/health.toml", &deadline).credentials(|credentials| {
        credentials.unit("circle.service", CIRCLE);
        credentials.set("systemd.unit-dropin.multi-user.target~circle", NEEDED);
        credentials.set("systemd.unit-dropin.rocketos-deadline.service", SETTINGS_FIRST);
    });
    let (machine, mut guest) =
        progress.step("… and nobody watches the release", || node.left(circle, "nobody watched"))?;
    let told = guest.ask("journalctl --no-pager -q -b -o cat --grep='ordering cycle' | head -n 1")?;
    ensure!(told.contains("rocketos-bless.service") || told.contains("circle.service"), "no circle: {told}");

    progress.step("the clock is years off", || node.stage(guest, machine))?;
    let clock = node.machine().file("/etc/rocketos/health.d/clock.toml", CLOCK).arguments(["-rtc", YEARS_OFF]);
    let (machine, mut guest) =
        progress.step("… and no server sets it", || node.left(clock, "clock (required) failed"))?;
    let year = guest.ask("date +%Y")?;
    ensure!(year.parse::<u32>()? >= 2037, "the year is {year}: this proves nothing");

    progress.step("systemd crashes", || node.stage(guest, machine))?;
    let crash = node.machine().file("/etc/rocketos/health.d/crash.toml", &check::of_the_second_release(CRASH));
    let (machine, guest) = progress.step("… each time", || node.left(crash, "it did not come up"))?;
    drop(guest);
    machine.cut_power()
}
