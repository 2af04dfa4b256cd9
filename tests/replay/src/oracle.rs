//! What a disk boots, found as firmware, loader and initramfs find it, and whether that is a release, bit for bit.
//!
//! Partition table, ESP, the loader's order of entries, the first entry's kernel and its command line, the image that it
//! names, every object of that image with the tree by which the kernel checks it, and the generations of its settings; and so
//! for each entry that the loader may fall back to. Content is hashed once and then known by where it lies and what the blocks
//! there hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hasher as _;
use std::rc::Rc;

use composefs::erofs::reader::collect_objects;
use composefs::fsverity::{FsVerityHashValue as _, Sha512HashValue};
use openssl::sha::sha256;
use rocketos_boot::{Entry, loader_order, uki};
use rocketos_model::{ComposefsDigest, DeploymentId, EntryName, Origin, cmdline, gpt, layout};

use crate::disk::{Map, Mix, Reader, View};
use crate::ext4::{Ext4, Inode, Kind, Memory};
use crate::fat::Fat;
use crate::fault::Fault;
use crate::log::SECTOR;
use crate::settings::{self, Stored};
use crate::verity::{DIGEST, Digest, Seal};

/// Most bytes of a boot entry, an origin and their like.
const SMALL_BYTES: u64 = 1 << 16;
/// Bytes of a loader's digest in its name.
const LOADER_NAME_BYTES: usize = 8;
/// Most bytes of a mountable image.
const IMAGE_BYTES: u64 = 256 << 20;
/// Blocks at the disk's beginning that hold the partition table.
const TABLE_BYTES: u64 = 34 * SECTOR;
/// Files on the ESP that no operation changes but one that says so.
const ON_ESP: [&str; 1] = [layout::esp::LOADER_CONF];
/// What firmware starts by itself, under both names.
const LOADERS: [&str; 2] = [layout::esp::LOADER_FALLBACK, layout::esp::LOADER];
/// Files on the root partition like those on the ESP.
const ON_ROOT: [&str; 2] = ["composefs/meta.json", layout::root::MACHINE_ID];

/// What makes a release the one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// SHA-256 of its kernel.
    pub uki: [u8; 32],
    /// What the kernel's command line names.
    pub image: ComposefsDigest,
}

/// A disk that boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Entries that the loader may boot by itself, in its order; there is one.
    pub order: Vec<EntryName>,
    /// What they boot.
    pub releases: BTreeMap<DeploymentId, Release>,
    /// Generations of their settings.
    pub settings: BTreeMap<DeploymentId, Stored>,
    /// Loaders that a boot variable may name, as they were written.
    pub named_loaders: BTreeSet<String>,
    /// A loader that firmware starts by itself and that is neither an old nor a new one: only a named one boots.
    pub lost_loader: Option<&'static str>,
    /// Hashes of what no operation changes but one that says so.
    fixed: Vec<Fixed>,
    loaders: Vec<(&'static str, Option<[u8; 32]>)>,
}

/// A file and its hash, where it is there.
type Fixed = (Rc<str>, Option<[u8; 32]>);

impl Found {
    /// What boots.
    pub fn boots(&self) -> DeploymentId {
        self.order[0].deployment
    }
}

#[derive(Debug)]
struct Kernel {
    sha256: [u8; 32],
    seal: Digest,
    image: ComposefsDigest,
}

/// Where the two partitions lie: first byte and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    /// The EFI system partition.
    pub esp: (u64, u64),
    /// The root partition.
    pub root: (u64, u64),
}

impl Partitions {
    /// Reads the partition table.
    ///
    /// # Errors
    /// When there is none, or it lacks one of them.
    pub fn of(view: View<'_>) -> Result<Self, Fault> {
        let sector = u32::try_from(SECTOR).unwrap_or(u32::MAX);
        let read = rocketos_sys::gpt::read(&mut Reader::new(view), sector);
        let entries = read.map_err(|error| Fault::disk(format!("the partition table: {error}")))?;
        let entries = entries.ok_or_else(|| Fault::nothing("there is no partition table"))?;
        let of = |kind: &str| {
            let entry = entries.iter().find(|entry| entry.type_guid.is(kind));
            entry.map(|entry| (entry.start, entry.size))
        };
        let esp = of(gpt::ESP).ok_or_else(|| Fault::nothing("there is no ESP"))?;
        let root = of(gpt::ROOT).ok_or_else(|| Fault::nothing("there is no root partition"))?;
        Ok(Self { esp, root })
    }
}

