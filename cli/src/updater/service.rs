//! The service's side: one connection, one verb.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::protocol::{self, Answer, Request};
use super::{domain, is_served, progress_of};
use crate::adapters::itself;
use crate::args::Args;
use crate::exit;

/// How long a client may take to say what it wants, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of output that are sent at once.
const CHUNK: usize = 32 << 10;
/// The exit code of a wrong command line, as clap's own.
const USAGE: u8 = 2;
/// The exit code of what is not allowed (sysexits.h, EX_NOPERM).
const NOT_ALLOWED: u8 = 77;
/// Folders that the client sees with other files in them.
const OWN: [&str; 2] = ["/tmp", "/var/tmp"];
/// Transports whose names are paths.
const FILES: [&str; 2] = ["oci:", "oci-archive:"];
/// The exit code of a verb that a signal ended, before the signal's number, as shells have it.
const SIGNALLED: i32 = 128;

/// Does what the client on standard input asks.
///
/// # Errors
/// Only where the client cannot be told.
pub fn serve() -> anyhow::Result<()> {
    let connection = std::io::stdin().as_fd().try_clone_to_owned().context("taking the connection")?;
    let connection = UnixStream::from(connection);
    connection.set_read_timeout(Some(PATIENCE)).context("standard input is not a connection")?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let client = Client { connection: Mutex::new(connection.try_clone()?) };
    let end = match asked(&connection).and_then(|request| run(&request, &connection, &client)) {
        Ok(code) => code,
        Err(Refused { code, why }) => {
            eprintln!("refused: {}", exit::chain(&why));
            client.send(&Answer::Err(format!("rocketctl: {}\n", exit::chain(&why))));
            code
        }
    };
    client.send(&Answer::End(end));
    Ok(())
}

/// Why a verb was not started.
struct Refused {
    code: u8,
    why: anyhow::Error,
}

impl From<anyhow::Error> for Refused {
    fn from(why: anyhow::Error) -> Self {
        Self { code: 1, why }
    }
}

/// Reads the request of who may ask.
fn asked(connection: &UnixStream) -> Result<Request, Refused> {
    domain::admit(connection).map_err(|why| Refused { code: NOT_ALLOWED, why })?;
    let request: Request = protocol::next(&mut BufReader::new(connection), protocol::REQUEST)?
        .ok_or_else(|| anyhow!("the client asks for nothing"))?;
    let args = Args::try_parse_from(std::iter::once("rocketctl").chain(request.arguments.iter().map(String::as_str)))
        .map_err(|error| Refused { code: USAGE, why: error.into() })?;
    let ours = is_served(&args.verb) && progress_of(&args.verb).is_none_or(|progress| progress.progress_fd.is_none());
    if !ours {
        return Err(Refused {
            code: USAGE,
            why: anyhow!("the updater does not do this: {}", request.arguments.join(" ")),
        });
    }
    if let Some(path) = unseen(&request) {
        let why =
            anyhow!("{} is not there for the updater, which has a /tmp of its own; put it elsewhere", path.display());
        return Err(Refused { code: USAGE, why });
    }
    Ok(request)
}

/// True of folders that this service has of its own (systemd.exec(5), `PrivateTmp=`).
fn is_own(path: &Path) -> bool {
    OWN.iter().any(|own| path.starts_with(own))
}

/// A file that the client names and sees, and this service does not.
fn unseen(request: &Request) -> Option<PathBuf> {
    let values = request.arguments.iter().filter_map(|argument| Some(argument.split_once('=')?.1));
    let mut named = request.arguments.iter().map(String::as_str).chain(values);
    let path = |text: &str| match FILES.iter().find_map(|transport| text.strip_prefix(transport)) {
        Some(path) => Some(request.directory.join(path)),
        None => text.starts_with('/').then(|| PathBuf::from(text)),
    };
    named.find_map(|text| path(text).filter(|path| is_own(path)))
}

