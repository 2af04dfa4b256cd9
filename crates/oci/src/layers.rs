//! A layer, and what is said while layers arrive.

use rocketos_model::{BlobDigest, DiffId};

use crate::decompress::Compression;

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the bytes the registry serves.
    pub digest: BlobDigest,
    /// Bytes the registry serves.
    pub size: u64,
    /// How they are packed.
    pub compression: Compression,
    /// Of the tar stream inside.
    pub diff_id: DiffId,
}

/// Hears what a fetch does. Called from the task that fetches, never from two threads at once.
pub trait Progress: Send + Sync {
    /// The layer is in the store already.
    fn layer_skipped(&self, _layer: &Layer) {}
    /// The layer's first byte is asked for.
    fn layer_started(&self, _layer: &Layer) {}
    /// So many more of the layer's [`Layer::size`] bytes were read and unpacked.
    fn layer_advanced(&self, _layer: &Layer, _bytes: u64) {}
    /// The layer is in the store.
    fn layer_done(&self, _layer: &Layer) {}
}

/// Hears nothing.
impl Progress for () {}

/// What a fetch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Layers that were fetched.
    pub fetched_layers: usize,
    /// Layers that the store had.
    pub present_layers: usize,
    /// Bytes read of the fetched ones, as the registry serves them; a byte that was sent twice counts once.
    pub fetched_bytes: u64,
    /// Bytes of the fetched ones' tar streams.
    pub tar_bytes: u64,
    /// Files that the store did not have.
    pub new_objects: u64,
    /// Bytes of those files.
    pub new_object_bytes: u64,
}
