//! From a registry to a stick, and from the stick to a node.

use std::collections::BTreeMap;

use openssl::pkey::PKey;
use rocketos_model::{BlobDigest, ManifestDigest};
use rocketos_trust::{PrivateKey, sign_payload, signature_manifest};
use serde_json::json;

use super::*;
use crate::{
    args::Progress,
    machine::support::{
        config,
        image::{Image, digest, gzipped, noise, tar},
        registry::Registry,
    },
    output::Reporter,
    trust::Guard,
};

fn image(seed: u64, labels: BTreeMap<&str, String>) -> Image {
    let layer = gzipped(&tar(&[("tool", &noise(seed, 40_000))]));
    let config = json!({
        "architecture": rocketos_oci::running_architecture(), "os": "linux", "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
    });
    Image::with_config(vec![layer], &config)
}

struct Scene {
    folder: TempDir,
    registry: Registry,
    puller: Puller,
    key: PrivateKey,
    policy: PathBuf,
    control: Image,
}

impl Scene {
    /// A registry with a system that names `control`, both signed.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start();
        let puller = Puller::with(config(folder.path(), &[&registry.host])).unwrap();
        let key = PKey::generate_ed25519().unwrap();
        let public = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
        let key = PrivateKey::from_pem("test", &key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let policy = folder.path().join("policy.toml");
        let text = format!("[key.k]\npem = '''\n{public}'''\n[default]\naccept = 'signed'\nkeys = ['k']\n");
        fs::write(&policy, text).unwrap();
        let scene = Self { control: image(1, BTreeMap::new()), folder, registry, puller, key, policy };
        scene.has("os/control", "7", &scene.control);
        let named = format!("control={}", digest(&scene.control.manifest));
        scene.has("os/node", "1", &image(2, BTreeMap::from([(labels::HOST_CONTAINERS, named)])));
        scene
    }

    /// Pushes an image, signed as cosign and `image sign` do.
    fn has(&self, repository: &str, tag: &str, image: &Image) {
        self.puller.wait(self.registry.push(repository, tag, image));
        let subject = rocketos_trust::Subject::of(&image.manifest);
        let name = self.named(&format!("{repository}:{tag}"));
        let payload = sign_payload(&subject, &name, &self.key).unwrap();
        let made = signature_manifest(None, &payload).unwrap();
        let tag = signature_tag(subject.digest());
        let blobs = vec![payload.payload.clone(), made.config.clone()];
        self.puller.wait(self.puller.reader().put(&name, &tag, blobs, made.manifest)).unwrap();
        // And as a referrer, with a word of somebody's that is no signature.
        self.puller.attach(&name, "application/vnd.dev.cosign.artifact.sig.v1+json", b"no signature".to_vec()).unwrap();
        self.puller.attach(&name, "application/vnd.cyclonedx+json", b"{}".to_vec()).unwrap();
    }

    fn named(&self, name: &str) -> ImageReference {
        format!("docker://{}/{name}", self.registry.host).parse().unwrap()
    }

    fn save(&self, from: &ImageReference, to: &str, alone: bool) -> anyhow::Result<ImageReference> {
        let to: ImageReference = to.replace('@', &self.folder.path().display().to_string()).parse().unwrap();
        save(&self.puller, from, &to, alone).map(|()| to)
    }

    /// What a node without a network finds there, by a policy that wants signatures.
    fn accepts(&self, resolved: &Resolved) -> bool {
        let guard = Guard::given_or(self.policy.to_str(), Guard::of_node).unwrap();
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        guard.require(&self.puller, resolved, None, &reporter).is_ok()
    }

    fn control(&self) -> ManifestDigest {
        digest(&self.control.manifest).parse().unwrap()
    }
}

