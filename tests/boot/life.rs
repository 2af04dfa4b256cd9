//! A node's life: one machine, three releases, every promise about what stays and what goes.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Guest, Progress};
use serde_json::Value;

use crate::{firewall, hardening, report};

/// The disk, in GiB; the base has 8.
const GROWN: u64 = 12;
/// No node has its ESP mounted; a test does.
const ESP: &str = "/run/esp";
const ESP_DEVICE: &str = "/dev/disk/by-partlabel/esp";

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

    /// The deployment in a role.
    fn deployment(&mut self, role: &str) -> Result<String> {
        let status = self.status()?;
        let found = status["status"][role]["rocketos"]["deployment"].as_str();
        found.map(str::to_owned).with_context(|| format!("no deployment is {role}: {status}"))
    }

    /// Deployments that are neither booted, staged nor rollback.
    fn others(&mut self) -> Result<Vec<String>> {
        let status = self.status()?;
        let others = status["status"]["otherDeployments"].as_array().cloned().unwrap_or_default();
        Ok(others.iter().filter_map(|other| Some(other["rocketos"]["deployment"].as_str()?.to_owned())).collect())
    }

    /// What on the disk bears the deployment's name.
    fn traces(&mut self, deployment: &str) -> Result<String> {
        let find = format!("find /sysroot/state {ESP}/ -name '*{deployment}*'");
        self.guest.ask(&format!("mkdir -p {ESP} && mount {ESP_DEVICE} {ESP} && {find} && umount {ESP}"))
    }

    /// On either file system something bears the deployment's name.
    fn expect_there(&mut self, deployment: &str) -> Result<()> {
        let found = self.traces(deployment)?;
        let below = |top: &str| found.lines().any(|path| path.starts_with(top));
        ensure!(below("/sysroot/state/") && below(ESP), "of deployment {deployment} there is only: {found}");
        Ok(())
    }

    /// Nothing on the disk bears the deployment's name.
    fn expect_gone(&mut self, deployment: &str) -> Result<()> {
        let found = self.traces(deployment)?;
        ensure!(found.is_empty(), "of deployment {deployment} there is left: {found}");
        Ok(())
    }

    /// Unpinned it goes, but not its files while its image is mounted, in whichever namespace.
    fn prune_spares_what_is_mounted(&mut self, deployment: &str) -> Result<()> {
        let objects = "find /sysroot/composefs/objects -type f | wc -l";
        let status = self.status()?;
        let digest = status["status"]["otherDeployments"][0]["rocketos"]["composefsDigest"].as_str();
        let digest = digest.with_context(|| format!("no composefs digest: {status}"))?.to_owned();
        let store = "/sysroot/composefs";
        self.guest.ask(&format!(
            "mkdir -p /run/image /run/old && systemd-run --quiet --unit=mounted --property=PrivateMounts=yes \
             --property=Type=exec sh -c 'mount -t erofs {store}/images/{digest} /run/image && \
             mount -t overlay -o ro,metacopy=on,redirect_dir=on,verity=require,lowerdir=/run/image::{store}/objects \
             composefs:{digest} /run/old && echo mounted > /run/mounted && sleep infinity' && \
             until [ -e /run/mounted ]; do systemctl is-active --quiet mounted || exit 1; done"
        ))?;
        let before: u64 = self.guest.ask(objects)?.parse()?;
        self.guest.ask(&format!("rocketctl unpin {deployment} && rocketctl prune"))?;
        ensure!(self.others()?.is_empty(), "{:?}", self.others()?);
        self.expect_gone(deployment)?;
        let inside = "nsenter --mount --target $(systemctl show --property MainPID --value mounted)";
        self.guest.ask("echo 3 > /proc/sys/vm/drop_caches")?;
        let read = self.guest.check(
            &format!("{inside} sh -c 'cat /run/old/usr/lib/os-release; cat /run/old/usr/bin/* > /dev/null'"),
            BOOT,
        );
        ensure!(read?.contains(VERSIONS[1]), "another image is mounted");
        self.guest.ask("systemctl stop mounted && rocketctl prune")?;
        let after: u64 = self.guest.ask(objects)?.parse()?;
        ensure!(after < before, "prune removed no object of {before}");
        Ok(())
    }

    fn expect_release(&mut self, version: &str) -> Result<()> {
        let found = self.guest.release()?;
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
    // Larger than what was installed: the root partition takes it at the first boot.
    fixture.tools.run("qemu-img").args(["resize", "-q"]).arg(&disk).arg(format!("{GROWN}G")).quiet()?;
    let mut machine = fixture.machine("life", &disk).start()?;
    let guest = progress.step("first boot", || machine.wait_for_shell(BOOT))?;
    let mut node = Node { guest, machine_id: String::new() };
    let state = node.guest.wait_booted(BOOT)?;
    ensure!(state == "running", "the system is {state}:\n{}", node.guest.ask("systemctl --failed --no-legend")?);
    node.machine_id = node.guest.ask("cat /etc/machine-id")?;
    ensure!(node.machine_id.len() == 32, "machine-id is '{}'", node.machine_id);
    node.expect_release(VERSIONS[0])?;
    ensure!(node.roles()? == [Some(fixture.digests[0].clone()), None, None], "{:?}", node.roles()?);
    let root: u64 = node.guest.ask("echo $(( $(stat -f -c '%b*%S' /sysroot) >> 30 ))")?.parse()?;
    ensure!(root + 2 >= GROWN, "the root file system has {root} GiB on a disk of {GROWN}");
    node.guest.ask("echo kept > /var/kept && echo lost > /etc/lost && sync")?;

    report::draws_the_boot(&mut node.guest)?;
    firewall::opens_what_is_declared(&mut node.guest)?;
    progress.step("what kernel and file systems refuse", || hardening::holds(&mut node.guest))?;

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

    // Good, the third pushes the first out.
    let first = node.deployment("rollback")?;
    fixture.tag(VERSIONS[2])?;
    progress.step("second upgrade", || node.guest.check("rocketctl upgrade", UPGRADE))?;
    ensure!(node.deployment("rollback")? == first, "the first release went before the third had proved itself");
    node.expect_there(&first)?;
    progress.step("boot of the third release", || node.reboot())?;
    node.expect_release(VERSIONS[2])?;
    ensure!(node.roles()?[2].as_ref() == Some(&fixture.digests[1]), "{:?}", node.roles()?);
    ensure!(node.others()?.is_empty(), "{:?}", node.others()?);
    node.expect_gone(&first)?;

    // Pinned, the second survives what comes after the third, and unpinned it survives while it is mounted.
    let second = node.deployment("rollback")?;
    node.guest.ask(&format!("rocketctl pin {}", &second[..8]))?;
    fixture.tag(VERSIONS[0])?;
    progress.step("third upgrade", || node.guest.check("rocketctl upgrade", UPGRADE))?;
    progress.step("boot of what came after the third", || node.reboot())?;
    node.expect_release(VERSIONS[0])?;
    ensure!(node.roles()?[2].as_ref() == Some(&fixture.digests[2]), "{:?}", node.roles()?);
    ensure!(node.others()? == [second.clone()], "the pinned one is gone: {:?}", node.others()?);
    node.expect_there(&second)?;
    node.prune_spares_what_is_mounted(&second)?;

    // And back.
    node.guest.ask("rocketctl rollback")?;
    progress.step("rollback", || node.reboot())?;
    node.expect_release(VERSIONS[2])?;
    let [booted, _, rollback] = node.roles()?;
    ensure!(booted.as_ref() == Some(&fixture.digests[2]) && rollback.as_ref() == Some(&fixture.digests[0]));
    ensure!(node.guest.ask("cat /var/kept")? == "kept");
    node.guest.is_refused_nothing()?;
    machine.cut_power()
}