/// Judges states, and remembers what it has read.
#[derive(Debug, Default)]
pub struct Oracle {
    memory: Memory,
    tables: Map<u64, Partitions>,
    kernels: Map<u64, Rc<Kernel>>,
    small: Map<u64, [u8; 32]>,
    seals: Map<u64, Digest>,
    images: HashMap<Digest, Rc<Vec<Digest>>>,
    releases: BTreeMap<DeploymentId, Release>,
    generations: settings::Memory,
    watched: Vec<Rc<str>>,
    fixed: Vec<Fixed>,
    loaders: Vec<(&'static str, Option<[u8; 32]>)>,
}

fn hex_of(digest: &Digest) -> String {
    hex::encode(digest)
}

fn object_path(digest: &Digest) -> String {
    let name = hex_of(digest);
    format!("{}/{}/{}", layout::root::STORE_OBJECTS, &name[..2], &name[2..])
}

impl Oracle {
    /// An oracle that knows no release.
    pub fn new() -> Self {
        Self { watched: ON_ROOT.map(Rc::from).to_vec(), ..Self::default() }
    }

    /// Watches an object of the store that belongs to no image: it must be what it was before, or what it is after.
    pub fn watch(&mut self, object: &str) {
        self.watched.push(format!("{}/{}/{}", layout::root::STORE_OBJECTS, &object[..2], &object[2..]).into());
    }

    /// Takes what a whole disk holds for what a disk may hold.
    ///
    /// # Errors
    /// When it would not boot, or a kernel on its ESP is not the one that came with its image.
    pub fn learn(&mut self, view: View<'_>) -> Result<Found, Fault> {
        let found = self.look(view, true)?;
        self.releases.extend(&found.releases);
        self.fixed.extend(found.fixed.iter().cloned());
        self.loaders.extend(&found.loaders);
        Ok(found)
    }

    /// Judges a state: what boots first, and what the loader may fall back to, must be known and whole.
    ///
    /// # Errors
    /// When it is neither; or when the recording cannot be read.
    pub fn judge(&mut self, view: View<'_>) -> Result<Found, Fault> {
        let mut found = self.look(view, false)?;
        for (id, release) in &found.releases {
            match self.releases.get(id) {
                None => return Err(Fault::disk(format!("deployment {id} boots, which nobody installed"))),
                Some(known) if known != release => {
                    return Err(Fault::disk(format!("the kernel of {id} is not the one that was installed")));
                }
                Some(_) => {}
            }
        }
        if let Some((path, _)) = found.fixed.iter().find(|fixed| !self.fixed.contains(fixed)) {
            return Err(Fault::disk(format!("{path} is neither the old nor the new one")));
        }
        found.lost_loader = found.loaders.iter().find(|loader| !self.loaders.contains(loader)).map(|(path, _)| *path);
        Ok(found)
    }

    fn partitions(&mut self, view: View<'_>) -> Result<Partitions, Fault> {
        let mut hasher = Mix::default();
        view.stamp(0, TABLE_BYTES, &mut hasher);
        let key = hasher.finish();
        if let Some(known) = self.tables.get(&key) {
            return Ok(*known);
        }
        let found = Partitions::of(view)?;
        self.tables.insert(key, found);
        Ok(found)
    }

    fn look(&mut self, view: View<'_>, from_store: bool) -> Result<Found, Fault> {
        let at = self.partitions(view)?;
        let esp = Fat::open(view, at.esp.0, at.esp.1)?;
        let order = order(&esp)?;
        nothing_lost(&esp)?;
        let root = Ext4::mount(view, at.root.0, at.root.1, &mut self.memory)?;
        let (mut releases, mut settings) = (BTreeMap::new(), BTreeMap::new());
        for name in &order {
            let said = entry(&esp, name)?;
            if let std::collections::btree_map::Entry::Vacant(place) = releases.entry(name.deployment) {
                let release = self.release(&esp, &root, &name.deployment, &said, from_store);
                place.insert(release.map_err(|fault| fault.of(&format!("entry {name}")))?);
                let stored = Stored::of(&root, &name.deployment, &mut self.memory, &mut self.generations)?;
                settings.insert(name.deployment, stored);
            }
        }
        let mut fixed = Vec::new();
        for path in ON_ESP {
            fixed.push((path.into(), self.hash_on_esp(&esp, path)?));
        }
        for path in self.watched.clone() {
            let found = root.find(&path, &mut self.memory)?;
            let found = found.map(|inode| self.hash(root.name_of(&inode)?, || root.content(&inode))).transpose();
            fixed.push((path.clone(), found.map_err(|fault| fault.of(&path))?));
        }
        let mut loaders = Vec::new();
        for path in LOADERS {
            // What is not whole is not there; whether that matters, the operation says.
            loaders.push((path, self.hash_on_esp(&esp, path).or_else(Fault::absent)?));
        }
        let named_loaders = self.named_loaders(&esp)?;
        Ok(Found { order, releases, settings, named_loaders, lost_loader: None, fixed, loaders })
    }

