//! Bounds on what a repository may send and ask for. The letters are those of the specification's client workflow.

/// Bytes of one root document (W, 5.3.3).
pub const ROOT_BYTES: u64 = 512 << 10;
/// Root versions that one update follows (Y, 5.3.3); the next update goes on from there.
pub const ROOT_VERSIONS: u64 = 1024;
/// Bytes of the timestamp (X, 5.4.1).
pub const TIMESTAMP_BYTES: u64 = 64 << 10;
/// Bytes of a snapshot (Y, 5.5.1), also where the timestamp names a length.
pub const SNAPSHOT_BYTES: u64 = 2 << 20;
/// Bytes of the targets role's document or a delegated role's (Z, 5.6.1), also where the snapshot names a length.
pub const TARGETS_BYTES: u64 = 4 << 20;
/// Bytes of one target, whatever length its metadata names.
pub const TARGET_BYTES: u64 = 1 << 30;
/// Bytes of a target that is read into memory.
pub const TARGET_BYTES_IN_MEMORY: u64 = 8 << 20;
/// Roles that one search visits, the targets role among them (5.6.7.1).
pub const ROLES_VISITED: usize = 32;
/// Roles that one snapshot lists.
pub const ROLES: usize = 4096;
/// Delegations of one role.
pub const DELEGATIONS: usize = 4096;
/// Keys that one document names.
pub const KEYS: usize = 1024;
/// Signatures of one document; each costs one check of a key.
pub const SIGNATURES: usize = 256;
/// Bytes of a role's name, as it stands in a file's name.
pub const ROLE_NAME_BYTES: usize = 200;
/// Bytes of a target's name.
pub const TARGET_NAME_BYTES: usize = 1024;
/// Bytes of a pattern of paths.
pub const PATTERN_BYTES: usize = 1024;
