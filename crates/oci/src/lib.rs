//! Images: from registries, layouts, archives and podman's storage into the store.
//!
//! Owns reading and checking; what an image means, whether it is trusted and what becomes of it is for others to say.
//! [`Reader::resolve`] finds an image and checks manifest and configuration, [`Reader::fetch`] brings the layers that
//! the store lacks; then the caller names the image with `Store::commit_image`. [`Reader::attach`] and
//! [`Reader::referrers`] write and list what belongs to an image, [`Beside`] reads what lies there without a word on it, [`Files`] a set of named files.
//! [`NewLayout`] writes images as they are to a folder that goes where no network is.
//!
//! ```text
//! reference -> manifest (digest) -> configuration (digest, size) -> layers: digest, size | diff_id -> store
//! ```
//!
//! Every byte is checked once, while it passes, on every transport, against the digest that led to it; everything has a
//! limit from [`rocketos_model::limits`]. A connection that breaks is taken up where it broke.
//!
//! For `containers-storage:` the crate `containers-image-proxy` starts `skopeo`: the one program that is started here.

mod archive;
mod attach;
mod beside;
mod checked;
mod config;
mod decompress;
mod error;
mod fetch;
mod files;
mod layers;
mod local;
mod manifest;
mod reader;
mod registry;
mod save;
mod source;
pub mod storage;

pub use attach::Named;
pub use beside::Beside;
pub use config::ReaderConfig;
pub use decompress::{Compression, ZSTD_WINDOW_LOG};
pub use error::{ConfigError, OciError};
pub use fetch::LAYERS_AT_ONCE;
pub use files::{FILES, Files};
pub use layers::{FetchStats, Layer, Progress};
pub use manifest::running_architecture;
pub use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
pub use reader::{Reader, Resolved};
pub use registry::Patience;
pub use save::NewLayout;
