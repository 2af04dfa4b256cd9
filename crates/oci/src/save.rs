//! Writing images as they are into a layout (OCI image specification, "Image Layout"), with what lies beside them.
//!
//! Every byte is checked while it passes, as where it is fetched; digests stay, so that signatures do. The table of contents comes last:
//! without it a folder is no layout.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use oci_spec::image::ImageManifest;
use rocketos_model::{BlobDigest, ManifestDigest};
use serde_json::{Value, json};

use crate::{
    Beside, OciError, Resolved,
    checked::Watch,
    local::{BLOBS, INDEX, MARK, REF_NAME, VERSION},
    manifest::{self, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST},
    registry::fallback_tag,
    source::Source,
};

/// A layout that is being written.
pub struct NewLayout {
    folder: PathBuf,
    entries: Vec<Value>,
    /// What the entries name.
    listed: BTreeSet<ManifestDigest>,
}

impl NewLayout {
    /// Begins one in a folder that is made.
    ///
    /// # Errors
    /// When it is there, or cannot be made.
    pub fn create(folder: &Path) -> Result<Self, OciError> {
        let writing = |source| OciError::Write { path: folder.to_owned(), source };
        fs::create_dir(folder).map_err(writing)?;
        fs::create_dir_all(folder.join(BLOBS)).map_err(writing)?;
        Ok(Self { folder: folder.to_owned(), entries: Vec::new(), listed: BTreeSet::new() })
    }

    /// Writes an image under this name, with every index that led to it.
    ///
    /// # Errors
    /// When it cannot be read as it was served, or written.
    pub async fn add(&mut self, resolved: &Resolved, name: &str) -> Result<(), OciError> {
        self.blobs_of(resolved).await?;
        let outermost = resolved.indexes.last().unwrap_or(&resolved.manifest);
        self.list(outermost, json!({}), json!({ REF_NAME: name }));
        Ok(())
    }

    /// Writes an image that is found by its digest alone: who asks the layout for its image is given another.
    ///
    /// # Errors
    /// As [`NewLayout::add`].
    pub async fn add_unnamed(&mut self, resolved: &Resolved) -> Result<(), OciError> {
        self.blobs_of(resolved).await?;
        // "The value of the config descriptor mediaType when the descriptor references an image manifest" (OCI image specification,
        // "Descriptor", `artifactType`). An entry that has it is passed over where an image is looked for without its name.
        self.list(&resolved.manifest, json!({ "artifactType": OCI_CONFIG }), json!({}));
        Ok(())
    }

    /// Writes what lies beside `subject`: under each of `tags`, and what refers to it as one of these artifact types.
    ///
    /// # Errors
    /// When it cannot be read, or written.
    pub async fn add_beside(
        &mut self,
        beside: &mut Beside,
        subject: ManifestDigest,
        tags: &[String],
        types: &[&str],
    ) -> Result<(), OciError> {
        for tag in tags {
            if let Some(bytes) = beside.under_tag(tag).await? {
                self.artifact(beside, &bytes).await?;
                self.list(&bytes, json!({}), json!({ REF_NAME: tag }));
            }
        }
        let mut referring = Vec::new();
        for digest in beside.referring(subject, types).await? {
            let bytes = beside.manifest(digest).await?;
            self.artifact(beside, &bytes).await?;
            let own: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            // As registries list it (distribution specification, "Listing Referrers").
            let kind = own["artifactType"].as_str().or(own["config"]["mediaType"].as_str()).unwrap_or_default();
            referring.push(json!({
                "mediaType": OCI_MANIFEST, "digest": digest, "size": bytes.len(), "artifactType": kind,
            }));
        }
        if !referring.is_empty() {
            let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": referring }).to_string();
            self.write(list.as_bytes())?;
            self.list(list.as_bytes(), json!({}), json!({ REF_NAME: fallback_tag(subject) }));
        }
        Ok(())
    }

    /// Writes the table of contents: now it is a layout.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(), OciError> {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.entries }).to_string();
        let mark = json!({ "imageLayoutVersion": VERSION }).to_string();
        self.place(MARK, |file| file.write_all(mark.as_bytes()))?;
        self.place(INDEX, |file| file.write_all(index.as_bytes()))
    }

    async fn blobs_of(&self, resolved: &Resolved) -> Result<(), OciError> {
        if matches!(resolved.source, Source::Storage { .. }) {
            let image = resolved.reference.to_string();
            return Err(OciError::NotARegistry { image, doing: "copying it as it was signed" });
        }
        for bytes in resolved.indexes.iter().chain([&resolved.manifest, &resolved.config]) {
            self.write(bytes)?;
        }
        for (at, layer) in resolved.distinct() {
            let name = blob(layer.digest);
            if self.folder.join(&name).exists() {
                continue;
            }
            let (mut checked, _, feeder) = resolved.source.layer(at, layer, Arc::new(Watch::default()))?;
            let (layout, path) = (self.folder.clone(), name.clone());
            let copy = tokio::task::spawn_blocking(move || {
                let copied = place(&layout, &path, |file| io::copy(&mut checked, file).map(drop));
                // What was wrong with it says more than that it broke off.
                copied.map_err(|error| checked.failure().unwrap_or(error))
            });
            let ((), copied) = tokio::join!(feeder.run(), copy);
            copied.unwrap_or(Err(OciError::Cancelled))?;
        }
        Ok(())
    }

    /// Writes a small manifest, and what it names.
    async fn artifact(&self, beside: &Beside, bytes: &[u8]) -> Result<(), OciError> {
        const WHAT: &str = "what lies beside an image";
        let parse = |error: oci_spec::OciSpecError| OciError::Parse { what: WHAT.to_owned(), source: error.into() };
        let artifact = ImageManifest::from_reader(bytes).map_err(parse)?;
        for descriptor in std::iter::once(artifact.config()).chain(artifact.layers()) {
            let digest = manifest::blob_digest(WHAT, descriptor)?;
            self.write(&beside.blob(WHAT, digest, descriptor.size()).await?)?;
        }
        self.write(bytes)
    }

    /// Lists a manifest, once.
    fn list(&mut self, bytes: &[u8], more: Value, annotations: Value) {
        let digest = manifest::digest_of(bytes);
        if !self.listed.insert(digest) {
            return;
        }
        let own: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let media_type = own["mediaType"].as_str().unwrap_or(match own["manifests"].is_array() {
            true => OCI_INDEX,
            false => OCI_MANIFEST,
        });
        let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        entry["artifactType"] = more["artifactType"].clone();
        entry["annotations"] = annotations;
        if let Some(entry) = entry.as_object_mut() {
            entry.retain(|_, value| !value.is_null());
        }
        self.entries.push(entry);
    }

    fn write(&self, bytes: &[u8]) -> Result<(), OciError> {
        let digest = BlobDigest::from_bytes(openssl::sha::sha256(bytes));
        self.place(&blob(digest), |file| file.write_all(bytes))
    }

    fn place(&self, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), OciError> {
        place(&self.folder, name, write)
    }
}

/// A blob's name in a layout.
fn blob(digest: BlobDigest) -> String {
    format!("{BLOBS}/{}", digest.to_hex())
}

fn place(layout: &Path, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), OciError> {
    let path = layout.join(name);
    let done = File::create(&path).and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()));
    done.map_err(|source| OciError::Write { path, source })
}
