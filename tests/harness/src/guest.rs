//! A shell in a guest, on its second serial port.
//!
//! A unit handed over by the firmware runs `/bin/sh` there, in an image that is otherwise as shipped. Commands
//! travel in base64, so quoting and line ends cannot go wrong; answers lie between marks that no command's
//! text contains.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Credentials;
use crate::command::tail;
use crate::credentials::base64;

/// The unit's name; a guest's own units cannot have it.
const UNIT: &str = "rocketos-test-shell.service";
/// What a shell says when it starts.
const UP: &str = "ROCKETOS-SHELL-UP";
/// How long one read waits before the clock is looked at.
const READ_SLICE: Duration = Duration::from_millis(100);
/// How often a shell that does not answer is spoken to again.
const PING_EVERY: Duration = Duration::from_secs(2);
/// What a short question may take in an emulated guest.
const SHORT: Duration = Duration::from_secs(60);
/// What reading a whole journal may take there.
const LONG: Duration = Duration::from_secs(300);
/// The domain of a console, as the kernel names it in what it refuses.
const CONSOLE: &str = ":shell_t:";
/// Which program the kernel starts is nobody's to say; systemd tries.
const CORE_PATTERN: &str = "core_pattern";
/// Characters in a line sent to the shell: a terminal's line discipline cuts lines at 4096.
const LINE: usize = 3000;
/// Bytes of a file sent in one command.
const FILE_CHUNK: usize = 24 * 1024;

/// Says how systemd is when it is done. No boot waits for an address, so this does.
const BOOTED: &str = "systemctl is-system-running --wait; set -- /sys/class/net/e*; \
                      [ ! -e \"$1\" ] || until grep -q '^e[a-z0-9]*.00000000' /proc/net/route; do sleep 0.2; done";

/// A command's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote, standard error included.
    pub stdout: String,
}

impl Output {
    /// Tells whether its status was zero.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// A root shell in a guest.
#[derive(Debug)]
pub struct Guest {
    stream: UnixStream,
    received: Vec<u8>,
    serial: u64,
    console: PathBuf,
    log: PathBuf,
    ups: usize,
}

/// Adds the shell to a machine's credentials.
pub(crate) fn add_shell(credentials: &mut Credentials) {
    credentials.unit(UNIT, &unit());
    credentials.want("multi-user.target", UNIT);
}

/// Without default dependencies it starts with the first units and survives emergency mode. The shell reads
/// its commands as a script, which keeps it from being interactive: no prompt, no history. It is in the domain of a
/// person on a console.
fn unit() -> String {
    "[Unit]\n\
     Description=Shell for tests\n\
     DefaultDependencies=no\n\
     IgnoreOnIsolate=yes\n\
     Conflicts=shutdown.target\n\
     Before=shutdown.target\n\
     StartLimitIntervalSec=0\n\
     [Service]\n\
     SELinuxContext=-system_u:system_r:shell_t:s0-s0:c0.c1023\n\
     Environment=HOME=/root TERM=dumb LC_ALL=C.UTF-8 SYSTEMD_PAGER=cat SYSTEMD_COLORS=0\n\
     ExecStart=/bin/sh -c 'stty raw -echo isig; printf \"ROCKETOS-SHELL-%%s\\\\n\" UP; exec /bin/sh /dev/stdin'\n\
     StandardInput=tty-force\n\
     StandardOutput=tty\n\
     StandardError=null\n\
     TTYPath=/dev/ttyS1\n\
     KillSignal=SIGHUP\n\
     KillMode=process\n\
     Restart=always\n\
     RestartSec=200ms\n"
        .to_owned()
}

impl Guest {
    pub(crate) fn new(stream: UnixStream, console: PathBuf, log: PathBuf) -> Result<Self> {
        stream.set_read_timeout(Some(READ_SLICE))?;
        Ok(Self { stream, received: Vec::new(), serial: 0, console, log, ups: 0 })
    }

    /// How often a shell has started, by its own word.
    fn ups_so_far(&self) -> usize {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).matches(UP).count()
    }

