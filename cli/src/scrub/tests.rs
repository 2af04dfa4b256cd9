//! Machines of directories, their images in real registries and layouts: what is damaged comes again.

use std::{fs, path::PathBuf};

use rocketos_deploy::{Activation, HostContainer};
use rocketos_model::ImageReference;
use rocketos_store::Fault;
use tempfile::TempDir;

use super::*;
use crate::{
    args::Progress,
    machine::{
        Machine,
        made::release,
        served,
        support::{
            self,
            image::{Image, noise, plain, tar},
            proxy::{Fault as Cut, Proxy},
            registry::Registry,
        },
    },
    pull::Puller,
};

impl Machine {
    fn scrub(&self, repair: bool) -> Outcome {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        let reader = support::config(self.folder.path(), &hosts);
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        scrub(&self.node, &Wish { repair, rate: None, reader }, &reporter).unwrap()
    }
}

/// What `release` has in the file that all versions share, and in that of its own.
fn shared() -> Vec<u8> {
    b"shared".iter().copied().cycle().take(300_000).collect()
}

fn own(version: &str) -> Vec<u8> {
    version.bytes().cycle().take(50_000).collect()
}

/// Runs what pushes.
fn wait<T>(work: impl Future<Output = T>) -> T {
    crate::pull::runtime().unwrap().block_on(work)
}

#[test]
fn every_object_comes_again_from_a_registry_whatever_its_tag_says_now() {
    let one = release("one");
    let registry = Registry::start();
    wait(registry.push("os/test", "stable", &served(&one)));
    let machine =
        Machine::new(&[(&one, &format!("docker://{}/os/test:stable", registry.host))]).trusting(&registry.host);
    wait(registry.push("os/test", "stable", &served(&release("two"))));
    let before = machine.files();
    assert!(machine.scrub(true).found.is_empty());
    let objects: Vec<PathBuf> =
        before.keys().filter(|path| path.starts_with(machine.store().join("objects"))).cloned().collect();
    // One at a time, then all at once.
    for spoilt in objects.chunks(1).chain([&objects[..]]) {
        for path in spoilt {
            fs::write(path, b"spoilt").unwrap();
        }
        let outcome = machine.scrub(true);
        assert!(outcome.left.is_empty() && outcome.failures.is_empty(), "{spoilt:?}: {}", outcome.in_words());
        assert_eq!(outcome.mended.len(), spoilt.len());
        assert_eq!(machine.files(), before, "not what it was");
    }
    assert_eq!(machine.next(), one.id());
}

#[test]
fn a_layout_whose_tag_has_moved_mends_too() {
    let one = release("one");
    let usb = TempDir::new().unwrap();
    served(&release("two")).write_layout(usb.path(), &["stable"], |_, _| {});
    let index = fs::read(usb.path().join("index.json")).unwrap();
    served(&one).write_layout(usb.path(), &["old"], |_, _| {});
    fs::write(usb.path().join("index.json"), index).unwrap();
    let machine = Machine::new(&[(&one, &format!("oci:{}:stable", usb.path().display()))]);
    let bad = machine.spoil(&own("one"));
    let outcome = machine.scrub(true);
    assert_eq!(outcome.mended, [bad].into(), "{}", outcome.in_words());
    assert!(outcome.left.is_empty());
}

#[test]
fn images_of_host_containers_come_again_from_where_they_came() {
    let one = release("one");
    let registry = Registry::start();
    let usb = TempDir::new().unwrap();
    let image = |seed| Image::new(vec![plain(&tar(&[("tool", &noise(seed, 40_000))]))]);
    let [running, before] = [image(1), image(2)];
    wait(registry.push("os/control", "1", &running));
    before.write_layout(usb.path(), &["1"], |_, _| {});
    let machine = Machine::new(&[(&one, "oci:/nowhere")]).trusting(&registry.host);
    let of_system = machine.files();
    let puller = Puller::with(support::config(machine.folder.path(), &[&registry.host])).unwrap();
    let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
    let brought = |from: String| {
        let image: ImageReference = from.parse().unwrap();
        let resolved = puller.resolve(&image).unwrap();
        let brought = puller.pull_container(&resolved, &machine.node.store, &reporter).unwrap();
        let (manifest_digest, composefs_digest) = (brought.manifest_digest, brought.facts.digest);
        HostContainer { image, manifest_digest, composefs_digest }
    };
    // One that runs, and one that belongs to a deployment.
    let running = brought(format!("docker://{}/os/control:1", registry.host));
    machine.node.set_host_container("control", &running).unwrap();
    let of_one = brought(format!("oci:{}:1", usb.path().display()));
    machine.node.set_host_container_of(&one.id(), "control", &of_one).unwrap();
    let whole = machine.files();
    let added: Vec<&PathBuf> = whole.keys().filter(|path| !of_system.contains_key(*path)).collect();
    let objects: Vec<&PathBuf> =
        added.into_iter().filter(|path| path.starts_with(machine.store().join("objects"))).collect();
    assert!(objects.len() > 4, "{objects:?}");
    for spoilt in objects.chunks(1).chain([&objects[..]]) {
        for path in spoilt {
            fs::write(path, b"spoilt").unwrap();
        }
        let outcome = machine.scrub(true);
        assert!(outcome.left.is_empty() && outcome.failures.is_empty(), "{spoilt:?}: {}", outcome.in_words());
        assert_eq!(machine.files(), whole, "not what it was");
    }
    // Where nobody has it any more it is told, and no deployment is left because of it.
    drop(registry);
    for path in &objects {
        fs::write(path, b"spoilt").unwrap();
    }
    let outcome = machine.scrub(true);
    assert!(!outcome.left.is_empty() && outcome.damaged.is_empty() && outcome.next.is_none());
    assert!(outcome.in_words().contains("mending the image docker://"), "{}", outcome.in_words());
    assert!(machine.node.store.open_container(&of_one.manifest_digest).unwrap().is_some());
}

