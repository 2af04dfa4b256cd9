//! What lies beside an image: manifests under a tag made of its digest, and manifests that name it as their subject.
//!
//! What they are, and whether anybody believes them, is for the caller to say. Digests of what is listed are checked;
//! what lies under a tag is whatever somebody put there.

use std::sync::Arc;

use oci_spec::image::Descriptor;
use rocketos_model::{BlobDigest, ImageReference, ManifestDigest, limits};

use crate::{
    OciError, Reader, Resolved,
    checked::{Expected, Kind},
    local::Layout,
    manifest,
    registry::Repository,
    source::{self, Source},
};

/// The place an image came from, or one of the same content.
pub struct Beside {
    image: String,
    place: Place,
}

enum Place {
    Registry(Repository),
    Layout(Arc<Layout>),
}

impl Resolved {
    /// Where the image came from; absent for podman's storage, which keeps nothing beside images.
    pub fn beside(&self) -> Option<Beside> {
        let place = match &self.source {
            Source::Registry(repository) => Place::Registry(repository.clone()),
            Source::Layout(layout) => Place::Layout(layout.clone()),
            Source::Storage { .. } => return None,
        };
        Some(Beside { image: self.reference.to_string(), place })
    }
}

impl Reader {
    /// A `docker://` repository, to look there for what belongs to an image that came from elsewhere.
    ///
    /// # Errors
    /// When the reference is no registry's, or the registry may not be used.
    pub fn beside(&self, reference: &ImageReference) -> Result<Beside, OciError> {
        let place = Place::Registry(self.repository(reference, "looking for what is beside it")?);
        Ok(Beside { image: reference.to_string(), place })
    }
}

/// True where a list's entry may be one of these artifact types; some lists leave the type out.
fn listed(entry: &Descriptor, types: &[&str]) -> bool {
    entry.artifact_type().as_ref().is_none_or(|found| types.contains(&found.to_string().as_str()))
}

impl Beside {
    /// The place, for people: the reference by which it was opened.
    pub fn name(&self) -> &str {
        &self.image
    }

    /// The clock of the registry that served a manifest last; a layout has none.
    pub(crate) fn date(&self) -> Option<&str> {
        match &self.place {
            Place::Registry(repository) => repository.date.as_deref(),
            Place::Layout(_) => None,
        }
    }

    /// The manifest under a tag; absent where there is none.
    ///
    /// # Errors
    /// When nobody can tell, or several bear the name.
    pub async fn under_tag(&mut self, tag: &str) -> Result<Option<Vec<u8>>, OciError> {
        match &mut self.place {
            Place::Registry(repository) => match repository.manifest(&self.image, tag, None).await {
                Ok(served) => Ok(Some(served.bytes)),
                Err(OciError::NoSuchImage(_)) => Ok(None),
                Err(error) => Err(error),
            },
            Place::Layout(layout) => match layout.named(tag)?.as_slice() {
                [] => Ok(None),
                [one] => {
                    let digest = manifest::manifest_digest(&format!("'{tag}' beside {}", self.image), one)?;
                    layout.manifest(&self.image, digest).map(Some)
                }
                several => {
                    Err(OciError::Ambiguous { image: format!("'{tag}' beside {}", self.image), count: several.len() })
                }
            },
        }
    }

    /// The digests of manifests whose subject is `subject` and that are listed as one of these artifact types.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn referring(
        &mut self,
        subject: ManifestDigest,
        types: &[&str],
    ) -> Result<Vec<ManifestDigest>, OciError> {
        let found = match &mut self.place {
            Place::Registry(repository) => repository.referrers_anywhere(subject).await?,
            Place::Layout(layout) => layout.referring(subject)?,
        };
        let what = format!("an entry of the list of what refers to {}", self.image);
        let wanted = found.iter().filter(|entry| listed(entry, types));
        let mut digests = wanted.map(|entry| manifest::manifest_digest(&what, entry)).collect::<Result<Vec<_>, _>>()?;
        digests.sort_unstable();
        digests.dedup();
        Ok(digests)
    }

    /// A manifest of this digest.
    ///
    /// # Errors
    /// When it is not there, or is another.
    pub async fn manifest(&mut self, digest: ManifestDigest) -> Result<Vec<u8>, OciError> {
        match &mut self.place {
            Place::Registry(repository) => {
                Ok(repository.manifest(&self.image, &digest.to_string(), Some(digest)).await?.bytes)
            }
            Place::Layout(layout) => layout.manifest(&self.image, digest),
        }
    }

    /// A small blob, checked; `what` it is goes into messages.
    ///
    /// # Errors
    /// When it is not there, not what its descriptor says, or larger than a manifest may be.
    pub async fn blob(&self, what: &str, digest: BlobDigest, size: u64) -> Result<Vec<u8>, OciError> {
        match &self.place {
            Place::Registry(repository) => repository.small_blob(what, digest, size).await,
            Place::Layout(layout) => {
                if size > limits::MANIFEST_BYTES {
                    return Err(OciError::Limit { what: format!("{what}, in bytes,"), limit: limits::MANIFEST_BYTES });
                }
                let expected = Expected { digest, size, what: what.to_owned(), kind: Kind::Layer };
                source::read_whole(layout.blob(&expected)?, expected).await
            }
        }
    }
}
