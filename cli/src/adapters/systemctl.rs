//! `systemctl`, as PID 1's voice.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// How long an orderly reboot may take before it is forced.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a unit that is told something may take to be as it should be: the time that systemd gives one to start, and to stop before.
const UNIT_PATIENCE: Duration = Duration::from_secs(200);
/// Between two looks at whether systemctl has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Bytes of what it complains about.
const COMPLAINT_BYTES: u64 = 16 << 10;

/// Reboots the machine in order.
pub fn reboot() -> anyhow::Result<()> {
    let status = Command::new("systemctl").arg("reboot").status().context("starting 'systemctl reboot'")?;
    if !status.success() {
        bail!("'systemctl reboot' failed with {status}");
    }
    Ok(())
}

/// Reboots it in order, and where that does not come about, without.
pub fn reboot_surely() -> anyhow::Result<()> {
    if let Err(error) = reboot() {
        eprintln!("rocketctl: {}", crate::exit::chain(&error));
    } else {
        // The shutdown ends this process.
        thread::sleep(PATIENCE);
    }
    reset()
}

/// Resets it, with nothing in order: the loader counts a try.
pub fn reset() -> anyhow::Result<()> {
    let status = Command::new("systemctl").args(["--force", "--force", "reboot"]).status();
    status.context("starting 'systemctl --force --force reboot'").map(drop)
}

fn ask(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("systemctl").args(arguments).output().context("starting systemctl")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How long before the kernel's start firmware and loader began, in microseconds; 0 where the loader did not say.
pub fn before_the_kernel() -> anyhow::Result<[u64; 2]> {
    let said = ask(&["show", "--property=FirmwareTimestampMonotonic,LoaderTimestampMonotonic"])?;
    let stamp = |key: &str| {
        let value = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix("TimestampMonotonic="));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Ok(["Firmware", "Loader"].map(stamp))
}

/// True while the machine shuts down.
pub fn is_stopping() -> anyhow::Result<bool> {
    Ok(ask(&["is-system-running"])? == "stopping")
}

/// True where a unit is active.
pub fn is_active(unit: &str) -> anyhow::Result<bool> {
    Ok(ask(&["is-active", unit])? == "active")
}

/// The units that failed, in a line.
pub fn failed() -> anyhow::Result<String> {
    names(&["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"], 0)
}

/// The units that something waits for, in a line.
pub fn jobs() -> anyhow::Result<String> {
    names(&["list-jobs", "--plain", "--no-legend", "--no-pager"], 1)
}

/// A column of a list.
fn names(arguments: &[&str], column: usize) -> anyhow::Result<String> {
    let text = ask(arguments)?;
    let names: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(column)).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

/// Has a unit started, and does not wait for it. That PID 1 will not start it, such as one that is masked, is said and is no
/// error.
pub fn start(unit: &str) -> anyhow::Result<()> {
    let doing = || format!("starting 'systemctl start {unit}'");
    let status = Command::new("systemctl").args(["start", "--no-block", unit]).status().with_context(doing)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => {
            eprintln!("'systemctl start {unit}' failed with {status}");
            Ok(())
        }
        None => bail!("'systemctl start {unit}' was ended by {status}"),
    }
}

/// Has a unit stopped, and does not wait for it.
pub fn stop(unit: &str) -> anyhow::Result<()> {
    ask(&["stop", "--no-block", "--", unit]).map(drop)
}

/// The units that are stopped with a unit (systemd.unit(5), `PartOf=`).
pub fn parts(unit: &str) -> anyhow::Result<Vec<String>> {
    let said = ask(&["show", "--property=ConsistsOf", "--value", "--", unit])?;
    Ok(said.split_whitespace().map(str::to_owned).collect())
}

/// What systemd knows of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `success`, or how it ended.
    pub result: String,
}

/// What systemd knows of a unit that runs to its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// Its state.
    pub state: State,
    /// Something is still to be done with it, such as starting it.
    pub has_job: bool,
    /// How its program ended: `exited`, `killed` or `dumped`; absent where none did.
    pub ended: Option<Ended>,
    /// How long that ran.
    pub took: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    With(i32),
    /// By this signal.
    By(i32),
}

/// What is asked of a unit that runs to its end.
const RUN: &str = "--property=LoadState,ActiveState,Result,Job,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,\
ExecMainExitTimestampMonotonic";
/// What wait(2) calls a program that ended by itself (`CLD_EXITED`); others were ended by a signal.
const EXITED: &str = "1";

/// The runs of units, in their order.
pub fn runs(units: &[String]) -> anyhow::Result<Vec<Run>> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let arguments: Vec<&str> = ["show", RUN, "--"].into_iter().chain(units.iter().map(String::as_str)).collect();
    let said = ask(&arguments)?;
    let runs: Vec<Run> = said.split("\n\n").map(run_of).collect();
    if runs.len() != units.len() {
        bail!("systemctl says something of {} units, and was asked about {}", runs.len(), units.len());
    }
    Ok(runs)
}

