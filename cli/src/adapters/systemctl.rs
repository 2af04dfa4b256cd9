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

/// Has a unit started, and does not wait for it.
pub fn start(unit: &str) -> anyhow::Result<()> {
    let doing = || format!("starting 'systemctl start {unit}'");
    let status = Command::new("systemctl").args(["start", "--no-block", unit]).status().with_context(doing)?;
    if !status.success() {
        bail!("'systemctl start {unit}' failed with {status}");
    }
    Ok(())
}
