//! What ends a hang by itself, on machines without a hardware watchdog too: a thread that resets the machine when the boot
//! does not come to its end. It ends when this program becomes systemd.

use std::{
    fs::File,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{console, failure};

/// What the boot may take until systemd: twice what the disk may take to appear, and less than a watchdog waits.
const LIMIT: Duration = Duration::from_secs(120);
/// Where the kernel takes single commands.
const COMMANDS: &str = "/proc/sysrq-trigger";

/// What is being done, for the one who says that it hung.
static DOING: Mutex<&str> = Mutex::new("starting");

/// Notes what is done next.
pub fn doing(what: &'static str) {
    *DOING.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// Begins to count. A boot that cannot be bounded goes on.
pub fn start() {
    let counting = File::options().write(true).open(COMMANDS).and_then(|commands| {
        thread::Builder::new().name("deadline".to_owned()).spawn(move || {
            thread::sleep(LIMIT);
            let doing = *DOING.lock().unwrap_or_else(PoisonError::into_inner);
            failure::hang(&format!("{doing}: no end after {} s", LIMIT.as_secs()), &commands);
        })
    });
    if let Err(error) = counting {
        console::warning(&format!("bounding the boot: {error}"));
    }
}
