//! How this program fails: with one line on the console, the reason left for the next boot, and a reset.

use std::{fs::File, io::Write, process, thread, time::Duration};

use rocketos_model::{BootFailure, boot_failure};
use rocketos_sys::efivar;
use rustix::system::{RebootCommand, reboot};

use crate::console;

/// How long a failure stays on the screen.
const PAUSE: Duration = Duration::from_secs(10);

/// Leaves the reason for the next boot, where there are firmware variables by now.
fn leave(what: &str) {
    let variables = efivar::Variables::at(efivar::EFIVARS);
    let entry = efivar::read(efivar::LOADER_ENTRY_SELECTED).ok().flatten();
    let failure = BootFailure { entry: entry.unwrap_or_default(), reason: what.to_owned() };
    let value = failure.to_bytes();
    // Firmware wears off: what is there already is not written again. That it cannot be written is the lesser failure.
    if variables.value(boot_failure::VARIABLE).is_ok_and(|found| found.as_ref() != Some(&value)) {
        let _ = variables.set(boot_failure::VARIABLE, &value);
    }
}

/// Says what failed and resets the machine, so that the next boot counts as another try.
pub fn fail(what: &str) -> ! {
    console::error(what);
    if !rustix::process::getpid().is_init() {
        process::exit(1);
    }
    leave(what);
    thread::sleep(PAUSE);
    rustix::fs::sync();
    loop {
        // It does not return; where it cannot be done, PID 1 still must not end.
        if let Err(error) = reboot(RebootCommand::Restart) {
            console::error(&format!("resetting the machine: {error}"));
        }
        thread::sleep(PAUSE);
    }
}

/// The same where something hangs, and whatever waits for it would hang too: no pause, no flushing, no driver is asked.
/// `reset` takes the kernel's "b" (Documentation/admin-guide/sysrq.rst).
pub fn hang(what: &str, mut reset: &File) {
    console::error(what);
    leave(what);
    if let Err(error) = reset.write_all(b"b") {
        console::error(&format!("resetting the machine: {error}"));
    }
}
