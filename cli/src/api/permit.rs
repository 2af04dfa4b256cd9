//! Who may do what, by the SELinux policy: `status` of this service reads, `start` of it changes, and only root changes. Where there is
//! no SELinux, root changes, and whoever the socket's permissions let in reads.

use std::{io, os::fd::BorrowedFd};

use rocketos_api::{Access, Peer, Permit};

use crate::{
    exit,
    updater::{Asks, asked_by},
};

/// What the class `service` calls reading and changing.
const READ: &str = "status";
const CHANGE: &str = "start";

/// By the policy.
pub(super) struct ByPolicy;

impl Permit for ByPolicy {
    fn access(&self, peer: Peer, connection: BorrowedFd<'_>) -> io::Result<Access> {
        let uid = peer.uid;
        let asked = asked_by(connection, [READ, CHANGE]).map_err(|error| {
            eprintln!("uid {uid} is refused: {}", exit::chain(&error));
            io::Error::other(error)
        })?;
        let (who, read, change) = match asked {
            // The context is a line, and short: the policy names it.
            Some(Asks { who, may: [read, change] }) => (format!("uid {uid} ({})", domain(&who)), read, change),
            None => (format!("uid {uid}"), true, true),
        };
        Ok(Access { who, read, change: change && uid == 0 })
    }
}

/// The domain of a context.
fn domain(context: &str) -> &str {
    context.split(':').nth(2).unwrap_or("unknown")
}
