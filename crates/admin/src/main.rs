//! The first program of the host container `admin`: it writes what sshd reads, by user data, and becomes sshd.
//!
//! Without a key that lets somebody in it says so, and waits: settings that give it one start the container anew.

use std::{error::Error, os::unix::process::CommandExt as _, path::Path, process::Command, process::ExitCode, thread};

use rocketos_admin::{sshd, userdata::UserData};
use rocketos_model::layout::inside;

/// Something failed.
const FAILED: u8 = 1;
/// User data that say something else (sysexits.h, EX_CONFIG).
const MISTAKEN: u8 = 78;

fn main() -> ExitCode {
    let root = Path::new("/");
    let data = match UserData::read(&root.join(inside::USER_DATA)) {
        Ok(data) => data,
        Err(error) => return say(&error, MISTAKEN),
    };
    if !data.lets_somebody_in() {
        eprintln!("admin: user data have no key, so that nobody may come: set ssh.authorized-keys");
        loop {
            thread::park();
        }
    }
    let config = match sshd::prepare(root, &data) {
        Ok(config) => config,
        Err(error) => return say(&error, FAILED),
    };
    // In the foreground, with its log on standard error.
    let error = Command::new(sshd::SSHD).args(["-D", "-e", "-f"]).arg(config).exec();
    eprintln!("admin: starting {}: {error}", sshd::SSHD);
    ExitCode::from(FAILED)
}

/// Says an error with its causes, on a line.
fn say(error: &(dyn Error + 'static), code: u8) -> ExitCode {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect();
    eprintln!("admin: {}", causes.join(": "));
    ExitCode::from(code)
}