    fn hash_on_esp(&mut self, esp: &Fat<'_>, path: &str) -> Result<Option<[u8; 32]>, Fault> {
        let Some(item) = esp.find(path)? else { return Ok(None) };
        self.hash(esp.name_of(&item)?, || esp.content(&item)).map(Some)
    }

    /// Those whose bytes are what their names say.
    fn named_loaders(&mut self, esp: &Fat<'_>) -> Result<BTreeSet<String>, Fault> {
        let mut whole = BTreeSet::new();
        for item in esp.list(layout::esp::LOADERS).or_else(Fault::absent)? {
            let path = format!("{}/{}", layout::esp::LOADERS, item.name);
            let hash = self.hash_on_esp(esp, &path).or_else(Fault::absent)?;
            let digest = hash.map(|hash| hex::encode(&hash[..LOADER_NAME_BYTES]));
            if digest.is_some_and(|digest| item.name == format!("systemd-boot-{digest}.efi")) {
                whole.insert(path);
            }
        }
        Ok(whole)
    }

    fn hash(&mut self, key: u64, content: impl FnOnce() -> Result<Vec<u8>, Fault>) -> Result<[u8; 32], Fault> {
        if let Some(known) = self.small.get(&key) {
            return Ok(*known);
        }
        let found = sha256(&content()?);
        self.small.insert(key, found);
        Ok(found)
    }

    /// Everything that an entry boots, the state of its deployment too.
    fn release(
        &mut self,
        esp: &Fat<'_>,
        root: &Ext4<'_>,
        id: &DeploymentId,
        said: &str,
        from_store: bool,
    ) -> Result<Release, Fault> {
        let origin = self.origin(root, id)?;
        let path = format!("{}/{}", layout::uki_dir(id), origin.uki);
        if !said.trim_start_matches('/').eq_ignore_ascii_case(&path) {
            return Err(Fault::disk(format!("it boots {said}, its deployment has {path}")));
        }
        let kernel = self.kernel(esp, &path).map_err(|fault| fault.of(&path))?;
        if kernel.image != origin.composefs_digest {
            return Err(Fault::disk("its kernel and its deployment name different images"));
        }
        if from_store && root.find(&object_path(&kernel.seal), &mut self.memory)?.is_none() {
            return Err(Fault::disk("its kernel is not the one that came with its image"));
        }
        self.image(root, &kernel.image)?;
        Ok(Release { uki: kernel.sha256, image: kernel.image })
    }

    fn origin(&mut self, root: &Ext4<'_>, id: &DeploymentId) -> Result<Origin, Fault> {
        let path = format!("{}/{}", layout::deployment_dir(id), layout::deployment::ORIGIN);
        let inode = self.file(root, &path)?;
        if inode.size > SMALL_BYTES {
            return Err(Fault::disk(format!("{path} is too long")));
        }
        let content = root.content(&inode).map_err(|fault| fault.of(&path))?;
        let text = String::from_utf8(content).map_err(|_| Fault::disk(format!("{path} is no text")))?;
        let origin: Origin = toml::from_str(&text).map_err(|error| Fault::disk(format!("{path}: {error}")))?;
        if origin.manifest_digest.deployment() != *id {
            return Err(Fault::disk(format!("{path} is another deployment's")));
        }
        let etc = format!("{}/{}", layout::deployment_dir(id), layout::deployment::ETC);
        match root.find(&etc, &mut self.memory)? {
            Some(inode) if inode.kind == Kind::Directory => Ok(origin),
            _ => Err(Fault::disk(format!("{etc} is missing"))),
        }
    }

    fn file(&mut self, root: &Ext4<'_>, path: &str) -> Result<Rc<Inode>, Fault> {
        match root.find(path, &mut self.memory)? {
            Some(inode) if inode.kind == Kind::File => Ok(inode),
            Some(_) => Err(Fault::disk(format!("{path} is no file"))),
            None => Err(Fault::disk(format!("{path} is missing"))),
        }
    }

    fn kernel(&mut self, esp: &Fat<'_>, path: &str) -> Result<Rc<Kernel>, Fault> {
        let item = esp.find(path)?.ok_or_else(|| Fault::disk("it is missing"))?;
        let key = esp.name_of(&item)?;
        if let Some(known) = self.kernels.get(&key) {
            return Ok(known.clone());
        }
        let bytes = esp.content(&item)?;
        let broken = |error: uki::UkiError| Fault::disk(format!("no kernel that boots: {error}"));
        for section in [".linux", ".initrd"] {
            uki::read_section(&bytes, section).map_err(broken)?.ok_or_else(|| Fault::disk("half a kernel"))?;
        }
        let line = uki::cmdline(&bytes).map_err(broken)?;
        let image = cmdline::digest(&line).map_err(|error| Fault::disk(error.to_string()))?;
        let found = Rc::new(Kernel { sha256: sha256(&bytes), seal: Seal::of(&bytes).digest(), image });
        self.kernels.insert(key, found.clone());
        Ok(found)
    }

