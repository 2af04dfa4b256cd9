//! What the service takes, and for how long it waits. Tests wait less; nobody takes more.

use std::time::Duration;

use rocketos_settings::TREE_BYTES;

/// Bytes of a request's body: a tree of settings, and room for how it is written.
pub const BODY_BYTES: usize = TREE_BYTES + (256 << 10);
/// Bytes of a request's line and headers together.
pub const HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
pub const HEADERS: usize = 64;
/// Connections at once.
pub const CONNECTIONS: usize = 64;
/// Connections at once of one user who is not root: the others are root's at any time.
pub const CONNECTIONS_OF_ONE: usize = 16;
/// Streams of events at once.
pub const STREAMS: usize = 16;
/// Events that a slow reader may be behind; then some are lost to it, and it is told.
pub const EVENTS_BEHIND: usize = 256;
/// Transactions that are open at once.
pub const TRANSACTIONS: usize = 32;
/// Keys of a transaction that are to be unset.
pub const UNSET_KEYS: usize = 1024;
/// How long after its last change a transaction is forgotten.
pub const TRANSACTION_AGE: Duration = Duration::from_secs(3600);

/// Programs in host containers at once.
pub const PROGRAMS: usize = 16;
/// Words of a program's command.
pub const WORDS: usize = 256;
/// Bytes of them together.
pub const COMMAND_BYTES: usize = 64 << 10;
/// Bytes of what a terminal is called.
pub const TERM_BYTES: usize = 64;

/// How long the service waits, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a request's line and headers, from the connection on, and from the answer before.
    pub head: Duration,
    /// For its body.
    pub body: Duration,
    /// For a client to take more of an answer.
    pub write: Duration,
    /// For the next connection; then the service ends, and systemd starts it when somebody comes.
    pub idle: Duration,
    /// For what is being done when the service is told to end.
    pub end: Duration,
    /// Between two looks at what others changed, while somebody listens to events.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            end: Duration::from_secs(75),
            look: Duration::from_secs(2),
        }
    }
}
