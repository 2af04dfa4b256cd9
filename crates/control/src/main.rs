//! The host container `control`: it leads to the API of the node from wherever its user data says.
//!
//! ```text
//! control                              what user data names: vsock, programs; nothing named: it waits
//! control stdio                        one conversation, by standard input and output
//! control api METHOD PATH [BODY]       asks, and prints the answer; BODY `-` is standard input
//! ```
//!
//! It reads nothing of what is said: who comes by a transport may what this container may, which is everything that the API does. It has
//! no libraries beside it, and no file besides itself.

mod ask;
mod transport;

use std::{
    error::Error,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
    sync::mpsc,
    thread,
};

use rocketos_control::userdata::UserData;
use rocketos_model::layout::inside;

use ask::{AskError, Request};
use transport::{Exec, Stdio, Transport, Vsock, serve};

/// What was asked for was not done; an answer says why.
const REFUSED: u8 = 1;
/// Words that are none of ours.
const USAGE: u8 = 2;
/// Nobody answers (sysexits.h, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;
/// User data that say something else (sysexits.h, EX_CONFIG).
const MISTAKEN: u8 = 78;
/// From when on an answer says that something was not done (RFC 9110, 15.5).
const PROBLEM: u16 = 400;

const HELP: &str = "\
control                          leads to the API from where user data say: [vsock], [[exec]]
control stdio                    the same by standard input and output, once
control api METHOD PATH [BODY]   asks the API and prints its answer; BODY - is standard input
Exit codes of api: 0 done; 1 not done, and the answer says why; 2 wrong usage; 69 the API does not answer.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = Path::new("/");
    match words.as_slice() {
        [] => lead(root),
        ["stdio"] => done(Stdio::new().and_then(|mut stdio| serve(&mut stdio, &root.join(inside::API_SOCKET)))),
        ["api", method, path] => api(root, method, path, None),
        ["api", method, path, body] => api(root, method, path, Some(*body)),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{HELP}");
            ExitCode::from(USAGE)
        }
    }
}

/// Leads conversations to the API by every transport of user data, until one of them fails.
fn lead(root: &Path) -> ExitCode {
    let named = match UserData::read(&root.join(inside::USER_DATA)) {
        Ok(named) => named,
        Err(error) => {
            say(&error);
            return ExitCode::from(MISTAKEN);
        }
    };
    let transports = match transports(&named) {
        Ok(transports) => transports,
        Err(error) => return done(Err(error)),
    };
    if transports.is_empty() {
        eprintln!("control: user data name no transport, so that nobody outside comes to the API by this container");
    }
    let (ends, ended) = mpsc::channel();
    for mut transport in transports {
        eprintln!("control: leads to the API by {}", transport.name());
        let (ends, api) = (ends.clone(), root.join(inside::API_SOCKET));
        thread::spawn(move || ends.send(serve(transport.as_mut(), &api)));
    }
    // There is always one that could say something: without a transport this waits until the container is stopped.
    match ended.recv() {
        Ok(end) => done(end),
        Err(mpsc::RecvError) => ExitCode::SUCCESS,
    }
}

/// What user data names, each ready.
fn transports(named: &UserData) -> io::Result<Vec<Box<dyn Transport>>> {
    let mut all: Vec<Box<dyn Transport>> = Vec::new();
    if let Some(vsock) = &named.vsock {
        let listening = Vsock::listen(vsock.port);
        all.push(Box::new(
            listening.map_err(|error| about(&format!("listening on vsock port {}", vsock.port), &error))?,
        ));
    }
    all.extend(named.exec.iter().map(|exec| -> Box<dyn Transport> { Box::new(Exec::of(&exec.program)) }));
    Ok(all)
}

fn about(doing: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{doing}: {error}"))
}

/// Asks, and prints what is answered.
fn api(root: &Path, method: &str, path: &str, body: Option<&str>) -> ExitCode {
    let body = match body {
        Some("-") => {
            let mut text = Vec::new();
            // A byte more than is taken, so that it is refused and not cut.
            let read = io::stdin().take(ask::BODY_BYTES as u64 + 1).read_to_end(&mut text);
            if let Err(error) = read {
                return done(Err(about("reading standard input", &error)));
            }
            text
        }
        other => other.unwrap_or_default().as_bytes().to_vec(),
    };
    match ask::ask(&root.join(inside::API_SOCKET), &Request { method, path, body: &body }, &mut io::stdout().lock()) {
        Ok(status) if status < PROBLEM => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(REFUSED),
        Err(error) => {
            say(&error);
            ExitCode::from(match error {
                AskError::Request(_) => USAGE,
                AskError::Connect(_) => UNAVAILABLE,
                _ => REFUSED,
            })
        }
    }
}

fn done(end: io::Result<()>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::from(REFUSED)
        }
    }
}

/// The error with its causes, on a line.
fn say(error: &(dyn Error + 'static)) {
    let causes: Vec<String> =
        std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string).collect();
    eprintln!("control: {}", causes.join(": "));
}
