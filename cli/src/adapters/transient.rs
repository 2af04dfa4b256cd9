//! `systemd-run`: programs that are none of ours, each in a unit of its own, with neither our rights nor our fences.

use std::{
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{kept::Kept, systemctl};

/// What a unit ends with whose program could not be started (systemd.exec(5), EXIT_EXEC).
pub const NOT_STARTED: i32 = 203;
/// How much longer than its time a unit may take to be gone.
const GRACE: Duration = Duration::from_secs(15);
/// Between two looks at whether it is.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of what is kept of a program's complaints.
const COMPLAINT_BYTES: usize = 2 << 10;
/// Programs that this process has had started, for the names of their units.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Where a program's input and output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// At who has it started.
    Here,
    /// The output in the journal; there is no input.
    Journal,
}

/// A unit that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name; no other has it.
    pub name: String,
    description: String,
    properties: Vec<String>,
    command: Vec<String>,
    literally: bool,
    streams: Streams,
}

impl Unit {
    /// A unit called `rocketos-<kind>-…`, for what is described so.
    pub fn new(kind: &str, description: &str, command: &[String]) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("rocketos-{kind}-{}-{number}.service", std::process::id()),
            description: description.to_owned(),
            properties: Vec::new(),
            command: command.to_vec(),
            literally: false,
            streams: Streams::Here,
        }
    }

    /// With a line of the section `[Service]` or `[Unit]`.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.properties.push(format!("{key}={value}"));
        self
    }

    /// Its words as they are: systemd sets no variables in the place of their names.
    pub fn literally(mut self) -> Self {
        self.literally = true;
        self
    }

    /// With its output in the journal: nothing of a program that is not trusted comes here, and it has no end of a pipe of ours.
    pub fn apart(mut self) -> Self {
        self.streams = Streams::Journal;
        self
    }

    /// Ended after some time.
    pub fn at_most(self, limit: Duration) -> Self {
        self.with("RuntimeMaxSec", &format!("{}ms", limit.as_millis()))
    }

    /// What systemd-run(1) is told.
    pub fn arguments(&self) -> Vec<String> {
        let options = ["--quiet", "--collect", "--wait", "--service-type=exec"].map(str::to_owned);
        let pipe = (self.streams == Streams::Here).then(|| "--pipe".to_owned());
        // It asks nobody, whatever its standard input is.
        let asks = "--no-ask-password".to_owned();
        let own = [format!("--unit={}", self.name), format!("--description={}", self.description), asks];
        let properties = self.properties.iter().map(|property| format!("--property={property}"));
        let literally = self.literally.then(|| "--expand-environment=no".to_owned());
        let told = options.into_iter().chain(pipe).chain(own).chain(literally).chain(properties);
        told.chain(["--".to_owned()]).chain(self.command.iter().cloned()).collect()
    }

    /// Starts it, with ends of pipes for its standard input, output and error.
    pub fn start(&self) -> anyhow::Result<Child> {
        let mut command = Command::new("systemd-run");
        command.args(self.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("starting systemd-run")
    }

    /// The same with one terminal for all three, which systemd makes the program's own (systemd.exec(5), `StandardInput=fd`).
    pub fn start_at(&self, terminal: OwnedFd) -> anyhow::Result<Child> {
        let other = || terminal.try_clone().context("handing the terminal over");
        let (input, output) = (other()?, other()?);
        let mut command = Command::new("systemd-run");
        command.args(self.arguments()).stdin(input).stdout(output).stderr(terminal);
        // Its own would be handed on over the unit's.
        command.env_remove("TERM");
        command.spawn().context("starting systemd-run")
    }

    /// Has it run to its end, at most for so long; what it wrote goes to `out`, and the code that it ended with comes back.
    pub fn run(self, limit: Duration, out: &mut Kept) -> anyhow::Result<i32> {
        let unit = self.at_most(limit);
        let mut child = unit.start()?;
        drop(child.stdin.take());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut complaints = Kept::of(COMPLAINT_BYTES);
        let ended = thread::scope(|scope| {
            scope.spawn(|| stdout.map(|stdout| out.take_in(stdout)));
            scope.spawn(|| stderr.map(|stderr| complaints.take_in(stderr)));
            let until = Instant::now() + limit + GRACE;
            loop {
                match child.try_wait() {
                    Ok(None) if Instant::now() < until => thread::sleep(LOOK),
                    Ok(None) => {
                        // They may have ended by themselves.
                        let _ = (systemctl::stop(&unit.name), child.kill(), child.wait());
                        bail!("it was not done after {} s", limit.as_secs());
                    }
                    other => return other.context("waiting for systemd-run"),
                }
            }
        })?;
        let complaints = String::from_utf8_lossy(&complaints.into_bytes()).trim().to_owned();
        match ended.and_then(|status| status.code()) {
            Some(NOT_STARTED) => bail!("it could not be started: {complaints}"),
            Some(code) => {
                out.say(&complaints);
                Ok(code)
            }
            None => bail!("it was ended by a signal: {complaints}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_unit_of_its_own_and_its_time() {
        let command = ["/usr/bin/true".to_owned(), "--unit=x".to_owned()];
        let unit = || Unit::new("check", "Health check: /usr/bin/true", &command).at_most(Duration::from_secs(5));
        let told = [unit().arguments(), unit().arguments()];
        assert!(told[0].contains(&"--property=RuntimeMaxSec=5000ms".to_owned()), "{told:?}");
        assert!(told[0].ends_with(&["--".to_owned(), command[0].clone(), command[1].clone()]), "{told:?}");
        assert_ne!(told[0][5], told[1][5]);
        assert!(told[0].contains(&"--pipe".to_owned()) && !unit().apart().arguments().contains(&"--pipe".to_owned()));
    }
}
