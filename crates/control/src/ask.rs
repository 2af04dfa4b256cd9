//! One request to the API, and its answer: `control api`.
//!
//! It is asked as HTTP/1.0 (RFC 9112, 6.1: no answer to that is chunked), so that an answer's end is its length or the connection's.

use std::{
    io::{self, Read as _, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// Bytes of a request's body: more than the API takes.
pub const BODY_BYTES: usize = 4 << 20;
/// Bytes of a path with its query.
const PATH_BYTES: usize = 8 << 10;
/// Bytes of an answer's line and headers.
const HEAD_BYTES: usize = 64 << 10;
/// Headers of an answer.
const HEADERS: usize = 64;
/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// What is asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// Such as `GET`.
    pub method: &'a str,
    /// Such as `/v1/status`, with its query.
    pub path: &'a str,
    /// JSON, or nothing.
    pub body: &'a [u8],
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Words that make no request.
    #[error("{0}")]
    Request(&'static str),
    /// Nobody listens.
    #[error("connecting to the API")]
    Connect(#[source] io::Error),
    /// The API, or who reads the answer, left.
    #[error("{0}")]
    Broken(&'static str, #[source] io::Error),
    /// What came is no answer.
    #[error("what answers does not speak HTTP: {0}")]
    Answer(String),
}

/// Asks, writes the answer's body as it comes, and returns its status.
pub fn ask(socket: &Path, request: &Request<'_>, output: &mut dyn Write) -> Result<u16, AskError> {
    let head = head(request)?;
    let mut stream = UnixStream::connect(socket).map_err(AskError::Connect)?;
    let asked = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(request.body));
    let broken = |doing: &'static str| move |error: io::Error| AskError::Broken(doing, error);
    // What refuses a request early answers, and reads no more of it.
    if let Err(error) = asked
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(broken("asking the API")(error));
    }
    let mut got = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let answer = loop {
        let length = stream.read(&mut chunk).map_err(broken("reading the answer"))?;
        if length == 0 {
            return Err(AskError::Answer("it ended before its headers did".to_owned()));
        }
        got.extend_from_slice(&chunk[..length]);
        match Answer::parse(&got)? {
            Some(answer) => break answer,
            None if got.len() > HEAD_BYTES => {
                return Err(AskError::Answer(format!("more than {HEAD_BYTES} of headers")));
            }
            None => {}
        }
    };
    let start = &got[answer.head..];
    let writing = broken("writing the answer");
    let Some(length) = answer.length else {
        output.write_all(start).map_err(writing)?;
        io::copy(&mut stream, output).map_err(broken("reading the answer"))?;
        return output.flush().map_err(writing).map(|()| answer.status);
    };
    let start = &start[..start.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
    output.write_all(start).map_err(writing)?;
    let left = length - start.len() as u64;
    let copied = io::copy(&mut stream.take(left), output).map_err(broken("reading the answer"))?;
    output.flush().map_err(writing)?;
    if copied < left {
        return Err(AskError::Answer(format!("{} bytes of {length} came", length - left + copied)));
    }
    Ok(answer.status)
}

/// The request's line and headers. No word of it says more than it is meant to.
fn head(request: &Request<'_>) -> Result<String, AskError> {
    let Request { method, path, body } = request;
    if method.is_empty() || method.len() > 16 || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(AskError::Request("a method is a word, such as GET"));
    }
    if !path.starts_with('/') || path.len() > PATH_BYTES || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AskError::Request(
            "a path begins with '/' and has neither spaces nor other than ASCII, such as /v1/status",
        ));
    }
    if body.len() > BODY_BYTES {
        return Err(AskError::Request("the body is larger than any that the API takes"));
    }
    let mut head = format!("{} {path} HTTP/1.0\r\nHost: localhost\r\n", method.to_ascii_uppercase());
    if !body.is_empty() {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    Ok(head)
}

/// What an answer's head says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    /// Bytes up to the body.
    head: usize,
    /// Bytes of the body; to the connection's end where nothing is said.
    length: Option<u64>,
}

