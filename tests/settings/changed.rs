//! A node that is told what it is to be, by its API: at once, after a cut, in the next release and back in the one before.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress};
use serde_json::Value;

use crate::{registries, services, told};

/// Exit codes, as `rocketctl --help` lists them.
const REFUSED: i32 = 65;
const BUSY: i32 = 75;
/// Changes that are timed.
const TIMED: u32 = 10;

fn json(guest: &mut Guest, command: &str) -> Result<Value> {
    let text = guest.check(&format!("{command} --json"), BOOT)?;
    serde_json::from_str(&text).with_context(|| format!("{command}: {text}"))
}

/// What the node makes of three of its settings.
fn seen(guest: &mut Guest) -> Result<[String; 3]> {
    let said = guest.ask("cat /etc/motd; sysctl -n vm.max_map_count; cat /proc/sys/kernel/hostname")?;
    let lines: Vec<&str> = said.lines().collect();
    match lines.as_slice() {
        [motd, sysctl, name] => Ok([motd, sysctl, name].map(|line| (*line).to_owned())),
        _ => anyhow::bail!("motd, sysctl and name are: {said}"),
    }
}

fn expect(guest: &mut Guest, wanted: [&str; 3]) -> Result<()> {
    let found = seen(guest)?;
    ensure!(found == wanted, "expected {wanted:?}, the node has {found:?}");
    Ok(())
}

/// A change that is not taken, and what the node says; nothing differs afterwards.
fn refused(guest: &mut Guest, command: &str, code: i32, parts: &[&str]) -> Result<()> {
    let state = "rocketctl settings get --json; rocketctl settings history --json; \
                 find /etc -type f ! -path '/etc/rocketos/settings/*' | sort | xargs sha256sum";
    let before = guest.check(state, BOOT)?;
    let answer = guest.run(&format!("{command} 2>&1"), UPGRADE)?;
    ensure!(answer.status == code, "{command} gave {}, expected {code}: {}", answer.status, answer.stdout);
    for part in parts {
        ensure!(answer.stdout.contains(part), "{command} does not say '{part}': {}", answer.stdout);
    }
    let after = guest.check(state, BOOT)?;
    ensure!(before == after, "{command} changed something:\n{before}\n{after}");
    Ok(())
}

fn changes(guest: &mut Guest) -> Result<()> {
    let receipt = json(
        guest,
        "rocketctl settings set motd=hello 'kernel.sysctl.\"vm.max_map_count\"=\"262145\"' network.hostname=node-7.example",
    )?;
    ensure!(receipt["outcome"] == "applied", "{receipt}");
    expect(guest, ["hello", "262145", "node-7.example"])?;
    let said = guest.check("rocketctl settings set motd=other --dry-run", BOOT)?;
    ensure!(said.contains("+other") && said.contains("-hello"), "a dry run says no difference: {said}");
    expect(guest, ["hello", "262145", "node-7.example"])?;
    // Who opens the firewall reaches what listens.
    let open = "firewall.open.test={ protocol = \"tcp\", port = 7777, reason = \"a test\" }";
    guest.check(&format!("rocketctl settings set '{open}'"), BOOT)?;
    let open = guest.ask("rocketctl firewall show")?;
    ensure!(open.contains("7777"), "the firewall is as it was: {open}");
    guest.check("rocketctl settings undo", BOOT)?;
    let closed = guest.ask("rocketctl firewall show")?;
    ensure!(!closed.contains("7777"), "the firewall stayed open: {closed}");
    Ok(())
}

fn refuses(guest: &mut Guest, fixture: &Fixture) -> Result<()> {
    refused(guest, "rocketctl settings set network.hostnam=x", REFUSED, &["hostnam", "hostname"])?;
    refused(guest, "rocketctl settings set motd=late --if-match 0", BUSY, &["generation"])?;
    refused(guest, "rocketctl settings set 'ntp.time-servers=[\"a b\"]'", REFUSED, &["ntp.time-servers"])?;
    // A container that cannot be had: its unit says so, and what was in force is again.
    let nowhere = format!("{}/nothing:1", fixture.registry.in_guest());
    let command = format!("rocketctl settings set containers.none.source={nowhere}");
    refused(guest, &command, 1, &["settings-none.service", "in force again"])
}

/// Median of the milliseconds that a change of what restarts nothing takes, from the caller's side.
fn latency(guest: &mut Guest) -> Result<u64> {
    let script = format!(
        "for i in $(seq {TIMED}); do a=$(date +%s%N); rocketctl settings set motd=$i > /run/said; b=$(date +%s%N); \
         echo $(((b - a) / 1000000)); done"
    );
    let said = guest.check(&script, BOOT)?;
    let mut times = said.lines().map(|line| Ok(line.trim().parse()?)).collect::<Result<Vec<u64>>>()?;
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("nothing was timed")
}

#[test]
fn a_node_is_what_its_settings_say() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    fixture.tag(VERSIONS[0])?;
    let disk = fixture.disk("settings")?;
    let mut machine = fixture.machine("settings", &disk).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    progress.step("changes", || changes(&mut guest))?;
    progress.step("what is refused", || refuses(&mut guest, &fixture))?;
    progress.step("what it finds out", || told::finds_out(&mut guest))?;
    progress.step("whom it trusts and tells", || told::tells_whom_it_trusts(&mut guest))?;
    progress.step("names, time and networks", || services::are_told(&mut guest))?;
    progress.step("a registry that settings vouch for", || {
        registries::believes_whom_settings_vouch_for(&mut guest, &fixture, &progress)
    })?;
    progress.step("a mirror", || registries::asks_a_mirror(&mut guest, &fixture))?;
    progress.step("the version that it keeps to", || told::keeps_to_its_version(&mut guest, &fixture))?;
    progress.step("how much root may do to the kernel", || told::raises_its_lockdown(&mut guest))?;
    let median = progress.step("how long a change takes", || latency(&mut guest))?;
    progress.say(&format!("a change that restarts nothing: {median} ms, the median of {TIMED}"));
    guest.check("rocketctl settings set motd=kept", BOOT)?;

    progress.step("the next release has them", || -> Result<()> {
        fixture.tag(VERSIONS[1])?;
        guest.check("rocketctl upgrade", UPGRADE)?;
        guest.check("rocketctl settings set motd=later", BOOT)?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[1], "release {} runs", guest.release()?);
        expect(&mut guest, ["later", "262145", "node-7.example"])?;
        guest
            .check("rocketctl settings set motd=newest 'kernel.sysctl.\"vm.max_map_count\"=\"262146\"'", BOOT)
            .map(drop)
    })?;
    progress.step("and the one before what was changed since", || -> Result<()> {
        guest.check("while rocketctl status --booted | grep -q 'not yet proved'; do sleep 1; done", BOOT)?;
        guest.check("rocketctl rollback", BOOT)?;
        guest.reboot(BOOT)?;
        guest.wait_booted(BOOT)?;
        ensure!(guest.release()? == VERSIONS[0], "release {} runs", guest.release()?);
        expect(&mut guest, ["newest", "262146", "node-7.example"])
    })?;
    progress.step("nobody changes what is locked", || -> Result<()> {
        guest.check("rocketctl settings lock", BOOT)?;
        refused(&mut guest, "rocketctl settings set motd=no", BUSY, &["locked"])
    })?;
    guest.is_refused_nothing()?;
    machine.cut_power()
}
