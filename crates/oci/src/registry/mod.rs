//! The distribution specification's client side.
//!
//! [`Repository`] is what the rest of the crate sees: it knows every place that may serve a repository and asks them
//! in order. [`endpoint`] speaks with one of them, [`blob`] keeps a stream of bytes going over broken connections.

pub mod auth;
mod blob;
pub mod conf;
pub(crate) mod endpoint;
pub mod header;
mod push;
mod referrers;
mod token;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, DATE},
};
use rocketos_model::{ManifestDigest, limits};

use self::{
    auth::Logins,
    conf::{By, RegistriesConf},
    endpoint::{Access, Endpoint},
};
use crate::{
    OciError, ReaderConfig,
    checked::Expected,
    manifest::{self, MANIFEST_TYPES},
};

pub(crate) use blob::BlobStream;
pub(crate) use push::Upload;
pub(crate) use referrers::fallback_tag;

/// The header with which a registry states what it serves (distribution specification, "Pulling manifests").
const DOCKER_CONTENT_DIGEST: &str = "Docker-Content-Digest";

/// How long a registry's troubles are borne.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failed attempts in a row before giving up.
    pub attempts: u32,
    /// Wait before the second attempt; doubled each time.
    pub first_delay: Duration,
    /// Silence after which a connection counts as broken.
    pub stall: Duration,
    /// The same of waiting for a document, or for [`Patience::PIECE`] bytes of a blob, however evenly they drip.
    pub drip: Duration,
}

impl Patience {
    /// Failed attempts in a row before giving up.
    pub const ATTEMPTS: u32 = 6;
    /// Wait before the second attempt: six attempts then span eight seconds.
    pub const FIRST_DELAY: Duration = Duration::from_millis(250);
    /// Silence after which a connection counts as broken.
    pub const STALL: Duration = Duration::from_secs(30);
    /// What waiting for a document, or for a piece of a blob, may take.
    pub const DRIP: Duration = Duration::from_secs(120);
    /// Bytes of such a piece: one KiB a second is the slowest that is borne. A smaller blob is one piece.
    pub const PIECE: u64 = 120 << 10;
    /// The longest wait between two attempts.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(15);

    /// Failed attempts before a mirror is passed over.
    pub const MIRROR_ATTEMPTS: u32 = 2;

    /// The same where there is another place to ask.
    fn for_mirror(mut self) -> Self {
        self.attempts = self.attempts.min(Self::MIRROR_ATTEMPTS);
        self
    }

    /// Waits before attempt `failures + 1`.
    async fn pause(&self, failures: u32) {
        let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let delay = self.first_delay.saturating_mul(factor).min(Self::LONGEST_DELAY);
        tokio::time::sleep(delay).await;
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: Self::ATTEMPTS, first_delay: Self::FIRST_DELAY, stall: Self::STALL, drip: Self::DRIP }
    }
}

/// True where asking again may help.
fn is_transient(error: &OciError) -> bool {
    matches!(
        error,
        OciError::Unreachable { .. }
            | OciError::ServerError { .. }
            | OciError::TooManyRequests { .. }
            | OciError::Interrupted { .. }
    )
}

/// The error of the last attempt, with the number of attempts.
fn after(error: OciError, made: u32) -> OciError {
    match error {
        OciError::ServerError { registry, status, .. } => OciError::ServerError { registry, status, attempts: made },
        OciError::Interrupted { registry, what, source, .. } => {
            OciError::Interrupted { registry, what, attempts: made, source }
        }
        other => other,
    }
}

/// Does `attempt` until it succeeds, fails for good, or patience ends.
async fn patiently<T, F: Future<Output = Result<T, OciError>>>(
    patience: &Patience,
    mut attempt: impl FnMut() -> F,
) -> Result<T, OciError> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if is_transient(&error) => {
                failures += 1;
                if failures >= patience.attempts {
                    return Err(after(error, failures));
                }
                patience.pause(failures).await;
            }
            other => return other,
        }
    }
}

/// What to say of a server that drips.
fn too_slow(bytes: u64, drip: Duration) -> Box<dyn std::error::Error + Send + Sync> {
    format!("no more than {bytes} bytes came within {} s", drip.as_secs()).into()
}

