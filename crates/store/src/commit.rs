//! Images: a manifest, its configuration, its layers and what they mount as.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Cursor, Read, Seek},
};

use composefs::{
    fsverity::Sha512HashValue,
    generic_tree::Stat,
    tree::{FileSystem, RegularFile},
};
use composefs_oci::{BOOT_IMAGE_REF_KEY_V1, LAYER_CONTENT_TYPE, image::process_entry, tar::get_entry};
use oci_spec::image::{ImageConfiguration, ImageManifest};
use openssl::sha::sha256;
use rocketos_model::{ComposefsDigest, DiffId, ManifestDigest, ObjectId, layout, limits};

use crate::{
    Store, StoreError,
    open::object_id,
    tree::{Mountable, Policy, TreeFacts, finish, weigh},
};

/// Content type of a manifest's stream, as composefs-oci writes it.
const MANIFEST_CONTENT_TYPE: u64 = u64::from_le_bytes(*b"ocimanif");
/// Where names of images stand among the store's references.
const REFERENCE: &str = "oci/rocketos-";

/// An image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// What a deployment is named after.
    pub manifest_digest: ManifestDigest,
    /// Digest, objects and bytes of what it mounts as.
    pub facts: TreeFacts,
    /// Its sealed kernel.
    pub uki: Uki,
    /// Its configuration, as the registry serves it.
    pub config: ImageConfiguration,
}

/// A file in the store, to be read from any place.
pub trait Content: Read + Seek {}
impl<T: Read + Seek> Content for T {}

/// A sealed kernel in the store.
#[derive(Debug, Clone)]
pub struct Uki {
    /// File name, such as `6.12.48+deb13-amd64.efi`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    content: RegularFile<Sha512HashValue>,
}

impl Uki {
    /// Its object; absent where it is too short to be one.
    pub fn object(&self) -> Option<ObjectId> {
        match &self.content {
            RegularFile::External(id, _) => Some(object_id(id)),
            _ => None,
        }
    }
}

/// What an image is named by.
pub(crate) struct Documents<'a> {
    pub(crate) manifest: &'a [u8],
    pub(crate) config: &'a [u8],
    pub(crate) layers: &'a [(DiffId, Sha512HashValue)],
    /// As what the configuration's list has what the image mounts as.
    pub(crate) key: &'static str,
}

pub(crate) fn parse_error<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Parse { what, source: error.into() }
}

fn reference(manifest: &ManifestDigest) -> String {
    format!("{REFERENCE}{}", manifest.to_hex())
}

pub(crate) fn manifest_name(manifest: &ManifestDigest) -> String {
    format!("oci-manifest-{manifest}")
}

impl Store {
    /// Names an image whose layers are all here, and makes it mountable.
    ///
    /// `manifest` and `config` are the bytes as served; that they belong together was the caller's to check. The
    /// image is kept until [`Store::remove_image`]. Doing it again changes nothing.
    ///
    /// # Errors
    /// When a layer is missing, when the image is not sealed, when the disk is full.
    pub fn commit_image(&self, manifest: &[u8], config: &[u8]) -> Result<Image, StoreError> {
        self.commit_into(self, manifest, config)
    }

    /// The same, of layers that are here, into a store that need not have them.
    pub(crate) fn commit_into(&self, into: &Self, manifest: &[u8], config: &[u8]) -> Result<Image, StoreError> {
        let configuration = ImageConfiguration::from_reader(config).map_err(parse_error("configuration"))?;
        let layers = self.layers(&configuration)?;
        let tree = self.tree(&layers)?;
        let uki = find_uki(&tree)?;
        let mountable = finish(tree, &Policy::Store(self))?;
        let documents = Documents { manifest, config, layers: &layers, key: BOOT_IMAGE_REF_KEY_V1 };
        let digest = into.name_image(&documents, &mountable)?;
        Ok(Image { manifest_digest: digest, facts: mountable.facts, uki, config: configuration })
    }

