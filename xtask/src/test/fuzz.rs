//! `test --long fuzz`: libFuzzer on every target, resumable.
//!
//! The engine is compiled with coverage by a stable compiler into a folder of its own. Time is CPU time, counted in
//! slices; a run that is stopped loses at most one slice of each target. See [`journal`] for what is kept,
//! and [`page`] for what is committed.

mod journal;
mod page;

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rocketos_tests::{Progress, command::Run, paths};

use self::journal::{Journal, Slice};
use self::page::Page;

/// CPU time of each target.
const BUDGET: Duration = Duration::from_secs(30 * 60);
/// Another number of CPU-seconds for each target, to try things out; the result says so.
const SECONDS: &str = "ROCKETOS_FUZZ_SECONDS";
/// Another number of processes than there are cores.
const JOBS: &str = "ROCKETOS_FUZZ_JOBS";
/// Longest time between two notes in the journal.
const SLICE: Duration = Duration::from_secs(120);
/// How much longer than its slice a process may take to say what it did.
const GRACE: Duration = Duration::from_secs(60);
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(100);
/// What one input may take, in seconds, and all of them in memory, in MiB.
const LIMITS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=512"];
/// Bytes of the longest input that is tried.
const LONGEST: &str = "-max_len=16384";
/// Ticks of a second in `/proc/<pid>/stat` (proc(5), USER_HZ).
const TICKS: u64 = 100;
/// What the compiler of stable Rust puts in for libFuzzer: counters of edges, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Where the corpora are, in the checkout.
const CORPORA: &str = "tests/fuzz/corpus";
/// What the build may take.
const BUILD: Duration = Duration::from_secs(2 * 3600);

/// Gives every target that is due its time, and writes what came of it.
pub(super) fn run(progress: &Progress) -> Result<()> {
    let number =
        |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().with_context(|| format!("{name}={text}")));
    let budget = number(SECONDS).transpose()?.map_or(BUDGET, Duration::from_secs);
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = number(JOBS).transpose()?.unwrap_or(cores).max(1);
    let engine = progress.step("compiling the fuzz targets", build)?;
    let journal = Journal::open(&engine, budget)?;
    let page = Page::open(budget)?;
    let targets: Vec<_> = targets()?.into_iter().filter(|target| !page.has(target)).collect();
    let queue = Mutex::new(VecDeque::from(targets.clone()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (says, said) = mpsc::channel();
    let work = |says: mpsc::Sender<String>| -> Result<()> {
        while let Some(target) = next() {
            let done = fuzz(&engine, &journal, &target)?;
            let how = if done.found {
                format!("{target}: a finding is open")
            } else {
                page.add(&target, &done, &journal.found(&target)?)?;
                journal.forget(&target)?;
                format!("{target}: {} executions in {:.0} s", done.executions, done.cpu.as_secs_f64())
            };
            // Who listens goes last.
            let _ = says.send(how);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let start = |_| {
            let (says, work) = (says.clone(), &work);
            scope.spawn(move || work(says))
        };
        let workers: Vec<_> = (0..jobs).map(start).collect();
        drop(says);
        said.iter().for_each(|how| progress.say(&how));
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    let found = journal.open_findings(&targets)?;
    if !found.is_empty() {
        bail!("these inputs are findings; mend what they show and put them into {CORPORA}:\n  {}", found.join("\n  "));
    }
    Ok(())
}

/// Compiles the engine with all targets, and returns it.
fn build() -> Result<PathBuf> {
    let version = Run::new("rustc").arg("-vV").output()?;
    // With a target named, flags are not those of build scripts.
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let folder = paths::target().join("fuzz");
    Run::new("cargo")
        .args(["build", "-p", "rocketos-fuzz", "--bin", "fuzz", "--features", "engine", "--profile", "fuzz"])
        .args(["--target", host, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE)
        .limit(BUILD)
        .printed()
        .attached()?;
    Ok(folder.join(host).join("fuzz/fuzz"))
}

/// Names of the targets: each has a corpus, as `replay` checks.
fn targets() -> Result<Vec<String>> {
    let folder = paths::workspace().join(CORPORA);
    let list = fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut names =
        list.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Runs a target until its time is used up or it finds something.
fn fuzz(engine: &Path, journal: &Journal, target: &str) -> Result<Slice> {
    loop {
        let done = journal.total(target)?;
        let left = journal.budget.saturating_sub(done.cpu);
        if done.found || left.is_zero() {
            return Ok(done);
        }
        let wall = left.min(SLICE).max(Duration::from_secs(1));
        let slice = slice(engine, journal, target, wall).with_context(|| format!("fuzzing {target}"))?;
        journal.add(target, &slice)?;
    }
}

/// Runs libFuzzer once.
fn slice(engine: &Path, journal: &Journal, target: &str, wall: Duration) -> Result<Slice> {
    let memory = Path::new("/dev/shm");
    // Targets write small files; flushing them is not what is tested.
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let scratch = scratch.context("making a folder for a fuzz target")?;
    let (corpus, findings) = (journal.corpus(target)?, journal.findings(target)?);
    let log = findings.join("log");
    let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
    let mut child = Command::new(engine)
        .args(LIMITS)
        .args([LONGEST, "-print_final_stats=1"])
        .arg(format!("-max_total_time={}", wall.as_secs().max(1)))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg(corpus)
        .arg(paths::workspace().join(CORPORA).join(target))
        .env("ROCKETOS_FUZZ_TARGET", target)
        .env("TMPDIR", scratch.path())
        // Clients that ask nobody need no authorities, which take most of the time to read.
        .env("SSL_CERT_FILE", "/dev/null")
        .env("RUST_BACKTRACE", "0")
        .current_dir(&findings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .with_context(|| format!("starting {}", engine.display()))?;
    let (cpu, ended_well) = watch(&mut child, wall + GRACE)?;
    let log = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    Ok(Slice::read(&String::from_utf8_lossy(&log), cpu, !ended_well))
}

/// Waits for a process; returns its CPU time, and whether it ended without an error.
fn watch(child: &mut Child, limit: Duration) -> Result<(Duration, bool)> {
    let begun = Instant::now();
    let mut cpu = Duration::ZERO;
    loop {
        cpu = cpu_time(child.id()).unwrap_or(cpu);
        if let Some(status) = child.try_wait().context("waiting for a fuzz target")? {
            return Ok((cpu, status.success()));
        }
        if begun.elapsed() > limit {
            child.kill().context("killing a fuzz target")?;
            child.wait().context("waiting for a killed fuzz target")?;
            return Ok((cpu, false));
        }
        thread::sleep(POLL);
    }
}

/// User and system time of a process (proc(5), `/proc/<pid>/stat`, fields 14 and 15).
fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may have blanks, comes field 3.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS))
}
