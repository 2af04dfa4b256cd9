//! A node that is given a container to run beside its own runtime: its image comes into the store, and it is what settings say.

use anyhow::{Context, Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE};
use rocketos_tests::{Guest, Images, Progress};
use serde_json::Value;

/// Its images in the registry.
const REPOSITORY: &str = "host/seen";
const VERSIONS: [&str; 2] = ["1", "2"];
const NAME: &str = "seen";
const UNIT: &str = "rocketos-host-container-seen.service";
/// Where the node sees what the container writes.
const SEEN: &str = "/run/rocketos/host-containers/seen/memory/run/seen";

fn offer(fixture: &Fixture, progress: &Progress) -> Result<()> {
    let images = Images::new(progress);
    for version in VERSIONS {
        let image = images.seen(&fixture.tools, version)?;
        images.push(image, &fixture.registry, REPOSITORY, version)?;
    }
    Ok(())
}

struct Node {
    guest: Guest,
    registry: String,
}

impl Node {
    fn set(&mut self, settings: &[&str]) -> Result<()> {
        let quoted = settings.iter().map(|setting| format!(" 'host-containers.{NAME}.{setting}'"));
        self.guest.check(&format!("rocketctl settings set{}", quoted.collect::<String>()), BOOT).map(drop)
    }

    fn source(&self, version: &str) -> String {
        format!("source={}/{REPOSITORY}:{version}", self.registry)
    }

    /// Waits until the container has started as often as this since it was first there, and says how it stands if it does not.
    fn started(&mut self, times: usize) -> Result<()> {
        let wait = format!(
            "for i in $(seq 120); do [ -e {SEEN}/ready ] && [ \"$(wc -l < {SEEN}/starts)\" -ge {times} ] && exit 0; sleep 1; done; \
             systemctl status --no-pager -l 'rocketos-host-container*'; journalctl -b --no-pager -k -g avc: | tail -20; exit 1"
        );
        let said = self.guest.run(&format!("({wait}) 2>&1"), BOOT)?;
        ensure!(said.success(), "it was not started {times} times: {}", said.stdout);
        let starts = self.said("starts")?.lines().count();
        ensure!(starts == times, "it was started {starts} times and not {times}");
        Ok(())
    }

    fn said(&mut self, what: &str) -> Result<String> {
        self.guest.ask(&format!("cat {SEEN}/{what} | tr -d '\\0'"))
    }

    fn expect(&mut self, what: &str, wanted: &str) -> Result<()> {
        let said = self.said(what)?;
        ensure!(said.trim() == wanted, "{what}: {said}, and not {wanted}");
        Ok(())
    }

    fn runs_as_set(&mut self) -> Result<()> {
        let source = self.source(VERSIONS[0]);
        self.set(&["enabled=true", &source, "user-data=aGVsbG8=", "env.WHO=settings", "memory=64M", "cpu-percent=50"])?;
        self.started(1)?;
        self.expect("told", "1 settings by default")?;
        self.expect("user-data", "hello")?;
        let domain = self.said("domain")?;
        ensure!(domain.starts_with("system_u:system_r:control_t:s0:c"), "its domain is {domain}");
        let api = self.said("api")?;
        ensure!(api.trim_end().ends_with("exit 0"), "what the API says: {api}");
        let refused = self.said("refused")?;
        ensure!(refused.lines().count() == 4 && !refused.contains(": no"), "it may write: {refused}");
        let root = self.guest.ask(&format!("findmnt -rno FSTYPE,OPTIONS /run/rocketos/host-containers/{NAME}/root"))?;
        ensure!(root.contains("overlay") && root.contains("verity=require"), "its root is {root}");
        let limits = self.guest.ask(&format!("systemctl show -P CPUQuotaPerSecUSec -P MemoryMax {UNIT}"))?;
        ensure!(limits == "500ms\n67108864", "its limits are {limits}");
        Ok(())
    }

    /// Another program is started in it, where the container's own is.
    fn is_entered(&mut self) -> Result<()> {
        let inside = "/bin/busybox cat; echo $WHO; /bin/busybox cat /proc/self/attr/current; echo; echo no >&2; exit 7";
        let exec = format!("echo word | rocketctl exec {NAME} -- /bin/busybox sh -c '{inside}' 2> /run/said");
        let output = self.guest.run(&exec, BOOT)?;
        let complaints = self.guest.ask("cat /run/said")?;
        ensure!(output.status == 7, "it ended with {}: {} {complaints}", output.status, output.stdout);
        let domain = self.said("domain")?;
        let wanted = format!("word\nsettings\n{}", domain.trim());
        let found = output.stdout.replace('\0', "");
        ensure!(found.trim() == wanted && complaints == "no", "it said {found} and {complaints}, not {wanted}");
        // A terminal of its own, which signals come from, and which has a size.
        let at = "test -t 2 && : < /dev/tty && /bin/busybox stty size && echo $TERM && exit 3";
        let exec = format!("TERM=vt220 rocketctl exec --tty {NAME} -- /bin/busybox sh -c '{at}' < /dev/null");
        let output = self.guest.run(&exec, BOOT)?;
        let said = output.stdout.replace('\r', "");
        ensure!(output.status == 3 && said.trim() == "24 80\nvt220", "it ended with {}: {said}", output.status);
        let limit = format!("rocketctl exec {NAME} -- /bin/busybox sleep 1000 & sleep 10; kill -KILL $!; sleep 15;");
        let left = self
            .guest
            .check(&format!("({limit}) 2>&1; systemctl list-units --plain --no-legend 'rocketos-exec-*'"), BOOT)?;
        ensure!(!left.contains("rocketos-exec-"), "a program outlived its client: {left}");
        Ok(())
    }

