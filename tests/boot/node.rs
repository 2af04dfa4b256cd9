//! A node of somebody else's, without a shell and under Secure Boot: containers from its first boot, an update under them, and
//! their data after it; its firmware's keys rotated meanwhile.

mod made;
mod operator;

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE};
use rocketos_tests::registry::free_port;
use rocketos_tests::{Disk, Ended, Machine, Progress, Running};
use serde_json::Value;

use made::{ARGUMENT, Made, VERSIONS};
use operator::Operator;

/// Memory of the machine, in MiB.
const MEMORY: u32 = 1024;
/// What the machine may run in all.
const LIFE: Duration = Duration::from_secs(3600);
/// What one question may take.
const ASK: Duration = Duration::from_secs(120);
/// How often a question is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// The first question's port in the guest; `tests/data/node` has one for each.
const FIRST_PORT: u16 = 9001;
/// Where the web server is published.
const WEB_PORT: u16 = 8080;
/// Where a host container says what it sees.
const SEEN_PORT: u16 = 9100;
/// Where the host container `admin` listens.
const SSH_PORT: u16 = 22;

/// The questions, in the order of their ports.
const VERBS: [&str; 22] = [
    "state",
    "failed",
    "status",
    "upgrade",
    "restart",
    "reboot",
    "poweroff",
    "journal",
    "forged",
    "containers",
    "services",
    "boxed",
    "privileged",
    "asked",
    "explained",
    "keys",
    "rotate",
    "argument",
    "rotated",
    "revoked",
    "settings",
    "api",
];
/// A unit that somebody has firmware hand to the machine.
const FOREIGN: &str = "foreign.service";

/// The node, as its network shows it.
struct Node {
    machine: Running,
    ports: Vec<u16>,
    web: u16,
    seen: u16,
    ssh: u16,
}

impl Node {
    fn start(fixture: &Fixture, made: &Made) -> Result<Self> {
        let ports = VERBS.iter().map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let (web, seen, ssh) = (free_port()?, free_port()?, free_port()?);
        // Its first boot enrols the keys that came with the installation.
        let variables = fixture.scratch().join("node-variables.qcow2");
        let mut machine = Machine::new(&fixture.tools, "node")
            .memory(MEMORY)
            .disk(Disk::qcow2(&made.disk))
            .secure_boot()
            .variables(&variables)
            .credentials(|given| {
                given.unit(FOREIGN, "[Service]\nExecStart=/usr/bin/rocketctl --version\n");
                given.want("multi-user.target", FOREIGN);
            });
        for (port, guest) in ports.iter().zip(FIRST_PORT..) {
            machine = machine.forward(*port, guest);
        }
        let machine = machine.forward(web, WEB_PORT).forward(seen, SEEN_PORT).forward(ssh, SSH_PORT);
        Ok(Self { machine: machine.time_limit(LIFE).start()?, ports, web, seen, ssh })
    }

    fn port(&self, verb: &str) -> Result<u16> {
        let index = VERBS.iter().position(|known| *known == verb).context("no such question")?;
        Ok(self.ports[index])
    }

    /// Starts a verb and returns what it said, which may be nothing.
    fn once(&self, verb: &str, limit: Duration) -> Result<String> {
        read(self.port(verb)?, "", limit)
    }

