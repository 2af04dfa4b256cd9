//! Bounds on what is read before anybody believes it.

/// Bytes of a simple-signing payload; cosign writes about 250.
pub const PAYLOAD_BYTES: u64 = 64 << 10;
/// Bytes of a sigstore bundle; with a key alone cosign writes about 700, attestations are longer.
pub const BUNDLE_BYTES: u64 = 256 << 10;
/// Bytes of a manifest that carries signatures.
pub const CARRIER_BYTES: u64 = 1 << 20;
/// Signatures of one image that are looked at; more are refused, not passed over.
pub const SIGNATURES: usize = 128;
/// Bytes of one signature, decoded: an RSA signature has as many as the modulus.
pub const SIGNATURE_BYTES: usize = RSA_BITS_MAX as usize / 8;
/// Images that one signed statement may speak of.
pub const SUBJECTS: usize = 64;
/// Smallest RSA modulus, in bits (NIST SP 800-131A).
pub const RSA_BITS: u32 = 2048;
/// Largest RSA modulus, in bits: what one signature may cost to check.
pub const RSA_BITS_MAX: u32 = 8192;
/// Smallest RSA public exponent (FIPS 186-5, 5.1).
pub const RSA_EXPONENT: u32 = 65537;
/// Bytes of a key file.
pub const KEY_BYTES: u64 = 64 << 10;
/// Keys of one policy.
pub const KEYS: usize = 256;
/// Entries of one policy.
pub const ENTRIES: usize = 4096;
/// Drop-ins of one policy.
pub const DROP_INS: usize = 256;
/// Bytes of a certificate, in DER or PEM; self-signed ones with RSA keys have a tenth.
pub const CERTIFICATE_BYTES: u64 = 64 << 10;
/// Bytes of a signed update of a firmware variable; firmware takes no more than its flash has room for.
pub const VARIABLE_UPDATE_BYTES: u64 = 256 << 10;
