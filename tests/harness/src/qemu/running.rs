//! A machine that runs.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::arguments::{self, Endpoints};
use super::{Machine, Qmp};
use crate::Guest;
use crate::command::tail;

/// How long QEMU may take to open its sockets.
const SOCKET_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Why a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest restarted, and the machine was told to end then.
    Reset,
    /// The guest's kernel panicked, or QEMU gave another reason.
    Otherwise,
}

/// A running machine; dropping it cuts its power.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    qmp: Qmp,
    deadline: Instant,
    // Ends the thread that guards the time limit.
    _guard: mpsc::Sender<()>,
    dir: tempfile::TempDir,
}

impl Running {
    pub(super) fn start(machine: Machine) -> Result<Self> {
        // In the system's temporary folder: a socket's path must be short.
        let dir = tempfile::Builder::new().prefix("rocketos-vm-").tempdir().context("making a machine's folder")?;
        let at = Endpoints { dir: dir.path() };
        let variables = variables(&machine, dir.path())?;
        let errors = std::fs::File::create(dir.path().join("qemu.log")).context("making QEMU's log")?;
        let child = machine
            .tools
            .program("qemu-system-x86_64")
            .args(arguments::machine(&machine, &variables))
            .args(arguments::unattended(&at))
            .stdin(Stdio::null())
            .stdout(errors.try_clone()?)
            .stderr(errors)
            .spawn()
            .context("starting QEMU")?;
        let mut started = Starting { child: Some(child), dir: dir.path().to_owned() };
        let monitor = started.connect(&at.qmp())?;
        let qmp = Qmp::open(monitor).with_context(|| format!("QEMU said: {}", started.said()))?;
        let child = started.child.take().context("a machine that was not started")?;
        let guard = guard(child.id(), machine.time_limit);
        let deadline = Instant::now() + machine.time_limit;
        Ok(Self { child, name: machine.name, qmp, deadline, _guard: guard, dir })
    }

    /// Waits until the shell given by [`Machine::with_shell`] answers.
    ///
    /// The shell starts early: units may still be starting then; see [`Guest::wait_booted`].
    pub fn wait_for_shell(&mut self, timeout: Duration) -> Result<Guest> {
        let mut guest = self.connect_shell()?;
        match guest.wait_until_it_is_up(timeout) {
            Ok(()) => Ok(guest),
            Err(error) => Err(error.context(self.story())),
        }
    }

    /// Takes up the shell of a machine that was loaded with it running.
    pub fn loaded_shell(&mut self, timeout: Duration) -> Result<Guest> {
        let mut guest = self.connect_shell()?;
        match guest.wait_until_it_answers(timeout) {
            Ok(()) => Ok(guest),
            Err(error) => Err(error.context(self.story())),
        }
    }

    fn connect_shell(&self) -> Result<Guest> {
        // Connected only now: what nobody reads would stop the guest.
        let at = Endpoints { dir: self.dir.path() };
        let stream =
            UnixStream::connect(at.shell()).with_context(|| format!("connecting to {}", at.shell().display()))?;
        Guest::new(stream, self.console_log_file(), at.shell_log())
    }

    /// Returns everything the console has shown.
    pub fn console(&self) -> String {
        read_lossy(&self.console_log_file())
    }

    /// Returns everything the second serial port has shown.
    pub fn second_port(&self) -> String {
        read_lossy(&Endpoints { dir: self.dir.path() }.shell_log())
    }