/// A body of at most `limit` bytes, whole in the time that a document may take.
async fn body(endpoint: &Endpoint, mut response: Response, limit: u64, doing: &str) -> Result<Vec<u8>, OciError> {
    let over = || OciError::Limit { what: format!("{doing}, in bytes,"), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(over());
    }
    let mut bytes = Vec::new();
    let began = Instant::now();
    loop {
        let chunk = response.chunk().await;
        if began.elapsed() > endpoint.drip {
            return Err(OciError::Interrupted {
                registry: endpoint.host.clone(),
                what: doing.to_owned(),
                attempts: 1,
                source: too_slow(bytes.len() as u64, endpoint.drip),
            });
        }
        match chunk {
            Ok(Some(chunk)) if (bytes.len() + chunk.len()) as u64 > limit => return Err(over()),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => {
                return Err(OciError::Interrupted {
                    registry: endpoint.host.clone(),
                    what: doing.to_owned(),
                    attempts: 1,
                    source: error.without_url().into(),
                });
            }
        }
    }
}

/// A repository, at every place that may serve it.
#[derive(Clone)]
pub(crate) struct Repository {
    /// In the order to ask.
    endpoints: Vec<Arc<Endpoint>>,
    /// The location itself, behind all mirrors.
    primary: Arc<Endpoint>,
    patience: Patience,
    /// The server's clock when it last served a manifest, as its `Date` has it.
    pub(crate) date: Option<String>,
}

/// A manifest as served.
pub(crate) struct Served {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: Option<String>,
    pub(crate) date: Option<String>,
}

impl Repository {
    pub(crate) fn open(
        registry: &str,
        repository: &str,
        by: By,
        conf: &RegistriesConf,
        logins: &Logins,
        config: &ReaderConfig,
    ) -> Result<Self, OciError> {
        let endpoints: Vec<_> = conf
            .locations(registry, repository, by)?
            .into_iter()
            .map(|location| Endpoint::new(location, config, logins).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let primary = endpoints.last().expect("the location itself is always among them").clone();
        Ok(Self { endpoints, primary, patience: config.patience, date: None })
    }

    /// Where to write: never a mirror.
    pub(crate) fn primary(&self) -> &Endpoint {
        &self.primary
    }

    /// Fetches a manifest or index by tag or digest from the first place that has it, which then is asked first.
    ///
    /// `expected` is checked over the bytes; so is the digest that the registry states in its header.
    pub(crate) async fn manifest(
        &mut self,
        image: &str,
        reference: &str,
        expected: Option<ManifestDigest>,
    ) -> Result<Served, OciError> {
        let mut at = 0;
        loop {
            let endpoint = &self.endpoints[at];
            let last = at + 1 == self.endpoints.len();
            let patience = if last { self.patience } else { self.patience.for_mirror() };
            match patiently(&patience, || manifest(endpoint, image, reference, expected)).await {
                Ok(served) => {
                    self.date.clone_from(&served.date);
                    self.endpoints[..=at].rotate_right(1);
                    return Ok(served);
                }
                // A mirror that fails is passed over; what the location itself says is what the caller hears.
                Err(_) if !last => at += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts reading a blob.
    pub(crate) fn blob(&self, expected: Expected) -> BlobStream {
        BlobStream::new(self.endpoints.clone(), self.patience, expected)
    }
}

async fn manifest(
    endpoint: &Endpoint,
    image: &str,
    reference: &str,
    expected: Option<ManifestDigest>,
) -> Result<Served, OciError> {
    const DOING: &str = "the request for the manifest";
    let url = endpoint.url(&format!("manifests/{reference}")).await?;
    let accept = MANIFEST_TYPES.join(", ");
    let response =
        endpoint.send(Access::Pull, Method::GET, url, DOING, |request| request.header(ACCEPT, &accept)).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(OciError::NoSuchImage(image.to_owned())),
        status => return Err(endpoint.status(status, DOING)),
    }
    let text = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let stated = text(DOCKER_CONTENT_DIGEST).and_then(|value| value.parse::<ManifestDigest>().ok());
    let date = text(DATE.as_str());
    let media_type = text(CONTENT_TYPE.as_str())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let bytes = body(endpoint, response, limits::MANIFEST_BYTES, "the manifest").await?;
    for expected in expected.into_iter().chain(stated) {
        manifest::check_digest(image, expected, &bytes)?;
    }
    Ok(Served { bytes, media_type, date })
}
