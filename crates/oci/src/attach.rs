//! What belongs to an image but needs its manifest digest: attached after the push, as OCI referrers (OCI image
//! specification, "Image Manifest", `subject` and "Guidelines for Artifact Usage").

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageManifest};
use rocketos_model::{ImageReference, ManifestDigest};
use serde_json::json;

use crate::{
    OciError, Reader,
    manifest::{self, EMPTY, EMPTY_TYPE, OCI_INDEX, OCI_MANIFEST},
    reader::asked,
    registry::fallback_tag,
};

/// What a reference names: a manifest or an index, as served.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its digest.
    pub digest: ManifestDigest,
    /// Its bytes.
    pub bytes: Vec<u8>,
    media_type: String,
}

impl Reader {
    /// What `reference` names, an index as such, for whichever machine it is.
    ///
    /// # Errors
    /// When it is not at the registry, or neither manifest nor index.
    pub async fn named(&self, reference: &ImageReference) -> Result<Named, OciError> {
        let image = reference.to_string();
        let mut repository = self.repository(reference, "asking what it names")?;
        let (name, digest) = asked(reference);
        let served = repository.manifest(&image, &name, digest).await?;
        let document = manifest::parse(&image, &served.bytes, served.media_type.as_deref())?;
        let media_type = document.media_type().unwrap_or_else(|| OCI_MANIFEST.to_owned());
        Ok(Named { digest: manifest::digest_of(&served.bytes), bytes: served.bytes, media_type })
    }

    /// Attaches `bytes` to the image that `reference` names, for this machine where it is an index, and returns the digest
    /// of the manifest that does so. Doing it again with the same bytes changes nothing.
    ///
    /// # Errors
    /// When the image is not at the registry, or the registry does not take it.
    pub async fn attach(
        &self,
        reference: &ImageReference,
        artifact_type: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<ManifestDigest, OciError> {
        self.repository(reference, "attaching to it")?;
        let subject = self.resolve(reference).await?;
        let subject_type = subject.image_manifest.media_type().as_ref();
        let subject = Named {
            digest: subject.manifest_digest,
            media_type: subject_type.map_or_else(|| OCI_MANIFEST.to_owned(), ToString::to_string),
            bytes: subject.manifest,
        };
        self.attach_to(reference, &subject, artifact_type, media_type, bytes).await
    }

    /// The same for what is known already, in the repository of `reference`.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn attach_to(
        &self,
        reference: &ImageReference,
        subject: &Named,
        artifact_type: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<ManifestDigest, OciError> {
        let repository = self.repository(reference, "attaching to it")?;
        let upload = repository.upload();
        let size = bytes.len();
        let blob = upload.blob(bytes.into()).await?;
        let empty = upload.blob(Bytes::from_static(EMPTY)).await?;
        let artifact = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": EMPTY_TYPE, "digest": empty, "size": EMPTY.len()},
            "layers": [{"mediaType": media_type, "digest": blob, "size": size}],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.bytes.len()},
        })
        .to_string();
        let digest = manifest::digest_of(artifact.as_bytes());
        let size = artifact.len();
        let noted = upload.manifest(&digest.to_string(), OCI_MANIFEST, artifact.into()).await?;
        if noted {
            return Ok(digest);
        }
        // "If the registry does not support the referrers API, the client MUST update the referrers list."
        let mut list = repository.fallback(subject.digest).await?;
        if list.iter().any(|entry| entry.digest().to_string() == digest.to_string()) {
            return Ok(digest);
        }
        let entry = json!({
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": size,
            "artifactType": artifact_type,
        });
        list.push(serde_json::from_value(entry).expect("a descriptor of ours is one"));
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list}).to_string();
        upload.manifest(&fallback_tag(subject.digest), OCI_INDEX, index.into()).await?;
        Ok(digest)
    }

    /// Puts a manifest under a tag in the repository of `reference`, the blobs it names before it.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn put(
        &self,
        reference: &ImageReference,
        tag: &str,
        blobs: Vec<Vec<u8>>,
        manifest: Vec<u8>,
    ) -> Result<(), OciError> {
        let repository = self.repository(reference, "writing to it")?;
        let upload = repository.upload();
        for blob in blobs {
            upload.blob(blob.into()).await?;
        }
        upload.manifest(tag, OCI_MANIFEST, manifest.into()).await?;
        Ok(())
    }

    /// The manifests of this artifact type that are attached to the image that `reference` names; to the image of that
    /// digest where it has one, without looking at the image itself.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn referrers(
        &self,
        reference: &ImageReference,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, OciError> {
        let repository = self.repository(reference, "listing what is attached")?;
        let subject = match reference {
            ImageReference::Registry { digest: Some(digest), .. } => *digest,
            other => self.resolve(other).await?.manifest_digest,
        };
        let mut found = repository.referrers(subject).await?;
        found.retain(|entry| {
            let found = entry.artifact_type().as_ref();
            found.is_some_and(|found| found.to_string() == artifact_type)
        });
        Ok(found)
    }

    /// The content of something attached: the one layer of the manifest that `descriptor` names.
    ///
    /// # Errors
    /// When it is not there, or not what its descriptors say.
    pub async fn attached(&self, reference: &ImageReference, descriptor: &Descriptor) -> Result<Vec<u8>, OciError> {
        let mut repository = self.repository(reference, "reading what is attached")?;
        let image = reference.to_string();
        let what = format!("an artifact attached to {image}");
        let digest = manifest::manifest_digest(&what, descriptor)?;
        let served = repository.manifest(&image, &digest.to_string(), Some(digest)).await?;
        let artifact = ImageManifest::from_reader(&served.bytes[..])
            .map_err(|error| OciError::Parse { what: what.clone(), source: error.into() })?;
        let [layer] = artifact.layers().as_slice() else {
            return Err(OciError::LayerCount { layers: artifact.layers().len(), diff_ids: 1 });
        };
        repository.small_blob(&what, manifest::blob_digest(&what, layer)?, layer.size()).await
    }
}
