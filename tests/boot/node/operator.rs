//! Who comes to a node's host container `admin` by ssh, from outside.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rocketos_tests::Tools;
use rocketos_tests::fixture::BOOT;
use serde_json::Value;

/// How often a connection is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// What one command may take.
const COMMAND: Duration = Duration::from_secs(120);
/// What ssh ends with where no command was started (ssh(1), EXIT STATUS).
const NOT_CONNECTED: i32 = 255;
/// Who knows the host's key: nobody, as it is made at the first boot.
const OPTIONS: [&str; 5] = [
    "BatchMode=yes",
    "ConnectTimeout=30",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
];
/// What is superpowered has this domain, and these categories.
const CONTEXT: &str = "system_u:system_r:super_t:s0:c1020.c1023";
/// What outlives a container and is not its own: commands of the host's shell that each fail.
const FORBIDDEN: [&str; 9] = [
    "echo attack > /usr/lib/os-release",
    "echo attack > /etc/hostname",
    "echo attack > /sysroot/attack",
    "echo attack > /sysroot/composefs/objects/attack",
    "echo attack > /sysroot/state/rocketos/attack",
    "cat /dev/vda",
    "cat /etc/shadow",
    "mount -o remount,rw /sysroot",
    "echo 0 > /sys/fs/selinux/enforce",
];

pub struct Operator<'a> {
    tools: &'a Tools,
    key: PathBuf,
    port: u16,
}

impl<'a> Operator<'a> {
    pub fn new(tools: &'a Tools, key: &std::path::Path, port: u16) -> Self {
        Self { tools, key: key.to_owned(), port }
    }

    /// Starts a command once: its exit status, and what it said.
    fn once(&self, command: &str) -> Result<(i32, String)> {
        let mut ssh = self.tools.run("ssh").args(["-F", "none", "-i"]).arg(&self.key);
        for option in OPTIONS {
            ssh = ssh.args(["-o", option]);
        }
        let port = self.port.to_string();
        let ssh = ssh.args(["-p", &port, "operator@127.0.0.1", command]).limit(COMMAND);
        let (status, said, complaints) = ssh.outcome()?;
        Ok((status.code().unwrap_or(NOT_CONNECTED), format!("{said}{complaints}").trim().to_owned()))
    }

    /// Starts a command that succeeds, as soon as somebody listens.
    fn ask(&self, command: &str) -> Result<String> {
        let until = Instant::now() + BOOT;
        loop {
            match self.once(command)? {
                (0, said) => return Ok(said),
                (NOT_CONNECTED, _) if Instant::now() < until => std::thread::sleep(AGAIN),
                (status, said) => bail!("'{command}' ended with {status}: {said}"),
            }
        }
    }

    /// The container is as sealing and settings say; it reaches the API, and what it is there for.
    pub fn is_at_home(&self, version: &str) -> Result<()> {
        let domain = self.ask("cat /proc/self/attr/current")?;
        ensure!(domain.trim_end_matches('\0') == CONTEXT, "its domain is {domain}");
        let read = |said: &str| serde_json::from_str::<Value>(said).with_context(|| format!("the API said {said}"));
        let status = read(&self.ask("control api GET /v1/status")?)?;
        ensure!(status["status"]["booted"]["image"]["version"] == version, "the API says of what runs: {status}");
        let containers = self.ask("curl --silent --unix-socket /.rocketos/api.sock http://api/v1/host-containers")?;
        let stands = read(&containers)?;
        for name in ["control", "admin", "seen"] {
            let found =
                stands["containers"].as_array().into_iter().flatten().find(|container| container["name"] == name);
            ensure!(found.is_some_and(|found| found["unit"]["state"] == "active"), "{name}: {stands}");
        }
        let kernel =
            self.ask("control api GET '/v1/settings?prefix=kernel&origins=true'; cat /proc/sys/vm/swappiness")?;
        ensure!(kernel.contains("\"image\"") && kernel.ends_with("31"), "what the image's user data ask for: {kernel}");
        let change = serde_json::json!({ "motd": format!("Somebody came to {version}.") });
        let changed = self.ask(&format!("control api PATCH /v1/settings '{change}'"))?;
        ensure!(read(&changed)?["outcome"] == "applied", "a change by the API: {changed}");
        let release = self.ask("host-shell -c 'cat /usr/lib/os-release'")?;
        ensure!(release.contains("VARIANT_ID=node") && release.contains(version), "the host is {release}");
        let processes = self.ask("ps -e -o comm=")?;
        ensure!(processes.contains("systemd-journal") && processes.contains("sshd"), "it sees {processes}");
        let rules = self.ask("nft list ruleset && ss --listening --tcp --numeric")?;
        ensure!(rules.contains("hook input") && rules.contains(":22"), "it sees {rules}");
        let traced = self.ask("strace -f -e trace=execve true 2>&1")?;
        ensure!(traced.contains("exited with 0"), "it traces {traced}");
        let at = "rocketctl exec --tty seen -- /bin/busybox sh -c \"test -t 2 && : < /dev/tty && echo at a terminal\"";
        let said = self.ask(&format!("host-shell -c '{at} < /dev/null'"))?;
        ensure!(said.trim_end() == "at a terminal", "a program at a terminal said {said}");
        Ok(())
    }

    /// Whoever comes changes nothing that makes the next boot, but by the API.
    pub fn is_bounded(&self) -> Result<()> {
        for command in FORBIDDEN {
            let said =
                self.ask(&format!("if host-shell -c '{command}' 2>&1; then echo DONE; else echo REFUSED; fi"))?;
            ensure!(said.ends_with("REFUSED"), "'{command}' was done: {said}");
        }
        Ok(())
    }
}
