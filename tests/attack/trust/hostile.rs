//! A server that lies: answers of its own for some paths, an honest registry's for the others.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::content::{Bytes, digest, media_type};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How bytes are sent.
#[derive(Clone, Copy, PartialEq)]
pub enum Pace {
    Fast,
    /// One byte, a pause, one byte.
    Drip(Duration),
}

#[derive(Default)]
struct State {
    /// None: nobody else is asked.
    upstream: Option<String>,
    /// By the end of the path; none: not there.
    answers: Mutex<BTreeMap<String, Option<Bytes>>>,
    paces: Mutex<Vec<(String, Pace)>>,
    asked: Mutex<Vec<String>>,
    sent: AtomicU64,
}

/// A running server. Its threads end with the test.
pub struct Hostile {
    pub host: String,
    state: Arc<State>,
}

impl Hostile {
    pub fn start(upstream: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { upstream, ..State::default() });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that goes away is part of the test.
                thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        Self { host, state }
    }

    /// Answers so from now on, and fast.
    pub fn answer(&self, answers: BTreeMap<String, Option<Bytes>>) {
        *self.state.answers.lock().unwrap() = answers;
        self.state.paces.lock().unwrap().clear();
        self.state.asked.lock().unwrap().clear();
        self.state.sent.store(0, Ordering::Relaxed);
    }

    /// Sends what has `path` in its path at this pace.
    pub fn pace(&self, path: &str, pace: Pace) {
        self.state.paces.lock().unwrap().push((path.to_owned(), pace));
    }

    /// How often something with `path` in its path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|asked| asked.contains(path)).count()
    }

    /// Bytes of lies that were sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        // 0x16 begins a TLS handshake, which a client tries first.
        if stream.read(&mut byte)? == 0 || (head.is_empty() && byte[0] == 0x16) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    let head = read_head(&mut client)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    state.asked.lock().unwrap().push(path.clone());
    let answers = state.answers.lock().unwrap();
    let lie = answers.iter().find(|(end, _)| path.ends_with(&format!("/{end}"))).map(|(_, bytes)| bytes.clone());
    drop(answers);
    let pace = state.paces.lock().unwrap().iter().find(|(part, _)| path.contains(part)).map(|(_, pace)| *pace);
    match (lie, &state.upstream) {
        (Some(Some(bytes)), _) => lie_with(&mut client, state, &path, &bytes, pace.unwrap_or(Pace::Fast)),
        (None, Some(upstream)) => forward(&mut client, upstream, &head),
        _ => client.write_all(b"HTTP/1.1 404 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    }
}

fn lie_with(client: &mut TcpStream, state: &State, path: &str, bytes: &Bytes, pace: Pace) -> io::Result<()> {
    let mut head = "HTTP/1.1 200 x\r\nConnection: close\r\n".to_owned();
    let kind = match bytes {
        Bytes::Held(bytes) if path.contains("/manifests/") => {
            // What is stated of a lie is another.
            head.push_str(&format!("Docker-Content-Digest: {}\r\n", digest(bytes)));
            media_type(bytes)
        }
        _ if path.contains("/manifests/") => crate::content::MANIFEST,
        _ => "application/octet-stream",
    };
    head.push_str(&format!("Content-Type: {kind}\r\n"));
    let length = match bytes {
        Bytes::Held(bytes) => Some(bytes.len() as u64),
        Bytes::Zeros(length) => Some(*length),
        Bytes::Endless => None,
    };
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    client.write_all(format!("{head}\r\n").as_bytes())?;
    let mut send = |piece: &[u8]| {
        state.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        client.write_all(piece)
    };
    match (bytes, pace) {
        (Bytes::Held(bytes), Pace::Fast) => send(bytes),
        (Bytes::Held(bytes), Pace::Drip(pause)) => bytes.iter().try_for_each(|byte| {
            thread::sleep(pause);
            send(&[*byte])
        }),
        (_, Pace::Drip(pause)) => loop {
            thread::sleep(pause);
            send(&[0])?;
        },
        (_, Pace::Fast) => {
            let mut left = length.unwrap_or(u64::MAX);
            while left > 0 {
                let now = left.min(ZEROS.len() as u64);
                send(&ZEROS[..now as usize])?;
                left -= now;
            }
            Ok(())
        }
    }
}

/// Passes a request without a body on, and the answer back.
fn forward(client: &mut TcpStream, upstream: &str, head: &str) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let lines: Vec<&str> = lines.collect();
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    io::copy(&mut server, client).map(drop)
}
