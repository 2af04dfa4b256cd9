//! A repository behind a web server.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Client, Response, StatusCode, header::DATE, redirect};

use super::{Body, Place, Transport, TransportError, encode};

/// What connecting to a web server may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may send nothing.
const STALL: Duration = Duration::from_secs(30);
/// What a whole file may take, however evenly its bytes drip.
const WHOLE: Duration = Duration::from_secs(120);
/// Redirections that are followed.
const REDIRECTS: usize = 5;

/// Reads below two URLs.
#[derive(Debug)]
pub struct Http {
    client: Client,
    metadata: String,
    targets: Option<String>,
    date: Mutex<Option<String>>,
}

impl Http {
    /// Where the documents are, and where the targets are, if anywhere; `agent` is how it names itself.
    ///
    /// # Errors
    /// When TLS cannot be prepared.
    pub fn new(agent: &str, metadata: &str, targets: Option<&str>) -> Result<Self, TransportError> {
        let client = Client::builder()
            .user_agent(agent)
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .timeout(WHOLE)
            .redirect(redirect::Policy::limited(REDIRECTS))
            .build()?;
        let folder = |url: &str| format!("{}/", url.trim_end_matches('/'));
        Ok(Self { client, metadata: folder(metadata), targets: targets.map(folder), date: Mutex::default() })
    }

    /// What the server's clock said last (RFC 9110, 6.6.1).
    pub fn date(&self) -> Option<String> {
        self.date.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Transport for Http {
    type Body = HttpBody;

    async fn open(&self, place: Place<'_>) -> Result<Option<HttpBody>, TransportError> {
        let url = match place {
            Place::Metadata(name) => format!("{}{name}", self.metadata),
            Place::Target(name) => {
                let base = self.targets.as_deref().ok_or("nobody said where the targets are")?;
                format!("{base}{}", name.split('/').map(encode).collect::<Vec<_>>().join("/"))
            }
        };
        let response = self.client.get(url).send().await?;
        if let Some(said) = response.headers().get(DATE).and_then(|value| value.to_str().ok()) {
            *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.to_owned());
        }
        match response.status() {
            // Buckets that may not be listed say 403 of what they do not have.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
            _ => Ok(Some(HttpBody(response.error_for_status()?))),
        }
    }
}

/// A file on its way from a web server.
#[derive(Debug)]
pub struct HttpBody(Response);

impl Body for HttpBody {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.0.chunk().await?.map(|piece| piece.to_vec()))
    }
}
