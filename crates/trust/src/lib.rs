//! Whether an image may run.
//!
//! Owns the forms a signature over a manifest digest comes in, the keys, and the policy that says which keys must have
//! signed what; and how signatures are made. It speaks to no registry: [`Carrier`] names the blobs to fetch, [`judge`]
//! is handed the bytes. It reads files only for [`Policy::read`]. `docs/trust.md` is the reference of the policy file.
//!
//! What firmware believes is [`firmware`]: certificates, signatures in PE files, signed updates of its variables.
//!
//! And which release is the newest: [`tuf`] is a client of The Update Framework, with its state on the disk.

mod bundle;
mod carrier;
pub mod firmware;
mod identity;
mod judge;
mod kept;
mod key;
pub mod limits;
mod nearest;
pub mod policy;
mod sign;
mod signature;
mod simple;
pub mod tuf;
mod verdict;

pub use carrier::{BUNDLE_TYPE, Blob, Carrier, CarrierError, SIGNATURE_LISTED_AS, signature_tag};
pub use identity::Identity;
pub use judge::judge;
pub use kept::{Kept, KeptError};
pub use key::{Algorithm, KeyError, PublicKey};
pub use policy::{Policy, PolicyError};
pub use sign::{
    PrivateKey, SignError, SignatureManifest, SignedPayload, Signer, sign_bundle, sign_payload, signature_manifest,
};
pub use signature::{Flaw, Form, Signature, Subject};
pub use verdict::{Examined, Outcome, Refused, Rule, Satisfied, Verdict};
