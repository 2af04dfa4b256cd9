//! The loader is updated from the image: tried once by the firmware's BootNext, kept after a good boot, given up when it
//! does not come up. The firmware is real, and so is the loader: the new one has a few bytes more at its end.

use anyhow::{Result, ensure};
use rocketos_tests::fixture::{BOOT, Fixture, LOADER, OTHER_LOADER};
use rocketos_tests::{Guest, Progress};

/// The firmware's order, as it keeps it.
const ORDER: &str = "od -An -tx1 /sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn state(guest: &mut Guest) -> Result<String> {
    let status = guest.status()?;
    let loader = &status["status"]["rocketos"]["loader"];
    Ok(loader["state"].as_str().map_or_else(|| loader.to_string(), str::to_owned))
}

/// What the running loader was started from.
fn running(guest: &mut Guest) -> Result<String> {
    guest.ask("tr -d '\\0' < /sys/firmware/efi/efivars/LoaderImageIdentifier-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
}

fn restart(guest: &mut Guest) -> Result<()> {
    guest.reboot(BOOT)?;
    guest.wait_booted(BOOT).map(drop)
}

#[test]
fn a_loader_is_tried_before_it_is_kept() -> Result<()> {
    let progress = Progress::new();
    let fixture = Fixture::ready(&progress)?;
    let disk = fixture.disk("loader")?;
    let mut machine = fixture.with_another_loader(fixture.machine("loader", &disk)).start()?;
    let mut guest = progress.step("boot", || machine.wait_for_shell(BOOT))?;
    guest.wait_booted(BOOT)?;
    ensure!(state(&mut guest)? == "current", "{}", state(&mut guest)?);
    let order = guest.ask(ORDER)?;

    progress.step("a new loader starts the next boot, and is kept", || {
        guest.check(&format!("(cat {LOADER}; echo new) > {OTHER_LOADER} && systemctl start rocketos-loader"), BOOT)?;
        ensure!(state(&mut guest)? == "trying", "{}", state(&mut guest)?);
        ensure!(guest.ask(ORDER)? == order, "the order changed before the new loader proved itself");
        restart(&mut guest)?;
        let from = running(&mut guest)?;
        ensure!(from.contains("systemd-boot-"), "the firmware started {from}");
        ensure!(state(&mut guest)? == "current", "{}", state(&mut guest)?);
        ensure!(guest.ask(ORDER)? != order, "the order is what it was: {order}");
        Ok(())
    })?;
    progress.step("a loader that does not come up is given up", || {
        guest.check(&format!("echo broken > {OTHER_LOADER} && systemctl start rocketos-loader"), BOOT)?;
        let order = guest.ask(ORDER)?;
        for expected in ["trying", "failed"] {
            restart(&mut guest)?;
            ensure!(running(&mut guest)?.contains("systemd-boot-"), "{}", running(&mut guest)?);
            ensure!(state(&mut guest)? == expected, "{} and not {expected}", state(&mut guest)?);
            ensure!(guest.ask(ORDER)? == order, "the order changed for a loader that never came up");
        }
        let status = guest.ask("rocketctl status")?;
        ensure!(status.contains("did not come up; the one before stays"), "{status}");
        Ok(())
    })?;
    machine.cut_power()
}
