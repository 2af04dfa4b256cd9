//! `rocketctl` itself, which the updater starts for each request.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::process::{Command, Stdio};

/// This very program, and not what an upgrade may have put in its place.
const ITSELF: &str = "/proc/self/exe";

/// This program with a verb and its arguments, its output to be read, and its progress written to a descriptor that it inherits.
pub fn again(arguments: &[String], progress: Option<BorrowedFd<'_>>) -> Command {
    let mut command = Command::new(ITSELF);
    let (verb, others) = arguments.split_at(arguments.len().min(1));
    command.args(verb);
    if let Some(progress) = progress {
        command.arg(format!("--progress-fd={}", progress.as_raw_fd()));
    }
    command.args(others).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
