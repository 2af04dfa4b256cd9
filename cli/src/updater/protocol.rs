//! What client and service say to each other: one request, then answers, each a line of JSON.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Bytes of a request.
pub(super) const REQUEST: u64 = 256 << 10;
/// Bytes of an answer: a line that a verb prints, or an event of its progress.
pub(super) const ANSWER: u64 = 16 << 20;
/// What of a client's environment counts for the verb: where its credentials are, and how it reaches a registry.
pub(super) const ENVIRONMENT: &[&str] = &[
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "REGISTRY_AUTH_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_RUNTIME_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A verb to do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The command line behind the program's name.
    pub(super) arguments: Vec<String>,
    /// Where its relative paths begin.
    pub(super) directory: PathBuf,
    /// Those variables of [`ENVIRONMENT`] that the client has.
    pub(super) environment: BTreeMap<String, String>,
    /// Whether events of its progress are wanted.
    pub(super) progress: bool,
}

/// What came of it, piece by piece; the end is last.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// Something for standard output.
    Out(String),
    /// Something for standard error.
    Err(String),
    /// An event of the progress stream.
    Progress(Value),
    /// The exit code.
    End(u8),
}

/// A message as it is sent.
pub(super) fn line(message: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message).context("writing a message")?;
    line.push(b'\n');
    Ok(line)
}

/// Reads the next message; none where the other side has left.
pub(super) fn next<T: DeserializeOwned>(from: &mut impl BufRead, limit: u64) -> anyhow::Result<Option<T>> {
    let mut line = Vec::new();
    let read = from.take(limit).read_until(b'\n', &mut line).context("reading a message")?;
    if read == 0 {
        return Ok(None);
    }
    ensure!(line.ends_with(b"\n") || (read as u64) < limit, "a message is longer than {limit} bytes");
    if !line.ends_with(b"\n") {
        bail!("a message is cut short");
    }
    serde_json::from_slice(&line).context("a message that is none").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_sent() -> anyhow::Result<()> {
        let sent = [Answer::Out("a\nb".to_owned()), Answer::Progress(serde_json::json!({ "x": 1 })), Answer::End(75)];
        let lines: Vec<u8> = sent.iter().map(line).collect::<anyhow::Result<Vec<_>>>()?.concat();
        let mut from = lines.as_slice();
        for answer in sent {
            assert_eq!(next(&mut from, ANSWER)?, Some(answer));
        }
        assert_eq!(next::<Answer>(&mut from, ANSWER)?, None);
        Ok(())
    }

    #[test]
    fn what_is_too_long_cut_short_or_something_else_is_an_error() {
        let told = |text: &str, limit| next::<Answer>(&mut text.as_bytes(), limit).unwrap_err().to_string();
        assert_eq!(told("{\"out\":\"aaaaaaaa\"}\n", 8), "a message is longer than 8 bytes");
        assert_eq!(told("{\"end\":1", ANSWER), "a message is cut short");
        assert_eq!(told("{\"stop\":1}\n", ANSWER), "a message that is none");
    }
}
