//! Services that only the updater's domain asks: they have one right each that nothing else of it needs.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use anyhow::Context as _;

use super::domain;

/// Has the client on standard input answered, where it is root in the updater's domain.
///
/// # Errors
/// When it is not, or whoever answers cannot.
pub fn answer(answer: impl FnOnce(UnixStream) -> io::Result<()>) -> anyhow::Result<()> {
    let connection = io::stdin().as_fd().try_clone_to_owned().context("taking the connection")?;
    let connection = UnixStream::from(connection);
    domain::admit_own(&connection)?;
    answer(connection).context("answering")
}