/// Runs the verb, and sends what it says; returns its exit code.
fn run(request: &Request, connection: &UnixStream, client: &Client) -> Result<u8, Refused> {
    let progress = request.progress.then(pipe).transpose()?;
    let mut command = itself::again(&request.arguments, progress.as_ref().map(|(_, write)| write.as_fd()));
    // One of its own is empty; a name that is relative to it was refused.
    command.current_dir(if is_own(&request.directory) { Path::new("/") } else { &request.directory });
    command.envs(request.environment.iter().filter(|(name, _)| protocol::ENVIRONMENT.contains(&name.as_str())));
    let mut child = command.spawn().context("starting the verb")?;
    let events = progress.map(|(read, _)| read);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let leaves = watch(&child, connection)?;
    thread::scope(|scope| {
        scope.spawn(|| out.map(|out| client.pump(out, Answer::Out)));
        scope.spawn(|| err.map(|err| client.pump(err, Answer::Err)));
        scope.spawn(|| events.map(|events| client.events(events)));
    });
    let status = child.wait().context("waiting for the verb")?;
    // It ends with the connection; the verb is gone, so that it has nothing to do.
    drop(leaves);
    let code = status
        .code()
        .unwrap_or_else(|| SIGNALLED + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(1))
}

/// A pipe whose writing end the next program inherits.
fn pipe() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe().context("making a pipe")?;
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::CLOEXEC).context("making a pipe")?;
    Ok((read, write))
}

/// Interrupts the verb as Ctrl-C would, when its client leaves.
fn watch(child: &Child, connection: &UnixStream) -> anyhow::Result<thread::JoinHandle<()>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the verb has no number")?;
    let verb = pidfd_open(pid, PidfdFlags::empty()).context("holding the verb")?;
    let mut client = connection.try_clone().context("watching the client")?;
    client.set_read_timeout(None).context("watching the client")?;
    Ok(thread::spawn(move || {
        // Whatever it says besides its request means nothing.
        while matches!(client.read(&mut [0; 64]), Ok(1..)) {}
        // A verb that has ended cannot be interrupted.
        let _ = pidfd_send_signal(&verb, Signal::INT);
    }))
}

/// Who is told.
struct Client {
    connection: Mutex<UnixStream>,
}

impl Client {
    /// A client that has left is told nothing; that ends the verb, not this.
    fn send(&self, answer: &Answer) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(line) = protocol::line(answer)
            && connection.write_all(&line).is_err()
        {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sends what comes, whole characters at a time.
    fn pump(&self, mut from: impl Read, answer: fn(String) -> Answer) {
        let (mut buffer, mut kept) = (vec![0; CHUNK], Vec::new());
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..read]);
            let whole = whole(&kept);
            let text = String::from_utf8_lossy(&kept[..whole]).into_owned();
            kept.drain(..whole);
            self.send(&answer(text));
        }
        if !kept.is_empty() {
            self.send(&answer(String::from_utf8_lossy(&kept).into_owned()));
        }
    }

    fn events(&self, from: OwnedFd) {
        for line in BufReader::new(std::fs::File::from(from)).lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line) {
                self.send(&Answer::Progress(event));
            }
        }
    }
}

/// Bytes before a character that is cut off at the end.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        // An error without a length is an end that is missing.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_it_does_not_see() {
        let request = |directory: &str, argument: &str| Request {
            arguments: vec!["switch".to_owned(), argument.to_owned()],
            directory: directory.into(),
            environment: std::collections::BTreeMap::new(),
            progress: false,
        };
        for (directory, argument, is_unseen) in [
            ("/root", "oci:/tmp/layout", true),
            ("/tmp/x", "oci:layout:1", true),
            ("/root", "--from=oci-archive:/var/tmp/a.tar", true),
            ("/root", "/tmp/keys", true),
            ("/tmp/x", "docker://registry.example/os", false),
            ("/root", "oci:layout", false),
            ("/root", "oci:/mnt/tmp/layout", false),
        ] {
            assert_eq!(unseen(&request(directory, argument)).is_some(), is_unseen, "{directory} {argument}");
        }
    }

    #[test]
    fn characters_are_not_cut() {
        assert_eq!(whole("aä".as_bytes()), 3);
        assert_eq!(whole(&"aä".as_bytes()[..2]), 1);
        assert_eq!(whole(b"a\xff"), 2);
    }
}
