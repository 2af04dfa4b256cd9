//! Reading an image again and comparing every byte with its digest.

use std::{fs::File, io};

use composefs::fsverity::{FsVerityHashValue as _, FsVerityHasher, Sha512HashValue};
use rocketos_model::{ComposefsDigest, ObjectId};
use rustix::fs::{Mode, OFlags, openat};

use crate::{Store, StoreError, open::object_id};

/// What a check read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Objects read, the mountable image among them.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects that are not there, cannot be read, or are not what their name says.
    pub bad: Vec<ObjectId>,
}

impl Store {
    /// Reads the mountable image and every object it needs, whatever the kernel has sealed.
    ///
    /// # Errors
    /// When the mountable image itself is missing or damaged, so that nobody knows what it needs.
    pub fn check_image(&self, image: &ComposefsDigest) -> Result<Checked, StoreError> {
        let name = image.to_hex();
        let own = Sha512HashValue::from_hex(&name).map_err(|error| StoreError::Layer(error.to_string()))?;
        let mut checked = Checked::default();
        if !self.check_object(&own, &mut checked) {
            return Err(StoreError::Layer(format!("the mountable image {name} is missing or damaged")));
        }
        let objects = self
            .repository
            .objects_for_image(&name)
            .map_err(StoreError::composefs("listing the objects of an image"))?;
        for id in &objects {
            if !self.check_object(id, &mut checked) {
                checked.bad.push(object_id(id));
            }
        }
        checked.bad.sort();
        Ok(checked)
    }

    fn check_object(&self, id: &Sha512HashValue, checked: &mut Checked) -> bool {
        let read = || -> io::Result<(u64, Sha512HashValue)> {
            let objects = self.repository.objects_dir()?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let mut file = File::from(openat(objects, id.to_object_pathname(), flags, Mode::empty())?);
            let mut hasher = Hasher(FsVerityHasher::new());
            let bytes = io::copy(&mut file, &mut hasher)?;
            Ok((bytes, hasher.0.digest()))
        };
        match read() {
            Ok((bytes, found)) => {
                checked.objects += 1;
                checked.bytes += bytes;
                found == *id
            }
            Err(_) => false,
        }
    }
}

/// Lets `io::copy` feed the hasher.
struct Hasher(FsVerityHasher<Sha512HashValue>);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
