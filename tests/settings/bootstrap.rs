//! A node that has something to do before it counts as configured: calls of its API, and containers that run to their end.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::images::podman_build;
use rocketos_tests::{Guest, Images, Progress, paths};
use serde_json::Value;

/// Its image in podman's storage and in the registry.
const IMAGE: &str = "localhost/rocketos/test-bootstrap";
const REPOSITORY: &str = "bootstrap/runs";
/// Where containers write down on the host that they ran.
const SEEN: &str = "/var/lib/bootstrapped";

fn build(fixture: &Fixture, progress: &Progress) -> Result<()> {
    let data = paths::workspace().join("tests/data/bootstrap");
    let context = fixture.scratch().join("bootstrap");
    std::fs::create_dir_all(&context).with_context(|| format!("making {}", context.display()))?;
    for file in ["Containerfile", "start"] {
        std::fs::copy(data.join(file), context.join(file)).with_context(|| format!("copying {file}"))?;
    }
    std::fs::copy(fixture.tools.file("usr/bin/busybox"), context.join("busybox")).context("copying busybox")?;
    let build = podman_build().args(["-t", IMAGE, "-f"]);
    build.arg(context.join("Containerfile")).arg(&context).printed().quiet()?;
    Images::new(progress).push(IMAGE, &fixture.registry, REPOSITORY, "1").map(drop)
}

struct Node {
    guest: Guest,
    source: String,
}

impl Node {
    fn set(&mut self, settings: &[&str]) -> Result<()> {
        let quoted: String = settings.iter().map(|setting| format!(" '{setting}'")).collect();
        self.guest.check(&format!("rocketctl settings set{quoted}"), BOOT).map(drop)
    }

    /// A container that ends with a code.
    fn add(&mut self, name: &str, mode: &str, code: u8) -> Result<()> {
        let of = |field: &str| format!("bootstrap-containers.{name}.{field}");
        let source = format!("{}={}", of("source"), self.source);
        let command = format!("{}=[\"{name}\", \"{code}\"]", of("command"));
        self.set(&[&source, &command, &format!("{}={mode}", of("mode"))])
    }

    fn reboot(&mut self) -> Result<()> {
        self.guest.reboot(BOOT)?;
        self.guest.wait_booted(BOOT).map(drop)
    }

    fn receipt(&mut self) -> Result<Value> {
        let text = self.guest.ask("rocketctl settings boot --json")?;
        let receipt: Value = serde_json::from_str(&text).with_context(|| format!("parsing {text}"))?;
        ensure!(receipt["bootstrap"]["state"] != "waiting", "it has not ended: {receipt}");
        Ok(receipt)
    }

    /// What came of a container or a list of calls.
    fn came(&mut self, kind: &str, name: &str) -> Result<Value> {
        let receipt = self.receipt()?;
        let all = receipt["bootstrap"]["ran"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|ran| ran["kind"] == kind && ran["name"] == name);
        found.with_context(|| format!("the receipt has no {kind} {name}: {receipt}"))
    }

    fn expect(&mut self, kind: &str, name: &str, outcome: &str) -> Result<Value> {
        let came = self.came(kind, name)?;
        ensure!(came["outcome"] == outcome, "{kind} {name} is not {outcome}: {came}");
        Ok(came)
    }

    /// How often a container ran.
    fn times(&mut self, name: &str, wanted: usize) -> Result<()> {
        let said = self.guest.ask(&format!("cat {SEEN}/{name} 2>/dev/null || true"))?;
        // A line each, which may be empty.
        let times = self.guest.ask(&format!("cat {SEEN}/{name} 2>/dev/null | wc -l"))?;
        ensure!(times.trim() == wanted.to_string(), "{name} ran {times} times and not {wanted}: {said}");
        Ok(())
    }

    fn said(&mut self, what: &str) -> Result<String> {
        self.guest.ask(&format!("cat {SEEN}/{what} | tr -d '\\0'"))
    }

    /// Nobody waits for whom waits for them; nothing was refused.
    fn is_in_order(&mut self) -> Result<()> {
        let circles = self.guest.ask("journalctl --no-pager -q -b -o cat --grep='ordering cycle' || true")?;
        ensure!(circles.is_empty(), "units wait for each other: {circles}");
        self.guest.is_refused_nothing()?;
        let left = self.guest.ask("findmnt -rno TARGET | grep -c bootstrap+; true")?;
        ensure!(left == "0", "{left} mounts of containers that ended are left");
        Ok(())
    }

