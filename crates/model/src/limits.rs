//! Bounds on everything that comes from a network or a disk that is not ours.

/// Bytes of a manifest (the OCI distribution specification asks registries for at least 4 MiB).
pub const MANIFEST_BYTES: u64 = 4 << 20;
/// Bytes of an image configuration.
pub const CONFIG_BYTES: u64 = 4 << 20;
/// Layers of one image.
pub const LAYERS: usize = 128;
/// Bytes of one layer as the registry serves it.
pub const LAYER_BYTES: u64 = 8 << 30;
/// Bytes of one layer's tar stream.
pub const LAYER_TAR_BYTES: u64 = 32 << 30;
/// Bytes of one file in a layer.
pub const FILE_BYTES: u64 = 8 << 30;
/// Bytes of one layer's tar stream that are no file's: headers, 512 for each entry, and files too small for an object. All are in
/// memory until the layer is whole.
pub const LAYER_INLINE_BYTES: u64 = 256 << 20;
/// Bytes of a unified kernel image.
pub const UKI_BYTES: u64 = 512 << 20;
/// Bytes of a kernel command line we read from a UKI.
pub const CMDLINE_BYTES: usize = 4096;
/// Bytes of a configuration file of ours.
pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
/// Bytes of a boot entry.
pub const ENTRY_BYTES: u64 = 64 << 10;
/// Tries a new boot entry gets.
pub const TRIES: u8 = 3;