#[test]
fn a_stick_has_the_image_its_signatures_and_its_host_containers() {
    let scene = Scene::new();
    let node = scene.named("os/node:1");
    let served = scene.puller.resolve(&node).unwrap();
    for to in ["oci:@/stick", "oci-archive:@/stick.tar", "oci:@/other:name"] {
        let stick = scene.save(&node, to, false).unwrap();
        // One image is asked for without a name, whatever lies beside it.
        let (ImageReference::Layout { path, .. } | ImageReference::Archive { path, .. }) = &stick else { panic!() };
        let nameless: ImageReference = format!("{}:{}", stick.transport(), path.display()).parse().unwrap();
        for asked in [&stick, &nameless] {
            let resolved = scene.puller.resolve(asked).unwrap();
            assert_eq!(resolved.manifest_digest, served.manifest_digest, "{asked}");
            assert!(scene.accepts(&resolved), "{asked}");
        }
        let control = scene.puller.resolve_exactly(&nameless, scene.control()).unwrap();
        assert!(scene.accepts(&control));
        // What is no signature stayed where it was.
        let beside = control.beside().unwrap();
        let listed = scene.puller.wait(async {
            let mut beside = beside;
            beside.referring(scene.control(), &["application/vnd.cyclonedx+json"]).await.unwrap().len()
        });
        assert_eq!(listed, 0);
    }
    // From one to the next it is the same; the same is written twice with the same bytes.
    let stick: ImageReference = format!("oci:{}/stick", scene.folder.path().display()).parse().unwrap();
    scene.save(&stick, "oci-archive:@/again.tar:1", false).unwrap();
    let bytes = |name: &str| fs::read(scene.folder.path().join(name)).unwrap();
    scene.save(&node, "oci-archive:@/twice.tar", false).unwrap();
    assert!(bytes("stick.tar") == bytes("twice.tar"));
    let again = format!("oci-archive:{}/again.tar", scene.folder.path().display()).parse().unwrap();
    assert!(scene.accepts(&scene.puller.resolve_exactly(&again, scene.control()).unwrap()));
}

#[test]
fn what_cannot_be_written_whole_is_not_there() {
    let scene = Scene::new();
    let node = scene.named("os/node:1");
    let before = fs::read_dir(scene.folder.path()).unwrap().count();
    let absent = format!("control=sha256:{}", "ab".repeat(32));
    scene.has("os/lacking", "1", &image(3, BTreeMap::from([(labels::HOST_CONTAINERS, absent)])));
    let error = scene.save(&scene.named("os/lacking:1"), "oci:@/stick", false).unwrap_err();
    assert!(crate::exit::chain(&error).contains("--without-host-containers"), "{error:#}");
    for (from, to) in [
        (node.clone(), "docker://registry.example/a"),
        (node.clone(), "containers-storage:a"),
        (node.clone(), "oci:@/policy.toml"),
        (scene.named("os/nothing:1"), "oci:@/stick"),
        (node, "oci:@/no/such/folder"),
    ] {
        scene.save(&from, to, false).unwrap_err();
    }
    assert_eq!(fs::read_dir(scene.folder.path()).unwrap().count(), before);
    let alone = scene.save(&scene.named("os/lacking:1"), "oci:@/stick", true).unwrap();
    assert!(scene.accepts(&scene.puller.resolve(&alone).unwrap()));
}

#[test]
fn what_was_altered_on_the_way_is_not_written() {
    let scene = Scene::new();
    scene.save(&scene.named("os/node:1"), "oci:@/stick", false).unwrap();
    let stick = scene.folder.path().join("stick");
    let layer: BlobDigest = scene.control.layers[0].digest().parse().unwrap();
    let path = stick.join("blobs/sha256").join(layer.to_hex());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let from = format!("oci:{}", stick.display()).parse().unwrap();
    let error = scene.save(&from, "oci-archive:@/next.tar", false).unwrap_err();
    assert!(crate::exit::chain(&error).contains("was altered"), "{error:#}");
    assert!(!scene.folder.path().join("next.tar").exists());
}
