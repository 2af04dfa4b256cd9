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
