//! Damaged stores: what a scrub finds, and that a mender makes them what they were.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Cursor,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rocketos_model::{ComposefsDigest, DiffId, ManifestDigest, ObjectId};
use rocketos_store::{Damage, Fault, Scrubbed, Store, Verity, Watch};
use support::{Layer, content, documents, import, objects, os, store};

/// An image in a store, and what it takes to make it again.
struct Whole {
    directory: tempfile::TempDir,
    store: Store,
    layers: Vec<(DiffId, Vec<u8>)>,
    manifest: Vec<u8>,
    config: Vec<u8>,
    digest: ManifestDigest,
    image: ComposefsDigest,
}

impl Whole {
    fn new() -> Self {
        let (directory, store) = store();
        let extra = Layer::new().file("usr/bin/extra", &content("extra", 40_000)).done();
        let layers = vec![os("1"), extra];
        for layer in &layers {
            import(&store, layer);
        }
        let (manifest, config) = documents(&[layers[0].0, layers[1].0]);
        let image = store.commit_image(&manifest, &config).unwrap();
        let (digest, image) = (image.manifest_digest, image.facts.digest);
        Self { directory, store, layers, manifest, config, digest, image }
    }

    fn path(&self, id: &ObjectId) -> PathBuf {
        let hex = id.to_hex();
        self.top().join("objects").join(&hex[..2]).join(&hex[2..])
    }

    fn top(&self) -> PathBuf {
        self.directory.path().join("composefs")
    }

    /// The object with this content.
    fn object(&self, content: &[u8]) -> ObjectId {
        rocketos_store::object_id_of(content)
    }

    fn ids(&self) -> Vec<ObjectId> {
        objects(self.directory.path()).iter().map(|(name, _)| name.parse().unwrap()).collect()
    }

    fn scrub(&self) -> Scrubbed {
        let scrubbed = self.store.scrub(Scrubbed::default(), None, &mut ()).unwrap();
        assert!(scrubbed.complete);
        scrubbed
    }

    /// Mends as `rocketctl scrub` does, with every layer at hand; which layers it asked for.
    fn mend(&self, damage: &Damage) -> Vec<DiffId> {
        let mender = self.store.mender(damage).unwrap();
        mender.mend_by_itself().unwrap();
        let contents = self.store.contents(&self.digest, &self.image, &mender.left()).unwrap();
        let mut asked = Vec::new();
        for (layer, tar) in &self.layers {
            if contents.wanting.contains(layer) || contents.layers.is_none() {
                asked.push(*layer);
                mender.import_layer(layer, &mut Cursor::new(tar)).unwrap();
            }
        }
        mender.commit_image(&self.manifest, &self.config).unwrap();
        assert!(mender.left().objects.is_empty(), "left: {:?}", mender.left());
        asked
    }
}