    /// The image and every object of it, opened with verity required.
    fn image(&mut self, root: &Ext4<'_>, image: &ComposefsDigest) -> Result<(), Fault> {
        let path = format!("{}/{image}", layout::root::STORE_IMAGES);
        let link = root.find(&path, &mut self.memory)?.filter(|inode| inode.kind == Kind::Link);
        let link = link.ok_or_else(|| Fault::disk(format!("image {image} is not in the store")))?;
        let target = String::from_utf8_lossy(&root.link(&link)?).into_owned();
        let own: Digest = *image.as_bytes();
        if format!("{}/{}", layout::root::STORE, target.trim_start_matches("../")) != object_path(&own) {
            return Err(Fault::disk(format!("image {image} leads to {target}")));
        }
        let inode = self.object(root, &own)?;
        let objects = match self.images.get(&own) {
            Some(known) => known.clone(),
            None => {
                if inode.size > IMAGE_BYTES {
                    return Err(Fault::disk(format!("image {image} is longer than any")));
                }
                let listed = collect_objects::<Sha512HashValue>(&root.content(&inode)?);
                let listed = listed.map_err(|error| Fault::disk(format!("image {image}: {error}")))?;
                let mut objects = Vec::new();
                for object in listed {
                    let mut digest = [0; DIGEST];
                    hex::decode_to_slice(object.to_hex(), &mut digest)
                        .map_err(|error| Fault::disk(error.to_string()))?;
                    objects.push(digest);
                }
                objects.sort_unstable();
                let objects = Rc::new(objects);
                self.images.insert(own, objects.clone());
                objects
            }
        };
        for object in objects.iter() {
            self.object(root, object)?;
        }
        Ok(())
    }

    /// An object whose content and seal are those that its name says.
    fn object(&mut self, root: &Ext4<'_>, digest: &Digest) -> Result<Rc<Inode>, Fault> {
        let path = object_path(digest);
        let inode = self.file(root, &path)?;
        let key = root.name_of(&inode).map_err(|fault| fault.of(&path))?;
        if let Some(known) = self.seals.get(&key)
            && known == digest
        {
            return Ok(inode);
        }
        let seal = Seal::of(&root.content(&inode).map_err(|fault| fault.of(&path))?);
        if seal.digest() != *digest {
            return Err(Fault::disk(format!("{path} is not what its name says")));
        }
        seal.check(root, &inode).map_err(|fault| fault.of(&path))?;
        self.seals.insert(key, *digest);
        Ok(inode)
    }
}

/// What is left behind on an ESP is mended by the next boot, where the mark says that a system had it mounted. Otherwise nobody
/// looks, and so nothing may be left.
fn nothing_lost(esp: &Fat<'_>) -> Result<(), Fault> {
    match esp.mounted()? || esp.lost()? == 0 {
        true => Ok(()),
        false => Err(Fault::disk("clusters are lost on an ESP whose mark says that nobody had it mounted")),
    }
}

/// The entries that the loader may boot by itself, in its order.
fn order(esp: &Fat<'_>) -> Result<Vec<EntryName>, Fault> {
    let items = esp.list(layout::esp::ENTRIES)?;
    let named = items.iter().filter(|item| !item.folder).filter_map(|item| item.name.parse().ok());
    let mut entries: Vec<Entry> = named.map(|name| Entry { name }).collect();
    loader_order(&mut entries);
    let order: Vec<EntryName> = entries.iter().map(|entry| entry.name).filter(EntryName::bootable).collect();
    match order.is_empty() {
        true => Err(Fault::nothing("no entry boots")),
        false => Ok(order),
    }
}

/// What an entry boots. The loader sorts by what stands in the file, so that must be what its name says.
fn entry(esp: &Fat<'_>, name: &EntryName) -> Result<String, Fault> {
    let path = name.path();
    let item = esp.find(&path)?.ok_or_else(|| Fault::disk(format!("{path} is missing")))?;
    if item.size > SMALL_BYTES {
        return Err(Fault::disk(format!("{path} is too long")));
    }
    let content = esp.content(&item).map_err(|fault| fault.of(&path))?;
    let text = String::from_utf8(content).map_err(|_| Fault::disk(format!("{path} is no text")))?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    if value("sort-key") != Some("rocketos") || value("version") != Some(name.sequence.to_string().as_str()) {
        return Err(Fault::disk(format!("{path} is sorted otherwise than its name says")));
    }
    Ok(value("efi").ok_or_else(|| Fault::disk(format!("{path} boots nothing")))?.to_owned())
}