#[test]
fn only_looking_changes_nothing() {
    let one = release("one");
    let machine = Machine::new(&[(&one, "oci:/nowhere")]);
    let bad = machine.spoil(&own("one"));
    let before = machine.files();
    let outcome = machine.scrub(false);
    assert_eq!(machine.files(), before);
    assert_eq!(outcome.found.objects, [(bad, Fault::Changed)].into());
    assert_eq!(outcome.damaged, [one.id()]);
    let document = outcome.document();
    assert_eq!(document["damaged"][0]["layers"][0], one.layers[1].0.to_string());
    assert_eq!(document["damaged"][0]["deployments"][0], one.id().to_string());
    assert_eq!((&document["left"], &document["rebootNeeded"]), (&1.into(), &false.into()));
}

#[test]
fn what_the_node_itself_has_is_not_asked_for() {
    let one = release("one");
    let machine = Machine::new(&[(&one, "oci:/nowhere")]);
    let before = machine.files();
    let kernel = machine.node.esp.read_uki(&one.id(), "6.12.0.efi").unwrap();
    machine.spoil(&kernel);
    fs::write(machine.object(&ObjectId::from_bytes(*one.composefs.as_bytes())), b"spoilt").unwrap();
    let outcome = machine.scrub(true);
    assert!(outcome.left.is_empty() && outcome.failures.is_empty(), "{}", outcome.in_words());
    assert_eq!(machine.files(), before);
}

#[test]
fn a_deployment_that_shares_the_layer_has_it_mended_where_the_other_origin_is_gone() {
    let (one, two) = (release("one"), release("two"));
    let usb = TempDir::new().unwrap();
    served(&two).write_layout(usb.path(), &["2"], |_, _| {});
    let machine = Machine::new(&[(&one, "oci:/nowhere"), (&two, &format!("oci:{}:2", usb.path().display()))]);
    machine.spoil(&shared());
    let outcome = machine.scrub(true);
    assert!(outcome.left.is_empty(), "{}", outcome.in_words());
    assert_eq!(machine.next(), one.id());
}

#[test]
fn what_is_known_to_be_damaged_comes_with_the_next_release() {
    let (one, two) = (release("one"), release("two"));
    let usb = TempDir::new().unwrap();
    served(&two).write_layout(usb.path(), &["2"], |_, _| {});
    let machine = Machine::new(&[(&one, "oci:/nowhere")]);
    machine.spoil(&shared());
    assert_eq!(machine.scrub(true).left.len(), 1);
    let puller = Puller::with(support::config(machine.folder.path(), &[])).unwrap();
    let resolved = puller.resolve(&format!("oci:{}:2", usb.path().display()).parse().unwrap()).unwrap();
    let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
    let mending = Coming::begin(&machine.node, &puller, &resolved, &reporter).unwrap().unwrap();
    // Whoever scrubs meanwhile mends: there is one of them.
    assert!(Coming::begin(&machine.node, &puller, &resolved, &reporter).unwrap().is_none());
    puller.pull(&resolved, &machine.node.store, &reporter).unwrap();
    mending.finish(&machine.node, &resolved).unwrap();
    assert!(machine.node.scrubbed().unwrap().damage.is_empty());
    let outcome = machine.scrub(false);
    assert!(outcome.found.is_empty() && outcome.damaged.is_empty(), "{}", outcome.in_words());
    assert!(Coming::begin(&machine.node, &puller, &resolved, &reporter).unwrap().is_none());
}

