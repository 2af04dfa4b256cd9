//! From a layout to an image that could be mounted; what is refused, and what goes on without a registry.

mod again;
mod upgrade;

use std::{collections::BTreeMap, path::PathBuf};

use openssl::pkey::{PKey, Private};
use rocketos_deploy::prune;
use rocketos_image::HostContainers;
use rocketos_model::ImageReference;
use rocketos_settings::{
    Layers, SetBy, Tree,
    render::{Facts, Files, render},
};
use rocketos_trust::{PrivateKey, Refused, Subject, sign_payload, signature_manifest, signature_tag};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::adapters::systemctl;
use crate::machine::{
    Machine,
    made::release,
    support::{
        config,
        image::{Image, digest, gzipped, noise, tar},
        registry::Registry,
    },
};

/// Nothing listens there.
const UNREACHABLE: &str = "docker://127.0.0.1:1/tools/admin:2";

/// An image with a program.
fn image(version: &str) -> Image {
    let layer = gzipped(&tar(&[("tool", &noise(1, 40_000)), ("version", version.as_bytes())]));
    let config = json!({
        "architecture": rocketos_oci::running_architecture(), "os": "linux",
        "config": { "Entrypoint": ["/tool"], "Cmd": ["by", "default"], "Env": ["A=1", "B=of the image"], "WorkingDir": "/work",
                    "User": "me:wheel" },
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
    });
    Image::with_config(vec![layer], &config)
}

/// A node with a system, layouts beside it.
struct Scene {
    machine: Machine,
    folder: TempDir,
    puller: Puller,
    reporter: Reporter,
}

impl Scene {
    fn new() -> Self {
        Self::from("oci:/nowhere")
    }

    /// Of a system that is from there.
    fn from(origin: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let puller = Puller::with(config(folder.path(), &["127.0.0.1:1"])).unwrap();
        let reporter = Reporter::new(&Progress { quiet: true, progress_fd: None }).unwrap();
        Self { machine: Machine::new(&[(&release("one"), origin)]), folder, puller, reporter }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// What settings ask for when they name a layout with this image.
    fn layout(&self, name: &str, image: &Image) -> ToRun {
        image.write_layout(&self.place(name), &["1"], |_, _| {});
        self.to_run(&format!("oci:{}:1", self.place(name).display()))
    }

    fn to_run(&self, source: &str) -> ToRun {
        ToRun {
            source: source.parse().unwrap(),
            label: "system_u:object_r:container_file_t:s0:c1,c2".to_owned(),
            persistent: false,
            command: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    fn bring(&self, policy: &str, to_run: &ToRun) -> anyhow::Result<ContainerImage> {
        let path = self.place("policy.toml");
        fs::write(&path, policy).unwrap();
        let guard = Guard::given_or(path.to_str(), Guard::of_node).unwrap();
        bring(&self.machine.node, &guard, &self.puller, "admin", to_run, &self.reporter)
    }

    fn named(&self) -> Option<HostContainer> {
        self.machine.node.host_container("admin").unwrap()
    }
}

const UNSIGNED: &str = "[default]\naccept = 'unsigned'\n";

/// A policy that wants a signature by this key.
fn signed_by(key: &PKey<Private>) -> String {
    let pem = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
    format!("[key.k]\npem = '''\n{pem}'''\n[default]\naccept = 'signed'\nkeys = ['k']\n")
}

/// Adds a signature by a key to a layout, as cosign and `image sign` leave it.
fn sign(layout: &Path, image: &Image, key: &PKey<Private>) {
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let private = PrivateKey::from_pem("test", &pem).unwrap();
    let subject = Subject::of(&image.manifest);
    let name: ImageReference = "docker://registry.example/tools/admin:1".parse().unwrap();
    let payload = sign_payload(&subject, &name, &private).unwrap();
    let made = signature_manifest(None, &payload).unwrap();
    for bytes in [&payload.payload, &made.config, &made.manifest] {
        fs::write(layout.join("blobs").join(digest(bytes).replace(':', "/")), bytes).unwrap();
    }
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&made.manifest), "size": made.manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": signature_tag(subject.digest()) },
    }));
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn what_settings_ask_for_is_brought_once_and_kept() {
    let scene = Scene::new();
    let to_run = scene.layout("one", &image("1"));
    assert!(present(&scene.machine.node, "admin", &to_run).unwrap().is_none());
    let brought = scene.bring(UNSIGNED, &to_run).unwrap();
    let named = scene.named().unwrap();
    assert_eq!((PlacedImage::At(named.image), named.composefs_digest), (to_run.source.clone(), brought.facts.digest));
    prune(&scene.machine.node, false).unwrap();
    // Nothing is asked any more: neither the place nor the policy.
    fs::remove_dir_all(scene.place("one")).unwrap();
    assert_eq!(present(&scene.machine.node, "admin", &to_run).unwrap().unwrap().facts, brought.facts);
    assert_eq!(scene.bring("", &to_run).unwrap().facts, brought.facts);
}

