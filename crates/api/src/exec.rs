//! A connection that becomes a program's: it is started in a host container, and ends with the connection.
//!
//! ```text
//! request with Upgrade -> who may? -> started -> 101 -> frames either way -> the program ends: its code
//!                                                |  who asked leaves, or the service is told to end: the program is stopped
//! ```

use std::{future::Future, io, sync::Arc, time::Duration};

use axum::{
    body::Body as Bytes,
    extract::Request,
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rustix::io::ioctl_fionbio;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::unix::pipe::{Receiver, Sender},
    sync::{Mutex, OwnedSemaphorePermit},
    time::{sleep, timeout},
};

use crate::{
    Kind, Problem,
    frames::{FRAME_BYTES, Frame, PROTOCOL},
    limits,
    node::{Ends, Started},
    operations::{self, Operation},
    router::{Caller, Serving, asked},
    terminal::Terminal,
    wire,
};

/// How often it is looked whether who asked is still there, while nothing is said.
const BEAT: Duration = Duration::from_secs(2);
/// How long a program that is stopped is waited for.
const STOPPING: Duration = Duration::from_secs(20);

/// Starts what is asked for, and leaves the connection to it.
pub(crate) async fn answer(
    operation: &Operation,
    serving: &Serving,
    caller: Caller,
    mut request: Request,
) -> Result<Response<Bytes>, Problem> {
    let becomes = request.extensions_mut().remove::<OnUpgrade>().filter(|_| wants(request.headers()));
    let becomes = becomes
        .ok_or_else(|| Problem::new(Kind::Malformed, format!("say Connection: Upgrade and Upgrade: {PROTOCOL}")))?;
    let asked = asked(operation, serving, caller, request).await?;
    let operations::Nothing {} = asked.query()?;
    let wire::Exec { command, terminal } = asked.body()?;
    check(&command)?;
    terminal.as_ref().map_or(Ok(()), check_terminal)?;
    let name = asked.parameter("container").to_owned();
    let place = Arc::clone(&serving.programs).try_acquire_owned();
    let place = place.map_err(|_| {
        Problem::new(Kind::TooMany, format!("{} programs run in host containers already", limits::PROGRAMS))
    })?;
    let start = move || asked.shared.node.exec(&name, &command, terminal.as_ref(), &asked.who);
    let start = tokio::task::spawn_blocking(start);
    let started = start.await.map_err(|_| Problem::new(Kind::Failed, "the service has a defect"))??;
    let (ends, live) = (serving.ends.clone(), Arc::clone(&serving.live));
    tokio::spawn(async move {
        let mut ends = ends;
        let told = async { _ = ends.wait_for(|ends| *ends).await };
        converse(becomes, started, told, place).await;
        drop(live);
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Whether a request wants its connection to become a program's.
fn wants(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()))
}

fn check(command: &[String]) -> Result<(), Problem> {
    let bytes: usize = command.iter().map(String::len).sum();
    let sound = command.first().is_some_and(|program| !program.is_empty())
        && command.len() <= limits::WORDS
        && bytes <= limits::COMMAND_BYTES
        && command.iter().all(|word| !word.contains('\0'));
    match sound {
        true => Ok(()),
        false => Err(Problem::new(
            Kind::Malformed,
            format!(
                "a command is a program and its arguments: at most {} words and {} bytes, none of them 0",
                limits::WORDS,
                limits::COMMAND_BYTES
            ),
        )),
    }
}

fn check_terminal(terminal: &wire::Terminal) -> Result<(), Problem> {
    let wire::Terminal { term, window } = terminal;
    let sound = (1..=limits::TERM_BYTES).contains(&term.len())
        && term.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
        && window.columns > 0
        && window.rows > 0;
    match sound {
        true => Ok(()),
        false => Err(Problem::new(
            Kind::Malformed,
            format!(
                "a terminal has a name of at most {} letters, digits, '-', '_', '.' and '+', and a window with columns and rows",
                limits::TERM_BYTES
            ),
        )),
    }
}

type Connection = TokioIo<Upgraded>;
type Out = Mutex<WriteHalf<Connection>>;

/// Passes on what is said, until the program has ended or nobody wants it any more.
async fn converse(becomes: OnUpgrade, started: Started, told: impl Future<Output = ()>, place: OwnedSemaphorePermit) {
    let Started { ends, program } = started;
    let waits = Arc::clone(&program);
    let mut ended = tokio::task::spawn_blocking(move || waits.wait());
    if let (Ok(upgraded), Ok((input, output, error))) = (becomes.await, taken(ends)) {
        let (from, to) = split(TokioIo::new(upgraded));
        let to = Mutex::new(to);
        let comes_to_end = async {
            tokio::join!(pump(Some(output), &to, Frame::Output), pump(error, &to, Frame::Error));
            (&mut ended).await
        };
        let came_to = tokio::select! {
            came_to = comes_to_end => Some(came_to),
            () = listen(from, input) => None,
            () = beat(&to) => None,
            () = told => None,
        };
        if let Some(came_to) = came_to {
            let last = match came_to.unwrap_or_else(|_| Err(Problem::new(Kind::Failed, "the service has a defect"))) {
                Ok(code) => Frame::Ended(code),
                Err(problem) => Frame::Failed(Box::new(problem)),
            };
            let mut to = to.lock().await;
            // Who left meanwhile hears nothing.
            let _ = last.write(&mut *to).await;
            let _ = to.shutdown().await;
            return;
        }
    }
    let stop = tokio::task::spawn_blocking(move || program.stop());
    // What takes longer is systemd's.
    let _ = timeout(STOPPING, async { _ = (stop.await, ended.await) }).await;
    drop(place);
}

/// Where a program hears who asked.
struct Hears {
    /// None once it hears no more.
    input: Option<Sender>,
    terminal: Option<Terminal>,
}

/// Where it hears, where it speaks, and where it complains, if that is elsewhere.
fn taken(ends: Ends) -> io::Result<(Hears, Receiver, Option<Receiver>)> {
    match ends {
        Ends::Pipes { stdin, stdout, stderr } => {
            let hears = Hears { input: Some(Sender::from_owned_fd(stdin)?), terminal: None };
            Ok((hears, Receiver::from_owned_fd(stdout)?, Some(Receiver::from_owned_fd(stderr)?)))
        }
        Ends::Terminal(ours) => {
            // No pipe, but waited for as one. Where all have left it, reading fails (tty_ioctl(4), EIO), after all that was said.
            ioctl_fionbio(&ours, true)?;
            let output = Receiver::from_owned_fd_unchecked(ours.try_clone()?)?;
            let input = Sender::from_owned_fd_unchecked(ours.try_clone()?)?;
            Ok((Hears { input: Some(input), terminal: Some(Terminal(ours)) }, output, None))
        }
    }
}

/// What a program says, to who asked; returns at its end.
async fn pump(from: Option<Receiver>, to: &Out, frame: fn(Vec<u8>) -> Frame) {
    let Some(mut from) = from else { return };
    let mut bytes = vec![0; FRAME_BYTES];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if frame(bytes[..read].to_vec()).write(&mut *to.lock().await).await.is_err() {
            return;
        }
    }
}

