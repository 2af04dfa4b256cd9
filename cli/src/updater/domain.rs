//! SELinux's word: which domain this process is in, and whether who asks may.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::socket_peercred;
use selinux::{KernelSupport, SecurityContext};

/// The domain that alone changes a node (base/selinux/30-subjects.cil).
const UPDATER: &str = "updater_t";
/// What the policy must allow who asks, towards the updater's domain.
const ASKED: (&str, &str) = ("service", "start");

/// Whether this process is in a domain from which it has to ask: without SELinux there is nobody to be asked.
pub(super) fn has_to_ask() -> bool {
    current().is_some_and(|own| own.type_ != UPDATER)
}

/// An error unless who is at the other end of the service's connection is root, and may start what the updater does.
pub(super) fn admit(connection: &UnixStream) -> anyhow::Result<()> {
    let peer = socket_peercred(connection.as_fd()).context("asking who is there")?;
    ensure!(peer.uid.is_root(), "only root changes a node; user {} asks", peer.uid.as_raw());
    let own = current().filter(|own| own.type_ == UPDATER);
    let own = own.with_context(|| format!("the updater is not in its domain, {UPDATER}"))?;
    let Asks { who, may } = own.asked_by(connection.as_fd(), [ASKED])?;
    ensure!(may == [true], "the SELinux policy does not let {who} change a node");
    Ok(())
}

/// An error unless who is at the other end of the service's connection is root, and in this process's own domain.
pub(super) fn admit_own(connection: &UnixStream) -> anyhow::Result<()> {
    let peer = socket_peercred(connection.as_fd()).context("asking who is there")?;
    ensure!(peer.uid.is_root(), "only root may ask; user {} does", peer.uid.as_raw());
    let Some(own) = current() else { return Ok(()) };
    let asks =
        SecurityContext::of_peer_socket(&connection.as_raw_fd(), true).context("asking for the peer's domain")?;
    let who = text(&asks).unwrap_or_default();
    ensure!(who.split(':').nth(2) == Some(&*own.type_), "only {} may ask; {who} does", own.type_);
    Ok(())
}

/// Who is at the other end of a connection, and what the policy lets them do with a service.
pub struct Asks<const N: usize> {
    /// In which context.
    pub who: String,
    /// For each that was asked for.
    pub may: [bool; N],
}

/// What the policy lets who is at the other end of a connection do with this process's service, for each permission of the class
/// `service`; none where there is no SELinux.
pub fn asked_by<const N: usize>(
    connection: BorrowedFd<'_>,
    permissions: [&'static str; N],
) -> anyhow::Result<Option<Asks<N>>> {
    let asked = permissions.map(|permission| (ASKED.0, permission));
    current().map(|own| own.asked_by(connection, asked)).transpose()
}

/// This process's context.
struct Own {
    context: SecurityContext<'static>,
    type_: String,
}

impl Own {
    fn asked_by<const N: usize>(
        &self,
        connection: BorrowedFd<'_>,
        asked: [(&'static str, &'static str); N],
    ) -> anyhow::Result<Asks<N>> {
        // What the library cannot ask is not allowed, lest a mount that hides the policy opens the door.
        ensure!(selinux::kernel_support() != KernelSupport::Unsupported, "the SELinux policy cannot be asked");
        let asks =
            SecurityContext::of_peer_socket(&connection.as_raw_fd(), true).context("asking for the peer's domain")?;
        let mut may = [false; N];
        for (may, (class, permission)) in may.iter_mut().zip(asked) {
            *may = asks
                .check_access(&self.context, class, permission, ptr::null_mut())
                .context("asking the SELinux policy")?;
        }
        Ok(Asks { who: text(&asks).unwrap_or_default(), may })
    }
}

/// None where there is no SELinux.
fn current() -> Option<Own> {
    let context = SecurityContext::current(true).ok()?;
    // Other security modules say something without a type.
    let type_ = text(&context)?.split(':').nth(2)?.to_owned();
    Some(Own { context, type_ })
}

fn text(context: &SecurityContext<'_>) -> Option<String> {
    Some(context.to_c_string().ok()??.to_str().ok()?.to_owned())
}