#[test]
fn says_what_is_to_run_what_is_here_and_how_its_unit_stands() {
    let scene = Scene::new();
    let folder = scene.place("placed");
    fs::create_dir(&folder).unwrap();
    let ask = |unit: &str| match unit {
        "rocketos-host-container-admin.service" => {
            let age = Some(Duration::from_secs(60));
            Ok(systemctl::Lasting { active: "active".to_owned(), result: "success".to_owned(), age, restarts: 2 })
        }
        _ => anyhow::bail!("systemd does not answer"),
    };
    let all = || standing(&scene.machine.node, &folder, ask).unwrap();
    assert!(all().is_empty());
    let to_run = scene.layout("one", &image("1"));
    let place = |name: &str| fs::write(folder.join(format!("{name}.toml")), toml::to_string(&to_run).unwrap()).unwrap();
    place("admin");
    place("later");
    let brought = scene.bring(UNSIGNED, &to_run).unwrap();
    let [admin, later] = all().try_into().unwrap();
    assert_eq!(admin.image.as_ref().unwrap().composefs_digest, brought.facts.digest);
    let unit = admin.unit.as_ref().unwrap();
    assert_eq!((unit.state.as_str(), unit.restarts, unit.since.is_some()), ("active", 2, true));
    assert_eq!((admin.source.as_deref(), &admin.problem), (Some(to_run.source.to_string().as_str()), &None));
    assert!(admin.to_string().starts_with("host container admin: active since "), "{admin}");
    assert!(admin.to_string().contains("Z, started again 2 times\n    source: oci:"), "{admin}");
    assert_eq!((later.image, later.problem.as_deref()), (None, Some("systemd does not answer")));
    // Settings do not have it any more; the image is there until a prune.
    fs::remove_file(folder.join("admin.toml")).unwrap();
    fs::remove_file(folder.join("later.toml")).unwrap();
    let [admin] = all().try_into().unwrap();
    assert_eq!((admin.enabled, admin.unit, admin.image.is_some()), (false, None, true));
    // One that cannot be read hides no other.
    let path = scene.machine.node.root.join("state/rocketos/host-containers/broken");
    fs::write(path, "x").unwrap();
    let [_, broken] = all().try_into().unwrap();
    assert!(broken.problem.unwrap().contains("broken"));
}

#[test]
fn another_source_is_brought_and_the_one_before_goes_with_a_prune() {
    let scene = Scene::new();
    let first = scene.bring(UNSIGNED, &scene.layout("one", &image("1"))).unwrap();
    let second = scene.bring(UNSIGNED, &scene.layout("two", &image("2"))).unwrap();
    assert_ne!(first.facts.digest, second.facts.digest);
    assert_eq!(scene.named().unwrap().manifest_digest, second.manifest_digest);
    prune(&scene.machine.node, false).unwrap();
    let store = &scene.machine.node.store;
    assert!(store.open_container(&first.manifest_digest).unwrap().is_none());
    assert!(store.open_container(&second.manifest_digest).unwrap().is_some());
}