/// Every name in the store with what it holds.
fn everything(top: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(top).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(everything(&path));
        } else if kind.is_symlink() {
            found.insert(path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_whole_store_is_clean_and_unchanged() {
    let whole = Whole::new();
    let before = everything(&whole.top());
    let scrubbed = whole.scrub();
    assert!(scrubbed.damage.is_empty(), "{:?}", scrubbed.damage);
    assert_eq!(scrubbed.objects as usize, whole.ids().len());
    assert_eq!(
        scrubbed.bytes,
        objects(whole.directory.path()).iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
    );
    assert_eq!(everything(&whole.top()), before);
    let contents = whole.store.contents(&whole.digest, &whole.image, &scrubbed.damage).unwrap();
    assert!(contents.is_whole());
    assert_eq!(contents.layers, Some(whole.layers.iter().map(|(id, _)| *id).collect()));
}

#[test]
fn any_object_damaged_in_any_way_is_found_and_mended() {
    let whole = Whole::new();
    let before = everything(&whole.top());
    for id in whole.ids() {
        for fault in ["flipped", "longer", "empty", "gone", "directory"] {
            let path = whole.path(&id);
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            match fault {
                "flipped" => fs::write(&path, &bytes).unwrap(),
                "longer" => fs::write(&path, [&bytes[..], b"x"].concat()).unwrap(),
                "empty" => fs::write(&path, []).unwrap(),
                "gone" => fs::remove_file(&path).unwrap(),
                _ => {
                    fs::remove_file(&path).unwrap();
                    fs::create_dir(&path).unwrap();
                }
            }
            let damage = whole.scrub().damage;
            let expected = if fault == "gone" { Fault::Missing } else { Fault::Changed };
            assert_eq!(damage.objects.get(&id), Some(&expected), "{fault} {id}: {damage:?}");
            if fault == "directory" {
                fs::remove_dir(&path).unwrap();
            }
            whole.mend(&damage);
            assert_eq!(whole.scrub().damage, Damage::default(), "{fault} {id}");
            assert_eq!(everything(&whole.top()), before, "{fault} {id}: not what it was");
        }
    }
}

#[test]
fn only_the_layer_that_holds_it_is_asked_for_and_only_the_object_is_written() {
    let whole = Whole::new();
    let (bad, good) = (whole.object(&content("extra", 40_000)), whole.object(&content("big", 700_000)));
    let inode = |id| std::os::unix::fs::MetadataExt::ino(&fs::metadata(whole.path(id)).unwrap());
    let kept = fs::File::open(whole.path(&bad)).unwrap();
    let (was, others) = (inode(&bad), inode(&good));
    fs::write(whole.path(&bad), b"x").unwrap();
    let damage = whole.scrub().damage;
    let contents = whole.store.contents(&whole.digest, &whole.image, &damage).unwrap();
    assert_eq!(contents.bad[&bad].iter().collect::<Vec<_>>(), [&whole.layers[1].0]);
    assert_eq!(whole.mend(&damage), [whole.layers[1].0]);
    assert_ne!(inode(&bad), was);
    assert_eq!(inode(&good), others);
    assert_eq!(kept.metadata().unwrap().len(), 1, "who had it open keeps what he had");
}

#[test]
fn what_is_made_of_layers_needs_no_layer() {
    let whole = Whole::new();
    for id in
        [ObjectId::from_bytes(*whole.image.as_bytes()), whole.object(&whole.config), whole.object(&whole.manifest)]
    {
        fs::write(whole.path(&id), b"x").unwrap();
        let damage = whole.scrub().damage;
        let contents = whole.store.contents(&whole.digest, &whole.image, &damage).unwrap();
        assert!(contents.wanting.is_empty() && !contents.is_whole(), "{contents:?}");
        let mender = whole.store.mender(&damage).unwrap();
        mender.commit_image(&whole.manifest, &whole.config).unwrap();
        drop(mender);
        assert!(whole.scrub().damage.is_empty());
    }
}

#[test]
fn lost_and_bent_names_are_found_and_mended() {
    let whole = Whole::new();
    let before = everything(&whole.top());
    let names: Vec<PathBuf> = before
        .keys()
        .filter(|path| path.is_symlink() && !path.to_str().unwrap().contains("/refs/"))
        .map(|path| path.strip_prefix(whole.top()).unwrap().to_owned())
        .collect();
    // Two layers, configuration, manifest, mountable image.
    assert_eq!(names.len(), 5);
    for name in names {
        for bent in [None, Some("../objects/00/nothing"), Some(&*format!("../objects/{}/{}", "ab", "ab".repeat(63)))] {
            let path = whole.top().join(&name);
            fs::remove_file(&path).unwrap();
            if let Some(target) = bent {
                std::os::unix::fs::symlink(target, &path).unwrap();
            }
            let damage = whole.scrub().damage;
            let own = name.to_str().unwrap();
            // A manifest's name is listed nowhere but among the references.
            assert!(damage.names.contains(own) || own.contains("manifest"), "{own} {damage:?}");
            // Where it led is of no use to anybody.
            let strange: BTreeSet<ObjectId> = damage.objects.keys().copied().collect();
            whole.mend(&Damage { names: damage.names, ..Damage::default() });
            let contents = whole.store.contents(&whole.digest, &whole.image, &Damage::default()).unwrap();
            whole.store.drop_unneeded(&[contents], &strange).unwrap();
            assert!(whole.scrub().damage.is_empty(), "{own} {bent:?}");
            let after = everything(&whole.top());
            assert_eq!(after, before, "{own} {bent:?}");
        }
    }
}

#[test]
fn nothing_is_collected_where_a_list_is_gone() {
    let whole = Whole::new();
    let names: Vec<PathBuf> =
        fs::read_dir(whole.top().join("streams")).unwrap().map(|name| name.unwrap().path()).collect();
    for name in names.iter().filter(|name| name.is_symlink()) {
        let (target, list) = (fs::read_link(name).unwrap(), fs::canonicalize(name).unwrap());
        let (bytes, before) = (fs::read(&list).unwrap(), whole.ids().len());
        for lost in ["name", "object"] {
            match lost {
                "name" => fs::remove_file(name).unwrap(),
                _ => fs::remove_file(&list).unwrap(),
            }
            let error = whole.store.collect_garbage(false).unwrap_err().to_string();
            assert!(error.contains("rocketctl scrub"), "{lost} {name:?}: {error}");
            match lost {
                "name" => std::os::unix::fs::symlink(&target, name).unwrap(),
                _ => fs::write(&list, &bytes).unwrap(),
            }
            assert_eq!(whole.ids().len(), before, "{lost} {name:?}");
        }
    }
    assert_eq!(whole.store.collect_garbage(false).unwrap().objects, 0);
    // An image that is taken away needs no list.
    for name in names.iter().filter(|name| name.is_symlink()) {
        fs::remove_file(fs::canonicalize(name).unwrap()).unwrap();
    }
    whole.store.remove_image(&whole.digest).unwrap();
    assert!(whole.store.collect_garbage(false).unwrap().objects > 0);
    assert!(whole.ids().is_empty());
}

#[test]
fn a_pull_that_was_cut_off_keeps_nobody_from_collecting() {
    let whole = Whole::new();
    let before = everything(&whole.top());
    // A layer that is finished, one that is not, and an image that has all its layers and no name.
    let next = Layer::new().file("usr/bin/next", &content("next", 60_000)).done();
    import(&whole.store, &next);
    let other = Layer::new().file("usr/bin/other", &content("other", 60_000)).done();
    whole.store.import_layer(&other.0, &mut Cursor::new(&other.1[..40_000])).unwrap_err();
    let (manifest, config) = documents(&[whole.layers[0].0, next.0]);
    let image = whole.store.commit_image(&manifest, &config).unwrap();
    whole.store.remove_image(&image.manifest_digest).unwrap();
    assert!(whole.store.collect_garbage(false).unwrap().objects > 0);
    assert_eq!(everything(&whole.top()), before);
}

#[test]
fn a_layer_whose_list_came_again_as_another_is_kept() {
    let whole = Whole::new();
    let before = whole.ids().len();
    // Another version of the store may write another list for the same layer: here one more object is in it.
    let extra = Layer::new().file("usr/bin/extra", &content("extra", 40_000)).file("x", &content("x", 20_000)).done();
    import(&whole.store, &extra);
    let stream = |layer: &DiffId| whole.top().join("streams").join(format!("oci-layer-{layer}"));
    let other = fs::read_link(stream(&extra.0)).unwrap();
    fs::remove_file(stream(&extra.0)).unwrap();
    let own = stream(&whole.layers[1].0);
    let list = fs::canonicalize(&own).unwrap();
    fs::remove_file(&own).unwrap();
    std::os::unix::fs::symlink(other, &own).unwrap();
    fs::remove_file(list).unwrap();
    assert_eq!(whole.store.collect_garbage(false).unwrap().objects, 0);
    assert_eq!(whole.ids().len(), before + 1, "less its list, and with the other and its object");
    assert!(!whole.scrub().damage.is_empty(), "the documents name a list that is not here");
}

#[test]
fn a_name_that_leads_to_no_list_is_found() {
    let whole = Whole::new();
    let name = whole.top().join("streams").join(format!("oci-layer-{}", whole.layers[1].0));
    fs::remove_file(&name).unwrap();
    let hex = whole.object(&content("big", 700_000)).to_hex();
    std::os::unix::fs::symlink(format!("../objects/{}/{}", &hex[..2], &hex[2..]), &name).unwrap();
    let damage = whole.scrub().damage;
    assert_eq!(damage.names.len(), 1, "{damage:?}");
    whole.mend(&damage);
    assert!(whole.scrub().damage.is_empty());
}

#[test]
fn an_image_that_lost_its_name_is_not_whole() {
    let whole = Whole::new();
    whole.store.remove_image(&whole.digest).unwrap();
    let contents = || whole.store.contents(&whole.digest, &whole.image, &Damage::default()).unwrap();
    assert!(!contents().named && !contents().is_whole());
    whole.mend(&Damage::default());
    assert!(contents().is_whole());
}

#[test]
fn a_wrong_layer_mends_nothing() {
    let whole = Whole::new();
    let bad = whole.object(&content("extra", 40_000));
    fs::write(whole.path(&bad), b"x").unwrap();
    let damage = whole.scrub().damage;
    let mender = whole.store.mender(&damage).unwrap();
    let (layer, tar) = &whole.layers[1];
    for wrong in [&tar[..tar.len() - 1024], &[&tar[..], &[0; 512]].concat(), b""] {
        mender.import_layer(layer, &mut Cursor::new(wrong)).unwrap_err();
        assert_eq!(fs::read(whole.path(&bad)).unwrap(), b"x", "nothing moves before the digest is right");
    }
    mender.import_layer(layer, &mut Cursor::new(tar)).unwrap();
    assert!(mender.left().is_empty());
}

#[test]
fn what_a_cut_off_mending_left_is_no_harm() {
    let whole = Whole::new();
    let bad = whole.object(&content("extra", 40_000));
    fs::write(whole.path(&bad), b"x").unwrap();
    let damage = whole.scrub().damage;
    let mender = whole.store.mender(&damage).unwrap();
    std::mem::forget(mender);
    assert!(whole.top().join("mending").exists());
    assert_eq!(whole.store.collect_garbage(false).unwrap().objects, 0);
    assert_eq!(whole.scrub().damage, damage);
    whole.mend(&damage);
    assert!(!whole.top().join("mending").exists());
}

#[test]
fn damage_that_nobody_needs_is_removed() {
    let whole = Whole::new();
    let other = Layer::new().file("usr/bin/other", &content("other", 30_000)).done();
    import(&whole.store, &other);
    let bad = whole.object(&content("other", 30_000));
    fs::write(whole.path(&bad), b"x").unwrap();
    let damage = whole.scrub().damage;
    let contents = whole.store.contents(&whole.digest, &whole.image, &damage).unwrap();
    assert!(contents.is_whole());
    let left = damage.objects.keys().copied().collect();
    assert!(whole.store.drop_unneeded(&[], &left).unwrap().is_empty(), "an image nobody told of may need it");
    assert_eq!(whole.store.drop_unneeded(&[contents], &left).unwrap(), left);
    assert!(!whole.path(&bad).exists());
}

/// Stops after so many objects.
struct After(u64, Cell<u64>);

impl Watch for After {
    fn stop(&self) -> bool {
        self.1.get() >= self.0
    }
    fn passed(&mut self, _: &Scrubbed) {
        self.1.set(self.1.get() + 1);
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let whole = Whole::new();
    let ids = {
        let mut ids = whole.ids();
        ids.sort_unstable();
        ids
    };
    // The second is bad, and the first run finds it; it is mended before the next.
    let bad = ids[1];
    let bytes = fs::read(whole.path(&bad)).unwrap();
    fs::write(whole.path(&bad), b"x").unwrap();
    let first = whole.store.scrub(Scrubbed::default(), None, &mut After(3, Cell::new(0))).unwrap();
    assert_eq!((first.complete, first.objects, first.at), (false, 3, Some(ids[2])));
    assert!(first.damage.objects.contains_key(&bad));
    let again = whole.store.scrub(first.clone(), None, &mut ()).unwrap();
    assert!(again.complete && again.damage.objects.contains_key(&bad));
    assert_eq!(again.objects, ids.len() as u64, "none is read twice");
    fs::write(whole.path(&bad), bytes).unwrap();
    assert!(whole.store.scrub(first, None, &mut ()).unwrap().damage.is_empty(), "what was mended is forgotten");
}

#[test]
fn reads_no_faster_than_it_may() {
    let whole = Whole::new();
    let begun = Instant::now();
    let scrubbed = whole.store.scrub(Scrubbed::default(), NonZeroU64::new(2 << 20), &mut ()).unwrap();
    let least = Duration::from_secs_f64(scrubbed.bytes as f64 / f64::from(2 << 20));
    assert!(begun.elapsed() >= least, "{:?} for {} bytes", begun.elapsed(), scrubbed.bytes);
}

#[test]
fn what_a_store_says_of_itself_is_written_anew() {
    let whole = Whole::new();
    let path = whole.top();
    let before = everything(&path);
    let Whole { directory: _keep, store, .. } = whole;
    drop(store);
    for text in ["", "{", "null"] {
        fs::write(path.join("meta.json"), text).unwrap();
        Store::open(&path, Verity::Optional).unwrap_err();
        Store::renew_metadata(&path, Verity::Optional).unwrap();
        Store::open(&path, Verity::Optional).unwrap();
        assert_eq!(everything(&path), before);
    }
    assert!(Store::renew_metadata(&path.join("nothing"), Verity::Optional).is_err());
}
