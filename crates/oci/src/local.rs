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
};

/// The file that marks a layout.
const MARK: &str = "oci-layout";
/// The version we read.
const VERSION: &str = "1.0.0";
/// Its table of contents.
const INDEX: &str = "index.json";
/// `docker save`'s table of contents.
const DOCKER_INDEX: &str = "manifest.json";
/// Annotation that names an image in a layout (OCI image specification, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";

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

    /// The image of this name, or the only one.
    pub(crate) fn select(&self, image: &str, tag: Option<&str>) -> Result<Descriptor, OciError> {
        let index: ImageIndex = self.json(INDEX, limits::MANIFEST_BYTES)?;
        let named = |descriptor: &&Descriptor| {
            let annotations = descriptor.annotations().as_ref();
            tag.is_none_or(|tag| annotations.and_then(|found| found.get(REF_NAME)).is_some_and(|name| name == tag))
        };
        let found: Vec<&Descriptor> = index.manifests().iter().filter(named).collect();
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(OciError::NoSuchImage(image.to_owned())),
            several => Err(OciError::Ambiguous { image: image.to_owned(), count: several.len() }),
        }
    }

    /// Reads and checks a manifest.
    pub(crate) fn manifest(&self, image: &str, digest: ManifestDigest) -> Result<Vec<u8>, OciError> {
        let bytes = self
            .read(&format!("blobs/sha256/{}", digest.to_hex()), limits::MANIFEST_BYTES)?
            .ok_or_else(|| self.not_a_layout(format!("the manifest {digest} is missing")))?;
        manifest::check_digest(image, digest, &bytes)?;
        Ok(bytes)
    }

    /// Opens a blob; whoever reads it checks it.
    pub(crate) fn blob(&self, expected: &Expected) -> Result<Input, OciError> {
        let name = format!("blobs/sha256/{}", expected.digest.to_hex());
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
