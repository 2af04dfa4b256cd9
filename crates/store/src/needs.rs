//! Who needs what is damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Read as _,
};

use openssl::sha::sha256;
use rocketos_model::{BlobDigest, ComposefsDigest, DiffId, ManifestDigest, ObjectId, limits};

use crate::{
    Damage, Store, StoreError, commit::manifest_name, garbage::mounted_images, open::layer_name, scrub::Needed,
};

/// An image's manifest and configuration.
pub type Documents = (Vec<u8>, Vec<u8>);

/// What damage means for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The image.
    pub manifest: ManifestDigest,
    /// Its layers, the lowest first; absent where its documents are damaged.
    pub layers: Option<Vec<DiffId>>,
    /// Damaged objects it needs, and the layers they lie in: none for what is made of the layers.
    pub bad: BTreeMap<ObjectId, BTreeSet<DiffId>>,
    /// Layers that have to come again: they hold a damaged object, or nobody knows what they hold.
    pub wanting: BTreeSet<DiffId>,
    /// Those of them whose list is damaged or not here.
    pub unlisted: BTreeSet<DiffId>,
    /// False where the store does not name the image any more, so that nothing of it is a root.
    pub named: bool,
}

impl Contents {
    /// True where nothing that it needs is damaged.
    pub fn is_whole(&self) -> bool {
        self.named && self.layers.is_some() && self.bad.is_empty() && self.wanting.is_empty()
    }
}