/// What who asked says, to the program; returns when they left.
async fn listen(mut from: ReadHalf<Connection>, Hears { mut input, terminal }: Hears) {
    loop {
        let over = match (Frame::read(&mut from).await, &terminal) {
            (Ok(Some(Frame::Input(bytes))), None) if bytes.is_empty() => true,
            (Ok(Some(Frame::Input(bytes))), Some(terminal)) if bytes.is_empty() => match terminal.end_of_file() {
                Ok(byte) => is_deaf(&mut input, &[byte]).await,
                Err(_) => true,
            },
            (Ok(Some(Frame::Input(bytes))), _) => is_deaf(&mut input, &bytes).await,
            (Ok(Some(Frame::Window(window))), Some(terminal)) => terminal.resize(window).is_err(),
            // Whatever else is said is no word of this protocol, and ends it.
            _ => return,
        };
        if over {
            input = None;
        }
    }
}

/// Tells a program; one that reads no more is not told more.
async fn is_deaf(input: &mut Option<Sender>, bytes: &[u8]) -> bool {
    match input {
        Some(input) => input.write_all(bytes).await.is_err(),
        None => true,
    }
}

/// Returns when nobody is there any more: while a program reads nothing, nobody hears that who asked has left.
async fn beat(to: &Out) {
    loop {
        sleep(BEAT).await;
        let beaten: io::Result<()> = Frame::Output(Vec::new()).write(&mut *to.lock().await).await;
        if beaten.is_err() {
            return;
        }
    }
}
