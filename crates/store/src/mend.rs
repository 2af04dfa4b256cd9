//! Putting good objects in the place of bad ones.
//!
//! Everything is made in a store of its own beside the objects, of the very same form, and each object then moves to its
//! place by one rename: whoever has the bad one open keeps it, whoever opens it anew gets the good one. A crash leaves
//! that store, which the next [`Mender`] empties; nothing in it is ever a root.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Read,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use composefs::fsverity::FsVerityHashValue as _;
use rocketos_model::{DiffId, ObjectId};

use crate::{
    ContainerImage, Damage, Fault, Image, LayerStats, Store, StoreError, Verity, object,
    open::{layer_name, object_id},
    scrub::{IMAGES, META, STREAMS, hash_of},
};

/// The store where good objects are made, inside the store that they are for.
const MENDING: &str = "mending";

/// Mends what a scrub found. One at a time: whoever makes it has seen to that.
#[derive(Debug, Clone)]
pub struct Mender {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Where good objects are made.
    scratch: Store,
    damage: Damage,
    done: Mutex<Done>,
}

/// What was mended.
#[derive(Debug, Default)]
struct Done {
    objects: BTreeSet<ObjectId>,
    /// A layer's list came out as another object than it was.
    relisted: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // What stays is emptied by the next one.
        let _ = fs::remove_dir_all(&self.scratch.path);
    }
}

impl Store {
    /// Begins to mend.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn mender(&self, damage: &Damage) -> Result<Mender, StoreError> {
        let scratch = scratch(&self.path, self.verity)?;
        let inner = Inner { store: self.clone(), scratch, damage: damage.clone(), done: Mutex::default() };
        Ok(Mender { inner: Arc::new(inner) })
    }

    /// Writes anew what the store at `path` says of itself, which is the same for every store of ours.
    ///
    /// # Errors
    /// When there are no objects, or the store cannot be written.
    pub fn renew_metadata(path: &Path, verity: Verity) -> Result<(), StoreError> {
        fs::metadata(path.join("objects")).map_err(StoreError::Look)?;
        let scratch = scratch(path, verity)?;
        let renewed = take_metadata(&scratch, path);
        drop(scratch);
        fs::remove_dir_all(path.join(MENDING)).map_err(StoreError::Write)?;
        renewed
    }
}

/// Makes the store for mending, empty.
fn scratch(store: &Path, verity: Verity) -> Result<Store, StoreError> {
    let path = store.join(MENDING);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::Write(error)),
        _ => {}
    }
    let scratch = Store::init(&path, verity)?;
    fs::create_dir_all(path.join("objects")).map_err(StoreError::Write)?;
    Ok(scratch)
}

fn take_metadata(scratch: &Store, path: &Path) -> Result<(), StoreError> {
    scratch.sync()?;
    fs::rename(scratch.path.join(META), path.join(META)).map_err(StoreError::Write)?;
    scratch.sync()
}

impl Mender {
    /// What is still bad of what the scrub found. Names are left in it: only looking again tells.
    pub fn left(&self) -> Damage {
        let done = self.inner.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut damage = self.inner.damage.clone();
        damage.objects.retain(|id, _| !done.objects.contains(id));
        damage
    }

    /// What was mended.
    pub fn mended(&self) -> BTreeSet<ObjectId> {
        let done = self.inner.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.objects.iter().filter(|id| self.inner.damage.objects.contains_key(id)).copied().collect()
    }

    /// True where a layer's list is another object now, so that every image has to be named anew.
    pub fn relisted(&self) -> bool {
        self.inner.done.lock().unwrap_or_else(PoisonError::into_inner).relisted
    }

    fn wanted(&self, id: &composefs::fsverity::Sha512HashValue) -> bool {
        self.inner.damage.objects.contains_key(&object_id(id))
    }

