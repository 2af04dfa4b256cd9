//! A hardware watchdog (Linux watchdog API): once armed, it resets the machine unless somebody keeps it from doing so.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rustix::{
    fs::OFlags,
    ioctl::{Updater, ioctl, opcode},
};

/// The first watchdog.
pub const DEVICE: &str = "/dev/watchdog";
/// linux/watchdog.h: `WATCHDOG_IOCTL_BASE`.
const BASE: u8 = b'W';
/// `WDIOC_SETTIMEOUT`: seconds in, the seconds it will really wait out.
const SET_TIMEOUT: u8 = 6;

/// Arms the watchdog at `device`, and says how long it will wait; absent where there is none.
///
/// It stays armed when the handle that comes back is closed, and when the process ends: whoever opens the device next has to
/// keep it up.
///
/// # Errors
/// When it is there and cannot be armed.
pub fn arm(device: &Path, timeout: Duration) -> io::Result<Option<(File, Duration)>> {
    let opened = OpenOptions::new().write(true).custom_flags(OFlags::CLOEXEC.bits() as i32).open(device);
    // Opening it arms it.
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
    // SAFETY: WDIOC_SETTIMEOUT is _IOWR('W', 6, int): it reads and writes one int, which `seconds` is.
    let set =
        unsafe { ioctl(&file, Updater::<{ opcode::read_write::<i32>(BASE, SET_TIMEOUT) }, i32>::new(&mut seconds)) };
    // A driver without the call keeps its own time.
    if let Err(error) = set
        && error != rustix::io::Errno::OPNOTSUPP
        && error != rustix::io::Errno::NOTTY
    {
        return Err(error.into());
    }
    // Any byte but 'V' keeps it up; 'V' would let closing disarm it.
    file.write_all(b"\0")?;
    Ok(Some((file, Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_one_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(arm(&folder.path().join("watchdog"), Duration::from_secs(60)).unwrap().is_none());
        // What is no watchdog does not know the call; a file takes the byte.
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(arm(&file, Duration::from_secs(60)).unwrap().is_some());
    }
}
