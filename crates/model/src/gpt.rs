//! Partition types (UAPI Group, Discoverable Partitions Specification).

/// The EFI system partition.
pub const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// A root file system for the architecture this was compiled for.
#[cfg(target_arch = "x86_64")]
pub const ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
/// A root file system for the architecture this was compiled for.
#[cfg(target_arch = "aarch64")]
pub const ROOT: &str = "b921b045-1df0-41c3-af44-4c6f280d3fae";

/// `/var` on a partition of its own.
pub const VAR: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
