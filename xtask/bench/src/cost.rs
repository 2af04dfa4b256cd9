//! What a program and everything it starts cost.
//!
//! The kernel adds up ended children per parent, so each measured program gets a parent of its own: this program
//! again, with `--cost`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use rocketos_tests::command::Run;
use rocketos_tests::paths;
use serde_json::{Value, json};

/// What one measured program may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Bytes of a block that getrusage(2) counts.
const BLOCK: u64 = 512;

/// What a program cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Seconds in programs.
    pub(super) user: f64,
    /// Seconds in the kernel on their behalf.
    pub(super) system: f64,
    /// Seconds that passed.
    pub(super) wall: f64,
    /// MiB that the largest process had in memory.
    pub(super) peak: f64,
    /// Bytes it caused to be written to disks.
    pub(super) written: u64,
}

impl Cost {
    /// Seconds of all processors.
    pub(super) fn cpu(&self) -> f64 {
        self.user + self.system
    }

    /// Two programs, one after the other.
    pub(super) fn and(self, then: Self) -> Self {
        Self {
            user: self.user + then.user,
            system: self.system + then.system,
            wall: self.wall + then.wall,
            peak: self.peak.max(then.peak),
            written: self.written + then.written,
        }
    }
}

/// This program as it is shipped: optimised.
pub(super) fn optimised_self() -> Result<PathBuf> {
    Run::new("cargo")
        .args(["build", "--quiet", "--release", "--package", "rocketos-bench"])
        .limit(LIMIT * 2)
        .printed()
        .attached()
        .context("compiling what is measured")?;
    Ok(paths::target().join("release/rocketos-bench"))
}

/// Runs a command and returns what it cost.
pub(super) fn measure(myself: &Path, command: &Command, env: &[(&str, &Path)]) -> Result<Cost> {
    let file = tempfile::NamedTempFile::new().context("making a file for a cost")?;
    let mut run = Run::new(myself).args(["--cost"]).arg(file.path()).arg("--");
    run = run.arg(command.get_program()).args(command.get_args()).limit(LIMIT);
    for (name, value) in env {
        run = run.env(name, value);
    }
    // Nobody pays for what another left to be written.
    rustix::fs::sync();
    run.quiet()?;
    let said: Value = serde_json::from_slice(&std::fs::read(file.path())?).context("parsing a cost")?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("{key} of a cost"));
    Ok(Cost {
        user: number("user")?,
        system: number("system")?,
        wall: number("wall")?,
        peak: number("peak")?,
        written: said["written"].as_u64().context("bytes written of a cost")?,
    })
}

/// Runs a command to its end and writes what it and its children cost.
pub(super) fn run_and_write(command: &[OsString], to: &Path) -> Result<()> {
    let (program, args) = command.split_first().context("a command after --")?;
    let start = Instant::now();
    let status = Command::new(program).args(args).status().with_context(|| format!("starting {program:?}"))?;
    let wall = start.elapsed();
    ensure!(status.success(), "{program:?} ended with {status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what it cost")?;
    std::fs::write(to, json_of(&usage, wall).to_string()).with_context(|| format!("writing {}", to.display()))
}

fn json_of(usage: &Usage, wall: Duration) -> Value {
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    json!({
        "user": seconds(usage.user_time()),
        "system": seconds(usage.system_time()),
        "wall": wall.as_secs_f64(),
        "peak": usage.max_rss() as f64 / 1024.0,
        "written": u64::try_from(usage.block_writes()).unwrap_or(0) * BLOCK,
    })
}
