//! The client's side of a program in a host container: what is typed and said, either way, until the program has ended.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    thread,
    time::Instant,
};

use anyhow::{Context as _, anyhow, bail};
use reqwest::{StatusCode, Upgraded, header};
use rocketos_api::{
    frames::{FRAME_BYTES, Frame, PROTOCOL},
    wire::Exec,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, split},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::client::{Client, Reply, media};
use crate::terminal::{self, Escape, Raw};

/// Pieces of input that wait to be passed on: what leaves the program is seen behind some.
const AHEAD: usize = 16;
/// What a program ends with, besides its number, that a signal ends.
const SIGNALLED: i32 = 128;

impl Client {
    /// Has a program started in a host container, passes on what is said either way, and returns the code that it ended with. With a
    /// terminal, the one here is the program's meanwhile, whatever standard input is.
    pub fn exec(
        &self,
        container: &str,
        asked: &Exec,
        input: impl Read + Send + 'static,
        out: &mut impl Write,
        err: &mut impl Write,
    ) -> anyhow::Result<i32> {
        self.runtime.block_on(async {
            // Before the size is told: what changes it from now on is heard.
            let signals = asked.terminal.is_some().then(Signals::new).transpose();
            let mut signals = signals.context("waiting for signals")?;
            let (mut from, to) = split(self.start(container, asked).await?);
            let _raw = match signals {
                Some(_) => Raw::take(io::stdin()).context("handing the terminal over")?,
                None => None,
            };
            let (input, mut left) = read_aside(input, signals.is_some());
            let (window, ends) = match &mut signals {
                Some(Signals { window, ends }) => (Some(window), Some(ends)),
                None => (None, None),
            };
            let said = async {
                // A program that has ended hears no more; what it said last counts.
                let _ = say(input, to, window).await;
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                heard = hear(&mut from, out, err) => heard,
                number = ended_by(ends) => Ok(SIGNALLED + number),
                Some(()) = left.recv() => bail!("left the program, which is ended"),
                never = said => match never {},
            }
        })
    }

    /// Asks for it, and has the connection that is the program's.
    async fn start(&self, container: &str, asked: &Exec) -> anyhow::Result<Upgraded> {
        let body = serde_json::to_string(asked).context("writing the command")?;
        let request = self.request("POST", &format!("/v1/host-containers/{container}/exec"))?;
        let request = request.header(header::CONNECTION, "upgrade").header(header::UPGRADE, PROTOCOL);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (status, media) = (response.status().as_u16(), media(&response));
            let bytes = response.bytes().await.context("reading the answer")?.to_vec();
            Reply { status, media, bytes }.require()?;
            bail!("the API answered {status}, and started nothing");
        }
        response.upgrade().await.context("taking the connection over")
    }
}

/// Signals that are heard while a terminal is raw: by themselves they would end this and leave it so.
struct Signals {
    window: Signal,
    ends: [(Signal, i32); 4],
}

impl Signals {
    fn new() -> io::Result<Self> {
        let ends = |kind: SignalKind| signal(kind).map(|signal| (signal, kind.as_raw_value()));
        let hangup = ends(SignalKind::hangup())?;
        let (interrupt, quit) = (ends(SignalKind::interrupt())?, ends(SignalKind::quit())?);
        let terminate = ends(SignalKind::terminate())?;
        Ok(Self { window: signal(SignalKind::window_change())?, ends: [hangup, interrupt, quit, terminate] })
    }
}

/// The number of the signal that ends this, once it comes.
async fn ended_by(ends: Option<&mut [(Signal, i32); 4]>) -> i32 {
    let Some([(hangup, one), (interrupt, two), (quit, three), (terminate, four)]) = ends else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = hangup.recv() => *one,
        _ = interrupt.recv() => *two,
        _ = quit.recv() => *three,
        _ = terminate.recv() => *four,
    }
}

/// Passes on what comes, and how large the window is; ends where nobody hears.
async fn say(
    mut input: mpsc::Receiver<Vec<u8>>,
    mut to: impl AsyncWrite + Unpin,
    mut window: Option<&mut Signal>,
) -> io::Result<Infallible> {
    let mut over = false;
    loop {
        let resized = async {
            match &mut window {
                Some(window) => _ = window.recv().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            bytes = input.recv(), if !over => {
                over = bytes.is_none();
                Frame::Input(bytes.unwrap_or_default())
            }
            () = resized => Frame::Window(terminal::window()),
        };
        frame.write(&mut to).await?;
    }
}

/// Hears the program to its end, and says with which code it ended.
async fn hear(from: &mut (impl AsyncRead + Unpin), out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<i32> {
    loop {
        match Frame::read(from).await.context("hearing what the program says")? {
            Some(Frame::Output(bytes)) => write(out, &bytes)?,
            Some(Frame::Error(bytes)) => write(err, &bytes)?,
            Some(Frame::Ended(code)) => return Ok(code),
            Some(Frame::Failed(problem)) => return Err(anyhow!(*problem)),
            Some(Frame::Input(_) | Frame::Window(_)) => bail!("the API says what only a client says"),
            None => bail!("the API left before the program had ended"),
        }
    }
}

/// Reads in a thread of its own: one that waits for a terminal keeps nobody from ending. Says as well when somebody leaves a terminal.
fn read_aside(mut input: impl Read + Send + 'static, typed: bool) -> (mpsc::Receiver<Vec<u8>>, mpsc::Receiver<()>) {
    let ((read, reads), (leave, left)) = (mpsc::channel(AHEAD), mpsc::channel(1));
    thread::spawn(move || {
        let (mut bytes, mut escape) = (vec![0; FRAME_BYTES], Escape::default());
        while let Ok(some @ 1..) = input.read(&mut bytes) {
            if typed && escape.is_in(&bytes[..some], Instant::now()) {
                // Where it cannot be said it was said, or nobody waits.
                let _ = leave.try_send(());
            }
            if read.blocking_send(bytes[..some].to_vec()).is_err() {
                return;
            }
        }
    });
    (reads, left)
}

fn write(to: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    to.write_all(bytes).and_then(|()| to.flush()).context("passing on what the program says")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
        path::Path,
    };

    use rocketos_api::{MEDIA_TYPE, Problem};

    use super::*;
    use crate::pull::runtime;

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
        let asked = Exec { command: vec!["tool".to_owned()], terminal: None };
        let code = client.exec("admin", &asked, input, &mut out, &mut err);
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
