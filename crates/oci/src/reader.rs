//! Resolving: from a reference to a checked manifest and configuration.

use std::{collections::HashSet, sync::Arc};

use oci_spec::image::{ImageConfiguration, ImageManifest};
use rocketos_model::{ImageReference, ManifestDigest, reference::DEFAULT_TAG};
use rocketos_store::Store;

use crate::{
    OciError, ReaderConfig,
    checked::{Expected, Kind},
    layers::Layer,
    local::Layout,
    manifest::{self, Document},
    registry::{
        Repository, Served,
        auth::Logins,
        conf::{By, RegistriesConf},
    },
    source::Source,
    storage::Storage,
};

/// Indexes that may lead from a reference to a manifest: a layout's own is not counted.
const INDEXES: usize = 2;

/// Reads images.
pub struct Reader {
    pub(crate) config: ReaderConfig,
    registries: RegistriesConf,
    logins: Logins,
}

/// An image that was found, its manifest and configuration checked. Its layers are still where they were.
pub struct Resolved {
    /// What was asked for.
    pub reference: ImageReference,
    /// What it is, whatever its tag says next: for an index, the chosen entry's.
    pub manifest_digest: ManifestDigest,
    /// The manifest as served.
    pub manifest: Vec<u8>,
    /// The indexes that led to it, as served, the innermost first: each names the one before, the first the manifest.
    pub indexes: Vec<Vec<u8>>,
    /// The configuration as served.
    pub config: Vec<u8>,
    /// The manifest, parsed.
    pub image_manifest: ImageManifest,
    /// The configuration, parsed.
    pub configuration: ImageConfiguration,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    pub(crate) source: Source,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved")
            .field("reference", &self.reference)
            .field("manifest_digest", &self.manifest_digest)
            .finish_non_exhaustive()
    }
}

impl Resolved {
    /// A label of the configuration.
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.configuration.config().as_ref()?.labels().as_ref()?;
        labels.get(key).map(String::as_str)
    }

    /// The machine it is for, in OCI's words.
    pub fn architecture(&self) -> String {
        self.configuration.architecture().to_string()
    }

    /// When it was made, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        self.configuration.created().as_deref()
    }

    /// Bytes of all layers as served, each different one once.
    pub fn layer_bytes(&self) -> u64 {
        self.distinct().map(|(_, layer)| layer.size).sum()
    }

    /// Bytes, as served, of the layers that the store lacks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn missing_bytes(&self, store: &Store) -> Result<u64, OciError> {
        let mut bytes = 0;
        for (_, layer) in self.distinct() {
            if !store.has_layer(&layer.diff_id).map_err(OciError::Lookup)? {
                bytes += layer.size;
            }
        }
        Ok(bytes)
    }

    /// Layers with their number; of two with the same content, the first.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = (usize, &Layer)> {
        let mut seen = HashSet::new();
        let all = self.layers.iter().enumerate();
        all.filter(move |(_, layer)| seen.insert(layer.diff_id))
    }
}

impl Reader {
    /// Reads the configuration files.
    ///
    /// # Errors
    /// When one of them is there and cannot be used.
    pub fn new(config: ReaderConfig) -> Result<Self, OciError> {
        Ok(Self {
            registries: RegistriesConf::read(config.registries_conf.as_deref(), &config.registries_conf_dirs)?,
            logins: Logins::read(&config.auth_files)?,
            config,
        })
    }

    /// Finds an image and checks its manifest and configuration; an index leads to the entry for this machine.
    ///
    /// # Errors
    /// When it is not there, not what was asked for, not for this machine, or passes a limit of
    /// [`rocketos_model::limits`].
    pub async fn resolve(&self, reference: &ImageReference) -> Result<Resolved, OciError> {
        self.resolve_for(reference, &self.config.architecture).await
    }

    /// The same for a machine of another architecture, in OCI's words.
    ///
    /// # Errors
    /// As [`Reader::resolve`].
    pub async fn resolve_for(&self, reference: &ImageReference, architecture: &str) -> Result<Resolved, OciError> {
        let image = reference.to_string();
        let opened = self.open(reference, &image).await?;
        self.read(reference, opened, architecture).await
    }

    /// Finds the very manifest `digest` in the place of `reference`, whatever its tags say by now.
    ///
    /// # Errors
    /// As [`Reader::resolve`].
    pub async fn resolve_exactly(
        &self,
        reference: &ImageReference,
        digest: ManifestDigest,
    ) -> Result<Resolved, OciError> {
        let reference = reference.with_digest(digest);
        let image = reference.to_string();
        let opened = match &reference {
            ImageReference::Layout { path, .. } => exactly(Layout::directory(path)?, &image, digest)?,
            ImageReference::Archive { path, .. } => exactly(Layout::archive(path)?, &image, digest)?,
            other => self.open(other, &image).await?,
        };
        let resolved = self.read(&reference, opened, &self.config.architecture).await?;
        match resolved.manifest_digest == digest {
            true => Ok(resolved),
            false => Err(OciError::NoSuchImage(format!("{image}@{digest}"))),
        }
    }