    /// Stores what an image mounts as, and names it by its documents.
    pub(crate) fn name_image(
        &self,
        documents: &Documents<'_>,
        mountable: &Mountable,
    ) -> Result<ManifestDigest, StoreError> {
        let Documents { manifest, config, layers, key } = *documents;
        let digest = ManifestDigest::from_bytes(sha256(manifest));
        let parsed = ImageManifest::from_reader(manifest).map_err(parse_error("manifest"))?;
        let image = self
            .repository
            .write_image(None, &mountable.bytes)
            .map_err(StoreError::composefs("storing the mountable image"))?;

        let refs: HashMap<Box<str>, Sha512HashValue> =
            layers.iter().map(|(id, object)| (Box::from(id.to_string()), object.clone())).collect();
        let images = HashMap::from([(Box::from(key), image)]);
        let (_, config_object) = composefs_oci::write_config_raw(&self.repository, config, refs, None, None, &images)
            .map_err(StoreError::composefs("storing the image's configuration"))?;

        let mut stream = self
            .repository
            .create_stream(MANIFEST_CONTENT_TYPE)
            .map_err(StoreError::composefs("storing the manifest"))?;
        stream.add_named_stream_ref(&format!("config:{}", parsed.config().digest()), &config_object);
        for (id, object) in layers {
            stream.add_named_stream_ref(&id.to_string(), object);
        }
        stream.write_external(manifest).map_err(StoreError::composefs("storing the manifest"))?;
        self.repository
            .write_stream(stream, &manifest_name(&digest), Some(&reference(&digest)))
            .map_err(StoreError::composefs("naming the image in the store"))?;
        self.sync()?;
        Ok(digest)
    }

