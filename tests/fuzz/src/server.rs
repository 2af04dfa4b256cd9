//! A registry on this machine that answers what a target wants.
//!
//! It lives on the runtime of the thread that asks it. Whatever it is made to say, no answer names another host: a target
//! takes no input that could.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

/// Longest request that is read.
const REQUEST_BYTES: usize = 64 << 10;

/// An answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Says what is answered to a request's head.
pub(crate) type Says = Box<dyn Fn(&str) -> Answer>;

/// The server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: LocalSet,
    says: Rc<RefCell<Option<Says>>>,
}

impl Server {
    /// Starts it; it answers while [`Server::tasks`] runs.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a socket has an address");
        let (tasks, says) = (LocalSet::new(), Rc::new(RefCell::new(None)));
        let shared = Rc::clone(&says);
        tasks.spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that goes away is no finding.
                tokio::task::spawn_local(answer(stream, Rc::clone(&shared)));
            }
        });
        Self { address, tasks, says }
    }

    /// Sets what is answered from now on.
    pub(crate) fn says(&self, says: Says) {
        *self.says.borrow_mut() = Some(says);
    }
}

async fn answer(mut stream: TcpStream, says: Rc<RefCell<Option<Says>>>) -> Option<()> {
    let mut request = Vec::new();
    let head = loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&piece[..read]);
        // Hanging up is how a server says that it knows no TLS.
        if request.len() > REQUEST_BYTES || !request[0].is_ascii_uppercase() {
            return None;
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8_lossy(&request[..end]).into_owned();
        }
    };
    let answer = says.borrow().as_ref().map(|says| says(&head))?;
    let length = answer.body.len();
    let mut out =
        format!("HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {length}\r\n", answer.status).into_bytes();
    for (name, value) in answer.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(&value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&answer.body);
    stream.write_all(&out).await.ok()?;
    stream.shutdown().await.ok()
}
