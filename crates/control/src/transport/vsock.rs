//! Conversations by AF_VSOCK, with who runs this machine: nobody of a network comes there, and no other machine.

use std::{io, net::Shutdown, thread, time::Duration};

use rustix::io::Errno;
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockListener, VsockStream};

use super::{AtEnd, Conversation, Transport};

/// How long who asks may take no more of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits after it could not take a connection, for want of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// A port of this machine.
pub struct Vsock {
    listener: VsockListener,
    port: u32,
}

impl Vsock {
    /// Listens.
    ///
    /// # Errors
    /// When somebody else does, or this machine has no such sockets.
    pub fn listen(port: u32) -> io::Result<Self> {
        Ok(Self { listener: VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port)?, port })
    }
}

impl Transport for Vsock {
    fn name(&self) -> String {
        format!("vsock port {}", self.port)
    }

    fn next(&mut self) -> io::Result<Option<Conversation>> {
        loop {
            match self.listener.accept() {
                Ok((stream, from)) if may_come(from.cid()) => match conversation(stream) {
                    Ok(conversation) => return Ok(Some(conversation)),
                    Err(error) => eprintln!("control: {}: {error}", self.name()),
                },
                Ok((_, from)) => {
                    eprintln!("control: {}: context {} is not who runs this machine: refused", self.name(), from.cid());
                }
                Err(error) if is_passing(&error) => thread::sleep(BREATH),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Who runs this machine, by the number it alone has (vsock(7), VMADDR_CID_HOST): neither a process of this one nor of another.
fn may_come(context: u32) -> bool {
    context == VMADDR_CID_HOST
}

fn conversation(stream: VsockStream) -> io::Result<Conversation> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let (asks, ends) = (stream.try_clone()?, stream.try_clone()?);
    Ok(Conversation {
        asks: Box::new(asks),
        answers: Box::new(stream),
        at_end: AtEnd::Leave,
        hang_up: Box::new(move || {
            // Who left has closed it.
            let _ = ends.shutdown(Shutdown::Both);
        }),
    })
}

/// True for what passes: a client that left at once, descriptors that are used up.
fn is_passing(error: &io::Error) -> bool {
    let code = Errno::from_io_error(error);
    [Errno::CONNABORTED, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .into_iter()
        .any(|passing| code == Some(passing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_who_runs_this_machine_may_come() {
        // The firmware, this machine itself, other machines, any (vsock(7)).
        for context in [0, 1, 3, 4, 1 << 16, u32::MAX - 1, VMADDR_CID_ANY] {
            assert!(!may_come(context), "{context}");
        }
        assert!(may_come(2));
    }
}
