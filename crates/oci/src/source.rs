//! Where an image comes from, behind one face.

use std::sync::Arc;

use oci_spec::image::ImageManifest;
use rocketos_model::ManifestDigest;
use tokio::sync::mpsc;

use crate::{
    OciError,
    checked::{Checked, Expected, Input, Message, Watch},
    decompress::Compression,
    layers::Layer,
    local::Layout,
    registry::{BlobStream, Repository, Served},
    storage::{Item, Storage},
};

/// Pieces in flight between the network and the thread that unpacks. A piece is what the HTTP client read at once, at most
/// 400 KiB.
const PIECES: usize = 4;

/// An opened source.
#[derive(Clone)]
pub(crate) enum Source {
    Registry(Repository),
    Layout(Arc<Layout>),
    Storage {
        storage: Storage,
        /// What to ask for, layer by layer; filled by [`Source::prepare`].
        items: Arc<Vec<Item>>,
    },
}

/// What keeps a channel filled.
pub(crate) enum Feeder {
    Registry(Box<BlobStream>, mpsc::Sender<Message>),
    Storage(Storage, Arc<Vec<Item>>, usize, mpsc::Sender<Message>),
    /// A file needs nobody.
    Nobody,
}

impl Feeder {
    /// Runs to the end of the blob, or until nobody listens.
    pub(crate) async fn run(self) {
        match self {
            Self::Registry(stream, sender) => pump(*stream, sender).await,
            Self::Storage(storage, items, at, sender) => storage.layer(&items[at], sender).await,
            Self::Nobody => {}
        }
    }
}

async fn pump(mut stream: BlobStream, sender: mpsc::Sender<Message>) {
    loop {
        let message = match stream.next().await {
            Ok(Some(bytes)) => Message::Data(bytes),
            Ok(None) => Message::End,
            Err(error) => Message::Failed(error),
        };
        let last = !matches!(message, Message::Data(_));
        if sender.send(message).await.is_err() || last {
            return;
        }
    }
}

/// Reads a blob into memory and checks it; whoever calls has bounded its size.
pub(crate) async fn read_whole(input: Input, expected: Expected) -> Result<Vec<u8>, OciError> {
    let mut checked = Checked::new(input, Some(expected), Arc::new(Watch::default()));
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        match std::io::Read::read_to_end(&mut checked, &mut bytes) {
            Ok(_) => Ok(bytes),
            Err(_) => Err(checked.failure().unwrap_or(OciError::Cancelled)),
        }
    });
    read.await.unwrap_or(Err(OciError::Cancelled))
}

impl Source {
    /// How many layers may be read at once; skopeo hands out one at a time.
    pub(crate) fn parallel(&self, wanted: usize) -> usize {
        match self {
            Self::Storage { .. } => 1,
            Self::Registry(_) | Self::Layout(_) => wanted,
        }
    }

    /// Reads and checks the manifest of this digest.
    pub(crate) async fn manifest(&mut self, image: &str, digest: ManifestDigest) -> Result<Served, OciError> {
        match self {
            Self::Registry(repository) => repository.manifest(image, &digest.to_string(), Some(digest)).await,
            Self::Layout(layout) => Ok(Served { bytes: layout.manifest(image, digest)?, media_type: None, date: None }),
            // The storage holds one image per name, never an index.
            Self::Storage { .. } => Err(OciError::NoSuchImage(format!("{image}@{digest}"))),
        }
    }

    /// Reads and checks the configuration.
    pub(crate) async fn config(&self, manifest: &ImageManifest, expected: Expected) -> Result<Vec<u8>, OciError> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (input, feed): (Input, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) = match self {
            Self::Registry(repository) => {
                let stream = repository.blob(expected.clone());
                (Input::Channel(receiver), Box::pin(pump(stream, sender)))
            }
            Self::Layout(layout) => (layout.blob(&expected)?, Box::pin(async {})),
            Self::Storage { storage, .. } => (Input::Channel(receiver), Box::pin(storage.config(manifest, sender))),
        };
        let ((), read) = tokio::join!(feed, read_whole(input, expected));
        read
    }

    /// Asks once how layers will be served.
    pub(crate) async fn prepare(&mut self, layers: &[Layer]) -> Result<(), OciError> {
        if let Self::Storage { storage, items } = self {
            *items = Arc::new(storage.items(layers).await?);
        }
        Ok(())
    }

    /// Opens layer number `at`: its bytes, how they are packed, and who brings them.
    pub(crate) fn layer(
        &self,
        at: usize,
        layer: &Layer,
        watch: Arc<Watch>,
    ) -> Result<(Checked, Compression, Feeder), OciError> {
        let expected = Expected::layer(layer);
        let (sender, receiver) = mpsc::channel(PIECES);
        Ok(match self {
            Self::Registry(repository) => (
                Checked::new(Input::Channel(receiver), Some(expected.clone()), watch),
                layer.compression,
                Feeder::Registry(Box::new(repository.blob(expected)), sender),
            ),
            Self::Layout(layout) => {
                (Checked::new(layout.blob(&expected)?, Some(expected), watch), layer.compression, Feeder::Nobody)
            }
            Self::Storage { storage, items } => {
                let compression = items[at].compression;
                (
                    Checked::new(Input::Channel(receiver), None, watch),
                    compression,
                    Feeder::Storage(storage.clone(), items.clone(), at, sender),
                )
            }
        })
    }
}