    /// It is seen to work as settings say; that it does not makes nothing bad.
    fn is_looked_into(&mut self) -> Result<()> {
        for (mark, says) in [("ready", "passed"), ("absent", "failed: /bin/busybox ended with exit status: 1")] {
            let look = format!("health.command=[\"/bin/busybox\", \"test\", \"-e\", \"/run/seen/{mark}\"]");
            self.set(&[&look, "health.interval=1s", "health.retries=1"])?;
            let said = self.guest.check("rocketctl health", BOOT)?;
            ensure!(said.contains(&format!("host-container-{NAME} (wanted) {says}")), "health says: {said}");
        }
        Ok(())
    }

    /// It is in what status says, and its user data are in no report.
    fn is_told_of(&mut self) -> Result<()> {
        let status: Value = serde_json::from_str(&self.guest.check("rocketctl status --json", BOOT)?)?;
        let stands = &status["status"]["rocketos"]["hostContainers"][0];
        ensure!(stands["name"] == NAME && stands["unit"]["state"] == "active", "status says {stands}");
        ensure!(
            stands["image"]["composefsDigest"].is_string() && stands["unit"]["since"].is_string(),
            "status says {stands}"
        );
        // The journal has its secret then, in both forms.
        self.guest.check("echo 'aGVsbG8= is hello-of-nobody, password=hunter2' | systemd-cat -t leak", BOOT)?;
        let taken = self.guest.check("cd /run && rocketctl report logs --output /run/report.tar.gz --json", UPGRADE)?;
        let manifest: Value = serde_json::from_str(&taken)?;
        let entries = manifest["entries"].as_array().context("a report without entries")?;
        let failed: Vec<&Value> = entries.iter().filter(|entry| entry["outcome"] == "failed").collect();
        ensure!(failed.is_empty() && entries.len() > 15, "{failed:?} of {} failed", entries.len());
        let leaks = self.guest.ask("gzip -dc /run/report.tar.gz | grep -ac -e aGVsbG8= -e hunter2; true")?;
        ensure!(leaks == "0", "{leaks} lines of the report have a secret");
        let told = self.guest.ask("gzip -dc /run/report.tar.gz | grep -ac 'leak\\[.*(secret)'; true")?;
        ensure!(told != "0", "the line that had one is not there");
        Ok(())
    }
}

#[test]
fn a_host_container_is_what_its_settings_say() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    offer(&fixture, &progress)?;
    let disk = fixture.disk("host-containers")?;
    let mut machine = fixture.machine("host-containers", &disk).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let mut node = Node { guest, registry: fixture.registry.in_guest() };
    progress.step("it comes into the store and runs", || node.runs_as_set())?;
    progress.step("another program is started in it", || node.is_entered())?;
    progress.step("health tells whether it works", || node.is_looked_into())?;
    progress.step("status and reports tell of it", || node.is_told_of())?;
    progress.step("it is started again when it ends", || -> Result<()> {
        node.guest.check(&format!("systemctl kill --signal=KILL {UNIT}"), BOOT)?;
        node.started(2)
    })?;
    progress.step("after a boot it is there without being fetched", || -> Result<()> {
        node.guest.reboot(BOOT)?;
        node.guest.wait_booted(BOOT)?;
        node.started(3)?;
        node.expect("told", "1 settings by default")
    })?;
    progress.step("another image takes its place, and where none is to be had it goes on", || -> Result<()> {
        let source = node.source(VERSIONS[1]);
        node.set(&[&source])?;
        node.started(4)?;
        node.expect("told", "2 settings by default")?;
        node.set(&["source=10.0.2.2:1/nothing:1", "command=[\"as\", \"it is\"]"])?;
        node.started(5)?;
        node.expect("told", "2 settings as it is")?;
        let pruned = node.guest.check("rocketctl prune --json", UPGRADE)?;
        ensure!(!pruned.contains("\"objects\":0"), "the first image is still there: {pruned}");
        Ok(())
    })?;
    progress.step("a superpowered one has the host's root", || -> Result<()> {
        node.set(&["superpowered=true"])?;
        node.started(6)?;
        ensure!(
            node.said("domain")?.starts_with("system_u:system_r:super_t:"),
            "its domain is {}",
            node.said("domain")?
        );
        ensure!(node.said("os-release")?.contains("Rocket OS"), "it does not see the host's root");
        let host = node.said("host")?;
        let entered = host.lines().any(|line| line == "/usr/lib/systemd/systemd")
            && host.lines().all(|line| line != "/.rocketos");
        ensure!(entered, "a shell in the host's mount namespace: {host}");
        Ok(())
    })?;
    node.guest.is_refused_nothing()?;
    progress.step("and it goes when it is not wanted", || -> Result<()> {
        node.set(&["enabled=false"])?;
        let left = node.guest.ask(&format!(
            "systemctl is-active {UNIT}; systemctl show -P LoadState {UNIT}; findmnt -rno TARGET | grep -c {NAME}; true"
        ))?;
        ensure!(left == "inactive\nnot-found\n0", "of it is left: {left}");
        Ok(())
    })?;
    drop(node);
    machine.cut_power()
}
