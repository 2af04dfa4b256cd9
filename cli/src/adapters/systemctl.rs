//! `systemctl`, as PID 1's voice.

use std::process::Command;

use anyhow::{Context as _, bail};

/// Reboots the machine in order.
pub fn reboot() -> anyhow::Result<()> {
    let status = Command::new("systemctl").arg("reboot").status().context("starting 'systemctl reboot'")?;
    if !status.success() {
        bail!("'systemctl reboot' failed with {status}");
    }
    Ok(())
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
