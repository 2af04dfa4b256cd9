//! A copy of the node's disk is plugged in beside it: which of the two is ours nobody can tell, so neither boots.

use std::time::Duration;

use anyhow::{Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture};
use rocketos_tests::qemu::OnReboot;
use rocketos_tests::{Disk, Ended, Progress};

/// What the initramfs waits before it resets, and then some.
const RESET: Duration = Duration::from_secs(120);

#[test]
fn two_disks_that_claim_to_be_ours_do_not_boot() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let (disk, copy) = (fixture.disk("ours")?, fixture.disk("theirs")?);
    let mut machine = fixture.machine("two-disks", &disk).disk(Disk::qcow2(&copy)).on_reboot(OnReboot::End).start()?;
    progress.step("refusing two disks", || {
        machine.wait_for_console("both claim to be the disk we booted from; unplug one", 1, BOOT)?;
        ensure!(machine.wait_for_end(RESET)? == Ended::Reset, "it did not reset itself");
        Ok(())
    })?;
    // Without the copy the disk boots as ever, and the try that failed cost a good entry nothing.
    let mut machine = fixture.machine("one-disk", &disk).start()?;
    let mut guest = progress.step("boot without the copy", || machine.wait_for_shell(BOOT))?;
    ensure!(guest.ask("grep ' / ' /proc/mounts")?.contains("verity=require"));
    machine.cut_power()
}
