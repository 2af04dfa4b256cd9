//! Named files under a tag: an artifact whose layers are files, each with its name as `org.opencontainers.image.title` (OCI
//! image specification, "Pre-Defined Annotation Keys"), so that any OCI client lists and fetches them.
//!
//! A new set replaces the tag, so readers see one set or the next, never a mixture.

use std::collections::BTreeMap;

use oci_spec::image::ImageManifest;
use rocketos_model::{BlobDigest, ImageReference, ManifestDigest};
use serde_json::json;

use crate::{
    Beside, OciError, Reader,
    manifest::{self, EMPTY, EMPTY_TYPE, OCI_MANIFEST},
};

/// The annotation that names a layer.
const TITLE: &str = "org.opencontainers.image.title";
/// Files of one set.
pub const FILES: usize = 4096;

/// A set of files that can be read.
pub struct Files {
    place: Beside,
    what: String,
    entries: BTreeMap<String, (BlobDigest, u64)>,
}

impl Beside {
    /// The files under a tag; absent where there is no such tag. No name may be there twice.
    ///
    /// # Errors
    /// When nobody can tell, or what is there is no such artifact.
    pub async fn files(mut self, tag: &str) -> Result<Option<Files>, OciError> {
        let what = format!("'{tag}' beside {}", self.name());
        let Some(bytes) = self.under_tag(tag).await? else { return Ok(None) };
        let parse = |source: Box<dyn std::error::Error + Send + Sync>| OciError::Parse { what: what.clone(), source };
        let artifact = ImageManifest::from_reader(&bytes[..]).map_err(|error| parse(error.into()))?;
        if artifact.layers().len() > FILES {
            return Err(OciError::Limit { what: format!("{what}, in files,"), limit: FILES as u64 });
        }
        let mut entries = BTreeMap::new();
        for layer in artifact.layers() {
            let title = layer.annotations().as_ref().and_then(|annotations| annotations.get(TITLE));
            let title = title.ok_or_else(|| parse(format!("a layer has no {TITLE}").into()))?;
            let entry = (manifest::blob_digest(&what, layer)?, layer.size());
            if entries.insert(title.clone(), entry).is_some() {
                return Err(parse(format!("'{title}' is there twice").into()));
            }
        }
        Ok(Some(Files { place: self, what, entries }))
    }
}

impl Files {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What the registry's clock said when it served the list (RFC 9110, 6.6.1); absent where it did not.
    pub fn date(&self) -> Option<&str> {
        self.place.date()
    }

    /// A file, of at most `limit` bytes; absent where none has the name.
    ///
    /// # Errors
    /// When it cannot be had, is longer, or is not what the artifact says.
    pub async fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, OciError> {
        let Some((digest, size)) = self.entries.get(name) else { return Ok(None) };
        let what = format!("'{name}' of {}", self.what);
        if *size > limit {
            return Err(OciError::Limit { what: format!("{what}, in bytes,"), limit });
        }
        self.place.blob(&what, *digest, *size).await.map(Some)
    }
}

impl Reader {
    /// Puts files under a tag in the repository of `reference`, in place of what was there, and returns the manifest's
    /// digest. Files that are there already are not sent again.
    ///
    /// # Errors
    /// When the registry does not take them.
    pub async fn put_files(
        &self,
        reference: &ImageReference,
        tag: &str,
        artifact_type: &str,
        media_type: &str,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<ManifestDigest, OciError> {
        let layers: Vec<_> = files
            .iter()
            .map(|(name, bytes)| {
                json!({
                    "mediaType": media_type,
                    "digest": BlobDigest::from_bytes(openssl::sha::sha256(bytes)),
                    "size": bytes.len(),
                    "annotations": {TITLE: name},
                })
            })
            .collect();
        let artifact = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": {
                "mediaType": EMPTY_TYPE,
                "digest": BlobDigest::from_bytes(openssl::sha::sha256(EMPTY)),
                "size": EMPTY.len(),
            },
            "layers": layers,
        })
        .to_string();
        let digest = manifest::digest_of(artifact.as_bytes());
        let blobs = files.into_values().chain([EMPTY.to_vec()]).collect();
        self.put(reference, tag, blobs, artifact.into()).await?;
        Ok(digest)
    }
}
