//! The client's side: what is asked of the service, and what is shown of its answers.

use std::env;
use std::io::{BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};

use super::protocol::{self, Answer, Request};
use super::{SOCKET, domain, is_changed_by, progress_of};
use crate::args::Args;
use crate::output::Reporter;

/// Bytes of what a verb may say to who does not show it.
const SAID: usize = 16 << 20;

/// The option that the client serves itself.
const PROGRESS_FD: &str = "--progress-fd";

/// Has the service do what was asked; none where it is done here and now.
pub fn ask(args: &Args) -> anyhow::Result<Option<ExitCode>> {
    if !is_changed_by(&args.verb) || !domain::has_to_ask() {
        return Ok(None);
    }
    let connection = match UnixStream::connect(SOCKET) {
        Ok(connection) => connection,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("asking the updater at {SOCKET}")),
    };
    let reporter = progress_of(&args.verb).map(Reporter::of_another).transpose()?;
    let request = Request {
        arguments: arguments(env::args_os().skip(1).map(|word| word.into_string()))?,
        directory: env::current_dir().context("asking where this is")?,
        environment: protocol::ENVIRONMENT
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
            .collect(),
        progress: reporter.as_ref().is_some_and(Reporter::shows_events),
    };
    (&connection).write_all(&protocol::line(&request)?).context("asking the updater")?;
    let code = show(&connection, reporter.as_ref())?;
    if let Some(reporter) = &reporter {
        reporter.finish();
    }
    Ok(Some(ExitCode::from(code)))
}

/// What a verb came to that somebody else had done.
#[derive(Debug, Default)]
pub struct Done {
    /// Its exit code.
    pub code: u8,
    /// What it printed.
    pub out: String,
    /// What it said besides.
    pub err: String,
}

/// Why the updater was not asked.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It is not there.
    #[error("the updater, which changes this node, is not asked: nothing listens at {SOCKET}")]
    Nobody,
    /// It broke off.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Has the updater do a verb; `hear` is told of its progress, where it is one that shows any.
///
/// # Errors
/// When the updater is not there or broke off. What the verb came to is no error.
pub fn have_done(arguments: &[&str], hear: Option<&dyn Fn(serde_json::Value)>) -> Result<Done, Unanswered> {
    let connection = match UnixStream::connect(SOCKET) {
        Ok(connection) => connection,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(Unanswered::Nobody);
        }
        Err(error) => {
            return Err(Unanswered::Failed(anyhow!(error).context(format!("asking the updater at {SOCKET}"))));
        }
    };
    let request = Request {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        directory: "/".into(),
        environment: Default::default(),
        progress: hear.is_some(),
    };
    (&connection).write_all(&protocol::line(&request)?).context("asking the updater")?;
    let mut answers = BufReader::new(&connection);
    let mut done = Done::default();
    while let Some(answer) = protocol::next(&mut answers, protocol::ANSWER)? {
        match answer {
            Answer::Out(text) => done.out += &text,
            Answer::Err(text) => done.err += &text,
            Answer::Progress(event) => {
                if let Some(hear) = hear {
                    hear(event);
                }
            }
            Answer::End(code) => return Ok(Done { code, ..done }),
        }
        if done.out.len() + done.err.len() > SAID {
            return Err(anyhow!("the updater says more than {SAID} bytes").into());
        }
    }
    Err(anyhow!("the updater left without an answer").into())
}

/// Shows answers up to the last.
fn show(connection: &UnixStream, reporter: Option<&Reporter>) -> anyhow::Result<u8> {
    let mut answers = BufReader::new(connection);
    while let Some(answer) = protocol::next(&mut answers, protocol::ANSWER)? {
        match answer {
            Answer::Out(text) => {
                let mut out = std::io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("writing to standard output")?;
            }
            Answer::Err(text) => match reporter {
                Some(reporter) => reporter.beside(|| eprint!("{text}")),
                None => eprint!("{text}"),
            },
            Answer::Progress(event) => {
                if let Some(reporter) = reporter {
                    reporter.replay(&event);
                }
            }
            Answer::End(code) => return Ok(code),
        }
    }
    bail!("the updater left without an answer; its journal says why: journalctl -u 'rocketos-updater@*'")
}

/// The command line as the service takes it: the client's descriptors are its own.
fn arguments<E>(words: impl Iterator<Item = Result<String, E>>) -> anyhow::Result<Vec<String>> {
    let mut kept = Vec::new();
    let mut words = words.map(|word| word.map_err(|_| anyhow!("an argument is not UTF-8")));
    while let Some(word) = words.next().transpose()? {
        if word == "--" {
            kept.push(word);
            kept.extend(words.by_ref().collect::<anyhow::Result<Vec<_>>>()?);
        } else if word == PROGRESS_FD {
            words.next().transpose()?;
        } else if !word.starts_with(&format!("{PROGRESS_FD}=")) {
            kept.push(word);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_stay_with_the_client() -> anyhow::Result<()> {
        let told = |line: &str| arguments::<()>(line.split(' ').map(|word| Ok(word.to_owned())));
        assert_eq!(told("upgrade --progress-fd 3 --apply")?.join(" "), "upgrade --apply");
        assert_eq!(told("switch --progress-fd=3 -- --progress-fd")?.join(" "), "switch -- --progress-fd");
        Ok(())
    }
}