    /// Asks until something answers.
    fn ask(&self, verb: &str, limit: Duration) -> Result<String> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(AGAIN);
            match self.once(verb, left) {
                Ok(said) if !said.trim().is_empty() => return Ok(said.trim().to_owned()),
                _ if Instant::now() > until => {
                    bail!("nobody answered '{verb}'; the console shows:\n{}", tail(&self.machine.console()))
                }
                _ => std::thread::sleep(AGAIN),
            }
        }
    }

    /// What the web server has under a name.
    fn page(&self, name: &str, limit: Duration) -> Result<String> {
        self.fetch(self.web, name, limit)
    }

    fn fetch(&self, port: u16, name: &str, limit: Duration) -> Result<String> {
        let until = Instant::now() + limit;
        loop {
            let request = format!("GET /{name} HTTP/1.0\r\n\r\n");
            if let Ok(answer) = read(port, &request, ASK)
                && let Some((head, body)) = answer.split_once("\r\n\r\n")
                && head.lines().next().is_some_and(|status| status.contains(" 200 "))
            {
                return Ok(body.trim().to_owned());
            }
            if Instant::now() > until {
                let failed = self.once("failed", ASK).unwrap_or_default();
                let said = self.once("journal", ASK).unwrap_or_default();
                bail!("no page /{name}; failed: {failed}\nthe journal ends with:\n{}", tail(&said));
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Nothing failed, and what a node needs is there.
    fn is_well(&self, version: &str) -> Result<()> {
        let state = self.ask("state", BOOT)?;
        let failed = self.once("failed", ASK)?;
        ensure!(state == "running", "the system is {state}: {failed}\n{}", tail(&self.once("journal", ASK)?));
        let services = self.ask("services", ASK)?;
        ensure!(services.lines().all(|line| line == "active"), "networkd, resolved, timesyncd, journald: {services}");
        let status: Value = serde_json::from_str(&self.ask("status", ASK)?).context("parsing its status")?;
        let booted = status["status"]["booted"]["image"]["version"].as_str();
        ensure!(booted == Some(version), "expected {version} to run: {status}");
        Ok(())
    }

    /// Firmware enforces what is signed, and nothing but the image says what runs.
    fn is_guarded(&self) -> Result<()> {
        let keys: Value = serde_json::from_str(&self.ask("keys", ASK)?).context("parsing what firmware does")?;
        ensure!(keys["secureBoot"] == "enforcing", "{keys}");
        let journal = self.ask("journal", ASK)?;
        ensure!(journal.contains("Kernel command line: "), "the journal has no command line: {}", tail(&journal));
        ensure!(!journal.contains(FOREIGN), "a unit came from firmware: {}", tail(&journal));
        Ok(())
    }

    /// Waits until a web server that was started again answers: it leaves a line at each start.
    fn starts(&self, more_than: usize) -> Result<usize> {
        let until = Instant::now() + BOOT;
        loop {
            let starts = self.page("starts", BOOT)?.lines().count();
            if starts > more_than {
                return Ok(starts);
            }
            ensure!(Instant::now() < until, "the web server was started {starts} times");
            std::thread::sleep(AGAIN);
        }
    }
}

/// What SELinux refused. What an operator starts of the host's programs reads no file of /etc, and works without.
fn denials(journal: &str) -> Vec<&str> {
    let operators = |line: &str| {
        let parts = ["comm=\"rocketctl\"", ":super_t:", ":etc_t:", "{ read }"];
        parts.iter().all(|part| line.contains(part))
    };
    journal.lines().filter(|line| line.contains("avc:  denied") && !operators(line)).collect()
}

impl Node {
    /// Root in a container, boxed or privileged, gets at nothing that outlives it.
    fn withstands(&self, kind: &str) -> Result<()> {
        let said = self.ask(kind, BOOT)?;
        let tried = said.lines().filter(|line| line.starts_with("REFUSED ")).count();
        let done: Vec<&str> = said.lines().filter(|line| line.starts_with("DONE ")).collect();
        ensure!(done.is_empty() && tried > 10 && said.ends_with("END"), "a {kind} container: {said}");
        Ok(())
    }

    /// A container of its settings, beside its engine, runs out of the store in a domain of its own.
    fn has_a_host_container(&self) -> Result<()> {
        let seen = |name: &str| self.fetch(self.seen, name, BOOT);
        ensure!(seen("user-data")? == "hello", "its user data: {}", seen("user-data")?);
        let (domain, refused) = (seen("domain")?, seen("refused")?);
        ensure!(domain.starts_with("system_u:system_r:control_t:s0:c"), "its domain is {domain}");
        let api = seen("api")?;
        ensure!(api.trim_end().ends_with("exit 0"), "what the API says: {api}");
        ensure!(refused.lines().count() == 4 && !refused.contains(": no"), "it may write: {refused}");
        Ok(())
    }

    /// Nothing that a node does by itself is refused.
    fn is_refused_nothing(&self) -> Result<()> {
        let journal = self.ask("journal", ASK)?;
        let denied = denials(&journal);
        ensure!(denied.is_empty(), "{} denials:\n{}", denied.len(), denied.join("\n"));
        Ok(())
    }
}

/// Everything that comes from a port until it is closed.
fn read(port: u16, request: &str, limit: Duration) -> Result<String> {
    use std::io::Write as _;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(request.as_bytes())?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The last lines of what may be long.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[test]
fn containers_outlive_an_update_of_a_node_without_a_shell() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let made = Made::ready(&fixture, &progress)?;
    let mut node = Node::start(&fixture, &made)?;
    let first = progress.step("containers from the first boot", || node.page("first", BOOT))?;
    node.is_well(VERSIONS[0])?;
    node.is_guarded()?;
    ensure!(first.len() == 36, "the volume holds {first:?}");
    // Its peer found it by name, through the names of containers.
    ensure!(node.page("peer", BOOT)? == first, "the peer found another web server");
    let containers = node.ask("containers", ASK)?;
    ensure!(containers.lines().any(|line| line == "web:running"), "containers: {containers}");
    let refused = node.ask("forged", ASK)?;
    ensure!(refused.contains("signature"), "an image that nobody signed: {refused}");

    progress.step("a host container", || node.has_a_host_container())?;
    let operator = Operator::new(&fixture.tools, &made.operator, node.ssh);
    progress.step("an operator comes by ssh", || operator.is_at_home(VERSIONS[0]))?;
    progress.step("a container is restarted", || -> Result<()> {
        let starts = node.starts(0)?;
        node.once("restart", BOOT)?;
        node.starts(starts)?;
        ensure!(node.page("first", BOOT)? == first, "the volume is another");
        Ok(())
    })?;

    node.is_refused_nothing()?;
    progress.step("attacks from containers", || {
        node.withstands("boxed")?;
        node.withstands("privileged")
    })?;
    progress.step("an operator does what nobody may", || operator.is_bounded())?;
    let explained = node.ask("explained", ASK)?;
    let promise = "no rule may ever allow it: Only guardians write store";
    ensure!(explained.contains("container_t: a container") && explained.contains(promise), "explained: {explained}");
    let asked = node.ask("asked", ASK)?;
    ensure!(asked.contains("does not let system_u:system_r:service_t:"), "a service asked: {asked}");

    progress.step("settings are changed, and the API asked", || -> Result<()> {
        let (set, status) = (node.ask("settings", ASK)?, node.ask("api", ASK)?);
        let read = |said: &str| serde_json::from_str::<Value>(said).with_context(|| format!("the API said {said}"));
        ensure!(read(&set)?["outcome"] == "applied", "settings set: {set}");
        let booted = read(&status)?["status"]["booted"]["image"]["version"].clone();
        ensure!(booted == VERSIONS[0], "the API says of what runs: {status}");
        Ok(())
    })?;

    progress.step("keys are rotated, and a kernel argument is added", || -> Result<()> {
        let (rotated, added) = (node.ask("rotate", ASK)?, node.ask("argument", ASK)?);
        let said = || tail(&node.once("journal", ASK).unwrap_or_default());
        ensure!(rotated.lines().count() == 3 && !rotated.contains("rocketctl:"), "keys apply: {rotated}\n{}", said());
        ensure!(!added.contains("rocketctl:"), "kargs add: {added}");
        Ok(())
    })?;
    progress.step("upgrade", || -> Result<()> {
        made.tag(&fixture, VERSIONS[1])?;
        let said = node.once("upgrade", UPGRADE)?;
        let Ok(said) = serde_json::from_str::<Value>(&said) else {
            bail!("upgrade said '{said}'; the journal ends with:\n{}", tail(&node.once("journal", ASK)?));
        };
        ensure!(said["outcome"] == "staged", "{said}");
        Ok(())
    })?;
    // Its own `admin` came with it, and can be had nowhere else any more.
    made.withdraw_admin(&fixture)?;
    progress.step("the second release", || -> Result<()> {
        let starts = node.starts(0)?;
        node.once("reboot", ASK)?;
        node.starts(starts)?;
        node.is_well(VERSIONS[1])?;
        node.has_a_host_container()?;
        operator.is_at_home(VERSIONS[1])?;
        node.is_guarded()?;
        let journal = node.ask("journal", ASK)?;
        let line = journal.lines().find(|line| line.contains("Kernel command line: ")).unwrap_or_default();
        ensure!(line.ends_with(ARGUMENT), "the argument of the addon is not there: {line}");
        ensure!(node.page("first", BOOT)? == first, "the volume is another");
        let rotated = node.ask("rotated", ASK)?;
        ensure!(rotated.lines().count() == 2 && !rotated.contains("rocketctl:"), "keys apply: {rotated}");
        let revoked = node.ask("revoked", ASK)?;
        ensure!(revoked.lines().count() == 1 && revoked.contains("dbx"), "keys apply of what is revoked: {revoked}");
        node.is_refused_nothing()
    })?;

    node.once("poweroff", ASK)?;
    let ended = node.machine.wait_for_end(BOOT)?;
    let console = node.machine.console();
    ensure!(ended == Ended::PoweredOff, "it ended as {ended:?}: {}", tail(&console));
    Ok(())
}