    /// Waits until a shell has started that nobody has spoken to, and answers.
    ///
    /// Until it says so nothing is sent: firmware and loader read this port too, and take characters for commands.
    pub(crate) fn wait_until_it_is_up(&mut self, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        while self.ups_so_far() <= self.ups {
            // What nobody reads would stop the guest.
            self.drain()?;
            if Instant::now() > until {
                return self.silent(timeout);
            }
        }
        self.ups = self.ups_so_far();
        self.wait_until_it_answers(until.saturating_duration_since(Instant::now()).max(PING_EVERY))
    }

    fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the machine ended"),
            Err(error) if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Err(error).context("reading from the guest's shell")
            }
            _ => Ok(()),
        }
    }

    fn silent(&self, timeout: Duration) -> Result<()> {
        let console = std::fs::read(&self.console).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).into_owned();
        bail!("no shell answered within {} s; end of the console:\n{}", timeout.as_secs(), tail(&console))
    }

    /// Runs a script with `/bin/sh` and waits for its end; a status other than zero is no error here.
    ///
    /// When the time runs out the script is interrupted, and the shell serves the next one.
    pub fn run(&mut self, script: &str, timeout: Duration) -> Result<Output> {
        self.serial += 1;
        let serial = self.serial;
        let encoded = base64(script.as_bytes());
        self.send("_c=\n")?;
        for chunk in encoded.as_bytes().chunks(LINE) {
            self.send(&format!("_c=${{_c}}{}\n", String::from_utf8_lossy(chunk)))?;
        }
        // The marks are put together by printf: the text sent, which a terminal may echo, does not hold them.
        self.send(&format!(
            "printf 'ROCKETOS-%s-{serial}\\n' BEGIN; \
             (eval \"$(printf %s \"$_c\" | base64 -d)\") </dev/null 2>&1; \
             printf 'ROCKETOS-%s-{serial} %d.\\n' END $?\n"
        ))?;
        let doing = || format!("running in the guest: {}", tail(script));
        let begin = format!("ROCKETOS-BEGIN-{serial}");
        let end = format!("ROCKETOS-END-{serial} ");
        let ended = |text: &str| after(text, &end).and_then(|rest| rest.find('.')).map(drop);
        let text = match self.receive_until(timeout, ended) {
            Ok(text) => text,
            Err(error) => {
                self.interrupt();
                return Err(error).with_context(doing);
            }
        };
        let body = after(&text, &begin).with_context(doing)?;
        let body = body.strip_prefix('\n').unwrap_or(body);
        let (stdout, rest) = body.split_once(&end).context("an answer without an end")?;
        let status = rest.split('.').next().unwrap_or_default();
        let status = status.parse().with_context(|| format!("reading the status {status:?}"))?;
        Ok(Output { status, stdout: stdout.to_owned() })
    }

    /// Runs a script that must succeed and returns what it wrote.
    pub fn check(&mut self, script: &str, timeout: Duration) -> Result<String> {
        let output = self.run(script, timeout)?;
        if !output.success() {
            bail!("in the guest, status {} of: {script}\n{}", output.status, tail(&output.stdout));
        }
        Ok(output.stdout)
    }

    /// Runs a short command that must succeed and returns what it wrote, without the last line's end.
    pub fn ask(&mut self, script: &str) -> Result<String> {
        Ok(self.check(script, SHORT)?.trim_end().to_owned())
    }

    /// Returns the version of the release that runs.
    pub fn release(&mut self) -> Result<String> {
        self.ask(". /usr/lib/os-release && echo $VERSION_ID")
    }

    /// Returns what `rocketctl status` says of the node.
    pub fn status(&mut self) -> Result<serde_json::Value> {
        let text = self.ask("rocketctl status --json")?;
        serde_json::from_str(&text).with_context(|| format!("reading what the guest says of itself: {}", tail(&text)))
    }

    /// Since it was installed the policy refused nothing, which where it is not enforced is only told.
    ///
    /// Persons on a console are left out, and their programs: what they do is no node's.
    pub fn is_refused_nothing(&mut self) -> Result<()> {
        let told = self.check("journalctl --no-pager -q -o cat _TRANSPORT=kernel -g 'avc:  denied' || true", LONG)?;
        // This very shell is where it is by no rule: who does not see that sees nothing.
        ensure!(told.contains(CONSOLE), "the journal has nothing of what the policy refuses: {told}");
        let expected = |line: &&str| line.contains(CONSOLE) || line.contains(CORE_PATTERN);
        let denied: Vec<&str> = told.lines().filter(|line| !expected(line)).collect();
        ensure!(denied.is_empty(), "{} denials:\n{}", denied.len(), denied.join("\n"));
        Ok(())
    }

    /// Writes a file in the guest.
    pub fn write_file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.ask(&format!("mkdir -p \"$(dirname '{path}')\" && : > '{path}'"))?;
        for chunk in contents.chunks(FILE_CHUNK) {
            self.ask(&format!("echo {} | base64 -d >> '{path}'", base64(chunk)))?;
        }
        Ok(())
    }

    /// Waits until systemd has nothing left to start and a network card, where there is one, leads somewhere; returns
    /// systemd's word for the state (`running`, `degraded`, …).
    pub fn wait_booted(&mut self, timeout: Duration) -> Result<String> {
        let output = self.run(BOOTED, timeout)?;
        Ok(output.stdout.trim().to_owned())
    }

    /// Restarts the guest and waits until the shell of its next boot answers.
    pub fn reboot(&mut self, timeout: Duration) -> Result<()> {
        let before = self.boot_id()?;
        // Its answer may be lost in the shutdown.
        self.send("systemctl reboot\n")?;
        self.wait_for_boot_after(&before, timeout)
    }

    /// Returns the kernel's id of this boot.
    pub fn boot_id(&mut self) -> Result<String> {
        self.ask("cat /proc/sys/kernel/random/boot_id")
    }

    /// Waits until a shell answers in another boot than `before`.
    pub fn wait_for_boot_after(&mut self, before: &str, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.wait_until_it_is_up(left)?;
            match self.run("cat /proc/sys/kernel/random/boot_id", left.min(PING_EVERY * 5)) {
                Ok(now) if now.success() && now.stdout.trim() != before => return Ok(()),
                // The old boot's shell, on its way down.
                _ => std::thread::sleep(PING_EVERY / 4),
            }
        }
    }

    /// Speaks to the shell until it answers.
    pub fn wait_until_it_answers(&mut self, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        while Instant::now() < until {
            self.serial += 1;
            let mark = format!("ROCKETOS--HERE-{}", self.serial);
            // Before the shell reads, characters are lost: a lost quote would turn all that follows inside out, so
            // there is none. The empty variable keeps an echo of this line from being taken for the answer.
            self.send(&format!("\necho ROCKETOS-$_none-HERE-{}\n", self.serial))?;
            if self.receive_until(PING_EVERY, |text| text.contains(&mark).then_some(())).is_ok() {
                return Ok(());
            }
        }
        self.silent(timeout)
    }

    /// Ends what hangs: the terminal's interrupt ends the command and the shell, which systemd starts again.
    fn interrupt(&mut self) {
        if self.send("\x03").is_ok() {
            // Whether that helped shows with the next command; the error at hand is the one to report.
            let _ = self.wait_until_it_answers(SHORT / 4);
            self.ups = self.ups_so_far();
        }
    }

    fn send(&mut self, text: &str) -> Result<()> {
        self.stream.write_all(text.as_bytes()).context("writing to the guest's shell")
    }

    /// Collects what comes until `found`; the text so far is given up, or stays in the error.
    fn receive_until(&mut self, timeout: Duration, found: impl Fn(&str) -> Option<()>) -> Result<String> {
        let until = Instant::now() + timeout;
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the machine ended"),
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&self.received).replace('\r', "");
                    if found(&text).is_some() {
                        self.received.clear();
                        return Ok(text);
                    }
                }
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading from the guest's shell"),
            }
            if Instant::now() > until {
                let text = String::from_utf8_lossy(&self.received).into_owned();
                self.received.clear();
                bail!("no end within {} s; it wrote:\n{}", timeout.as_secs(), tail(&text));
            }
        }
    }
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.find(mark).map(|at| &text[at + mark.len()..])
}
