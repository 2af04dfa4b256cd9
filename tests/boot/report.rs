//! The picture of a machine's boot, from its own journal.

use anyhow::{Context as _, Result, ensure};
use rocketos_tests::Guest;
use serde_json::Value;

/// Every phase is there, one after the other, and the units of ours.
pub fn draws_the_boot(guest: &mut Guest) -> Result<()> {
    let text = guest.ask("journalctl --sync && rocketctl report boot --json")?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("parsing {text}"))?;
    let phases = report["phases"].as_array().with_context(|| format!("no phases: {text}"))?;
    let names: Vec<&str> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    // The loader measures no time in a virtual machine, whose clock it does not trust.
    ensure!(names.ends_with(&["kernel", "initramfs", "user space"]), "the phases are {names:?}");
    for pair in phases.windows(2) {
        ensure!(pair[0]["end_us"] == pair[1]["start_us"], "between these is a gap: {pair:?}");
    }
    ensure!(report["complete_us"].as_u64().is_some_and(|at| at > 0), "the boot is not complete: {text}");
    let units = report["units"].as_array().cloned().unwrap_or_default();
    for name in ["systemd-journald.service", "systemd-networkd.service", "rocketos-health.service"] {
        ensure!(units.iter().any(|unit| unit["name"] == name), "{name} is not among the units: {text}");
    }
    guest.ask("rocketctl report boot --output /run/boot.svg && grep -q 'Boot complete' /run/boot.svg")?;
    Ok(())
}