impl Answer {
    /// Reads it; none where it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, AskError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut read = httparse::Response::new(&mut headers);
        let wrong = |error: httparse::Error| AskError::Answer(error.to_string());
        let httparse::Status::Complete(head) = read.parse(bytes).map_err(wrong)? else { return Ok(None) };
        let named = |name: &str| read.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        if named("transfer-encoding").is_some() {
            return Err(AskError::Answer("it is encoded, which was not asked for".to_owned()));
        }
        let length = named("content-length").map(|header| {
            let number = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            number.ok_or_else(|| AskError::Answer("its length is no number".to_owned()))
        });
        Ok(Some(Self { status: read.code.unwrap_or_default(), head, length: length.transpose()? }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::{net::Shutdown, os::unix::net::UnixListener, thread};

    use super::*;

    /// Asks one that answers with `answer`, and returns what came of it, what was written, and what was asked.
    fn asked(request: &Request<'_>, answer: &str) -> (Result<u16, AskError>, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (answer, length) = (answer.to_owned(), head(request).unwrap().len() + request.body.len());
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; length];
            stream.read_exact(&mut asked).unwrap();
            // In two parts, the first within the head.
            let (one, other) = answer.split_at(answer.len().min(10));
            stream.write_all(one.as_bytes()).unwrap();
            thread::sleep(std::time::Duration::from_millis(20));
            let _ = stream.write_all(other.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Both));
            String::from_utf8(asked).unwrap()
        });
        let mut output = Vec::new();
        let status = ask(&socket, request, &mut output);
        (status, String::from_utf8(output).unwrap(), serving.join().unwrap())
    }

    const GET: Request<'_> = Request { method: "get", path: "/v1/status", body: b"" };

    #[test]
    fn asks_and_prints_what_is_answered() {
        let (status, output, request) = asked(&GET, "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n{}\n");
        assert_eq!((status.unwrap(), output.as_str()), (200, "{}\n"));
        assert_eq!(request, "GET /v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let patch = Request { method: "PATCH", path: "/v1/settings?why=a", body: b"{\"motd\":\"a\"}" };
        let (status, output, request) = asked(&patch, "HTTP/1.1 422 No\r\nA: b\r\n\r\nto the end");
        assert_eq!((status.unwrap(), output.as_str()), (422, "to the end"));
        assert!(request.contains("\r\nContent-Length: 12\r\n\r\n{\"motd\":\"a\"}"), "{request}");
        assert!(request.contains("\r\nContent-Type: application/json\r\n"));
    }

    #[test]
    fn says_what_is_no_answer() {
        for (answer, expected) in [
            ("", "it ended before its headers did"),
            ("HTTP/1.1 200 OK\r\n", "it ended before its headers did"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "3 bytes of 9 came"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "its length is no number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "it is encoded"),
        ] {
            let error = asked(&GET, answer).0.unwrap_err();
            assert!(error.to_string().contains(expected), "{answer:?}: {error}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES + CHUNK));
        assert!(asked(&GET, &long).0.unwrap_err().to_string().contains("of headers"));
        let nobody = ask(&tempfile::tempdir().unwrap().path().join("none"), &GET, &mut Vec::new());
        assert!(matches!(nobody, Err(AskError::Connect(_))));
    }

    #[test]
    fn no_word_makes_another_request_of_it() {
        for (method, path) in [
            ("", "/"),
            ("GET /x HTTP/1.0\r\nA:", "/"),
            ("GE T", "/"),
            ("GET", "v1"),
            ("GET", "/a b"),
            ("GET", "/a\r\nHost: b"),
            ("GET", "/ä"),
        ] {
            let request = Request { method, path, body: b"" };
            assert!(matches!(head(&request), Err(AskError::Request(_))), "{method} {path}");
        }
        let long = vec![b' '; BODY_BYTES + 1];
        assert!(head(&Request { method: "PUT", path: "/", body: &long }).is_err());
    }
}
