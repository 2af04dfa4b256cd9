//! Fetching metadata and targets from a [`Place`].

use anyhow::Context as _;
use rocketos_model::Place;
use rocketos_oci::{Files, Reader};
use rocketos_trust::tuf::{
    Body, Directory, FileBody, Http, HttpBody, Place as File, Transport, TransportError, limits,
};

/// The tag under which a registry has the files.
pub const TAG: &str = "rocketos-releases";
/// What the artifact under it is, and each file of it.
pub const KIND: &str = "application/vnd.rocketos.release-metadata";
/// The folder of the documents, whatever the place.
const METADATA: &str = "metadata";
/// The folder of the targets.
const TARGETS: &str = "targets";

/// A place that was found.
pub enum Repository {
    Registry(Files),
    Http(Http),
    Directory(Directory),
}

/// A file on its way.
pub enum Arriving {
    Whole(Option<Vec<u8>>),
    Http(HttpBody),
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
                let (metadata, targets) = (format!("{url}/{METADATA}"), format!("{url}/{TARGETS}"));
                let http = Http::new("rocketctl", &metadata, Some(&targets)).map_err(anyhow::Error::from_boxed);
                Self::Http(http.context("preparing for HTTP")?)
            }
            Place::Directory(path) => Self::Directory(Directory::new(path.join(METADATA), path.join(TARGETS))),
        })
    }

    /// What the server's clock says, as far as it was heard (RFC 9110, 6.6.1); a directory has none.
    pub fn date(&self) -> Option<String> {
        match self {
            Self::Registry(files) => files.date().map(str::to_owned),
            Self::Http(http) => http.date(),
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

/// A file's path below a registry's place.
fn path(file: File<'_>) -> String {
    match file {
        File::Metadata(name) => format!("{METADATA}/{name}"),
        File::Target(name) => format!("{TARGETS}/{name}"),
    }
}

impl Transport for Repository {
    type Body = Arriving;

    async fn open(&self, file: File<'_>) -> Result<Option<Arriving>, TransportError> {
        match self {
            Self::Registry(files) => {
                let whole = files.read(&path(file), limits::TARGET_BYTES_IN_MEMORY).await?;
                Ok(whole.map(|bytes| Arriving::Whole(Some(bytes))))
            }
            Self::Directory(directory) => Ok(directory.open(file).await?.map(Arriving::File)),
            Self::Http(http) => Ok(http.open(file).await?.map(Arriving::Http)),
        }
    }
}

impl Body for Arriving {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        match self {
            Self::Whole(bytes) => Ok(bytes.take()),
            Self::Http(body) => body.piece().await,
            Self::File(file) => file.piece().await,
        }
    }
}
