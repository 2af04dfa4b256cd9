//! `host-shell`: a shell that sees the host's files as the host does.
//!
//! The host has no shell. This one is the container's own, one program without libraries, opened before the host's mount namespace is
//! entered and started from there by its descriptor. What it may do is what a superpowered host container may: the SELinux policy
//! knows it by its domain, whichever namespace it is in.

use std::{
    convert::Infallible,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::CommandExt as _,
    },
    process::{Command, ExitCode},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The shell, and whatever it finds within itself: ls, cat and the like.
const SHELL: &str = "/usr/bin/busybox";
/// Where the host's mounts are those of its first program. Host containers see the host's processes.
const HOST: &str = "/proc/1/ns/mnt";
/// Where programs of the host are.
const PATH: &str = "/usr/sbin:/usr/bin";
const PROMPT: &str = "[host] \\w # ";
/// What shells say of a program that could not be started.
const NOT_STARTED: u8 = 126;

/// Why there is no shell.
#[derive(Debug, thiserror::Error)]
enum HostShellError {
    #[error("opening {SHELL}: {0}")]
    Shell(io::Error),
    #[error("entering the host's mount namespace, which a superpowered container may: {0}")]
    Enter(io::Error),
    #[error("starting the shell on the host: {0}")]
    Start(io::Error),
}

fn main() -> ExitCode {
    let Err(error) = become_shell();
    eprintln!("host-shell: {error}");
    ExitCode::from(NOT_STARTED)
}

/// Becomes the shell, with this program's words; returns only where that fails.
fn become_shell() -> Result<Infallible, HostShellError> {
    let shell = File::open(SHELL).map_err(HostShellError::Shell)?;
    let host = File::open(HOST).map_err(HostShellError::Enter)?;
    move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(|error| HostShellError::Enter(error.into()))?;
    // By the host's /proc from here on, where this process is as well.
    let mut command = Command::new(format!("/proc/self/fd/{}", shell.as_raw_fd()));
    command.arg0("sh").args(std::env::args_os().skip(1)).env("PATH", PATH).env("PS1", PROMPT).env("HOME", "/");
    Err(HostShellError::Start(command.exec()))
}