    /// Opens an image that [`Store::commit_image`] named; absent where there is none.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn open_image(&self, manifest: &ManifestDigest) -> Result<Option<Image>, StoreError> {
        let name = manifest_name(manifest);
        let found = self.repository.has_stream(&name).map_err(StoreError::composefs("looking for an image"))?;
        let Some(object) = found else { return Ok(None) };
        let oci_digest = manifest.to_string().parse().map_err(parse_error("manifest digest"))?;
        let opened = composefs_oci::OciImage::open(&self.repository, &oci_digest, Some(&object))
            .map_err(StoreError::composefs("opening an image in the store"))?;
        let config = opened.config().cloned().ok_or(StoreError::MissingImage(*manifest))?;
        let mountable = opened.boot_image_ref_v1().cloned().ok_or(StoreError::MissingImage(*manifest))?;
        let layers = self.layers(&config)?;
        let tree = self.tree(&layers)?;
        let uki = find_uki(&tree)?;
        let digest = ComposefsDigest::from_bytes(*object_id(&mountable).as_bytes());
        let (objects, bytes) = weigh(&tree);
        let facts = TreeFacts { digest, objects, bytes };
        Ok(Some(Image { manifest_digest: *manifest, facts, uki, config }))
    }

    /// What the layers of this configuration come to, computed anew; nothing is stored.
    ///
    /// # Errors
    /// When a layer is missing or damaged.
    pub fn digest_of_layers(&self, config: &[u8]) -> Result<ComposefsDigest, StoreError> {
        let configuration = ImageConfiguration::from_reader(config).map_err(parse_error("configuration"))?;
        let tree = self.tree(&self.layers(&configuration)?)?;
        Ok(finish(tree, &Policy::Store(self))?.facts.digest)
    }

    /// True when the store names the image, so that garbage collection keeps what it needs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_image(&self, manifest: &ManifestDigest) -> Result<bool, StoreError> {
        // composefs' own question follows the name, and so never finds one.
        match fs::read_link(self.path.join("streams/refs").join(reference(manifest))) {
            Ok(target) => Ok(target.file_name().is_some_and(|name| name == manifest_name(manifest).as_str())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(false),
            Err(error) => Err(StoreError::Look(error)),
        }
    }

    /// Reads a sealed kernel.
    ///
    /// # Errors
    /// When its object is missing or damaged.
    pub fn read_uki(&self, uki: &Uki) -> Result<Box<dyn Content>, StoreError> {
        match &uki.content {
            RegularFile::Inline(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
            RegularFile::External(id, _) => {
                let fd = self.repository.open_object(id).map_err(StoreError::composefs("opening the kernel"))?;
                Ok(Box::new(File::from(fd)))
            }
            _ => Err(StoreError::Layer("its kernel has no content".to_owned())),
        }
    }

    /// Manifest digests of all images in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn images(&self) -> Result<Vec<ManifestDigest>, StoreError> {
        let refs = self.repository.list_stream_refs("oci").map_err(StoreError::composefs("listing images"))?;
        let mut images: Vec<ManifestDigest> = refs
            .iter()
            .filter_map(|(name, _)| name.rsplit_once("rocketos-"))
            .filter_map(|(_, hex)| format!("sha256:{hex}").parse().ok())
            .collect();
        images.sort();
        Ok(images)
    }

    /// Takes an image's name away; its objects go with the next [`Store::collect_garbage`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove_image(&self, manifest: &ManifestDigest) -> Result<(), StoreError> {
        let path = format!("streams/refs/{}", reference(manifest));
        match rustix::fs::unlinkat(self.repository.repo_fd(), &path, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(StoreError::Write(error.into())),
        }
    }

    pub(crate) fn layers(&self, config: &ImageConfiguration) -> Result<Vec<(DiffId, Sha512HashValue)>, StoreError> {
        let ids = config.rootfs().diff_ids();
        if ids.len() > limits::LAYERS {
            return Err(StoreError::Limit { what: "layers", limit: limits::LAYERS as u64 });
        }
        ids.iter()
            .map(|id| {
                let id: DiffId = id.parse().map_err(parse_error("configuration"))?;
                let object = self.layer_object(&id)?.ok_or(StoreError::MissingLayer(id))?;
                Ok((id, object))
            })
            .collect()
    }

    /// The files of all layers, one upon the other.
    pub(crate) fn tree(&self, layers: &[(DiffId, Sha512HashValue)]) -> Result<FileSystem<Sha512HashValue>, StoreError> {
        let mut tree = FileSystem::new(Stat::uninitialized());
        for (_, object) in layers {
            let mut stream = self
                .repository
                .open_stream("", Some(object), Some(LAYER_CONTENT_TYPE))
                .map_err(StoreError::composefs("reading a layer in the store"))?;
            while let Some(entry) = get_entry(&mut stream).map_err(|error| StoreError::Layer(format!("{error:#}")))? {
                process_entry(&mut tree, entry).map_err(|error| StoreError::Layer(format!("{error:#}")))?;
            }
        }
        Ok(tree)
    }
}

/// The one kernel in /boot/EFI/Linux.
fn find_uki(tree: &FileSystem<Sha512HashValue>) -> Result<Uki, StoreError> {
    let directory =
        tree.root.get_directory(layout::image::UKI.as_ref()).map_err(|_| StoreError::NotSealed { found: 0 })?;
    let names: Vec<_> = directory
        .sorted_entries()
        .filter_map(|(name, _)| name.to_str())
        .filter(|name| name.ends_with(".efi"))
        .collect();
    let [name] = names.as_slice() else {
        return Err(StoreError::NotSealed { found: names.len() });
    };
    let content = directory
        .get_file((*name).as_ref(), &tree.leaves)
        .map_err(|error| StoreError::Layer(error.to_string()))?
        .clone();
    let size = content.file_size();
    if size > limits::UKI_BYTES {
        return Err(StoreError::Limit { what: "bytes in its kernel", limit: limits::UKI_BYTES });
    }
    Ok(Uki { name: (*name).to_owned(), size, content })
}