impl Store {
    /// What `damage` means for the image `manifest`, which mounts as `mountable`.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn contents(
        &self,
        manifest: &ManifestDigest,
        mountable: &ComposefsDigest,
        damage: &Damage,
    ) -> Result<Contents, StoreError> {
        let mut bad: BTreeMap<ObjectId, BTreeSet<DiffId>> = BTreeMap::new();
        let mut note = |id: &ObjectId, layer: Option<&DiffId>| {
            if damage.objects.contains_key(id) {
                bad.entry(*id).or_default().extend(layer);
            }
        };
        let (layers, unlisted) = self.walk(manifest, Some(mountable), damage, &mut note)?;
        let mut wanting = unlisted.clone();
        wanting.extend(bad.values().flatten());
        let named = self.has_image(manifest)?;
        Ok(Contents { manifest: *manifest, layers, bad, wanting, unlisted, named })
    }

    /// Every object of the image `manifest`, which mounts as `mountable`: what it mounts, and what it is made of.
    ///
    /// # Errors
    /// When a list is damaged, so that nobody knows.
    pub fn objects_of(
        &self,
        manifest: &ManifestDigest,
        mountable: &ComposefsDigest,
    ) -> Result<BTreeSet<ObjectId>, StoreError> {
        let mut all = BTreeSet::new();
        let mut note = |id: &ObjectId, _: Option<&DiffId>| {
            all.insert(*id);
        };
        let (layers, unlisted) = self.walk(manifest, Some(mountable), &Damage::default(), &mut note)?;
        match (layers, unlisted.first()) {
            (None, _) => Err(StoreError::MissingImage(*manifest)),
            (_, Some(layer)) => Err(StoreError::MissingLayer(*layer)),
            (Some(_), None) => Ok(all),
        }
    }

    /// Names every object of an image, with the layer it lies in, as far as whole lists tell. Returns the layers, where the
    /// documents are whole, and those whose list is not.
    fn walk(
        &self,
        manifest: &ManifestDigest,
        mountable: Option<&ComposefsDigest>,
        damage: &Damage,
        note: &mut dyn FnMut(&ObjectId, Option<&DiffId>),
    ) -> Result<(Option<Vec<DiffId>>, BTreeSet<DiffId>), StoreError> {
        if let Some(image) = mountable.map(|digest| ObjectId::from_bytes(*digest.as_bytes())) {
            note(&image, None);
            if let Some(needed) = self.whole_list(&format!("images/{}", image.to_hex()), damage)? {
                needed.objects.iter().for_each(|id| note(id, None));
            }
        }
        // The manifest leads to the configuration, both to the layers.
        let mut lists = vec![format!("streams/{}", manifest_name(manifest))];
        let mut layers = BTreeSet::new();
        while let Some(list) = lists.pop() {
            if let Some(id) = self.leads_to(&list)? {
                note(&id, None);
            }
            let Some(needed) = self.whole_list(&list, damage)? else { continue };
            needed.objects.iter().for_each(|id| note(id, None));
            for (name, _) in needed.lists {
                if let Some(Ok(layer)) = name.strip_prefix("streams/oci-layer-").map(str::parse::<DiffId>) {
                    layers.insert(layer);
                } else if name.starts_with("streams/oci-config-") {
                    lists.push(name);
                }
            }
        }
        let documents = self.documents(manifest)?;
        let listed = documents.as_ref().and_then(|(_, config)| diff_ids(config));
        layers.extend(listed.iter().flatten());
        let mut unlisted = BTreeSet::new();
        for layer in layers {
            let name = format!("streams/{}", layer_name(&layer));
            if let Some(id) = self.leads_to(&name)? {
                note(&id, Some(&layer));
            }
            match self.whole_list(&name, damage)? {
                Some(needed) => needed.objects.iter().for_each(|id| note(id, Some(&layer))),
                None => {
                    unlisted.insert(layer);
                }
            }
        }
        Ok((listed, unlisted))
    }

    /// Names of the streams of every image in the store. Refuses where nobody knows what an image needs, because one of its
    /// lists is damaged or not here.
    ///
    /// # Errors
    /// [`StoreError::Unlisted`].
    pub(crate) fn listed_streams(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut streams = BTreeSet::new();
        for manifest in self.images()? {
            match self.walk(&manifest, None, &Damage::default(), &mut |_, _| {})? {
                (Some(layers), unlisted) if unlisted.is_empty() => streams.extend(layers.iter().map(layer_name)),
                _ => return Err(StoreError::Unlisted(manifest)),
            }
        }
        Ok(streams)
    }

    /// Which of these layers have to come again: they hold a damaged object, or nobody knows what they hold.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn wanting(&self, layers: &[DiffId], damage: &Damage) -> Result<BTreeSet<DiffId>, StoreError> {
        let mut wanting = BTreeSet::new();
        for layer in layers {
            let list = self.whole_list(&format!("streams/{}", layer_name(layer)), damage)?;
            if list.is_none_or(|list| list.objects.iter().any(|id| damage.objects.contains_key(id))) {
                wanting.insert(*layer);
            }
        }
        Ok(wanting)
    }

    /// What a list needs; absent where it is damaged or not there.
    pub(crate) fn whole_list(&self, name: &str, damage: &Damage) -> Result<Option<Needed>, StoreError> {
        let Some(id) = self.leads_to(name)? else { return Ok(None) };
        if damage.objects.contains_key(&id) || damage.names.contains(name) {
            return Ok(None);
        }
        match self.needed(name, &id) {
            Ok(needed) => Ok(Some(needed)),
            // It went bad, or away, since.
            Err(StoreError::Look(_) | StoreError::Composefs { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An image's manifest and configuration as they were served; absent where either is not here, whole.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn documents(&self, manifest: &ManifestDigest) -> Result<Option<Documents>, StoreError> {
        let Some(bytes) = self.document(&manifest_name(manifest), limits::MANIFEST_BYTES, manifest.as_bytes())? else {
            return Ok(None);
        };
        let parsed = oci_spec::image::ImageManifest::from_reader(&bytes[..])
            .map_err(|error| StoreError::Parse { what: "manifest", source: error.into() })?;
        let Ok(digest) = parsed.config().digest().to_string().parse::<BlobDigest>() else { return Ok(None) };
        let config = self.document(&format!("oci-config-{digest}"), limits::CONFIG_BYTES, digest.as_bytes())?;
        Ok(config.map(|config| (bytes, config)))
    }

    /// A document by its SHA-256.
    fn document(&self, name: &str, limit: u64, expected: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(list) = self.leads_to(&format!("streams/{name}"))? else { return Ok(None) };
        let Ok(needed) = self.needed(name, &list) else { return Ok(None) };
        // A document is one object, or short enough to be in the list itself.
        for id in &needed.objects {
            let mut bytes = Vec::new();
            let read = fs::File::open(self.object_path(id)).and_then(|file| file.take(limit).read_to_end(&mut bytes));
            if read.is_ok() && sha256(&bytes) == *expected {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Which of these objects a mounted image needs: programs may go on using what was there when they opened it.
    ///
    /// # Errors
    /// When it cannot be found out what is mounted.
    pub fn in_use(&self, objects: &BTreeSet<ObjectId>) -> Result<BTreeSet<ObjectId>, StoreError> {
        let mut used = BTreeSet::new();
        for image in mounted_images(self.verity)? {
            let id = ObjectId::from_bytes(*image.as_bytes());
            let name = format!("images/{}", id.to_hex());
            if self.leads_to(&name)?.is_none() {
                continue;
            }
            used.extend(objects.get(&id));
            match self.needed(&name, &id) {
                Ok(needed) => used.extend(objects.intersection(&needed.objects)),
                // Nobody can tell: all of them may be.
                Err(_) => used.extend(objects),
            }
        }
        Ok(used)
    }

    /// Removes damaged objects that nothing needs, and the names that lead to them; which.
    ///
    /// `images` are all there are. Nothing is removed unless each of them is known to its last layer.
    ///
    /// # Errors
    /// When the store cannot be looked at or written.
    pub fn drop_unneeded(
        &self,
        images: &[Contents],
        left: &BTreeSet<ObjectId>,
    ) -> Result<BTreeSet<ObjectId>, StoreError> {
        let named: BTreeSet<ManifestDigest> = images.iter().map(|image| image.manifest).collect();
        let known = self.images()?.iter().all(|image| named.contains(image));
        if !known || images.iter().any(|image| image.layers.is_none() || !image.unlisted.is_empty()) {
            return Ok(BTreeSet::new());
        }
        let used = self.in_use(left)?;
        let needed = |id: &ObjectId| used.contains(id) || images.iter().any(|image| image.bad.contains_key(id));
        let dropped: BTreeSet<ObjectId> = left.iter().filter(|id| !needed(id)).copied().collect();
        for directory in ["images", "streams"] {
            for name in self.names(directory)? {
                let path = format!("{directory}/{name}");
                if self.leads_to(&path)?.is_some_and(|id| dropped.contains(&id)) {
                    fs::remove_file(self.path.join(path)).map_err(StoreError::Write)?;
                }
            }
        }
        for id in &dropped {
            match fs::remove_file(self.object_path(id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::Write(error)),
                _ => {}
            }
        }
        Ok(dropped)
    }
}

/// The layers that a configuration names.
fn diff_ids(config: &[u8]) -> Option<Vec<DiffId>> {
    let config = oci_spec::image::ImageConfiguration::from_reader(config).ok()?;
    config.rootfs().diff_ids().iter().map(|id| id.parse().ok()).collect()
}
