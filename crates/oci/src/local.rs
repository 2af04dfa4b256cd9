//! OCI image layouts, in a directory or in a tar archive (OCI image specification, "Image Layout").

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use oci_spec::image::{Descriptor, ImageIndex};
use rocketos_model::{ManifestDigest, limits};
use serde::Deserialize;

use crate::{
    OciError,
    archive::{self, Extent},
    checked::{Expected, Input},
    manifest,
    registry::fallback_tag,
};

/// The file that marks a layout.
pub(crate) const MARK: &str = "oci-layout";
/// The version we read.
pub(crate) const VERSION: &str = "1.0.0";
/// Its table of contents.
pub(crate) const INDEX: &str = "index.json";
/// Its blobs.
pub(crate) const BLOBS: &str = "blobs/sha256";
/// `docker save`'s table of contents.
const DOCKER_INDEX: &str = "manifest.json";
/// Annotation that names an image in a layout (OCI image specification, "Annotations").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Entries of a table of contents that are looked at for what refers to an image.
const ENTRIES: usize = 1024;

/// The name an entry bears.
fn name(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

/// True for tags made of a digest: lists of referrers, and cosign's `.sig`, `.att`, `.sbom`.
fn is_digest_tag(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else { return false };
    let hex = rest.split('.').next().unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

enum Place {
    Directory,
    Archive { file: File, members: HashMap<String, Extent> },
}

/// An open layout.
pub(crate) struct Layout {
    path: PathBuf,
    place: Place,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

impl Layout {
    /// Opens a directory.
    pub(crate) fn directory(path: &Path) -> Result<Self, OciError> {
        fs::metadata(path).map_err(|source| OciError::Read { path: path.to_owned(), source })?;
        Self { path: path.to_owned(), place: Place::Directory }.checked()
    }

    /// Opens a tar archive, reading its headers once.
    pub(crate) fn archive(path: &Path) -> Result<Self, OciError> {
        let file = File::open(path).map_err(|source| OciError::Read { path: path.to_owned(), source })?;
        let members = archive::index(&file, path)?;
        if members.contains_key(DOCKER_INDEX) && !members.contains_key(INDEX) {
            return Err(OciError::DockerArchive { path: path.to_owned() });
        }
        Self { path: path.to_owned(), place: Place::Archive { file, members } }.checked()
    }

    fn checked(self) -> Result<Self, OciError> {
        let mark: Mark = self.json(MARK, limits::CONFIG_FILE_BYTES)?;
        match mark.image_layout_version == VERSION {
            true => Ok(self),
            false => Err(self.not_a_layout(format!("version {} is unknown", mark.image_layout_version))),
        }
    }

    fn not_a_layout(&self, problem: String) -> OciError {
        OciError::NotALayout { path: self.path.clone(), problem }
    }

    /// Opens a file of the layout: where its content begins and how long it is.
    fn open(&self, name: &str) -> Result<Option<(File, Extent)>, OciError> {
        let read = |source: io::Error| OciError::Read { path: self.path.join(name), source };
        match &self.place {
            Place::Directory => {
                let path = self.path.join(name);
                // Looked at before it is opened: opening a pipe would wait for its other end.
                match fs::metadata(&path) {
                    Ok(found) if found.is_file() => {}
                    Ok(_) => return Err(self.not_a_layout(format!("{name} is no file"))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(read(error)),
                }
                let file = File::open(&path).map_err(read)?;
                let length = file.metadata().map_err(read)?.len();
                Ok(Some((file, Extent { offset: 0, length })))
            }
            Place::Archive { file, members } => match members.get(name) {
                Some(extent) => Ok(Some((file.try_clone().map_err(read)?, *extent))),
                None => Ok(None),
            },
        }
    }

    /// Reads a small file.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, OciError> {
        use std::os::unix::fs::FileExt as _;
        let Some((file, extent)) = self.open(name)? else {
            return Ok(None);
        };
        if extent.length > limit {
            return Err(OciError::Limit { what: format!("{name} in {}, in bytes,", self.path.display()), limit });
        }
        let mut bytes = vec![0; usize::try_from(extent.length).expect("bounded by the limit")];
        file.read_exact_at(&mut bytes, extent.offset)
            .map_err(|source| OciError::Read { path: self.path.join(name), source })?;
        Ok(Some(bytes))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str, limit: u64) -> Result<T, OciError> {
        let bytes = self.read(name, limit)?.ok_or_else(|| self.not_a_layout(format!("{name} is missing")))?;
        serde_json::from_slice(&bytes).map_err(|error| OciError::Parse {
            what: format!("{name} in {}", self.path.display()),
            source: error.into(),
        })
    }

    /// The entries of the table of contents.
    fn entries(&self) -> Result<Vec<Descriptor>, OciError> {
        let index: ImageIndex = self.json(INDEX, limits::MANIFEST_BYTES)?;
        Ok(index.manifests().clone())
    }

    /// The entries of this name.
    pub(crate) fn named(&self, tag: &str) -> Result<Vec<Descriptor>, OciError> {
        let mut entries = self.entries()?;
        entries.retain(|entry| name(entry) == Some(tag));
        Ok(entries)
    }

    /// The image of this name, or the only one; what lies beside an image is none.
    pub(crate) fn select(&self, image: &str, tag: Option<&str>) -> Result<Descriptor, OciError> {
        let found = match tag {
            Some(tag) => self.named(tag)?,
            None => {
                let mut entries = self.entries()?;
                entries.retain(|entry| entry.artifact_type().is_none() && !name(entry).is_some_and(is_digest_tag));
                entries
            }
        };
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(OciError::NoSuchImage(image.to_owned())),
            several => Err(OciError::Ambiguous { image: image.to_owned(), count: several.len() }),
        }
    }

    /// The entries whose manifest names `subject`, and those that a list under the fallback tag has.
    pub(crate) fn referring(&self, subject: ManifestDigest) -> Result<Vec<Descriptor>, OciError> {
        let entries = self.entries()?;
        if entries.len() > ENTRIES {
            let what = format!("the number of entries of {INDEX} in {}", self.path.display());
            return Err(OciError::Limit { what, limit: ENTRIES as u64 });
        }
        let list = fallback_tag(subject);
        let mut found = Vec::new();
        for entry in entries {
            // What cannot be read refers to nothing.
            let Some(bytes) =
                manifest::manifest_digest(INDEX, &entry).and_then(|digest| self.manifest(INDEX, digest)).ok()
            else {
                continue;
            };
            if name(&entry) == Some(&list) {
                if let Ok(index) = ImageIndex::from_reader(&bytes[..]) {
                    found.extend(index.manifests().iter().cloned());
                }
            } else if manifest::subject(&bytes) == Some(subject) {
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// Reads and checks a manifest.
    pub(crate) fn manifest(&self, image: &str, digest: ManifestDigest) -> Result<Vec<u8>, OciError> {
        let bytes = self
            .read(&format!("{BLOBS}/{}", digest.to_hex()), limits::MANIFEST_BYTES)?
            .ok_or_else(|| self.not_a_layout(format!("the manifest {digest} is missing")))?;
        manifest::check_digest(image, digest, &bytes)?;
        Ok(bytes)
    }

    /// Opens a blob; whoever reads it checks it.
    pub(crate) fn blob(&self, expected: &Expected) -> Result<Input, OciError> {
        let name = format!("{BLOBS}/{}", expected.digest.to_hex());
        let Some((file, Extent { offset, length })) = self.open(&name)? else {
            return Err(self.not_a_layout(format!("{} is missing", expected.what)));
        };
        if length < expected.size {
            return Err(expected.truncated(length));
        }
        if length > expected.size {
            return Err(expected.oversized());
        }
        Ok(Input::File { file, path: self.path.join(name), offset, left: length })
    }
}
