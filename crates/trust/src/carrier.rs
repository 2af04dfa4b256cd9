//! The manifests that carry signatures: what to fetch from a registry, and what it is then.
//!
//! Two places are looked at. Under the tag [`signature_tag`] lies a manifest whose layers are simple-signing payloads.
//! Among the image's referrers (OCI distribution specification, "Listing Referrers", and its fallback tag) lie
//! manifests with one sigstore bundle each, or, written by cosign 2 on request, with payloads as under the tag.

use std::collections::BTreeMap;

use openssl::sha::sha256;
use rocketos_model::{BlobDigest, ManifestDigest};
use serde::Deserialize;

use crate::{bundle, limits, signature::Signature};

/// The artifact type, and the layer's media type, of an attached sigstore bundle.
pub const BUNDLE_TYPE: &str = bundle::MEDIA_TYPE;
/// Artifact types under which lists of referrers have signatures. Where a registry, or cosign 3 in the fallback tag,
/// takes the configuration's media type for the artifact's, bundles are listed as empty: only their manifest tells.
pub const SIGNATURE_LISTED_AS: [&str; 3] =
    [BUNDLE_TYPE, "application/vnd.oci.empty.v1+json", "application/vnd.dev.cosign.artifact.sig.v1+json"];
/// Media type of a simple-signing payload.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a payload's descriptor that holds the signature over it.
pub(crate) const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// A manifest that should carry signatures and cannot be read. Whoever finds one passes it on as
/// [`Signature::unreadable`]: anybody who may push could have put it there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// A bound was passed.
    #[error("{what} of {found_at} has {found} bytes or entries, more than {limit}")]
    TooLarge {
        /// Where it was found.
        found_at: String,
        /// What is too large.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// No manifest.
    #[error("reading the signature manifest {found_at}")]
    Manifest {
        /// Where it was found.
        found_at: String,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// Attached to something else.
    #[error("the signature manifest {found_at} is attached to {found}, not to {expected}")]
    Subject {
        /// Where it was found.
        found_at: String,
        /// What its subject is.
        found: String,
        /// What was asked about.
        expected: ManifestDigest,
    },
    /// A blob that is not what its descriptor says.
    #[error("a signature's content at {found_at} has digest {found}, not {expected}")]
    Digest {
        /// Where it was found.
        found_at: String,
        /// What it should be.
        expected: BlobDigest,
        /// What it is.
        found: BlobDigest,
    },
}

/// The tag under which cosign 2 keeps the signatures of an image.
pub fn signature_tag(image: ManifestDigest) -> String {
    format!("sha256-{}.sig", image.to_hex())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: BlobDigest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A manifest that carries signatures.
#[derive(Debug, Clone)]
pub struct Carrier {
    blobs: Vec<Blob>,
}

impl Carrier {
    /// Reads a manifest that was found under [`signature_tag`] or among the referrers of `image`. One that carries no
    /// signature (a bill of materials, for example) names no blobs. `found_at` says to people where it was.
    ///
    /// # Errors
    /// When it is no manifest, or too large, or attached to another image.
    pub fn read(found_at: &str, manifest: &[u8], image: ManifestDigest) -> Result<Self, CarrierError> {
        let found_at = found_at.to_owned();
        let too_large =
            |what, found: u64, limit| Err(CarrierError::TooLarge { found_at: found_at.clone(), what, found, limit });
        if manifest.len() as u64 > limits::CARRIER_BYTES {
            return too_large("the manifest", manifest.len() as u64, limits::CARRIER_BYTES);
        }
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|source| CarrierError::Manifest { found_at: found_at.clone(), source })?;
        if let Some(subject) = manifest.subject.filter(|subject| subject.digest != image.to_string()) {
            return Err(CarrierError::Subject { found_at, found: subject.digest, expected: image });
        }
        if manifest.layers.len() > limits::SIGNATURES {
            return too_large("the list of signatures", manifest.layers.len() as u64, limits::SIGNATURES as u64);
        }
        let mut blobs = Vec::new();
        for mut layer in manifest.layers {
            let (signature, limit) = match layer.media_type.as_str() {
                PAYLOAD_TYPE => {
                    let signature = layer.annotations.remove(SIGNATURE_ANNOTATION).unwrap_or_default();
                    (Some(signature), limits::PAYLOAD_BYTES)
                }
                BUNDLE_TYPE => (None, limits::BUNDLE_BYTES),
                _ => continue,
            };
            if layer.size > limit {
                return too_large("a signature's content", layer.size, limit);
            }
            blobs.push(Blob { found_at: found_at.clone(), digest: layer.digest, size: layer.size, signature });
        }
        Ok(Self { blobs })
    }

    /// What has to be fetched.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }
}

/// A blob that holds a payload or a bundle.
#[derive(Debug, Clone)]
pub struct Blob {
    found_at: String,
    digest: BlobDigest,
    size: u64,
    /// What stood beside a payload; a bundle has its signature inside.
    signature: Option<String>,
}

impl Blob {
    /// Its digest.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// Its size in bytes, within the limits of its form.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The signature, given what was fetched.
    ///
    /// # Errors
    /// When the bytes are not those that the manifest names.
    pub fn with(&self, bytes: Vec<u8>) -> Result<Signature, CarrierError> {
        let found = BlobDigest::from_bytes(sha256(&bytes));
        if found != self.digest {
            return Err(CarrierError::Digest { found_at: self.found_at.clone(), expected: self.digest, found });
        }
        Ok(match &self.signature {
            Some(signature) => Signature::simple(&self.found_at, bytes, signature),
            None => Signature::bundle(&self.found_at, bytes),
        })
    }
}
