//! `journalctl`, which reads the journal.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::ControlFlow,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::kept::Kept;

/// Bytes that a boot may have said until it was complete.
const BYTES: u64 = 256 << 20;
/// Bytes of the last lines of a unit.
const LAST_BYTES: usize = 8 << 10;

/// Hands on what the kernel and systemd said in a boot, an entry a line, in order, until `take` breaks off. An entry has those
/// of `fields` that it has, and its times.
pub fn of_boot(boot: i32, fields: &[&str], mut take: impl FnMut(&str) -> ControlFlow<()>) -> anyhow::Result<()> {
    let mut journalctl = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=json", &format!("--boot={boot}")])
        .arg(format!("--output-fields={}", fields.join(",")))
        .args(["_PID=1", "+", "_TRANSPORT=kernel"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting journalctl")?;
    let stdout = journalctl.stdout.take().context("journalctl without a standard output")?;
    let mut lines = BufReader::new(stdout.take(BYTES)).lines();
    let left = loop {
        let Some(line) = lines.next() else { break false };
        if take(&line.context("reading what journalctl says")?).is_break() {
            break true;
        }
    };
    if left {
        // It may have ended by itself.
        let _ = journalctl.kill();
    }
    drop(lines);
    let output = journalctl.wait_with_output().context("waiting for journalctl")?;
    if !left && !output.status.success() {
        bail!("journalctl failed with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Which lines of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines<'a> {
    /// Of which unit; absent for all.
    pub unit: Option<&'a str>,
    /// Of which boot: 0 this one, -1 the one before.
    pub boot: i32,
    /// So important at least, by journalctl's names; absent for all.
    pub priority: Option<&'a str>,
    /// The last so many.
    pub lines: u32,
}

/// Takes lines in; false where the journal does not have that boot.
pub fn take(asked: &Lines<'_>, out: &mut Kept) -> anyhow::Result<bool> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--no-hostname", "--output=short-iso-precise"]);
    command.args([format!("--boot={}", asked.boot), format!("--lines={}", asked.lines)]);
    command.args(asked.unit.map(|unit| format!("--unit={unit}")));
    command.args(asked.priority.map(|priority| format!("--priority={priority}")));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting journalctl")?;
    if let Some(stdout) = child.stdout.take() {
        out.take_in(stdout);
    }
    let output = child.wait_with_output().context("waiting for journalctl")?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.success() {
        true => Ok(true),
        // journalctl has no code of its own for it, and says why where something else is wrong.
        false if out.came == 0 && asked.boot < 0 => Ok(false),
        false => bail!("journalctl failed with {}: {complaint}", output.status),
    }
}

/// The last lines that a unit said in this boot.
pub fn last(unit: &str, lines: usize) -> anyhow::Result<String> {
    let output = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--boot", "--output=cat", &format!("--lines={lines}"), "--unit", unit])
        .stdin(Stdio::null())
        .output()
        .context("starting journalctl")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let from = said.len().saturating_sub(LAST_BYTES);
    let from = (from..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
    Ok(said[from..].trim().to_owned())
}