    /// Reads and checks what was opened.
    async fn read(
        &self,
        reference: &ImageReference,
        (mut source, served): (Source, Served),
        architecture: &str,
    ) -> Result<Resolved, OciError> {
        let image = reference.to_string();
        let Followed { bytes, image_manifest, indexes } =
            self.follow(&image, &mut source, served, architecture).await?;
        let (digest, size) = manifest::config_descriptor(&image_manifest)?;
        let expected =
            Expected { digest, size, what: format!("the configuration of {image}"), kind: Kind::Config(image.clone()) };
        let config = source.config(&image_manifest, expected).await?;
        let configuration = manifest::configuration(&image, &config, architecture)?;
        let layers = manifest::layers(&image_manifest, &configuration)?;
        source.prepare(&layers).await?;
        Ok(Resolved {
            reference: reference.clone(),
            manifest_digest: manifest::digest_of(&bytes),
            manifest: bytes,
            indexes,
            config,
            image_manifest,
            configuration,
            layers,
            source,
        })
    }

    /// For which architectures there is an image, in OCI's words: those of an index that are for Linux, or the one of a
    /// manifest.
    ///
    /// # Errors
    /// When it is not there, or not what was asked for.
    pub async fn architectures(&self, reference: &ImageReference) -> Result<Vec<String>, OciError> {
        let image = reference.to_string();
        let (source, served) = self.open(reference, &image).await?;
        match manifest::parse(&image, &served.bytes, served.media_type.as_deref())? {
            Document::Index(index) => Ok(manifest::architectures(&index)),
            Document::Image(found) => {
                let (digest, size) = manifest::config_descriptor(&found)?;
                let what = format!("the configuration of {image}");
                let kind = Kind::Config(image.clone());
                let config = source.config(&found, Expected { digest, size, what: what.clone(), kind }).await?;
                let configuration = ImageConfiguration::from_reader(&config[..])
                    .map_err(|error| OciError::Parse { what, source: error.into() })?;
                Ok(vec![configuration.architecture().to_string()])
            }
        }
    }

    /// Opens the source and reads what the reference names, a manifest or an index.
    async fn open(&self, reference: &ImageReference, image: &str) -> Result<(Source, Served), OciError> {
        match reference {
            ImageReference::Registry { .. } => {
                let mut repository = self.repository(reference, "reading it")?;
                let (name, digest) = asked(reference);
                let served = repository.manifest(image, &name, digest).await?;
                Ok((Source::Registry(repository), served))
            }
            ImageReference::Layout { path, tag } => layout(Layout::directory(path)?, image, tag.as_deref()),
            ImageReference::Archive { path, tag } => layout(Layout::archive(path)?, image, tag.as_deref()),
            ImageReference::Storage { .. } => {
                let storage = Storage::open(image).await?;
                let bytes = storage.manifest().await?;
                let source = Source::Storage { storage, items: Arc::default() };
                Ok((source, Served { bytes, media_type: None, date: None }))
            }
        }
    }

    /// The repository of a `docker://` reference.
    pub(crate) fn repository(&self, reference: &ImageReference, doing: &'static str) -> Result<Repository, OciError> {
        let ImageReference::Registry { registry, repository, digest, .. } = reference else {
            return Err(OciError::NotARegistry { image: reference.to_string(), doing });
        };
        let by = match digest {
            Some(_) => By::Digest,
            None => By::Tag,
        };
        Repository::open(registry, repository, by, &self.registries, &self.logins, &self.config)
    }

    /// Goes through indexes to the manifest for this machine.
    async fn follow(
        &self,
        image: &str,
        source: &mut Source,
        mut served: Served,
        architecture: &str,
    ) -> Result<Followed, OciError> {
        let mut indexes = Vec::new();
        for _ in 0..=INDEXES {
            match manifest::parse(image, &served.bytes, served.media_type.as_deref())? {
                Document::Image(manifest) => {
                    indexes.reverse();
                    return Ok(Followed { bytes: served.bytes, image_manifest: *manifest, indexes });
                }
                Document::Index(index) => {
                    let chosen = manifest::choose(image, &index, architecture)?;
                    let what = format!("the entry for this machine in the index of {image}");
                    let digest = manifest::manifest_digest(&what, chosen)?;
                    let next = source.manifest(image, digest).await?;
                    indexes.push(std::mem::replace(&mut served, next).bytes);
                    served.media_type = Some(chosen.media_type().to_string());
                }
            }
        }
        Err(OciError::Limit {
            what: format!("the number of indexes within each other in {image}"),
            limit: INDEXES as u64,
        })
    }
}

/// The tag or digest to ask a registry for, and the digest that what comes must have.
pub(crate) fn asked(reference: &ImageReference) -> (String, Option<ManifestDigest>) {
    match reference {
        ImageReference::Registry { digest: Some(digest), .. } => (digest.to_string(), Some(*digest)),
        ImageReference::Registry { tag: Some(tag), .. } => (tag.clone(), None),
        _ => (DEFAULT_TAG.to_owned(), None),
    }
}

/// Where indexes led.
struct Followed {
    bytes: Vec<u8>,
    image_manifest: ImageManifest,
    indexes: Vec<Vec<u8>>,
}

fn layout(layout: Layout, image: &str, tag: Option<&str>) -> Result<(Source, Served), OciError> {
    let descriptor = layout.select(image, tag)?;
    let digest = manifest::manifest_digest(&format!("the manifest of {image}"), &descriptor)?;
    let served = Served {
        bytes: layout.manifest(image, digest)?,
        media_type: Some(descriptor.media_type().to_string()),
        date: None,
    };
    Ok((Source::Layout(Arc::new(layout)), served))
}

/// The manifest of this digest, tagged or not.
fn exactly(layout: Layout, image: &str, digest: ManifestDigest) -> Result<(Source, Served), OciError> {
    let served = Served { bytes: layout.manifest(image, digest)?, media_type: None, date: None };
    Ok((Source::Layout(Arc::new(layout)), served))
}
