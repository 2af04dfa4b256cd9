//! What can go wrong with the store.

use std::{io, path::PathBuf};

use rocketos_model::{DiffId, ManifestDigest};

/// A store operation that failed. Nothing is named that is not whole.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not a store, or not one of ours.
    #[error("opening the store at {path}")]
    Open {
        /// The store.
        path: PathBuf,
        /// What composefs said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was made without fs-verity, where it is required.
    #[error("the store at {path} was made without fs-verity, so nothing in it can be trusted; install anew")]
    Insecure {
        /// The store.
        path: PathBuf,
    },
    /// The kernel or the file system lacks fs-verity.
    #[error(
        "the file system of {path} has no fs-verity (ext4 needs the 'verity' feature, the kernel CONFIG_FS_VERITY)"
    )]
    NoVerity {
        /// The store.
        path: PathBuf,
    },
    /// A layer's tar stream is not the one the configuration names.
    #[error("the layer's content has digest {found}, its configuration says {expected}")]
    DiffId {
        /// From the configuration.
        expected: DiffId,
        /// Of the stream.
        found: DiffId,
    },
    /// Others keep the store open, so nothing can be collected.
    #[error("the store at {path} is in use{}; try again when that has ended", by(.holders))]
    Busy {
        /// The store.
        path: PathBuf,
        /// Their process ids, as far as they can be seen.
        holders: Vec<u32>,
    },
    /// A layer that cannot be unpacked.
    #[error("the layer is damaged: {0}")]
    Layer(String),
    /// A bound was passed.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// Reading a layer from where it comes.
    #[error("reading the layer")]
    Read(#[source] io::Error),
    /// Writing to the store.
    #[error("writing to the store")]
    Write(#[source] io::Error),
    /// Looking at what is in the store.
    #[error("looking at the store")]
    Look(#[source] io::Error),
    /// A layer the image needs is not here.
    #[error("layer {0} of the image is not in the store")]
    MissingLayer(DiffId),
    /// Nobody knows what an image needs.
    #[error("collecting garbage: the name or a list of image {0} is damaged or lost; 'rocketctl scrub' mends it")]
    Unlisted(ManifestDigest),
    /// The image is not here.
    #[error("image {0} is not in the store")]
    MissingImage(ManifestDigest),
    /// A manifest or configuration that does not parse.
    #[error("parsing the image's {what}")]
    Parse {
        /// Which of them.
        what: &'static str,
        /// Where it broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image nobody sealed.
    #[error("the image is not sealed: it has {found} files named *.efi in /boot/EFI/Linux, and needs exactly one")]
    NotSealed {
        /// How many there are.
        found: usize,
    },
    /// A container's image that cannot be one.
    #[error("the image cannot run as a container of the host: {0}")]
    NoContainer(String),
    /// Anything composefs says.
    #[error("{doing}")]
    Composefs {
        /// What was being done.
        doing: &'static str,
        /// What composefs said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Wraps what composefs said.
    pub(crate) fn composefs(doing: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| match error.chain().any(is_no_space) {
            true => Self::Write(rustix::io::Errno::NOSPC.into()),
            false => Self::Composefs { doing, source: error.into() },
        }
    }

    /// True where the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

fn by(holders: &[u32]) -> String {
    let ids: Vec<String> = holders.iter().map(u32::to_string).collect();
    match ids.is_empty() {
        true => String::new(),
        false => format!(" by process {}", ids.join(", ")),
    }
}

/// composefs writes through rustix here and through the standard library there.
fn is_no_space(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<rustix::io::Errno>().is_some_and(|errno| *errno == rustix::io::Errno::NOSPC)
        || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}
