//! `systemctl`, as PID 1's voice.

use std::{process::Command, thread, time::Duration};

use anyhow::{Context as _, bail};

/// How long an orderly reboot may take before it is forced.
const PATIENCE: Duration = Duration::from_secs(180);

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
