//! A blob as one unbroken stream, whatever the connection does.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};

use super::{
    Patience, after,
    endpoint::{Access, Endpoint},
    header::content_range,
    is_transient, too_slow,
};
use crate::{OciError, checked::Expected};

/// So many bytes between two failures make the connection count as working again.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A blob being read. Checks sizes that the server states; digest and count of the bytes are the reader's to check.
pub(crate) struct BlobStream {
    /// The first is asked; it goes when it fails for good and another is left.
    endpoints: VecDeque<Arc<Endpoint>>,
    patience: Patience,
    expected: Expected,
    response: Option<Response>,
    /// Bytes handed out.
    offset: u64,
    /// Bytes to throw away because the server began anew.
    discard: u64,
    failures: u32,
    /// `offset` at the last failure.
    failed_at: u64,
    /// Time spent waiting for the server since the last piece was whole, and bytes that came in it.
    waited: Duration,
    came: u64,
}

impl BlobStream {
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>, patience: Patience, expected: Expected) -> Self {
        Self {
            endpoints: endpoints.into(),
            patience,
            expected,
            response: None,
            offset: 0,
            discard: 0,
            failures: 0,
            failed_at: 0,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// The next bytes, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, OciError> {
        loop {
            match self.step().await {
                Ok(Some(mut bytes)) => {
                    let skip = usize::try_from(self.discard).map_or(bytes.len(), |left| left.min(bytes.len()));
                    self.discard -= skip as u64;
                    let bytes = bytes.split_off(skip);
                    if !bytes.is_empty() {
                        self.offset += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => self.bear(error).await?,
            }
        }
    }

    /// One read from the connection, which is made if there is none.
    async fn step(&mut self) -> Result<Option<Bytes>, OciError> {
        if self.response.is_none() {
            self.response = Some(self.open().await?);
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let began = Instant::now();
        let chunk = response.chunk().await;
        self.waited += began.elapsed();
        self.came += chunk.as_ref().map_or(0, |chunk| chunk.as_ref().map_or(0, Bytes::len)) as u64;
        if self.came >= Patience::PIECE {
            (self.waited, self.came) = (Duration::ZERO, 0);
        } else if self.waited > self.patience.drip {
            return Err(self.interrupted(too_slow(self.came, self.patience.drip)));
        }
        match chunk {
            // A connection without a length may end early, and a range may be shorter than what was asked for.
            Ok(None) if self.offset < self.expected.size => Err(self.interrupted(Box::from("the connection ended"))),
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(self.interrupted(error.without_url().into())),
        }
    }

    fn interrupted(&self, source: Box<dyn std::error::Error + Send + Sync>) -> OciError {
        OciError::Interrupted {
            registry: self.endpoints[0].host.clone(),
            what: self.expected.what.clone(),
            attempts: 1,
            source,
        }
    }

    /// Waits after a failure that may pass, moves on after one that will not.
    async fn bear(&mut self, error: OciError) -> Result<(), OciError> {
        self.response = None;
        if self.offset - self.failed_at >= PROGRESS_BYTES {
            self.failures = 0;
        }
        self.failed_at = self.offset;
        self.failures += 1;
        if is_transient(&error) && self.failures < self.patience.attempts {
            self.patience.pause(self.failures).await;
            return Ok(());
        }
        if self.endpoints.len() > 1 {
            self.endpoints.pop_front();
            self.failures = 0;
            return Ok(());
        }
        Err(after(error, self.failures))
    }

    /// Asks for the blob from `offset` on (distribution specification, "Pulling blobs"; RFC 9110, "Range Requests").
    async fn open(&mut self) -> Result<Response, OciError> {
        const DOING: &str = "the request for a blob";
        let endpoint = &self.endpoints[0];
        let url = endpoint.url(&format!("blobs/{}", self.expected.digest)).await?;
        let offset = self.offset;
        let response = endpoint
            .send(Access::Pull, Method::GET, url, DOING, |request| match offset {
                0 => request,
                offset => request.header(RANGE, format!("bytes={offset}-")),
            })
            .await?;
        let size = self.expected.size;
        match response.status() {
            StatusCode::OK => {
                self.discard = offset;
                match response.content_length() {
                    Some(found) if found < size => return Err(self.expected.truncated(found)),
                    Some(found) if found > size => return Err(self.expected.oversized()),
                    _ => {}
                }
            }
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                let header = response.headers().get(CONTENT_RANGE);
                match header.and_then(|value| content_range(value.to_str().ok()?)) {
                    Some((first, _, total)) if first == offset && total.is_none_or(|total| total == size) => {
                        self.discard = 0;
                    }
                    _ => return Err(endpoint.protocol(DOING, format!("a Content-Range of {header:?}"))),
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => return Err(self.expected.truncated(offset)),
            StatusCode::NOT_FOUND => {
                return Err(OciError::MissingBlob {
                    registry: endpoint.host.clone(),
                    repository: endpoint.repository.clone(),
                    what: self.expected.what.clone(),
                });
            }
            status => return Err(endpoint.status(status, DOING)),
        }
        Ok(response)
    }
}
