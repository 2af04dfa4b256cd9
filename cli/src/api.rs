//! The API on this node: what `crates/api` asks of a node and who may ask, and the client that `rocketctl settings` is.
//!
//! systemd listens on the socket and starts `rocketctl internal api` when somebody comes, in the domain that alone stores settings.
//! Store and ESP it does not write: for updates it asks the updater.

mod client;
mod exec;
mod node;
mod permit;
mod talk;

use std::{os::fd::AsFd as _, os::unix::net::UnixListener, path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use rocketos_api::{Inside, Service, limits::Patience};
use rocketos_model::layout;
use rustix::net::{AddressFamily, sockopt};
use tokio::signal::unix::{SignalKind, signal};

pub use client::{Client, NoApi};
pub use node::ThisNode;

use crate::{configure::Engine, pull::runtime};

/// The API over settings that somebody has open, without its socket.
pub fn inside(engine: Engine, transactions: &Path) -> Inside {
    Inside::new(Arc::new(node::ThisNode::of(engine)), transactions)
}

/// Serves whoever comes to the socket on standard input, until nobody does.
///
/// # Errors
/// When there is no such socket.
pub fn serve() -> anyhow::Result<()> {
    let listener = listener()?;
    let service = Service {
        node: Arc::new(node::ThisNode::default()),
        permit: Arc::new(permit::ByPolicy),
        transactions: layout::node::TRANSACTIONS.into(),
        patience: Patience::default(),
    };
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener).context("taking the socket")?;
        let mut told = signal(SignalKind::terminate()).context("waiting for a signal")?;
        service.serve(listener, async { _ = told.recv().await }).await.context("serving the API")
    });
    // What is not done by now, such as an update that goes on, ends with the process.
    runtime.shutdown_background();
    served
}

/// The socket, as systemd hands it over (systemd.exec, `StandardInput=socket`): a descriptor that needs no word of the environment.
fn listener() -> anyhow::Result<UnixListener> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("taking the socket")?;
    let listens =
        sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX) && sockopt::socket_acceptconn(&socket) == Ok(true);
    ensure!(listens, "standard input is not a unix socket that listens; rocketos-api.socket starts this");
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true).context("taking the socket")?;
    Ok(listener)
}