#[test]
fn where_nothing_mends_it_a_whole_deployment_boots_next() {
    let (one, two) = (release("one"), release("two"));
    let machine = Machine::new(&[(&one, "oci:/nowhere"), (&two, "oci:/nowhere")]);
    let bad = machine.spoil(&own("one"));
    assert_eq!(machine.next(), one.id());
    let outcome = machine.scrub(true);
    assert_eq!((outcome.next, machine.next()), (Some(two.id()), two.id()));
    assert_eq!(outcome.left.objects, [(bad, Fault::Changed)].into());
    let words = outcome.in_words();
    assert!(words.contains("Failed: mending deployment") && words.contains("boots next instead"), "{words}");
    assert!(outcome.leave && outcome.reboot_needed());
    // Found again, the order stays; what runs is to be left all the same.
    let outcome = machine.scrub(true);
    assert_eq!((outcome.next, machine.next(), outcome.leave), (None, two.id(), true));
    // Damaged both, the order stays.
    machine.spoil(&shared());
    let outcome = machine.scrub(true);
    assert_eq!((outcome.next, outcome.damaged.len(), outcome.leave), (None, 2, false));
}

#[test]
fn a_whole_release_that_was_staged_since_is_not_taken_back() {
    let (one, two, three) = (release("one"), release("two"), release("three"));
    let machine = Machine::new(&[(&one, "oci:/nowhere"), (&two, "oci:/nowhere")]);
    let damage = Damage { objects: [(machine.spoil(&own("one")), Fault::Changed)].into(), ..Damage::default() };
    machine.stage(&three, "oci:/nowhere", Activation::Tried);
    assert_eq!(change_order(&machine.node, &damage).unwrap(), None);
    assert_eq!(machine.next(), three.id());
    assert!(has_to_leave(&machine.node, &damage).unwrap());
}

#[test]
fn an_image_without_a_name_is_named_again() {
    let one = release("one");
    let machine = Machine::new(&[(&one, "oci:/nowhere")]);
    let before = machine.files();
    machine.node.store.remove_image(&one.digest).unwrap();
    let outcome = machine.scrub(false);
    assert_eq!(outcome.damaged, [one.id()]);
    let outcome = machine.scrub(true);
    assert!(outcome.damaged.is_empty() && outcome.failures.is_empty(), "{}", outcome.in_words());
    assert!(outcome.in_words().contains("does not name its image, mended"), "{}", outcome.in_words());
    assert_eq!(machine.files(), before);
}

#[test]
fn where_the_store_cannot_be_written_a_whole_deployment_boots_next() {
    let (one, two) = (release("one"), release("two"));
    let machine = Machine::new(&[(&one, "oci:/nowhere"), (&two, "oci:/nowhere")]);
    machine.spoil(&own("one"));
    // A file stands where good objects would be made.
    fs::write(machine.store().join("mending"), b"").unwrap();
    let outcome = machine.scrub(true);
    assert_eq!((outcome.next, outcome.leave), (Some(two.id()), true), "{}", outcome.in_words());
    assert!(outcome.in_words().contains("Failed: beginning to mend"), "{}", outcome.in_words());
}

#[test]
fn a_repair_that_broke_off_is_taken_up_by_the_next() {
    let one = release("one");
    let registry = Registry::start();
    wait(registry.push("os/test", "1", &served(&one)));
    let proxy = Proxy::start(&registry.host);
    let machine = Machine::new(&[(&one, &format!("docker://{}/os/test:1", proxy.host))]).trusting(&proxy.host);
    let before = machine.files();
    let bad = [machine.spoil(&shared()), machine.spoil(&own("one"))];
    // The large layer never ends; the other arrives or not.
    proxy.fault(&one.layers[0].0.to_string(), 1000, Cut::Cut(100_000));
    proxy.fault(&one.layers[0].0.to_string(), 1000, Cut::Status(503));
    let outcome = machine.scrub(true);
    assert!(outcome.left.objects.contains_key(&bad[0]) && !outcome.failures.is_empty(), "{}", outcome.in_words());
    proxy.clear();
    let outcome = machine.scrub(true);
    assert!(outcome.left.is_empty() && outcome.failures.is_empty(), "{}", outcome.in_words());
    assert_eq!(machine.files(), before);
    // The layer with the kernel was never asked for.
    assert!(proxy.requests(&one.layers[2].0.to_string()).is_empty());
    assert!(!proxy.requests(&one.layers[1].0.to_string()).is_empty());
}

#[test]
fn another_image_in_the_origins_place_mends_nothing() {
    let one = release("one");
    let usb = TempDir::new().unwrap();
    // A layer that is not the one the manifest names.
    let wrong = plain(&tar(&[("usr/bin/version", &noise(1, 50_000))])).bytes;
    let name = format!("blobs/{}", one.layers[1].0.to_string().replace(':', "/"));
    served(&one).write_layout(usb.path(), &["1"], |file, bytes| {
        if file == name {
            *bytes = wrong.clone();
        }
    });
    let machine = Machine::new(&[(&one, &format!("oci:{}:1", usb.path().display()))]);
    let bad = machine.spoil(&own("one"));
    let outcome = machine.scrub(true);
    assert_eq!(outcome.left.objects, [(bad, Fault::Changed)].into());
    assert_eq!(fs::read(machine.object(&bad)).unwrap(), b"spoilt");
    assert!(!outcome.failures.is_empty());
}
