//! The client's side of the API: requests over its socket.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail, ensure};
use reqwest::{Method, RequestBuilder, Response, header};
use rocketos_api::{MEDIA_TYPE, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

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
    pub(super) runtime: Runtime,
    socket: String,
}

/// What was answered.
pub struct Reply {
    pub(super) status: u16,
    pub(super) media: String,
    pub(super) bytes: Vec<u8>,
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

    pub(super) fn request(&self, method: &str, path: &str) -> anyhow::Result<RequestBuilder> {
        ensure!(path.starts_with('/'), "a path begins with '/', such as /v1/status");
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).context("the method")?;
        Ok(self.http.request(method, format!("{HOST}{path}")))
    }

    pub(super) fn unsent(&self, error: reqwest::Error) -> anyhow::Error {
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

pub(super) fn media(response: &Response) -> String {
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
    pub(super) fn require(&self) -> anyhow::Result<()> {
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
