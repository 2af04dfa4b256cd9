//! Fetching metadata and targets from a [`Place`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Client, Response, StatusCode, header::DATE, redirect};
use rocketos_model::Place;
use rocketos_oci::{Files, Reader};
use rocketos_trust::tuf::{Body, Directory, FileBody, Place as File, Transport, TransportError, encode, limits};

/// The tag under which a registry has the files.
pub const TAG: &str = "rocketos-releases";
/// What the artifact under it is, and each file of it.
pub const KIND: &str = "application/vnd.rocketos.release-metadata";
/// The folder of the documents, whatever the place.
const METADATA: &str = "metadata";
/// The folder of the targets.
const TARGETS: &str = "targets";
/// What connecting to a web server may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may send nothing.
const STALL: Duration = Duration::from_secs(30);
/// What a whole file may take, however evenly its bytes drip.
const WHOLE: Duration = Duration::from_secs(120);
/// Redirections that are followed.
const REDIRECTS: usize = 5;

/// A place that was found.
pub enum Repository {
    Registry(Files),
    Http { client: Client, base: String, date: Mutex<Option<String>> },
    Directory(Directory),
}

/// A file on its way.
pub enum Arriving {
    Whole(Option<Vec<u8>>),
    Http(Response),
    File(FileBody),
}

impl Repository {
    /// Looks at a place; of a registry's, all that follows sees what is there now.
    pub async fn open(reader: &Reader, place: &Place) -> anyhow::Result<Self> {
        Ok(match place {
            Place::Registry(reference) => {
                let files = reader.beside(reference)?.files(TAG).await?;
                Self::Registry(files.with_context(|| format!("{reference} has no release metadata: no tag {TAG}"))?)
            }
            Place::Http(url) => {
                let client = Client::builder()
                    .user_agent("rocketctl")
                    .connect_timeout(CONNECT)
                    .read_timeout(STALL)
                    .timeout(WHOLE)
                    .redirect(redirect::Policy::limited(REDIRECTS))
                    .build()
                    .context("preparing for HTTP")?;
                Self::Http { client, base: url.clone(), date: Mutex::default() }
            }
            Place::Directory(path) => Self::Directory(Directory::new(path.join(METADATA), path.join(TARGETS))),
        })
    }

    /// What the server's clock says, as far as it was heard (RFC 9110, 6.6.1); a directory has none.
    pub fn date(&self) -> Option<String> {
        match self {
            Self::Registry(files) => files.date().map(str::to_owned),
            Self::Http { date, .. } => date.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::Directory(_) => None,
        }
    }
}

/// What is published at a place that can be written; none where there is nothing yet.
pub async fn there(reader: &Reader, place: &Place) -> anyhow::Result<Option<Repository>> {
    match place {
        Place::Registry(reference) => Ok(reader.beside(reference)?.files(TAG).await?.map(Repository::Registry)),
        Place::Directory(path) => match path.join(METADATA).join("timestamp.json").try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Repository::open(reader, place).await?)),
            Err(error) => Err(error).with_context(|| format!("looking into {}", path.display())),
        },
        Place::Http(_) => Ok(Some(Repository::open(reader, place).await?)),
    }
}

/// A file's path below the place.
fn path(file: File<'_>, encoded: bool) -> String {
    match file {
        File::Metadata(name) => format!("{METADATA}/{name}"),
        File::Target(name) if encoded => {
            format!("{TARGETS}/{}", name.split('/').map(encode).collect::<Vec<_>>().join("/"))
        }
        File::Target(name) => format!("{TARGETS}/{name}"),
    }
}

impl Transport for Repository {
    type Body = Arriving;

    async fn open(&self, file: File<'_>) -> Result<Option<Arriving>, TransportError> {
        match self {
            Self::Registry(files) => {
                let whole = files.read(&path(file, false), limits::TARGET_BYTES_IN_MEMORY).await?;
                Ok(whole.map(|bytes| Arriving::Whole(Some(bytes))))
            }
            Self::Directory(directory) => Ok(directory.open(file).await?.map(Arriving::File)),
            Self::Http { client, base, date } => {
                let response = client.get(format!("{base}/{}", path(file, true))).send().await?;
                if let Some(said) = response.headers().get(DATE).and_then(|value| value.to_str().ok()) {
                    *date.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.to_owned());
                }
                match response.status() {
                    // Buckets that may not be listed say 403 of what they do not have.
                    StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
                    _ => Ok(Some(Arriving::Http(response.error_for_status()?))),
                }
            }
        }
    }
}

impl Body for Arriving {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        match self {
            Self::Whole(bytes) => Ok(bytes.take()),
            Self::Http(response) => Ok(response.chunk().await?.map(|piece| piece.to_vec())),
            Self::File(file) => file.piece().await,
        }
    }
}