#[test]
fn what_lost_an_object_is_brought_again() {
    let scene = Scene::new();
    let to_run = scene.layout("one", &image("1"));
    let brought = scene.bring(UNSIGNED, &to_run).unwrap();
    fs::remove_file(scene.machine.object(&rocketos_store::object_id_of(&noise(1, 40_000)))).unwrap();
    assert!(present(&scene.machine.node, "admin", &to_run).unwrap().is_none());
    assert_eq!(scene.bring(UNSIGNED, &to_run).unwrap().facts, brought.facts);
    assert!(present(&scene.machine.node, "admin", &to_run).unwrap().is_some());
}

#[test]
fn what_the_policy_does_not_allow_is_neither_fetched_nor_named() {
    let scene = Scene::new();
    let image = image("1");
    let (ours, foreign) = (PKey::generate_ed25519().unwrap(), PKey::generate_ed25519().unwrap());
    let to_run = scene.layout("one", &image);
    let before = scene.machine.files();
    let refused = |policy: &str| {
        let error = scene.bring(policy, &to_run).unwrap_err();
        assert!(error.chain().any(|cause| cause.is::<Refused>()), "{error:#}");
        assert_eq!((scene.machine.files() == before, scene.named()), (true, None));
        assert_eq!(exit::kind_of(&error), Kind::Refused);
        error
    };
    refused("");
    refused("[default]\naccept = 'nothing'\n");
    refused(&signed_by(&ours));
    sign(&scene.place("one"), &image, &foreign);
    refused(&signed_by(&ours));
    scene.bring(&signed_by(&foreign), &to_run).unwrap();
    // What was allowed once does not stand in for what is not.
    let error = scene.bring("", &scene.layout("two", &self::image("2"))).unwrap_err();
    assert!(error.chain().any(|cause| cause.is::<Refused>()), "{error:#}");
}

#[test]
fn where_nobody_answers_what_came_before_goes_on() {
    let scene = Scene::new();
    let elsewhere = scene.to_run(UNREACHABLE);
    let error = scene.bring(UNSIGNED, &elsewhere).unwrap_err();
    assert_eq!(exit::kind_of(&error), Kind::Unreachable, "{error:#}");
    assert_eq!(scene.named(), None);
    let first = scene.bring(UNSIGNED, &scene.layout("one", &image("1"))).unwrap();
    let named = scene.named();
    assert_eq!(scene.bring(UNSIGNED, &elsewhere).unwrap().facts, first.facts);
    // It is still the other one's: the next start asks again.
    assert_eq!(scene.named(), named);
    assert!(present(&scene.machine.node, "admin", &elsewhere).unwrap().is_none());
}

#[test]
fn a_name_alone_is_beside_the_system_and_one_of_no_place_is_told() {
    let scene = Scene::from("docker://127.0.0.1:1/rocketos/standalone:7");
    let beside = scene.to_run("control:2");
    let placed = place(&scene.machine.node, &beside).unwrap().unwrap();
    assert_eq!(placed.to_string(), "docker://127.0.0.1:1/rocketos/control:2");
    let error = scene.bring(UNSIGNED, &beside).unwrap_err();
    assert_eq!(exit::kind_of(&error), Kind::Unreachable, "{error:#}");
    assert!(exit::chain(&error).contains("docker://127.0.0.1:1/rocketos/control:2"), "{error:#}");

    // From a stick: nothing is beside it, and what came before goes on.
    let scene = Scene::new();
    let error = scene.bring(UNSIGNED, &beside).unwrap_err();
    assert!(error.chain().any(|cause| cause.is::<NoPlace>()), "{error:#}");
    assert!(exit::chain(&error).contains("oci:/nowhere, in no registry"), "{error:#}");
    assert!(present(&scene.machine.node, "admin", &beside).unwrap().is_none());
    let first = scene.bring(UNSIGNED, &scene.layout("one", &image("1"))).unwrap();
    assert_eq!(scene.bring(UNSIGNED, &beside).unwrap().facts, first.facts);
}

