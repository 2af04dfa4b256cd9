//! What should be in the store, by its own lists.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use composefs::{erofs::reader::collect_objects, fsverity::Sha512HashValue};
use rocketos_model::{DiffId, ObjectId};

use super::{Damage, Examined, FINDINGS, Fault, Pace, Watch, disk, ids};
use crate::{
    Store, StoreError,
    open::{layer_name, object_id},
};

/// Directories of names; each leads to an object.
pub(crate) const STREAMS: &str = "streams";
pub(crate) const IMAGES: &str = "images";
/// Subdirectory of names for names.
const REFS: &str = "refs";
/// What the store says of itself.
pub(crate) const META: &str = "meta.json";
/// What a manifest calls its configuration, before the digest.
const CONFIG: &str = "config:";

/// What a list needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    /// Objects.
    pub(crate) objects: BTreeSet<ObjectId>,
    /// Lists by the name they have here, and the object each is.
    pub(crate) lists: Vec<(String, ObjectId)>,
}

impl Store {
    /// Reads every list from the disk, and looks whether what they name is there; false where it was stopped.
    pub(super) fn scrub_lists(
        &self,
        damage: &mut Damage,
        pace: &mut Pace<'_>,
        buffer: &mut [u8],
        watch: &dyn Watch,
    ) -> Result<bool, StoreError> {
        damage.names.clear();
        if File::open(self.path.join(META)).and_then(|mut file| file.read_to_end(&mut Vec::new())).is_err() {
            damage.names.insert(META.to_owned());
        }
        for directory in [IMAGES, STREAMS] {
            for name in self.names(directory)? {
                let path = format!("{directory}/{name}");
                let Some(id) = self.leads_to(&path)? else {
                    damage.names.insert(path);
                    continue;
                };
                if directory == IMAGES && id.to_hex() != name {
                    damage.names.insert(path);
                    continue;
                }
                match disk::examine(self, &super::hash_of(&id)?, pace, buffer, watch)? {
                    Examined::Stopped => return Ok(false),
                    Examined::Bad(fault) => {
                        damage.objects.insert(id, fault);
                    }
                    Examined::Good(_) => match self.needed(&path, &id) {
                        Ok(needed) => self.look_for(&needed, damage)?,
                        // A whole object that is no list: the name leads astray.
                        Err(StoreError::Composefs { .. }) => drop(damage.names.insert(path)),
                        Err(error) => return Err(error),
                    },
                }
            }
        }
        Ok(true)
    }

    /// Notes what is named and not there.
    fn look_for(&self, needed: &Needed, damage: &mut Damage) -> Result<(), StoreError> {
        for id in needed.objects.iter().chain(needed.lists.iter().map(|(_, id)| id)) {
            let fault = match self.object_path(id).symlink_metadata() {
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Fault::Missing,
                Err(error) => match disk::bad(error)? {
                    Examined::Bad(fault) => fault,
                    _ => continue,
                },
            };
            if damage.objects.len() < FINDINGS {
                damage.objects.entry(*id).or_insert(fault);
            }
        }
        for (name, id) in &needed.lists {
            if self.leads_to(name)? != Some(*id) {
                damage.names.insert(name.clone());
            }
        }
        Ok(())
    }

    /// What a whole list needs. `path` is its name, `id` the object.
    pub(crate) fn needed(&self, path: &str, id: &ObjectId) -> Result<Needed, StoreError> {
        let mut needed = Needed::default();
        if path.starts_with(IMAGES) {
            let bytes = fs::read(self.object_path(id)).map_err(StoreError::Look)?;
            let found = collect_objects::<Sha512HashValue>(&bytes)
                .map_err(|error| StoreError::composefs("reading a mountable image")(error.into()))?;
            needed.objects = ids(&found);
            return Ok(needed);
        }
        let file = File::open(self.object_path(id)).map_err(StoreError::Look)?;
        let doing = "reading a list in the store";
        let mut stream = composefs::splitstream::SplitStreamReader::<Sha512HashValue>::new(file, None)
            .map_err(StoreError::composefs(doing))?;
        let mut objects = BTreeSet::new();
        let gather = |hash: &Sha512HashValue| {
            objects.insert(object_id(hash));
        };
        stream.get_object_refs(gather).map_err(StoreError::composefs(doing))?;
        needed.objects = objects;
        for (name, hash) in stream.iter_named_refs() {
            let id = object_id(hash);
            let listed = match (name.parse::<DiffId>(), name.strip_prefix(CONFIG)) {
                (Ok(layer), _) => format!("{STREAMS}/{}", layer_name(&layer)),
                (_, Some(digest)) => format!("{STREAMS}/oci-config-{digest}"),
                // What an image mounts as.
                _ => format!("{IMAGES}/{}", id.to_hex()),
            };
            needed.lists.push((listed, id));
        }
        Ok(needed)
    }

    /// Names in a directory of the store, but for `refs`, sorted; an absent directory has none.
    pub(crate) fn names(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        let listing = match fs::read_dir(self.path.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(StoreError::Look)?,
        };
        let mut names = Vec::new();
        for entry in listing {
            let name = entry.map_err(StoreError::Look)?.file_name();
            names.extend(name.into_string().ok().filter(|name| name != REFS));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The object that a name leads to; absent where it leads to none, or is not there.
    pub(crate) fn leads_to(&self, name: &str) -> Result<Option<ObjectId>, StoreError> {
        match fs::read_link(self.path.join(name)) {
            Ok(target) => Ok(object_of(&target)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
            // A name that cannot be read leads nowhere.
            Err(error) => disk::bad(error).map(|_| None),
        }
    }

    /// Where an object lies.
    pub(crate) fn object_path(&self, id: &ObjectId) -> std::path::PathBuf {
        let hex = id.to_hex();
        self.path.join("objects").join(&hex[..2]).join(&hex[2..])
    }
}

/// The object in `../objects/<2 hex>/<126 hex>`.
fn object_of(target: &Path) -> Option<ObjectId> {
    let text = target.to_str()?.strip_prefix("../objects/")?;
    let (directory, rest) = text.split_once('/')?;
    format!("{directory}{rest}").parse().ok()
}
