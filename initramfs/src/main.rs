//! The first program of a node: finds, verifies and mounts the root, then becomes systemd.
//!
//! Owns everything between the kernel and systemd, and the layout of the initramfs it lies in (README.md). What an image
//! is and whether it may be mounted is the store's to say; unlocking an encrypted /var is the host's. Nobody
//! imports it: the kernel starts it as `/init`.
//!
//! [`boot::boot`] reads from top to bottom what happens. Every failure, a panic too, prints one line and resets the
//! machine after a pause, so that the loader counts the try.

mod boot;
mod config;
mod console;
mod deployment;
mod disk;
mod interfaces;
mod machine_id;
mod modules;
mod root;
mod switch;
mod watchdog;

use std::{panic, process, thread, time::Duration};

use rocketos_model::{BootFailure, boot_failure};
use rocketos_sys::efivar;
use rustix::system::{RebootCommand, reboot};

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
fn fail(what: &str) -> ! {
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

fn main() {
    panic::set_hook(Box::new(|info| fail(&format!("a defect in this program: {info}"))));
    if !rustix::process::getpid().is_init() {
        fail("this program is a machine's first; nothing else can use it");
    }
    match boot::boot() {
        Ok(never) => match never {},
        Err(error) => fail(&format!("{error:#}")),
    }
}
