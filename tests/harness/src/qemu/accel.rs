//! Whether guests can run on KVM here: decided by booting one.
//!
//! A host may offer `/dev/kvm` and still hang every stock kernel, so its presence proves nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Ended, Machine, OnReboot};
use crate::progress::Progress;
use crate::{Tools, paths};

/// What a kernel may take to reach the end of its boot on KVM; a working one needs about two seconds.
const PROBE_LIMIT: Duration = Duration::from_secs(25);
const DEVICE: &str = "/dev/kvm";
/// What a kernel without a root says last.
const END_OF_BOOT: &str = "Unable to mount root fs";

/// How QEMU runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// On the host's processor.
    Kvm,
    /// Emulated.
    Tcg,
}

/// Chooses by booting a stock kernel on KVM within a time limit; the answer is kept until the host restarts.
pub fn probe(tools: &Tools, progress: &Progress) -> Result<Accel> {
    if std::fs::OpenOptions::new().read(true).write(true).open(DEVICE).is_err() {
        return Ok(Accel::Tcg);
    }
    let kept = paths::tools().join("accel");
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the host's boot id")?;
    if let Some(accel) = recall(&kept, host.trim()) {
        return Ok(accel);
    }
    let kernel = progress.step("fetching a kernel to try KVM with", || tools.stock_kernel())?;
    let outcome = progress.step("trying whether KVM boots a kernel", || Ok(try_kvm(tools, kernel)))?;
    let accel = match outcome {
        Ok(()) => Accel::Kvm,
        Err(error) => {
            progress.say(&format!("it does not: {}", format!("{error:#}").lines().last().unwrap_or_default()));
            Accel::Tcg
        }
    };
    let word = if accel == Accel::Kvm { "kvm" } else { "tcg" };
    std::fs::write(&kept, format!("{word} {}\n", host.trim()))
        .with_context(|| format!("writing {}", kept.display()))?;
    progress.say(&format!("guests run on {word}"));
    Ok(accel)
}

fn recall(kept: &Path, host: &str) -> Option<Accel> {
    let text = std::fs::read_to_string(kept).ok()?;
    match text.trim().split_once(' ')? {
        ("kvm", of) if of == host => Some(Accel::Kvm),
        ("tcg", of) if of == host => Some(Accel::Tcg),
        _ => None,
    }
}

/// Boots a kernel on KVM; whatever goes wrong means that KVM is of no use.
fn try_kvm(tools: &Tools, kernel: PathBuf) -> Result<()> {
    let mut machine = Machine::new(&tools.with_accel(Accel::Kvm), "kvm-probe")
        .kernel(&kernel, None, "console=ttyS0 panic=-1")
        .without_network()
        .on_reboot(OnReboot::End)
        .time_limit(PROBE_LIMIT)
        .start()?;
    let ended = machine.wait_for_end(PROBE_LIMIT)?;
    if ended != Ended::Reset || !machine.console().contains(END_OF_BOOT) {
        bail!("the kernel did not come to the end of its boot");
    }
    Ok(())
}
