//! The client's side of the API: requests over its socket.

use std::{
    convert::Infallible,
    io::{Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use rocketos_api::{
    MEDIA_TYPE, Problem,
    frames::{FRAME_BYTES, Frame, PROTOCOL},
    wire::Exec,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{io::split, runtime::Runtime, sync::mpsc};

use crate::pull::runtime;

/// The host of every request: the socket is what counts.
const HOST: &str = "http://localhost";
/// Bytes of an answer.
const ANSWER: usize = 64 << 20;
/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(30);

/// Nobody listens.
#[derive(Debug, thiserror::Error)]
#[error("nothing listens at {socket}: 'systemctl status rocketos-api.socket' says why")]
pub struct NoApi {
    /// Where.
    socket: String,
}

/// Whoever asks.
pub struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    socket: String,
}

/// What was answered.
pub struct Reply {
    status: u16,
    media: String,
    bytes: Vec<u8>,
}

impl Client {
    /// Of this socket.
    pub fn at(socket: &Path) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().unix_socket(socket).no_proxy().connect_timeout(CONNECTING).build();
        Ok(Self { http: http.context("making a client")?, runtime: runtime()?, socket: socket.display().to_string() })
    }

    /// Asks, and waits for the answer; `path` is with its query.
    pub fn ask(&self, method: &str, path: &str, if_match: Option<u64>, body: Option<&Value>) -> anyhow::Result<Reply> {
        self.runtime.block_on(async {
            let mut response = self.send(method, path, if_match, body.map(Value::to_string)).await?;
            let (status, media) = (response.status().as_u16(), media(&response));
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.context("reading the answer")? {
                ensure!(bytes.len() + chunk.len() <= ANSWER, "the answer has more than {ANSWER} bytes");
                bytes.extend_from_slice(&chunk);
            }
            Ok(Reply { status, media, bytes })
        })
    }

    /// Asks, and hands on what comes while it comes. A problem is an error, and handed on too.
    pub fn stream(
        &self,
        method: &str,
        path: &str,
        if_match: Option<u64>,
        body: Option<String>,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut response = self.send(method, path, if_match, body).await?;
            let (status, media) = (response.status().as_u16(), media(&response));
            let mut kept = Vec::new();
            while let Some(chunk) = response.chunk().await.context("reading the answer")? {
                take(&chunk)?;
                if media == MEDIA_TYPE && kept.len() < ANSWER {
                    kept.extend_from_slice(&chunk);
                }
            }
            Reply { status, media, bytes: kept }.require()
        })
    }

    /// Has a program started in a host container, passes on what is said either way, and returns the code that it ended with.
    pub fn exec(
        &self,
        container: &str,
        command: &[String],
        input: impl Read + Send + 'static,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<i32> {
        let body = serde_json::to_string(&Exec { command: command.to_vec() }).context("writing the command")?;
        let request = self.request("POST", &format!("/v1/host-containers/{container}/exec"))?;
        let request = request.header(header::CONNECTION, "upgrade").header(header::UPGRADE, PROTOCOL);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        self.runtime.block_on(async {
            let response = request.send().await.map_err(|error| self.unsent(error))?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let (status, media) = (response.status().as_u16(), media(&response));
                let bytes = response.bytes().await.context("reading the answer")?.to_vec();
                Reply { status, media, bytes }.require()?;
                bail!("the API answered {status}, and started nothing");
            }
            let connection = response.upgrade().await.context("taking the connection over")?;
            let (mut from, mut to) = split(connection);
            let mut input = read_aside(input);
            let say = async {
                while let Some(bytes) = input.recv().await {
                    Frame::Input(bytes).write(&mut to).await?;
                }
                Frame::Input(Vec::new()).write(&mut to).await
            };
            let hear = async {
                loop {
                    match Frame::read(&mut from).await.context("hearing what the program says")? {
                        Some(Frame::Output(bytes)) => write(out, &bytes)?,
                        Some(Frame::Error(bytes)) => write(err, &bytes)?,
                        Some(Frame::Ended(code)) => return Ok(code),
                        Some(Frame::Failed(problem)) => return Err(anyhow!(*problem)),
                        Some(Frame::Input(_)) => bail!("the API says what only a client says"),
                        None => bail!("the API left before the program had ended"),
                    }
                }
            };
            let said = async {
                // A program that has ended hears no more; what it said last counts.
                let _ = say.await;
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                heard = hear => heard,
                never = said => match never {},
            }
        })
    }

    fn request(&self, method: &str, path: &str) -> anyhow::Result<RequestBuilder> {
        ensure!(path.starts_with('/'), "a path begins with '/', such as /v1/status");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).context("the method")?;
        Ok(self.http.request(method, format!("{HOST}{path}")))
    }

    fn unsent(&self, error: reqwest::Error) -> anyhow::Error {
        match error.is_connect() {
            true => anyhow!(NoApi { socket: self.socket.clone() }),
            false => anyhow!(error).context(format!("asking the API at {}", self.socket)),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        if_match: Option<u64>,
        body: Option<String>,
    ) -> anyhow::Result<Response> {
        let mut request = self.request(method, path)?;
        if let Some(generation) = if_match {
            request = request.header(header::IF_MATCH, format!("\"{generation}\""));
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        request.send().await.map_err(|error| self.unsent(error))
    }
}

/// Reads in a thread of its own: one that waits for a terminal keeps nobody from ending.
fn read_aside(mut input: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (read, reads) = mpsc::channel(1);
    thread::spawn(move || {
        let mut bytes = vec![0; FRAME_BYTES];
        while let Ok(some @ 1..) = input.read(&mut bytes) {
            if read.blocking_send(bytes[..some].to_vec()).is_err() {
                return;
            }
        }
    });
    reads
}

fn write(to: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    to.write_all(bytes).and_then(|()| to.flush()).context("passing on what the program says")
}

fn media(response: &Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

impl Reply {
    /// The answer's bytes.
    pub fn bytes(self) -> anyhow::Result<Vec<u8>> {
        self.require()?;
        Ok(self.bytes)
    }

    /// An error unless what was asked for was done.
    fn require(&self) -> anyhow::Result<()> {
        if self.status < 400 {
            return Ok(());
        }
        if self.media == MEDIA_TYPE
            && let Ok(problem) = serde_json::from_slice::<Problem>(&self.bytes)
        {
            return Err(problem.into());
        }
        bail!("the API answered {}, and nothing that says why", self.status)
    }

    /// The answer.
    pub fn json(&self) -> anyhow::Result<Value> {
        self.read()
    }

    /// The answer as what it is.
    pub fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        self.require()?;
        serde_json::from_slice(&self.bytes).context("reading the API's answer")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
    };

    use super::*;

    /// A service that takes a request, answers with `head`, and says these frames once it has heard the end of the input.
    fn service(folder: &Path, head: String, frames: Vec<Frame>) -> thread::JoinHandle<Vec<u8>> {
        let listener = UnixListener::bind(folder.join("api.sock")).unwrap();
        thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            let mut reader = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                let known = line.to_lowercase();
                if let Some(bytes) = known.strip_prefix("content-length: ") {
                    length = bytes.trim().parse().unwrap();
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            (&stream).write_all(head.as_bytes()).unwrap();
            let mut heard = Vec::new();
            if !frames.is_empty() {
                let mut byte = [0; 5];
                loop {
                    reader.read_exact(&mut byte).unwrap();
                    let length = u32::from_be_bytes(byte[1..].try_into().unwrap()) as usize;
                    let mut said = vec![0; length];
                    reader.read_exact(&mut said).unwrap();
                    match length {
                        0 => break,
                        _ => heard.extend(said),
                    }
                }
                let mut bytes = Vec::new();
                let runtime = runtime().unwrap();
                runtime.block_on(async {
                    for frame in frames {
                        frame.write(&mut bytes).await.unwrap();
                    }
                });
                (&stream).write_all(&bytes).unwrap();
            }
            heard
        })
    }

    fn exec(folder: &Path, input: &'static [u8]) -> (anyhow::Result<i32>, Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let client = Client::at(&folder.join("api.sock")).unwrap();
        let code = client.exec("admin", &["tool".to_owned()], input, &mut out, &mut err);
        (code, out, err)
    }

    fn becomes() -> String {
        format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n\r\n")
    }

    #[test]
    fn a_program_is_heard_and_told_and_its_code_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let says = vec![
            Frame::Output(Vec::new()),
            Frame::Output(b"one".to_vec()),
            Frame::Error(b"two".to_vec()),
            Frame::Output(b"three".to_vec()),
            Frame::Ended(42),
        ];
        let service = service(folder.path(), becomes(), says);
        let (code, out, err) = exec(folder.path(), b"words for it");
        assert_eq!((code.unwrap(), out, err), (42, b"onethree".to_vec(), b"two".to_vec()));
        assert_eq!(service.join().unwrap(), b"words for it");
    }

    #[test]
    fn what_does_not_come_to_an_end_is_an_error() {
        let problem = Problem::new(rocketos_api::Kind::Failed, "systemd does not answer");
        let text = serde_json::to_string(&problem).unwrap();
        let refused =
            format!("HTTP/1.1 500 X\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        for (head, frames, told) in [
            (becomes(), vec![Frame::Output(b"x".to_vec())], "the API left before"),
            (becomes(), vec![Frame::Failed(Box::new(problem))], "systemd does not answer"),
            (becomes(), vec![Frame::Input(b"x".to_vec())], "only a client says"),
            (refused, Vec::new(), "systemd does not answer"),
            ("HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n".to_owned(), Vec::new(), "started nothing"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let _service = service(folder.path(), head, frames);
            let error = exec(folder.path(), b"").0.unwrap_err();
            assert!(format!("{error:#}").contains(told), "{told}: {error:#}");
        }
    }
}