    /// Waits until the console has shown `text`, `count` times in all.
    pub fn wait_for_console(&mut self, text: &str, count: usize, timeout: Duration) -> Result<()> {
        let until = Instant::now() + timeout;
        loop {
            let ended = self.child.try_wait()?.is_some();
            if self.console().matches(text).count() >= count {
                return Ok(());
            }
            if ended || Instant::now() > until {
                let why = if ended { "the machine ended" } else { "the time ran out" };
                bail!("{why} before the console showed {text:?} {count} times; {}", self.story());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Types on the console.
    pub fn type_on_console(&mut self, text: &str) -> Result<()> {
        use std::io::Write;
        let console = Endpoints { dir: self.dir.path() }.console();
        let mut stream = UnixStream::connect(console).context("connecting to a machine's console")?;
        stream.write_all(text.as_bytes()).context("typing on a machine's console")
    }

    /// Returns the monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Resets it, as its button would.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp.execute("system_reset", json!({})).map(drop)
    }

    /// Presses the power button.
    pub fn press_power(&mut self) -> Result<()> {
        self.qmp.execute("system_powerdown", json!({})).map(drop)
    }

    /// Stops its processors.
    pub fn pause(&mut self) -> Result<()> {
        self.qmp.execute("stop", json!({})).map(drop)
    }

    /// Lets its processors go on.
    pub fn resume(&mut self) -> Result<()> {
        self.qmp.execute("cont", json!({})).map(drop)
    }

    /// How often the guest was reset, by whatever.
    pub fn resets(&mut self) -> usize {
        self.qmp.events().iter().filter(|event| event["event"] == "RESET").count()
    }

    /// Has its first disk answer no request any more, or answer again. It must not be recorded.
    pub fn silence_disk(&mut self, silent: bool) -> Result<()> {
        // A byte a second: the first request goes through, the next one waits for hours.
        let answer = self.qmp.human(&format!("block_set_io_throttle drive0 {} 0 0 0 0 0", u8::from(silent)))?;
        if !answer.trim().is_empty() {
            bail!("QEMU does not bound its disk: {}", answer.trim());
        }
        Ok(())
    }

    /// Keeps its whole state under a name; every writable disk must be qcow2.
    pub fn save(&mut self, name: &str) -> Result<()> {
        self.snapshot("savevm", name)
    }

    /// Returns to a state kept under a name.
    pub fn load(&mut self, name: &str) -> Result<()> {
        self.snapshot("loadvm", name)
    }

    /// Cuts the power, at once.
    pub fn cut_power(mut self) -> Result<()> {
        self.child.kill().context("killing QEMU")?;
        self.child.wait().context("waiting for a killed QEMU").map(drop)
    }

    /// Waits until it ends by itself and says why it did.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<Ended> {
        let until = Instant::now() + timeout;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("it still runs after {} s; {}", timeout.as_secs(), self.story());
            }
            std::thread::sleep(POLL);
        }
        if Instant::now() >= self.deadline {
            bail!("it took longer than its time limit and was killed; {}", self.story());
        }
        let reason = self.qmp.events().iter().rev().find(|event| event["event"] == "SHUTDOWN");
        Ok(match reason.and_then(|event| event["data"]["reason"].as_str()) {
            Some("guest-shutdown") => Ended::PoweredOff,
            Some("guest-reset") => Ended::Reset,
            _ => Ended::Otherwise,
        })
    }

    /// Copies its logs into a folder, for a person to read.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for name in ["console.log", "shell.log", "qemu.log"] {
            std::fs::copy(self.dir.path().join(name), folder.join(format!("{}-{name}", self.name)))?;
        }
        Ok(())
    }

    fn console_log_file(&self) -> PathBuf {
        Endpoints { dir: self.dir.path() }.console_log()
    }

    fn snapshot(&mut self, verb: &str, name: &str) -> Result<()> {
        let answer = self.qmp.human(&format!("{verb} {name}"))?;
        if !answer.trim().is_empty() {
            bail!("QEMU refused {verb} {name}: {}", answer.trim());
        }
        Ok(())
    }

    /// Says what a person needs to see of a machine that did not do what was expected.
    fn story(&self) -> String {
        let errors = read_lossy(&self.dir.path().join("qemu.log"));
        format!("machine {}: end of its console:\n{}\nQEMU said: {}", self.name, tail(&self.console()), tail(&errors))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a machine with its console on this terminal.
pub(super) fn on_terminal(machine: Machine) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("rocketos-vm-").tempdir().context("making a machine's folder")?;
    let variables = variables(&machine, dir.path())?;
    let status = machine
        .tools
        .program("qemu-system-x86_64")
        .args(arguments::machine(&machine, &variables))
        .args(["-serial", "mon:stdio"])
        .status()
        .context("starting QEMU")?;
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(())
}

/// Returns the file of the firmware's variables; qcow2, so that a machine's state can be saved.
fn variables(machine: &Machine, dir: &Path) -> Result<PathBuf> {
    let file = machine.variables.clone().unwrap_or_else(|| dir.join("variables.qcow2"));
    if !file.exists() {
        let template = machine.tools.file("usr/share/OVMF/OVMF_VARS_4M.fd");
        let convert = machine.tools.run("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]);
        convert.arg(template).arg(&file).quiet().context("copying the firmware's variables")?;
    }
    Ok(file)
}

/// Kills the process after `limit`, unless the returned sender is dropped before.
fn guard(id: u32, limit: Duration) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if receiver.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout)
            && let Some(process) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
        {
            // The child is not waited for before the sender is dropped, so its id is still its own.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    });
    sender
}

/// A QEMU whose sockets are not all open yet; dropping it kills it.
struct Starting {
    child: Option<Child>,
    dir: PathBuf,
}

impl Starting {
    fn connect(&mut self, path: &Path) -> Result<UnixStream> {
        let until = Instant::now() + SOCKET_LIMIT;
        loop {
            if let Ok(stream) = UnixStream::connect(path) {
                return Ok(stream);
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > until {
                bail!("QEMU did not open {}; it said: {}", path.display(), self.said());
            }
            std::thread::sleep(POLL);
        }
    }

    fn said(&self) -> String {
        tail(&read_lossy(&self.dir.join("qemu.log"))).to_owned()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_lossy(path: &Path) -> String {
    // A log that is not there yet is an empty one.
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
