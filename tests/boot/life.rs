//! A node's life: one machine, three releases, every promise about what stays and what goes.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress};
use serde_json::Value;

/// What is true of a node at any time.
struct Node {
    guest: Guest,
    machine_id: String,
}

impl Node {
    fn status(&mut self) -> Result<Value> {
        let text = self.guest.ask("rocketctl status --json --format-version=1")?;
        serde_json::from_str(&text).with_context(|| format!("parsing {text}"))
    }

    /// The roles' manifest digests: booted, staged, rollback.
    fn roles(&mut self) -> Result<[Option<String>; 3]> {
        let status = self.status()?;
        Ok(["booted", "staged", "rollback"]
            .map(|role| status["status"][role]["image"]["imageDigest"].as_str().map(str::to_owned)))
    }

    fn expect_release(&mut self, version: &str) -> Result<()> {
        let found = self.guest.ask(". /usr/lib/os-release && echo $VERSION_ID")?;
        ensure!(found == version, "release {found} runs, expected {version}");
        let root = self.guest.ask("grep ' / ' /proc/mounts")?;
        let words = ["composefs:", "overlay", "ro,", "verity=require"];
        ensure!(words.iter().all(|word| root.contains(word)), "the root is: {root}");
        let id = self.guest.ask("cat /etc/machine-id")?;
        ensure!(id == self.machine_id, "machine-id is {id}, was {}", self.machine_id);
        Ok(())
    }

    fn reboot(&mut self) -> Result<()> {
        self.guest.reboot(BOOT)?;
        let state = self.guest.wait_booted(BOOT)?;
        let failed = self.guest.ask("systemctl --failed --plain --no-legend")?;
        ensure!(state == "running", "the system is {state}; failed units:\n{failed}");
        Ok(())
    }
}

#[test]
fn a_node_lives_through_upgrades_and_rollbacks() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("life")?;
    let mut machine = fixture.machine("life", &disk).start()?;
    let guest = progress.step("first boot", || machine.wait_for_shell(BOOT))?;
    let mut node = Node { guest, machine_id: String::new() };
    let state = node.guest.wait_booted(BOOT)?;
    ensure!(state == "running", "the system is {state}:\n{}", node.guest.ask("systemctl --failed --no-legend")?);
    node.machine_id = node.guest.ask("cat /etc/machine-id")?;
    ensure!(node.machine_id.len() == 32, "machine-id is '{}'", node.machine_id);
    node.expect_release(VERSIONS[0])?;
    ensure!(node.roles()? == [Some(fixture.digests[0].clone()), None, None], "{:?}", node.roles()?);
    node.guest.ask("echo kept > /var/kept && echo lost > /etc/lost && sync")?;

    // Nothing newer.
    let answer = node.guest.check("rocketctl upgrade --check", UPGRADE)?;
    ensure!(answer.contains("No update available"), "{answer}");

    // The second release.
    fixture.tag(VERSIONS[1])?;
    let answer = node.guest.check("rocketctl upgrade --check", UPGRADE)?;
    ensure!(answer.contains("Update available"), "{answer}");
    ensure!(node.roles()?[1].is_none(), "--check staged something");
    progress.step("upgrade", || node.guest.check("rocketctl upgrade", UPGRADE))?;
    ensure!(node.roles()?[1].as_ref() == Some(&fixture.digests[1]), "{:?}", node.roles()?);
    let entries = node.status()?["status"]["staged"]["rocketos"]["entries"].to_string();
    ensure!(entries.contains("+3.conf"), "the new entry is not counted: {entries}");
    progress.step("boot of the second release", || node.reboot())?;
    node.expect_release(VERSIONS[1])?;
    let [booted, staged, rollback] = node.roles()?;
    ensure!(booted.as_ref() == Some(&fixture.digests[1]) && staged.is_none(), "{booted:?} {staged:?}");
    ensure!(rollback.as_ref() == Some(&fixture.digests[0]), "{rollback:?}");
    let good = node.status()?["status"]["booted"]["rocketos"]["good"].as_bool();
    ensure!(good == Some(true), "boot-complete did not bless the entry");
    ensure!(node.guest.ask("cat /var/kept")? == "kept", "/var is not what it was");
    ensure!(!node.guest.run("test -e /etc/lost", BOOT)?.success(), "/etc kept a file");

    // Pinned, the first release survives the third.
    let first = node.status()?["status"]["rollback"]["rocketos"]["deployment"].as_str().unwrap_or_default().to_owned();
    node.guest.ask(&format!("rocketctl pin {}", &first[..8]))?;
    fixture.tag(VERSIONS[2])?;
    progress.step("second upgrade", || node.guest.check("rocketctl upgrade", UPGRADE))?;
    progress.step("boot of the third release", || node.reboot())?;
    node.expect_release(VERSIONS[2])?;
    ensure!(node.roles()?[2].as_ref() == Some(&fixture.digests[1]), "{:?}", node.roles()?);
    let others = node.status()?["status"]["otherDeployments"].clone();
    ensure!(others[0]["rocketos"]["deployment"] == Value::String(first.clone()), "the pinned one is gone: {others}");

    // Unpinned, it goes, with what only it used.
    let objects = "find /sysroot/composefs/objects -type f | wc -l";
    let before: u64 = node.guest.ask(objects)?.parse()?;
    node.guest.ask(&format!("rocketctl unpin {first} && rocketctl prune"))?;
    let after: u64 = node.guest.ask(objects)?.parse()?;
    ensure!(after < before, "prune removed no object of {before}");
    ensure!(node.status()?["status"]["otherDeployments"] == Value::Array(vec![]), "{}", node.status()?);
    ensure!(!node.guest.run(&format!("test -e /sysroot/state/deploy/{first}"), BOOT)?.success(), "its state is left");

    // And back.
    node.guest.ask("rocketctl rollback")?;
    progress.step("rollback", || node.reboot())?;
    node.expect_release(VERSIONS[1])?;
    let [booted, _, rollback] = node.roles()?;
    ensure!(booted.as_ref() == Some(&fixture.digests[1]) && rollback.as_ref() == Some(&fixture.digests[2]));
    ensure!(node.guest.ask("cat /var/kept")? == "kept");
    machine.cut_power()
}
