//! Reading the whole store again from the disk.
//!
//! First the lists, which say what should be there: layers, documents and mountable images. Then every object, in the order of
//! their names, so that a run that was cut off goes on behind the last one it read. Nothing is changed; that is
//! [`crate::Mender`]'s.

mod disk;
mod lists;
mod pace;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    num::NonZeroU64,
};

use crate::{Store, StoreError, Verity, open::object_id};
use composefs::fsverity::{FsVerityHashValue as _, Sha512HashValue};
use rocketos_model::{ComposefsDigest, ObjectId};

pub(crate) use disk::Examined;
pub(crate) use lists::{IMAGES, META, Needed, STREAMS};
pub(crate) use pace::Pace;

/// Bytes a second that a scrub reads where nobody says otherwise: a gigabyte in half a minute, a quarter of a slow disk.
pub const RATE: u64 = 32 << 20;
/// Damaged objects that one run remembers; it ends when it has found so many, and the next goes on.
pub const FINDINGS: usize = 4096;

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something needs it, and it is not there.
    Missing,
    /// It cannot be read: the disk, or fs-verity, gives an error.
    Unreadable,
    /// Its bytes are not those its name says.
    Changed,
    /// Its bytes are right, and the kernel does not seal it under its name.
    Unsealed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Changed => "changed",
            Self::Unsealed => "unsealed",
        })
    }
}

/// What is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Objects.
    pub objects: BTreeMap<ObjectId, Fault>,
    /// Names in the store that lead nowhere, or to another object than they should, relative to its top.
    pub names: BTreeSet<String>,
}

impl Damage {
    /// True where nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.names.is_empty()
    }

    /// How many things are wrong.
    pub fn len(&self) -> usize {
        self.objects.len() + self.names.len()
    }
}

/// How far a scrub is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The last object that was read; absent at the beginning.
    pub at: Option<ObjectId>,
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What was found.
    pub damage: Damage,
    /// True when the last object was read.
    pub complete: bool,
}

/// Hears of a scrub, and may stop it.
pub trait Watch {
    /// Asked often; true ends the scrub where it is.
    fn stop(&self) -> bool {
        false
    }
    /// So far it is.
    fn passed(&mut self, _so_far: &Scrubbed) {}
}

/// Hears nothing, and lets it run.
impl Watch for () {}

impl Store {
    /// Reads everything in the store from the disk and compares it with its digest.
    ///
    /// `from` is what an earlier run came to: its counts and findings are carried on. Memory is bounded by [`FINDINGS`]
    /// and by the names of one of 256 directories. The store's lock is let go every few seconds.
    ///
    /// # Errors
    /// When the store cannot be looked at; that a file is damaged is no error.
    pub fn scrub(
        &self,
        from: Scrubbed,
        rate: Option<NonZeroU64>,
        watch: &mut dyn Watch,
    ) -> Result<Scrubbed, StoreError> {
        let mut so_far = Scrubbed { complete: false, ..from };
        let mut pace = Pace::new(self, rate);
        let mut buffer = disk::buffer();
        self.look_again(&mut so_far.damage, &mut pace, &mut buffer)?;
        if !self.scrub_lists(&mut so_far.damage, &mut pace, &mut buffer, watch)? {
            return Ok(so_far);
        }
        let first = so_far.at.map_or(0, |at| at.as_bytes()[0]);
        for byte in first..=u8::MAX {
            for id in self.objects_in(byte)? {
                if so_far.at.is_some_and(|at| id <= at) {
                    continue;
                }
                let hash = hash_of(&id)?;
                match disk::examine(self, &hash, &mut pace, &mut buffer, watch)? {
                    Examined::Stopped => return Ok(so_far),
                    // It was there a moment ago: somebody pruned.
                    Examined::Bad(Fault::Missing) => {}
                    Examined::Bad(fault) => {
                        so_far.objects += 1;
                        so_far.damage.objects.insert(id, fault);
                    }
                    Examined::Good(bytes) => {
                        so_far.objects += 1;
                        so_far.bytes += bytes;
                    }
                }
                so_far.at = Some(id);
                watch.passed(&so_far);
                if so_far.damage.len() >= FINDINGS {
                    return Ok(so_far);
                }
            }
        }
        so_far.complete = true;
        watch.passed(&so_far);
        Ok(so_far)
    }

