//! A release that is upgraded to: its host containers come with it, and the one before keeps its own.

use rocketos_deploy::{Activation, roles};
use rocketos_model::{Booted, Follow};

use super::*;
use crate::{
    bring::{self, Outcome, Wanted},
    machine::{
        made::{Release, naming},
        served,
    },
};

/// A node that follows a registry.
struct Followed {
    scene: Scene,
    registry: Registry,
    from: ImageReference,
    puller: Puller,
}

impl Followed {
    fn new(running: &Release) -> Self {
        let registry = Registry::start();
        let from = format!("docker://{}/os/test:stable", registry.host);
        let mut scene = Scene::new();
        scene.machine = Machine::new(&[(running, &from)]);
        let puller = Puller::with(config(scene.folder.path(), &[&registry.host])).unwrap();
        Self { scene, registry, from: from.parse().unwrap(), puller }
    }

    fn has(&self, repository: &str, tag: &str, image: &Image) {
        wait(self.registry.push(repository, tag, image));
    }

    fn guard(&self, policy: &str) -> Guard {
        let path = self.scene.place("policy.toml");
        fs::write(&path, policy).unwrap();
        Guard::given_or(path.to_str(), Guard::of_node).unwrap()
    }

    fn upgrade(&self, policy: &str, activation: Activation) -> Outcome {
        let (node, follow) = (&self.scene.machine.node, Follow::from(self.from.clone()));
        let wanted = Wanted::of(&follow, activation);
        let current = roles(node).unwrap();
        bring::bring(node, &current, &self.guard(policy), &self.puller, &wanted, &self.scene.reporter).unwrap().outcome
    }

    /// The first boot of a release, or one after a rollback.
    fn boots(&mut self, release: &Release) {
        let node = &mut self.scene.machine.node;
        let before = node.booted.clone().unwrap();
        node.booted = Some(Booted { composefs_digest: release.composefs, deployment: Some(release.id()), ..before });
    }

    /// What starts there as `control`.
    fn starts(&self, image: &Image) -> anyhow::Result<ContainerImage> {
        let asked = self.scene.to_run(&format!("control@{}", digest(&image.manifest)));
        let (node, guard) = (&self.scene.machine.node, self.guard(UNSIGNED));
        bring(node, &guard, &self.puller, "control", &asked, &self.scene.reporter)
    }

    fn came_with(&self, release: &Release) -> Option<String> {
        let all = self.scene.machine.node.host_containers_of(&release.id()).unwrap();
        all.get("control").map(|container| container.manifest_digest.to_string())
    }
}

fn with(version: &str, image: &Image) -> Release {
    naming(version, &format!("control={}", digest(&image.manifest)))
}

#[test]
fn a_release_brings_its_own_before_it_boots_and_the_one_before_keeps_its_own() {
    let [old, new] = ["1", "2"].map(image);
    let [one, two] = [with("one", &old), with("two", &new)];
    let mut node = Followed::new(&one);
    node.has("os/control", "1", &old);
    node.has("os/control", "2", &new);
    node.has("os/test", "stable", &served(&two));
    node.starts(&old).unwrap();
    for (activation, outcome) in [
        (Activation::Later, Outcome::Downloaded),
        (Activation::Tried, Outcome::Staged),
        (Activation::Tried, Outcome::Current),
    ] {
        assert_eq!(node.upgrade(UNSIGNED, activation), outcome);
        assert_eq!(node.came_with(&two), Some(digest(&new.manifest)));
        // What runs goes on.
        let named = node.scene.machine.node.host_container("control").unwrap().unwrap();
        assert_eq!(named.manifest_digest.to_string(), digest(&old.manifest));
        prune(&node.scene.machine.node, false).unwrap();
    }
    // Nobody answers any more, and both start where they belong.
    drop(std::mem::replace(&mut node.registry, Registry::start()));
    for (release, image) in [(&two, &new), (&one, &old), (&two, &new)] {
        node.boots(release);
        assert_eq!(node.starts(image).unwrap().manifest_digest.to_string(), digest(&image.manifest));
        let named = node.scene.machine.node.host_container("control").unwrap().unwrap();
        assert_eq!(named.manifest_digest.to_string(), digest(&image.manifest));
        prune(&node.scene.machine.node, false).unwrap();
    }
    // What settings do not have goes of what runs, and of nothing else.
    let nothing = node.scene.place("nothing");
    fs::create_dir(&nothing).unwrap();
    forget_absent(&node.scene.machine.node, &nothing).unwrap();
    assert_eq!((node.came_with(&two), node.came_with(&one)), (None, Some(digest(&old.manifest))));
}

