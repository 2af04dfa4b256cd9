//! Conversations with the API, and where they come from: a file each.
//!
//! A conversation is what a connection to the API's socket is, carried further: requests one way, answers the other.

mod exec;
mod stdio;
mod vsock;

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    thread,
};

pub use exec::Exec;
pub use stdio::Stdio;
pub use vsock::Vsock;

/// Conversations of one transport at once.
const CONVERSATIONS: usize = 16;
/// Bytes that are carried at once.
const CHUNK: usize = 16 << 10;

/// Where conversations come from.
pub trait Transport: Send {
    /// How it is called in messages.
    fn name(&self) -> String;

    /// Waits for the next conversation; none where there will be no other.
    ///
    /// # Errors
    /// When there cannot be one.
    fn next(&mut self) -> io::Result<Option<Conversation>>;
}

/// What becomes of an answer when nothing more is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// It is waited for.
    Answer,
    /// Who asked has left: what was being done for it is given up.
    Leave,
}

/// Requests and answers.
pub struct Conversation {
    /// What is asked.
    pub asks: Box<dyn Read + Send>,
    /// What is answered. It is dropped when the API has said its last.
    pub answers: Box<dyn Write + Send>,
    /// What the end of `asks` means.
    pub at_end: AtEnd,
    /// Has `asks` end, after `answers` was dropped.
    pub hang_up: Box<dyn FnOnce() + Send>,
}

/// Leads every conversation of a transport to the API.
///
/// # Errors
/// When there cannot be another.
pub fn serve(transport: &mut dyn Transport, api: &Path) -> io::Result<()> {
    let live = Arc::new(());
    let mut last = None;
    while let Some(conversation) = transport.next()? {
        let name = transport.name();
        if Arc::strong_count(&live) > CONVERSATIONS {
            eprintln!("control: {name}: more than {CONVERSATIONS} at once: one is turned away");
            drop(conversation.answers);
            (conversation.hang_up)();
            continue;
        }
        let (place, api) = (Arc::clone(&live), api.to_owned());
        last = Some(thread::Builder::new().spawn(move || {
            if let Err(error) = hold(conversation, &api) {
                eprintln!("control: {name}: {error}");
            }
            drop(place);
        })?);
    }
    // Who has one alone waits for it.
    last.map_or(Ok(()), |last| last.join().map_err(|_| io::Error::other("a conversation was broken off")))
}

/// Carries requests to the API and answers back, until one of the two has said its last.
fn hold(conversation: Conversation, api: &Path) -> io::Result<()> {
    let Conversation { mut asks, mut answers, at_end, hang_up } = conversation;
    // The API is started by who connects to it, and does not wait long: nobody connects before there is something to ask.
    let mut first = vec![0; CHUNK];
    let carried = asks.read(&mut first).and_then(|length| match length {
        0 => Ok(()),
        length => carry(asks, &first[..length], answers.as_mut(), at_end, api),
    });
    drop(answers);
    hang_up();
    carried
}

fn carry(
    mut asks: Box<dyn Read + Send>,
    first: &[u8],
    answers: &mut dyn Write,
    at_end: AtEnd,
    api: &Path,
) -> io::Result<()> {
    let connected = UnixStream::connect(api);
    let socket =
        connected.map_err(|error| io::Error::new(error.kind(), format!("connecting to {}: {error}", api.display())))?;
    (&socket).write_all(first)?;
    let requests = socket.try_clone()?;
    // It ends with what is asked: by itself, or because it is hung up.
    thread::Builder::new().spawn(move || {
        let copied = io::copy(&mut asks, &mut &requests);
        if at_end == AtEnd::Leave || copied.is_err() {
            // Where the API has closed it already there is nothing to close.
            let _ = requests.shutdown(Shutdown::Both);
        }
    })?;
    let copied = io::copy(&mut &socket, answers).and_then(|_| answers.flush());
    // Nobody hears what comes now.
    let _ = socket.shutdown(Shutdown::Both);
    copied
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
