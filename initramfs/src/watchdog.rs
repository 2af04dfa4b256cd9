//! The hardware watchdog: armed here, kept up by systemd (`RuntimeWatchdogSec=` in the image). Between the two nobody keeps
//! it up, so what hangs on the way resets the machine, which costs a try.

use std::{path::Path, time::Duration};

use rocketos_sys::watchdog::{DEVICE, arm};

use crate::console;

/// What is left of the boot until systemd takes over may take so long, on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(180);

/// Arms it where there is one; true when that is done. A machine that has none boots without.
pub fn start() -> bool {
    match arm(Path::new(DEVICE), TIMEOUT) {
        Ok(Some((file, timeout))) => {
            console::info(&format!("the hardware watchdog waits {} s for systemd", timeout.as_secs()));
            // Open until systemd begins; closed, it stays armed.
            std::mem::forget(file);
            true
        }
        Ok(None) => false,
        Err(error) => {
            console::warning(&format!("arming the hardware watchdog: {error}"));
            false
        }
    }
}