fn run_of(said: &str) -> Run {
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    let number = |key: &str| value(key).parse::<u64>().unwrap_or(0);
    let (began, ended) = (number("ExecMainStartTimestampMonotonic"), number("ExecMainExitTimestampMonotonic"));
    let status = value("ExecMainStatus").parse().unwrap_or(0);
    Run {
        state: State { load: value("LoadState"), active: value("ActiveState"), result: value("Result") },
        has_job: number("Job") > 0,
        ended: (ended > 0)
            .then(|| if value("ExecMainCode") == EXITED { Ended::With(status) } else { Ended::By(status) }),
        took: Duration::from_micros(ended.saturating_sub(began)),
    }
}

/// True where something is still to be done with a unit, such as starting it.
pub fn has_job(unit: &str) -> anyhow::Result<bool> {
    Ok(runs(&[unit.to_owned()])?.iter().any(|run| run.has_job))
}

/// The state of a unit.
pub fn state(unit: &str) -> anyhow::Result<State> {
    let said = ask(&["show", "--property=LoadState,ActiveState,Result", "--", unit])?;
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    Ok(State { load: value("LoadState"), active: value("ActiveState"), result: value("Result") })
}

/// How a unit stands, and for how long it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lasting {
    /// As [`State::active`].
    pub active: String,
    /// As [`State::result`].
    pub result: String,
    /// How long ago it came to be so; absent where it was nothing else since boot.
    pub age: Option<Duration>,
    /// How often systemd started it again by itself.
    pub restarts: u64,
}

/// How a unit stands.
pub fn lasting(unit: &str) -> anyhow::Result<Lasting> {
    let said = ask(&["show", "--property=ActiveState,Result,NRestarts,StateChangeTimestampMonotonic", "--", unit])?;
    Ok(parse_lasting(&said, rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)))
}

/// Reads it; `now` is by the clock that systemd's stamps are of.
fn parse_lasting(said: &str, now: rustix::time::Timespec) -> Lasting {
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    let stamp = value("StateChangeTimestampMonotonic").parse().ok().filter(|stamp| *stamp != 0);
    let now = Duration::try_from(now).ok();
    Lasting {
        active: value("ActiveState"),
        result: value("Result"),
        age: stamp.zip(now).map(|(stamp, now)| now.saturating_sub(Duration::from_micros(stamp))),
        restarts: value("NRestarts").parse().unwrap_or(0),
    }
}

/// Has systemd do something, and waits until it is done; what systemctl complains about where it is not.
pub fn have(arguments: &[&str]) -> anyhow::Result<Result<(), String>> {
    let doing = || format!("starting 'systemctl {}'", arguments.join(" "));
    let mut child = Command::new("systemctl")
        .args(["--quiet", "--no-ask-password", "--no-pager"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(doing)?;
    let until = Instant::now() + UNIT_PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for systemctl")? {
            break status;
        }
        if Instant::now() >= until {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().context("waiting for systemctl")?;
            return Ok(Err(format!("it was not done after {} s", UNIT_PATIENCE.as_secs())));
        }
        thread::sleep(LOOK);
    };
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // What is no text is not shown.
        let _ = stderr.take(COMPLAINT_BYTES).read_to_string(&mut said);
    }
    match status.success() {
        true => Ok(Ok(())),
        false if said.trim().is_empty() => Ok(Err(format!("systemctl ended with {status}"))),
        false => Ok(Err(said.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_of_a_unit_is_read_as_systemctl_shows_it() {
        let said = "Result=exit-code\nExecMainStartTimestampMonotonic=1000\nExecMainExitTimestampMonotonic=251000\n\
                    ExecMainCode=1\nExecMainStatus=3\nLoadState=loaded\nActiveState=failed";
        let run = run_of(said);
        assert_eq!((run.ended, run.took, run.has_job), (Some(Ended::With(3)), Duration::from_millis(250), false));
        assert_eq!((run.state.active.as_str(), run.state.result.as_str()), ("failed", "exit-code"));
        assert_eq!(run_of(&said.replace("Code=1", "Code=2").replace("Status=3", "Status=9")).ended, Some(Ended::By(9)));
        // One whose program did not start.
        let waits = "Job=712\nResult=success\nExecMainStartTimestampMonotonic=0\nExecMainExitTimestampMonotonic=0\n\
                     ExecMainCode=0\nExecMainStatus=0\nLoadState=loaded\nActiveState=inactive";
        let run = run_of(waits);
        assert_eq!((run.ended, run.has_job, run.took), (None, true, Duration::ZERO));
        assert!(!run_of(&waits.replace("Job=712", "Job=")).has_job && !run_of(&waits.replace("Job=712\n", "")).has_job);
    }

    #[test]
    fn reads_what_systemctl_says_of_a_unit() {
        let said = "NRestarts=3\nResult=exit-code\nActiveState=activating\nStateChangeTimestampMonotonic=90500000\n";
        let now = rustix::time::Timespec { tv_sec: 100, tv_nsec: 0 };
        let lasting = parse_lasting(said, now);
        assert_eq!(
            (lasting.active.as_str(), lasting.result.as_str(), lasting.restarts),
            ("activating", "exit-code", 3)
        );
        assert_eq!(lasting.age, Some(Duration::from_millis(9500)));
        assert_eq!(parse_lasting("StateChangeTimestampMonotonic=0\n", now).age, None);
    }
}