    /// Mends what the store itself has: files whose bytes are right and that are not sealed, and names whose object is known.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn mend_by_itself(&self) -> Result<(), StoreError> {
        let Inner { store, scratch, damage, .. } = &*self.inner;
        for id in damage.objects.iter().filter(|(_, fault)| **fault == Fault::Unsealed).map(|(id, _)| id) {
            let Ok(mut file) = fs::File::open(store.object_path(id)) else { continue };
            let size = file.metadata().map_err(StoreError::Look)?.len();
            match self.offer(&mut file, size) {
                // It cannot be read any more: it has to come from elsewhere.
                Err(StoreError::Read(_)) => {}
                other => drop(other?),
            }
        }
        if damage.names.contains(META) {
            take_metadata(scratch, &store.path)?;
        }
        self.mend_names()
    }

    /// Takes a file that may be what a bad object should be; true where it was.
    ///
    /// # Errors
    /// When it cannot be read or the store cannot be written.
    pub fn offer(&self, file: &mut dyn Read, size: u64) -> Result<bool, StoreError> {
        let put = object::put(&self.inner.scratch, file, size, &mut Vec::new(), &|id| self.wanted(id))?;
        if put.new {
            self.adopt()?;
        }
        Ok(put.new)
    }

    /// Takes the bad objects, and the list, from a layer whose tar stream `tar` yields; nothing moves to its place
    /// before the stream's end and digest are right.
    ///
    /// # Errors
    /// As [`Store::import_layer`].
    pub fn import_layer(&self, layer: &DiffId, tar: &mut dyn Read) -> Result<LayerStats, StoreError> {
        let Inner { store, scratch, .. } = &*self.inner;
        let stats = scratch.unpack(layer, tar, &|id| self.wanted(id))?;
        let name = format!("{}/{}", STREAMS, layer_name(layer));
        let list = scratch.leads_to(&name)?;
        self.adopt()?;
        if let Some(list) = list
            && store.leads_to(&name)? != Some(list)
        {
            store.name(&name, &list)?;
            self.inner.done.lock().unwrap_or_else(PoisonError::into_inner).relisted = true;
        }
        Ok(stats)
    }

    /// Makes an image's mountable form and documents anew out of layers that are whole, and names it.
    ///
    /// # Errors
    /// As [`Store::commit_image`].
    pub fn commit_image(&self, manifest: &[u8], config: &[u8]) -> Result<Image, StoreError> {
        let Inner { store, scratch, .. } = &*self.inner;
        store.commit_into(scratch, manifest, config)?;
        self.adopt()?;
        store.commit_image(manifest, config)
    }

    /// The same of a container's image.
    ///
    /// # Errors
    /// As [`Store::commit_container`].
    pub fn commit_container(&self, manifest: &[u8], config: &[u8]) -> Result<ContainerImage, StoreError> {
        let Inner { store, scratch, .. } = &*self.inner;
        store.commit_container_into(scratch, manifest, config)?;
        self.adopt()?;
        store.commit_container(manifest, config)
    }

    /// Moves what was made to its place: in that of the bad ones, and where there was nothing. A place that cannot be
    /// written keeps no other from its own.
    fn adopt(&self) -> Result<(), StoreError> {
        let Inner { store, scratch, damage, done } = &*self.inner;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Ok(());
        scratch.sync()?;
        for byte in 0..=u8::MAX {
            for id in scratch.objects_in(byte)? {
                let to = store.object_path(&id);
                let bad = damage.objects.contains_key(&id) && !done.objects.contains(&id);
                if !bad && to.symlink_metadata().is_ok() {
                    continue;
                }
                if let Some(directory) = to.parent() {
                    fs::create_dir_all(directory).map_err(StoreError::Write)?;
                }
                match fs::rename(scratch.object_path(&id), &to) {
                    Ok(()) => drop(done.objects.insert(id)),
                    Err(error) => outcome = Err(StoreError::Write(error)),
                }
            }
        }
        store.sync()?;
        outcome
    }

    /// Gives names back to objects that whole lists say they are of.
    fn mend_names(&self) -> Result<(), StoreError> {
        let Inner { store, damage, .. } = &*self.inner;
        for directory in [IMAGES, STREAMS] {
            for name in store.names(directory)? {
                let path = format!("{directory}/{name}");
                let Some(needed) = store.whole_list(&path, damage)? else { continue };
                for (listed, id) in needed.lists {
                    let here = !damage.objects.contains_key(&id) && store.object_path(&id).exists();
                    if here && damage.names.contains(&listed) {
                        store.name(&listed, &id)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Has a name lead to an object, whatever it led to.
    fn name(&self, name: &str, id: &ObjectId) -> Result<(), StoreError> {
        let hash = hash_of(id)?;
        self.repository
            .symlink(name, format!("objects/{}", hash.to_object_pathname()))
            .map_err(StoreError::composefs("naming an object in the store"))?;
        self.sync()
    }
}
