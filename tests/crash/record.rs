//! Recording: one machine does the operations, and every request to its disk is kept in the order it was done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rocketos_replay::log::Log;
use rocketos_tests::fixture::{BOOT, Fixture, UPGRADE, VERSIONS};
use rocketos_tests::{Disk, Guest, Progress};

/// What is done to the disk, and which of the requests it made.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its name in the report.
    pub name: &'static str,
    /// The requests from its start until it returned.
    pub entries: std::ops::Range<usize>,
}

/// A step of a recording: a name and a command that is run in the guest between two marks.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its name in the report.
    pub name: &'static str,
    /// Run by the guest's shell.
    pub command: &'static str,
}

/// What is recorded. What is added here is replayed and judged.
pub const STEPS: &[Step] = &[
    Step { name: "upgrade", command: "rocketctl upgrade" },
    Step { name: "rollback", command: "rocketctl rollback" },
    Step { name: "prune", command: "rocketctl prune" },
];

/// A recording on the host's disk.
#[derive(Debug)]
pub struct Recorded {
    /// The disk before, raw.
    pub base: PathBuf,
    /// The log.
    pub log: PathBuf,
    /// What was done, in order.
    pub operations: Vec<Operation>,
}

/// Records [`STEPS`] on a node with the first release that is offered the second.
pub fn record(fixture: &Fixture, progress: &Progress, folder: &Path) -> Result<Recorded> {
    let disk = fixture.disk("recorded")?;
    let (base, log) = (folder.join("base.raw"), folder.join("log"));
    fixture.tools.run("qemu-img").args(["convert", "-q", "-O", "raw"]).arg(&disk).arg(&base).quiet()?;
    std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
    fixture.tag(VERSIONS[1])?;
    let mut machine = fixture.machine_with("recorded", Disk::qcow2(&disk).recorded(&log)).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    let mut operations = Vec::new();
    for step in STEPS {
        operations.push(progress.step(step.name, || during(&mut guest, &log, step))?);
    }
    drop(guest);
    machine.cut_power()?;
    // The host closes the log's file when the process is gone.
    std::thread::sleep(Duration::from_millis(100));
    Ok(Recorded { base, log, operations })
}

fn during(guest: &mut Guest, log: &Path, step: &Step) -> Result<Operation> {
    let start = Log::count(log)?;
    guest.check(step.command, UPGRADE)?;
    // No sync first: what the command left in a cache is what a power cut would take.
    Ok(Operation { name: step.name, entries: start..Log::count(log)? })
}
