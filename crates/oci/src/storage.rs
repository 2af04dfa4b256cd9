//! podman's local storage, read through skopeo (`containers-image-proxy` starts it: the one program this crate causes to
//! start).
//!
//! The storage has no compressed layers any more: it makes each tar stream anew. So the layers' blobs that the manifest
//! names cannot be checked; manifest and configuration are, and the store checks each layer's diff_id.

use std::sync::Arc;

use bytes::Bytes;
pub use containers_image_proxy::ConvertedLayerInfo;
use containers_image_proxy::{Error, ImageProxy, OpenedImage};
use oci_spec::image::{Digest, ImageManifest};
use rocketos_model::limits;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
};

use crate::{OciError, checked::Message, decompress::Compression, layers::Layer, manifest};

/// Bytes read from skopeo at once: a pipe's capacity.
const CHUNK: usize = 64 << 10;

/// The protocol version from which skopeo tells an absent image from a failure (`OpenImageOptional`).
const ASKS_FOR_ABSENCE: (u64, u64, u64) = (0, 2, 4);

/// An image in the storage, held open.
#[derive(Clone)]
pub(crate) struct Storage {
    name: String,
    proxy: Arc<ImageProxy>,
    image: Arc<OpenedImage>,
}

/// What to ask the storage for to get one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Under which digest.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// False where nobody knows the size beforehand.
    pub size_known: bool,
    /// How what comes is packed.
    pub compression: Compression,
}

fn proxy_error(image: &str) -> impl Fn(Error) -> OciError + '_ {
    move |error| match error {
        Error::SkopeoSpawnError(source) => OciError::SkopeoMissing(source),
        other => OciError::Storage { image: image.to_owned(), source: Box::new(other) },
    }
}

impl Storage {
    pub(crate) async fn open(image: &str) -> Result<Self, OciError> {
        let proxy = ImageProxy::new().await.map_err(proxy_error(image))?;
        let version = proxy.protocol_version();
        let opened = match (version.major, version.minor, version.patch) >= ASKS_FOR_ABSENCE {
            true => proxy.open_image_optional(image).await.map_err(proxy_error(image))?,
            // An older skopeo has one error for everything.
            false => Some(proxy.open_image(image).await.map_err(proxy_error(image))?),
        };
        let opened = opened.ok_or_else(|| OciError::NoSuchImage(image.to_owned()))?;
        Ok(Self { name: image.to_owned(), proxy: Arc::new(proxy), image: Arc::new(opened) })
    }

    /// The manifest, checked against the digest under which the storage has it.
    pub(crate) async fn manifest(&self) -> Result<Vec<u8>, OciError> {
        let fetched = self.proxy.fetch_manifest_raw_oci(&self.image).await;
        let (digest, bytes) = fetched.map_err(proxy_error(&self.name))?;
        let expected = digest
            .parse()
            .map_err(|source| OciError::UnsupportedDigest { what: format!("the manifest of {}", self.name), source })?;
        if bytes.len() as u64 > limits::MANIFEST_BYTES {
            return Err(OciError::Limit {
                what: format!("the manifest of {}, in bytes,", self.name),
                limit: limits::MANIFEST_BYTES,
            });
        }
        manifest::check_digest(&self.name, expected, &bytes)?;
        Ok(bytes)
    }

    /// Sends the configuration's bytes.
    pub(crate) async fn config(&self, manifest: &ImageManifest, sender: mpsc::Sender<Message>) {
        let descriptor = manifest.config();
        let failed = match self.proxy.get_descriptor(&self.image, descriptor).await {
            Ok((reader, driver)) => copy(reader, driver, &sender).await,
            Err(error) => Err(error),
        };
        self.finish(failed, sender).await;
    }

    /// Sends one layer's bytes.
    pub(crate) async fn layer(&self, item: &Item, sender: mpsc::Sender<Message>) {
        let copied = match self.proxy.get_blob(&self.image, &item.digest, item.size).await {
            Ok((reader, driver)) => copy(reader, driver, &sender).await,
            Err(error) => return self.finish(Err(error), sender).await,
        };
        let copied = match item.size_known {
            true => copied,
            // skopeo misses a size it was not told. Whether the layer is whole its diff_id decides, in the store.
            false => Ok(()),
        };
        self.finish(copied, sender).await;
    }

    async fn finish(&self, copied: Result<(), Error>, sender: mpsc::Sender<Message>) {
        let last = match copied {
            Ok(()) => Message::End,
            Err(error) => Message::Failed(proxy_error(&self.name)(error)),
        };
        // Nobody listens any more: whoever stopped listening knows why.
        let _ = sender.send(last).await;
    }

    /// How the storage serves each layer: what to ask for and how it is packed.
    pub(crate) async fn items(&self, layers: &[Layer]) -> Result<Vec<Item>, OciError> {
        let info = self.proxy.get_layer_info(&self.image).await;
        let Some(info) = info.map_err(proxy_error(&self.name))? else {
            // skopeo before protocol 0.2.5 cannot say. It makes the tar stream, so that is what to ask for.
            return layers.iter().map(Item::tar_stream).collect();
        };
        items(&self.name, info, layers)
    }
}

/// What to ask for, by what skopeo says of the layers of `image` as they lie in the storage.
///
/// # Errors
/// When it names more or fewer, or one of another kind.
pub fn items(image: &str, said: Vec<ConvertedLayerInfo>, layers: &[Layer]) -> Result<Vec<Item>, OciError> {
    if said.len() != layers.len() {
        return Err(OciError::LayerCount { layers: said.len(), diff_ids: layers.len() });
    }
    let item = |(said, layer): (ConvertedLayerInfo, &Layer)| {
        let found = said.media_type.to_string();
        match Compression::of_media_type(&found) {
            Some(compression) => Ok(Item { digest: said.digest, size: said.size, size_known: true, compression }),
            None => {
                let what = format!("layer {} of {image}", layer.digest);
                Err(OciError::UnsupportedMediaType { what, found })
            }
        }
    };
    said.into_iter().zip(layers).map(item).collect()
}

impl Item {
    fn tar_stream(layer: &Layer) -> Result<Self, OciError> {
        let digest = layer.diff_id.to_string().parse().map_err(|error: oci_spec::OciSpecError| OciError::Parse {
            what: format!("the diff_id of layer {}", layer.digest),
            source: error.into(),
        })?;
        // An uncompressed layer is its own tar stream, whose size the manifest has.
        let size_known = layer.compression == Compression::None;
        let size = if size_known { layer.size } else { 0 };
        Ok(Self { digest, size, size_known, compression: Compression::None })
    }
}

/// skopeo closes its end only after it was asked for the outcome, so both are waited for together.
async fn copy(
    mut reader: impl AsyncRead + Unpin,
    driver: impl Future<Output = Result<(), Error>>,
    sender: &mpsc::Sender<Message>,
) -> Result<(), Error> {
    // Owns the reader: a pump that stops closes the pipe, or skopeo would wait for ever.
    let pump = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if reader.read_buf(&mut chunk).await? == 0 || sender.send(Message::Data(Bytes::from(chunk))).await.is_err()
            {
                return Ok(());
            }
        }
    };
    let (pumped, driven) = tokio::join!(pump, driver);
    driven.and(pumped)
}
