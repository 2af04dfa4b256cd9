//! The service: connections in, at most so many, and the end of it.
//!
//! ```text
//! listen -> accept -> who is there? -> requests, one after the other -> ... -> nobody for a while, or told to end -> done
//! ```
//!
//! systemd keeps the socket: who connects while the service ends is served by the next one.

use std::{
    collections::HashMap,
    future::Future,
    io,
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tower_service::Service as _;

use crate::{
    Kind, Node, Permit, Problem,
    limits::{self, Patience},
    news::News,
    node::{Access, Peer},
    operations::Shared,
    problem,
    router::{Caller, Serving, router},
    transactions::Transactions,
};

/// How long the service waits after it could not take a connection, for want of descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Counts who is at work: what holds one is not done yet.
pub(crate) type Live = Arc<()>;

/// A service that is to be.
pub struct Service {
    /// What a node does.
    pub node: Arc<dyn Node>,
    /// Who may ask for it.
    pub permit: Arc<dyn Permit>,
    /// The folder of transactions: in memory, the service's own.
    pub transactions: PathBuf,
    /// How long it waits.
    pub patience: Patience,
}

impl Service {
    /// Serves until nobody came for a while or `told` to end; what was begun is finished.
    ///
    /// # Errors
    /// When nobody can be listened to.
    pub async fn serve(self, listener: UnixListener, told: impl Future<Output = ()>) -> io::Result<()> {
        let (end, ends) = watch::channel(false);
        let live: Live = Arc::new(());
        let shared = Shared { node: self.node, transactions: Transactions::at(&self.transactions), news: News::new() };
        let patience = self.patience;
        let serving = Serving {
            shared: Arc::new(shared),
            body: patience.body,
            look: patience.look,
            ends: ends.clone(),
            live: Arc::clone(&live),
            programs: Arc::new(Semaphore::new(limits::PROGRAMS)),
        };
        let (router, places) = (router(&serving), Places::default());
        // All of the router's own are there by now: who comes besides is at work.
        let at_rest = Arc::strong_count(&live);
        let mut told = std::pin::pin!(told);
        loop {
            let stream = tokio::select! {
                () = &mut told => break,
                accepted = timeout(patience.idle, listener.accept()) => match accepted {
                    Ok(Ok((stream, _))) => stream,
                    Ok(Err(error)) if is_passing(&error) => {
                        sleep(BREATH).await;
                        continue;
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_) if Arc::strong_count(&live) == at_rest => break,
                    Err(_) => continue,
                },
            };
            let Ok(credentials) = stream.peer_cred() else { continue };
            let peer = Peer { uid: credentials.uid(), gid: credentials.gid() };
            let Some(place) = places.take(peer.uid) else {
                turn_away(stream);
                continue;
            };
            let access = self.permit.access(peer, stream.as_fd()).unwrap_or_else(|_| nobody(peer));
            let connection = Connection { caller: Caller { uid: peer.uid, access }, patience, ends: ends.clone() };
            let (router, live) = (router.clone(), Arc::clone(&live));
            tokio::spawn(async move {
                connection.serve(stream, router).await;
                drop((place, live));
            });
        }
        drop(listener);
        let _ = end.send(true);
        let quiet = async {
            while Arc::strong_count(&live) > at_rest {
                sleep(BREATH).await;
            }
        };
        // What takes longer is left to itself, and ends with the process.
        let _ = timeout(patience.end, quiet).await;
        Ok(())
    }
}

/// Whom nobody knows.
fn nobody(peer: Peer) -> Access {
    Access { who: format!("uid {}", peer.uid), read: false, change: false }
}

/// True for what passes: a client that left at once, descriptors that are used up.
fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = Errno::from_io_error(error);
    [Errno::CONNABORTED, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .into_iter()
        .any(|passing| code == Some(passing))
}

/// Says that there are too many; who does not listen is not waited for.
fn turn_away(mut stream: UnixStream) {
    let problem = Problem::new(Kind::Crowded, "too many are connected: try again");
    let text = serde_json::to_string(&problem).unwrap_or_default();
    let (status, media, length) = (problem.status, problem::MEDIA_TYPE, text.len());
    let head = format!(
        "HTTP/1.1 {status} Service Unavailable\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n"
    );
    tokio::spawn(async move {
        let _ = timeout(BREATH, stream.write_all(format!("{head}{text}").as_bytes())).await;
    });
}

/// One connection.
struct Connection {
    caller: Caller,
    patience: Patience,
    ends: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(mut self, stream: UnixStream, router: Router) {
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(self.caller.clone());
            router.clone().call(request)
        });
        let io = TokioIo::new(crate::patient::Patient::new(stream, self.patience.write));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.patience.head);
        http.max_headers(limits::HEADERS).max_buf_size(limits::HEAD_BYTES).half_close(false);
        let mut connection = std::pin::pin!(http.serve_connection(io, service).with_upgrades());
        // How it ends is the client's business.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.ends.wait_for(|ends| *ends) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Places for connections.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<u32, usize>>>);

/// One of them, until it is dropped.
struct Place {
    places: Places,
    uid: u32,
}

impl Places {
    /// None where there are too many, of all or of this user.
    fn take(&self, uid: u32) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&uid).copied().unwrap_or(0);
        if all >= limits::CONNECTIONS || (uid != 0 && own >= limits::CONNECTIONS_OF_ONE) {
            return None;
        }
        taken.insert(uid, own + 1);
        Some(Place { places: self.clone(), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_does_not_take_all_places() {
        let places = Places::default();
        let mine: Vec<_> = (0..limits::CONNECTIONS_OF_ONE).map(|_| places.take(1000).unwrap()).collect();
        assert!(places.take(1000).is_none());
        let roots: Vec<_> =
            (0..limits::CONNECTIONS - limits::CONNECTIONS_OF_ONE).map(|_| places.take(0).unwrap()).collect();
        assert!(places.take(0).is_none() && places.take(1001).is_none());
        drop(mine);
        assert!(places.take(1000).is_some() && places.take(0).is_some());
        drop(roots);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