    /// Everything at the boot after it was set.
    fn first(&mut self) -> Result<()> {
        let commands = "bootstrap-commands.hello.commands=[[\"apiclient\", \"set\", \"motd=hello\", \
                        \"kernel.sysctl.\\\"vm.max_map_count\\\"=262145\"]]";
        self.set(&[commands, "bootstrap-commands.hello.mode=always"])?;
        self.add("first", "once", 0)?;
        self.set(&["bootstrap-containers.first.essential=true", "bootstrap-containers.first.user-data=aGVsbG8="])?;
        self.add("second", "always", 0)?;
        self.add("third", "once", 3)?;
        self.times("first", 0)?;
        self.reboot()?;
        let receipt = self.receipt()?;
        ensure!(receipt["outcome"] == "applied" && receipt["bootstrap"]["essential"] == true, "{receipt}");
        for name in ["first", "second"] {
            let came = self.expect("container", name, "done")?;
            ensure!(came["said"].as_str().is_some_and(|said| said.contains(&format!("{name} ends with 0"))), "{came}");
            ensure!(came["milliseconds"].as_u64().is_some_and(|took| took >= 9000) && came["exit"] == 0, "{came}");
        }
        let third = self.expect("container", "third", "failed")?;
        ensure!(third["exit"] == 3 && third["why"] == "it ended with 3", "{third}");
        ensure!(receipt["notes"].to_string().contains("bootstrap-containers.third failed"), "{receipt}");
        self.expect("commands", "hello", "done")?;
        let seen = self.guest.ask("cat /etc/motd; sysctl -n vm.max_map_count")?;
        ensure!(seen == "hello\n262145", "what was called for is not so: {seen}");
        let beside = self.said("first.beside")?;
        ensure!(["second", "third"].contains(&beside.as_str()), "nobody ran beside the first: {beside}");
        ensure!(self.said("first.user-data")? == "hello", "its user data did not come");
        let domain = self.said("first.domain")?;
        ensure!(domain.starts_with("system_u:system_r:super_t:s0:c1020.c1023"), "its domain is {domain}");
        self.guest.check("rocketctl internal configured && rocketctl health", BOOT)?;
        let order = self.guest.ask(
            "systemctl show -P ExecMainExitTimestampMonotonic rocketos-bootstrap.service; \
             systemctl show -P ActiveEnterTimestampMonotonic multi-user.target",
        )?;
        let at: Vec<u64> = order.lines().map(|line| Ok(line.parse()?)).collect::<Result<_>>()?;
        ensure!(at.len() == 2 && at[0] > 0 && at[0] <= at[1], "the boot did not wait for it: {at:?}");
        self.is_in_order()
    }

    /// What succeeded once is remembered, and what operators set is as they set it.
    fn once(&mut self) -> Result<()> {
        self.reboot()?;
        self.expect("container", "first", "done-before")?;
        self.expect("container", "second", "done")?;
        self.expect("container", "third", "failed")?;
        for (name, times) in [("first", 1), ("second", 2), ("third", 2)] {
            self.times(name, times)?;
        }
        let settings = self.guest.ask("rocketctl settings get bootstrap-containers.first")?;
        ensure!(settings.contains("mode = \"once\""), "{settings}");
        self.set(&["bootstrap-containers.first.env.WHO=again"])?;
        self.reboot()?;
        self.times("first", 2)?;
        ensure!(self.said("first")?.ends_with("again"), "it ran as it was before");
        self.is_in_order()
    }
}

#[test]
fn a_node_does_what_is_asked_for_before_it_counts_as_configured() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    progress.step("building a container's image", || build(&fixture, &progress))?;
    fixture.tag(VERSIONS[0])?;
    let disk = fixture.disk("bootstrap")?;
    let mut machine = fixture.machine("bootstrap", &disk).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let unit = "rocketos-bootstrap.service";
    let asked = guest.ask(&format!(
        "systemctl show -P ActiveState {unit}; systemctl show -P ExecMainStartTimestampMonotonic {unit}"
    ))?;
    ensure!(asked == "inactive\n0", "a boot at which nothing is to be done has done something: {asked}");
    let mut node = Node { guest, source: format!("{}/{REPOSITORY}:1", fixture.registry.in_guest()) };
    progress.step("all of it at the boot after it was set", || node.first())?;
    progress.step("once, and again where it is another", || node.once())?;
    progress.step(
        "the next release has what was done, and is left where what is essential fails",
        || -> Result<()> {
            node.set(&["bootstrap-containers.third.essential=true"])?;
            fixture.tag(VERSIONS[1])?;
            node.guest.check("rocketctl upgrade", UPGRADE)?;
            let before = node.guest.boot_id()?;
            node.guest.check("systemctl reboot --no-block", BOOT)?;
            // Over two boots: into the second release, and back.
            node.guest.wait_for_boot_after(&before, BOOT)?;
            while node.guest.release().is_ok_and(|version| version == VERSIONS[1]) {
                let middle = node.guest.boot_id()?;
                node.guest.wait_for_boot_after(&middle, BOOT)?;
            }
            node.guest.wait_booted(BOOT)?;
            let failures = node.guest.status()?["status"]["rocketos"]["health"]["failures"].to_string();
            ensure!(failures.contains("bootstrap-containers.third failed: it ended with 3"), "{failures}");
            // In no boot of either release did it run once more.
            node.times("first", 2)?;
            let unhealthy = node.guest.run("rocketctl internal configured 2>&1", BOOT)?;
            ensure!(!unhealthy.success() && unhealthy.stdout.contains("third failed"), "{}", unhealthy.stdout);
            Ok(())
        },
    )?;
    drop(node);
    machine.cut_power()
}
