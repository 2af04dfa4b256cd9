//! What is asked of web servers, and how long; asking is the caller's.

use std::time::Duration;

use crate::userdata::Fetch;

/// What connecting may take.
pub const CONNECT: Duration = Duration::from_secs(10);
/// What a request may take, however evenly its bytes drip.
pub const WHOLE: Duration = Duration::from_secs(30);
/// How often a server is asked that does not answer, or has trouble of its own (a status of 500 and above).
pub const ATTEMPTS: u32 = 4;
/// What is waited before it is asked again; twice as long each time.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Redirections that are followed: never to another scheme.
pub const REDIRECTS: usize = 5;
/// What a server says where it has what was asked for.
pub(super) const OK: u16 = 200;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What is there.
    Get,
    /// Something to be made.
    Put,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the proxy, where one is set, and where it redirects to.
    Web,
    /// By no proxy, and no further: whoever answers is this machine's own platform.
    Platform,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked for.
    pub method: Method,
    /// Where.
    pub url: &'a str,
    /// Name and value of a header; the value may be secret.
    pub header: Option<(&'static str, &'a str)>,
    /// Bytes of the answer that are read; more are an error.
    pub most: usize,
    /// How.
    pub way: Way,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Who asks web servers, within the limits of this module.
pub trait Web {
    /// Asks.
    ///
    /// # Errors
    /// When nobody answers in time, as often as it is tried, or with more than is read; why, in words.
    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, String>;
}

/// Fetches documents.
pub(super) struct Fetcher<'a>(pub &'a mut dyn Web);

impl Fetch for Fetcher<'_> {
    fn fetch(&mut self, url: &str, most: usize) -> Result<Vec<u8>, String> {
        let answer = self.0.ask(&Request { method: Method::Get, url, header: None, most, way: Way::Web })?;
        match answer.status {
            OK => Ok(answer.bytes),
            status => Err(format!("the server answers with status {status}")),
        }
    }
}