#[test]
fn what_has_the_digest_that_is_asked_for_is_it_wherever_it_came_from() {
    let scene = Scene::new();
    let image = image("1");
    let brought = scene.bring(UNSIGNED, &scene.layout("one", &image)).unwrap();
    let named = scene.named();
    let by = |digest: &str| scene.to_run(&format!("admin@{digest}"));
    let asked = by(&digest(&image.manifest));
    assert_eq!(present(&scene.machine.node, "admin", &asked).unwrap().unwrap().facts, brought.facts);
    assert_eq!(scene.bring("", &asked).unwrap().facts, brought.facts);
    assert_eq!(scene.named(), named);
    let other = by(&digest(&self::image("2").manifest));
    assert!(present(&scene.machine.node, "admin", &other).unwrap().is_none());
}

#[test]
fn what_a_system_names_comes_along_when_it_is_installed_and_what_does_not_is_left() {
    let registry = Registry::start();
    let scene = Scene::from(&format!("docker://{}/os/standalone:7", registry.host));
    let puller = Puller::with(config(scene.folder.path(), &[&registry.host, "127.0.0.1:1"])).unwrap();
    let control = image("1");
    wait(registry.push("os/control", "1", &control));
    let absent = format!("sha256:{}", "cd".repeat(32));
    let label = format!("control={} admin={absent}", digest(&control.manifest));
    let of = |label: &str| {
        let config = json!({
            "architecture": rocketos_oci::running_architecture(), "os": "linux",
            "config": { "Labels": { "org.rocketos.host-containers": label } },
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let place = scene.place("system");
        Image::with_config(Vec::new(), &config).write_layout(&place, &["1"], |_, _| {});
        puller.resolve(&format!("oci:{}:1", place.display()).parse().unwrap()).unwrap()
    };
    let include = |label: &str, policy: &str, from: &str| {
        let path = scene.place("policy.toml");
        fs::write(&path, policy).unwrap();
        let guard = Guard::given_or(path.to_str(), Guard::of_installer).unwrap();
        let follow = format!("docker://{}/os/standalone:7", registry.host).parse().unwrap();
        let (image, from) = (of(label), from.parse().unwrap());
        let installed = System { image: &image, from: &from, follow: &follow };
        super::include(&scene.machine.node, &guard, &puller, &installed, &scene.reporter);
        scene.machine.node.host_containers().unwrap()
    };
    for (label, policy, from) in [
        (label.as_str(), "", "oci:/media/usb"),
        (&label, UNSIGNED, "docker://127.0.0.1:1/os/standalone:7"),
        ("no label", UNSIGNED, "oci:/media/usb"),
        ("", UNSIGNED, "oci:/media/usb"),
    ] {
        assert!(include(label, policy, from).is_empty(), "{label} {policy} {from}");
    }
    let included = include(&label, UNSIGNED, "oci:/media/usb");
    assert_eq!(included.keys().collect::<Vec<_>>(), ["control"]);
    // The node has what it will ask for.
    let asked = scene.to_run(&format!("control@{}", digest(&control.manifest)));
    assert!(present(&scene.machine.node, "control", &asked).unwrap().is_some());
    assert_eq!(place(&scene.machine.node, &asked).unwrap().unwrap(), included["control"].image);
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    crate::pull::runtime().unwrap().block_on(work)
}

#[test]
fn what_sealing_fixes_is_what_settings_take() {
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let words = [format!("control={}", digest("ab")), format!("admin={}", digest("cd"))];
    let sealed = HostContainers::read(words.iter().map(String::as_str)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(rocketos_image::SETTINGS);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, sealed.to_string()).unwrap();
    let files = |more: Value| {
        let mut layers = Layers::of_image(root.path()).unwrap();
        let set_by = SetBy::Operator { by: "uid 0".to_owned(), at: "2026-11-23T01:02:03Z".parse().unwrap() };
        layers.add(&Tree::from_value(more).unwrap(), |_| set_by.clone());
        render(&layers.resolve().unwrap_or_else(|problems| panic!("{problems}")).settings, &Facts::default())
    };
    let units = |files: &Files| {
        let names =
            files.all().keys().filter_map(|path| path.strip_prefix("etc/systemd/system/rocketos-host-container-"));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    // On where nobody says otherwise; the other needs a word, and has all rights then.
    let of_image = files(json!({}));
    assert_eq!(units(&of_image), ["control.service"]);
    let to_run = String::from_utf8(of_image.all()["etc/rocketos/host-containers/control.toml"].bytes.clone()).unwrap();
    let to_run: ToRun = toml::from_str(&to_run).unwrap();
    assert_eq!(to_run.source.to_string(), format!("control@{}", digest("ab")));
    assert!(units(&files(json!({"host-containers": {"control": {"enabled": false}}}))).is_empty());
    let both = files(json!({"host-containers": {"admin": {"enabled": true}}}));
    assert_eq!(units(&both), ["admin.service", "control.service"]);
    let unit = String::from_utf8(both.all()["etc/systemd/system/rocketos-host-container-admin.service"].bytes.clone());
    assert!(unit.unwrap().contains(":super_t:"));
}

#[test]
fn a_damaged_name_is_written_anew() {
    let scene = Scene::new();
    let to_run = scene.layout("one", &image("1"));
    scene.bring(UNSIGNED, &to_run).unwrap();
    let named = scene.named();
    fs::write(scene.machine.node.root.join(layout::host_container("admin")), "image = ").unwrap();
    scene.bring(UNSIGNED, &to_run).unwrap();
    assert_eq!(scene.named(), named);
}

#[test]
fn a_system_is_no_container() {
    let scene = Scene::new();
    let one = release("one");
    let served = crate::machine::served(&one);
    let before = scene.machine.files();
    let error = scene.bring(UNSIGNED, &scene.layout("system", &served)).unwrap_err();
    assert!(exit::chain(&error).contains("it is a system"), "{error:#}");
    assert_eq!((scene.machine.files() == before, scene.named()), (true, None));
}

#[test]
fn settings_stand_over_what_the_image_says() {
    let scene = Scene::new();
    let mut to_run = scene.layout("one", &image("1"));
    let brought = scene.bring(UNSIGNED, &to_run).unwrap();
    let of_image = process(&brought, &to_run);
    assert_eq!(of_image.args, ["/tool", "by", "default"]);
    assert_eq!(of_image.env, ["A=1", "B=of the image"]);
    assert_eq!((of_image.folder.as_str(), of_image.user.as_str()), ("/work", "me:wheel"));
    to_run.command = vec!["a \"b\"".to_owned()];
    to_run.env = BTreeMap::from([("A".to_owned(), "x=y".to_owned())]);
    let of_settings = process(&brought, &to_run);
    assert_eq!(of_settings.args, ["/tool", "a \"b\""]);
    assert_eq!(of_settings.env, ["A=1", "B=of the image", "A=x=y"]);
}

#[test]
fn what_is_read_is_what_settings_wrote_and_what_they_no_longer_have_is_forgotten() {
    let scene = Scene::new();
    let to_run = scene.layout("one", &image("1"));
    scene.bring(UNSIGNED, &to_run).unwrap();
    let folder = scene.place("settings");
    fs::create_dir(&folder).unwrap();
    assert!(read("admin", &folder).is_err());
    fs::write(folder.join("admin.toml"), toml::to_string(&to_run).unwrap()).unwrap();
    assert_eq!(read("admin", &folder).unwrap(), to_run);
    forget_absent(&scene.machine.node, &folder).unwrap();
    assert!(scene.named().is_some());
    fs::remove_file(folder.join("admin.toml")).unwrap();
    forget_absent(&scene.machine.node, &folder).unwrap();
    assert_eq!(scene.named(), None);
}