    /// Looks again at what was found, and at the lists: what is still wrong of it. No other object is read.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn look_at_damage(&self, mut damage: Damage) -> Result<Damage, StoreError> {
        let mut pace = Pace::new(self, None);
        let mut buffer = disk::buffer();
        self.look_again(&mut damage, &mut pace, &mut buffer)?;
        self.scrub_lists(&mut damage, &mut pace, &mut buffer, &())?;
        Ok(damage)
    }

    /// Drops what an earlier run found and is mended, or gone, since.
    fn look_again(&self, damage: &mut Damage, pace: &mut Pace<'_>, buffer: &mut [u8]) -> Result<(), StoreError> {
        for id in std::mem::take(&mut damage.objects).into_keys() {
            match disk::examine(self, &hash_of(&id)?, pace, buffer, &())? {
                // Whether anything misses it, the lists say.
                Examined::Good(_) | Examined::Stopped | Examined::Bad(Fault::Missing) => {}
                Examined::Bad(fault) => drop(damage.objects.insert(id, fault)),
            }
        }
        Ok(())
    }

    /// Reads these objects from the disk, as fast as it goes.
    ///
    /// # Errors
    /// When the store cannot be looked at.
    pub fn scrub_these(&self, ids: &BTreeSet<ObjectId>) -> Result<Scrubbed, StoreError> {
        let mut scrubbed = Scrubbed { complete: true, ..Scrubbed::default() };
        let mut pace = Pace::new(self, None);
        let mut buffer = disk::buffer();
        for id in ids {
            scrubbed.objects += 1;
            match disk::examine(self, &hash_of(id)?, &mut pace, &mut buffer, &())? {
                Examined::Bad(fault) => drop(scrubbed.damage.objects.insert(*id, fault)),
                Examined::Good(bytes) => scrubbed.bytes += bytes,
                Examined::Stopped => {}
            }
        }
        Ok(scrubbed)
    }

    /// What the mountable image measures, by the kernel; computed of its bytes where sealing is not required.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not sealed where it has to be.
    pub fn measure_image(&self, image: &ComposefsDigest) -> Result<ComposefsDigest, StoreError> {
        use composefs::fsverity::{FsVerityHasher, measure_verity};
        let file = fs::File::open(self.path.join(IMAGES).join(image.to_hex())).map_err(StoreError::Look)?;
        let found = match self.verity {
            Verity::Required => {
                measure_verity::<Sha512HashValue>(&file).map_err(|error| StoreError::Look(io::Error::other(error)))?
            }
            Verity::Optional => {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut &file, &mut bytes).map_err(StoreError::Look)?;
                FsVerityHasher::<Sha512HashValue>::hash(&bytes)
            }
        };
        Ok(ComposefsDigest::from_bytes(*object_id(&found).as_bytes()))
    }

    /// Ids of the objects in one directory, sorted; what is no object is passed over.
    pub(crate) fn objects_in(&self, byte: u8) -> Result<Vec<ObjectId>, StoreError> {
        let listing = match fs::read_dir(self.path.join(format!("objects/{byte:02x}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(StoreError::Look)?,
        };
        let mut ids = Vec::new();
        for entry in listing {
            let name = entry.map_err(StoreError::Look)?.file_name();
            ids.extend(name.to_str().and_then(|rest| format!("{byte:02x}{rest}").parse::<ObjectId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

/// composefs' word for an object id.
pub(crate) fn hash_of(id: &ObjectId) -> Result<Sha512HashValue, StoreError> {
    Sha512HashValue::from_hex(id.to_hex()).map_err(|error| StoreError::Layer(error.to_string()))
}

/// Our words for composefs' ids.
pub(crate) fn ids<'a>(hashes: impl IntoIterator<Item = &'a Sha512HashValue>) -> BTreeSet<ObjectId> {
    hashes.into_iter().map(object_id).collect()
}
