//! `run`: boots a disk under firmware on this terminal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rocketos_tests::{Disk, Format, Machine, Progress, Tools};

/// A person's session has no limit worth naming; the value is only not endless.
const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);

/// What to boot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The disk, raw or qcow2.
    disk: PathBuf,
    /// Memory in MiB.
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// Forget what is written to the disk when the machine ends.
    #[arg(long)]
    snapshot: bool,
}

/// Boots it.
pub fn run(args: &Args) -> Result<()> {
    let tools = Tools::ensure(&Progress::new())?;
    let format = Format::of(&args.disk).with_context(|| format!("reading {}", args.disk.display()))?;
    let disk = match format {
        Format::Raw => Disk::raw(&args.disk),
        Format::Qcow2 => Disk::qcow2(&args.disk),
    };
    let mut machine = Machine::new(&tools, "rocketos").memory(args.memory).disk(disk).time_limit(SESSION);
    if args.snapshot {
        machine = machine.arguments(["-snapshot"]);
    }
    eprintln!("Ctrl-A X cuts the power, Ctrl-A C shows QEMU's monitor.");
    machine.run_on_terminal()
}
