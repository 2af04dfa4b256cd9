//! A network that breaks: a proxy in front of a registry. One request for each connection, answers held in memory.

use openssl::ssl::SslAcceptor;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What happens to one answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing follows so many bytes of the body.
    Stall(usize),
    /// This status instead.
    Status(u16),
    /// A shorter body, with the length to match.
    Truncate(usize),
    /// A longer body, with the length to match.
    Append(usize),
    /// A longer body, without any length.
    AppendUnannounced(usize),
    /// One byte is another.
    Flip(usize),
    /// `Range` does not reach the registry.
    IgnoreRange,
    /// Another `Content-Type`.
    ContentType(&'static str),
    /// Sent elsewhere.
    Redirect(String),
    /// 401 with this challenge unless `Authorization` is this.
    Demand(String, &'static str),
    /// This JSON, to whoever has this `Authorization`.
    Json(&'static str, &'static str),
}

struct Rule {
    path: String,
    fault: Fault,
    /// Requests it still applies to.
    left: usize,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Bytes of body that were sent.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
}

/// A running proxy. Its threads end with the test.
#[derive(Clone)]
pub struct Proxy {
    pub host: String,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(upstream: &str) -> Self {
        Self::listen(upstream, serve)
    }

    /// The same behind TLS.
    pub fn start_tls(upstream: &str, acceptor: SslAcceptor) -> Self {
        Self::listen(upstream, move |stream, upstream, state| {
            let stream = acceptor.accept(stream).map_err(std::io::Error::other)?;
            serve(stream, upstream, state)
        })
    }

    fn listen(
        upstream: &str,
        serve: impl Fn(TcpStream, &str, &State) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (state, serve) = (Arc::new(State::default()), Arc::new(serve));
        let (shared, upstream) = (state.clone(), upstream.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, upstream, serve) = (shared.clone(), upstream.clone(), serve.clone());
                // A client that goes away is part of the test.
                std::thread::spawn(move || serve(stream, &upstream, &shared).ok());
            }
        });
        Self { host, state }
    }

    /// Lifts every fault.
    pub fn clear(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// Does this to the next `times` requests whose path has `path` in it; rules for one path apply in order.
    pub fn fault(&self, path: &str, times: usize, fault: Fault) -> &Self {
        self.state.rules.lock().unwrap().push(Rule { path: path.to_owned(), fault, left: times });
        self
    }

    /// Requests whose path has `path` in it.
    pub fn requests(&self, path: &str) -> Vec<Request> {
        let all = self.state.requests.lock().unwrap();
        all.iter().filter(|request| request.path.contains(path)).cloned().collect()
    }
}

fn read_head(stream: &mut impl Read) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), rest)));
        }
        let read = stream.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..read]);
        // 0x16 begins a TLS handshake.
        if read == 0 || bytes[0] == 0x16 {
            return Ok(None);
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn set_header(head: &str, name: &str, value: Option<&str>) -> String {
    let mut lines: Vec<String> = head
        .trim_end()
        .lines()
        .filter(|line| !line.split(':').next().unwrap_or_default().eq_ignore_ascii_case(name))
        .map(str::to_owned)
        .collect();
    lines.extend(value.map(|value| format!("{name}: {value}")));
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

fn serve(mut client: impl Read + Write, upstream: &str, state: &State) -> std::io::Result<()> {
    let Some((head, mut body)) = read_head(&mut client)? else {
        return Ok(());
    };
    let length = header(&head, "Content-Length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while body.len() < length {
        let mut chunk = [0; 4096];
        let read = client.read(&mut chunk)?;
        body.extend_from_slice(&chunk[..read]);
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let authorization = header(&head, "Authorization");
    let fault = {
        let mut rules = state.rules.lock().unwrap();
        let met = |fault: &Fault| matches!(fault, Fault::Demand(_, wanted) if authorization.as_deref() == Some(wanted));
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && path.contains(&rule.path) && !met(&rule.fault));
        rule.map(|rule| {
            rule.left -= 1;
            rule.fault.clone()
        })
    };
    let mut log = Request { path, range: header(&head, "Range"), authorization, sent: 0 };
    let authorization = log.authorization.clone();
    let mut request = set_header(&head, "Connection", Some("close"));
    if matches!(fault, Some(Fault::IgnoreRange)) {
        request = set_header(&request, "Range", None);
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(request.as_bytes())?;
    server.write_all(&body)?;
    let Some((mut head, mut body)) = read_head(&mut server)? else {
        return Ok(());
    };
    server.read_to_end(&mut body)?;
    let full = body.len();
    let mut wait = Duration::ZERO;
    match fault {
        None | Some(Fault::IgnoreRange) => {}
        Some(Fault::Cut(at)) => body.truncate(at),
        Some(Fault::Stall(at)) => {
            body.truncate(at);
            wait = Duration::from_secs(60);
        }
        Some(Fault::Truncate(to)) => {
            body.truncate(to);
            head = set_header(&head, "Content-Length", Some(&to.to_string()));
        }
        Some(Fault::Append(more)) => {
            body.resize(full + more, 0x5a);
            head = set_header(&head, "Content-Length", Some(&body.len().to_string()));
        }
        Some(Fault::AppendUnannounced(more)) => {
            body.resize(full + more, 0x5a);
            head = set_header(&head, "Content-Length", None);
        }
        Some(Fault::Flip(at)) => body[at] ^= 1,
        Some(Fault::ContentType(media_type)) => head = set_header(&head, "Content-Type", Some(media_type)),
        Some(Fault::Status(status)) => (head, body) = answer(status, "", b""),
        Some(Fault::Redirect(host)) => {
            (head, body) = answer(307, &format!("Location: http://{host}{}\r\n", log.path), b"");
        }
        Some(Fault::Demand(challenge, _)) => {
            (head, body) = answer(401, &format!("WWW-Authenticate: {challenge}\r\n"), b"");
        }
        Some(Fault::Json(wanted, text)) => {
            let status = if authorization.as_deref() == Some(wanted) { 200 } else { 401 };
            (head, body) = answer(status, "", text.as_bytes());
        }
    }
    log.sent = body.len();
    state.requests.lock().unwrap().push(log);
    client.write_all(head.as_bytes())?;
    client.write_all(&body)?;
    std::thread::sleep(wait);
    Ok(())
}

fn answer(status: u16, headers: &str, body: &[u8]) -> (String, Vec<u8>) {
    let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    (head, body.to_vec())
}