#[test]
fn an_upgrade_does_not_fail_by_them_and_asks_again() {
    let new = image("2");
    let two = with("two", &new);
    let node = Followed::new(&release("one"));
    node.has("os/test", "stable", &served(&two));
    // Not there.
    assert_eq!(node.upgrade(UNSIGNED, Activation::Tried), Outcome::Staged);
    assert_eq!(node.came_with(&two), None);
    node.has("os/control", "2", &new);
    // Not allowed.
    let os = "[default]\naccept = 'nothing'\n";
    assert_eq!(node.upgrade(os, Activation::Tried), Outcome::Current);
    assert_eq!(node.came_with(&two), None);
    assert_eq!(node.upgrade(UNSIGNED, Activation::Tried), Outcome::Current);
    assert_eq!(node.came_with(&two), Some(digest(&new.manifest)));
    // Named by nothing that runs, so that it would have gone.
    prune(&node.scene.machine.node, false).unwrap();
    assert!(node.starts(&new).is_ok());
}

#[test]
fn what_runs_already_goes_on_with_the_next_release() {
    let same = image("1");
    let two = with("two", &same);
    let node = Followed::new(&release("one"));
    node.has("os/control", "1", &same);
    node.has("os/test", "stable", &served(&two));
    node.starts(&same).unwrap();
    // Nothing is asked for it: neither the registry nor the policy.
    let host = &node.registry.host;
    let alone = format!("[repository.\"{host}/os/test\"]\naccept = 'unsigned'\n");
    assert_eq!(node.upgrade(&alone, Activation::Tried), Outcome::Staged);
    assert_eq!(node.came_with(&two), Some(digest(&same.manifest)));
}

/// Neither a registry nor a network: what is on the stick is found there by its digest.
#[test]
fn a_node_that_follows_a_stick_has_what_lies_on_it() {
    let (own, later) = (image("1"), image("2"));
    let one = with("one", &own);
    let scene = Scene::new();
    let stick = scene.place("stick");
    served(&one).write_layout(&stick, &["1"], |_, _| {});
    let from = format!("oci:{}:1", stick.display());
    let mut node = Followed::new(&one);
    node.scene = scene;
    node.scene.machine = Machine::new(&[(&one, &from)]);
    let error = node.starts(&own).unwrap_err();
    assert!(error.chain().any(|cause| cause.is::<NoPlace>()), "{error:#}");
    assert!(exit::chain(&error).contains(&digest(&own.manifest)), "{error:#}");
    blobs(&stick, &own);
    // The policy of the stick judges it.
    let asked = node.scene.to_run(&format!("control@{}", digest(&own.manifest)));
    let machine = &node.scene.machine.node;
    let refused = bring(machine, &node.guard(""), &node.puller, "control", &asked, &node.scene.reporter).unwrap_err();
    assert!(refused.chain().any(|cause| cause.is::<Refused>()), "{refused:#}");
    assert_eq!(node.starts(&own).unwrap().manifest_digest.to_string(), digest(&own.manifest));

    // The next release comes on it, with its own.
    let two = with("two", &later);
    fs::remove_dir_all(&stick).unwrap();
    served(&two).write_layout(&stick, &["1"], |_, _| {});
    blobs(&stick, &later);
    node.from = from.parse().unwrap();
    assert_eq!(node.upgrade(UNSIGNED, Activation::Tried), Outcome::Staged);
    assert_eq!(node.came_with(&two), Some(digest(&later.manifest)));
    // Taken out, it is not missed: neither by what was, nor by what comes.
    fs::remove_dir_all(&stick).unwrap();
    node.starts(&own).unwrap();
    node.boots(&two);
    node.starts(&later).unwrap();
}

/// Adds an image to a layout, without a name.
fn blobs(layout: &Path, image: &Image) {
    for bytes in image.layers.iter().map(|layer| &layer.bytes).chain([&image.config, &image.manifest]) {
        fs::write(layout.join("blobs").join(digest(bytes).replace(':', "/")), bytes).unwrap();
    }
}
