//! Which images `rocketctl` takes: signed by `image sign`, judged as upgrades judge, in every place images come from.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

// The registry, the proxy and the images that rocketos-oci is tested with.
#[path = "../../crates/oci/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use openssl::{
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::PKey,
};
use serde_json::Value;
use support::{
    image::{INDEX, Image, MANIFEST, noise, plain, tar},
    proxy::{Fault, Proxy},
    registry::Registry,
};
use tempfile::TempDir;

/// The exit code of a refusal.
const NOT_ALLOWED: i32 = 77;
/// The tag of the image.
const TAG: &str = "1";
const REPOSITORY: &str = "os/test";

struct Scene {
    registry: Registry,
    proxy: Proxy,
    image: Image,
    folder: TempDir,
}

/// At a registry without the referrers API.
async fn scene() -> Scene {
    at(Registry::start()).await
}

/// At one of either kind.
async fn scenes() -> [Scene; 2] {
    [scene().await, at(Registry::with_referrers()).await]
}

async fn at(registry: Registry) -> Scene {
    let proxy = Proxy::start(&registry.host);
    let scene = Scene { image: image(1), proxy, registry, folder: TempDir::new().unwrap() };
    scene.registry.push(REPOSITORY, TAG, &scene.image).await;
    for name in ["a", "b"] {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        fs::write(scene.path(&format!("{name}.pem")), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        fs::write(scene.path(&format!("{name}.pub")), key.public_key_to_pem().unwrap()).unwrap();
    }
    scene
}

fn image(seed: u64) -> Image {
    Image::new(vec![plain(&tar(&[("usr/a", &noise(seed, 200_000))]))])
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self) -> String {
        format!("docker://{}/{REPOSITORY}:{TAG}", self.proxy.host)
    }

    fn run(&self, args: &[&str]) -> Output {
        let hosts = [&self.proxy.host, &self.registry.host];
        let conf = self.path("registries.conf");
        let text = hosts.map(|host| format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n"));
        fs::write(&conf, text.concat()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_rocketctl"))
            .args(args)
            .env("CONTAINERS_REGISTRIES_CONF", conf)
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn sign(&self, reference: &str, key: &str) {
        let output = self.run(&["image", "sign", reference, "--key", &format!("{key}.pem")]);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// A policy that wants `threshold` of `keys` wherever the image comes from.
    fn policy(&self, keys: &[&str], threshold: usize) -> String {
        let names: String = keys.iter().map(|key| format!("[key.{key}]\nfile = '{key}.pub'\n")).collect();
        let entry = format!("accept = 'signed'\nkeys = {keys:?}\nthreshold = {threshold}\n");
        let folder = self.folder.path().canonicalize().unwrap();
        let places = [
            format!("[repository.'{}']", self.proxy.host),
            format!("[storage.'{}']", self.proxy.host),
            format!("[layout.'{}']", folder.display()),
        ];
        names + &places.map(|place| format!("{place}\n{entry}")).concat()
    }

    fn verify(&self, reference: &str, policy: &str) -> Output {
        fs::write(self.path("policy.toml"), policy).unwrap();
        self.run(&["image", "verify", reference, "--policy", "policy.toml"])
    }

    fn accepts(&self, reference: &str, policy: &str) {
        let output = self.verify(reference, policy);
        assert!(output.status.success(), "{reference}: {}", said(&output));
        assert!(said(&output).starts_with("accepted: signed by "), "{}", said(&output));
    }

    /// It is refused, the reason is said, and nothing of the image but manifest and configuration was asked for.
    fn refuses(&self, reference: &str, policy: &str, reason: &str) {
        let output = self.verify(reference, policy);
        assert_eq!(output.status.code(), Some(NOT_ALLOWED), "{reference}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{reference}: {}", said(&output));
        assert!(self.proxy.requests(&self.image.layers[0].digest()).is_empty(), "a layer was fetched");
    }

    fn skopeo(&self, from: &str, to: &str) {
        let copy = ["--insecure-policy", "copy", "--quiet", "--preserve-digests", "--src-tls-verify=false", from, to];
        let done = Command::new("skopeo")
            .args(copy)
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .status()
            .expect("these tests need the program skopeo: 'apt-get install skopeo'");
        assert!(done.success(), "{from} {to}");
    }

    fn list_tag(&self) -> String {
        self.image.digest().replace(':', "-")
    }

    fn signature_tag(&self) -> String {
        format!("{}.sig", self.list_tag())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_what_was_signed_and_nothing_else() {
    for scene in scenes().await {
        let (name, policy) = (scene.name(), scene.policy(&["a"], 1));
        scene.refuses(&name, &policy, "wants a signature by a, and no signature was found");
        scene.sign(&name, "b");
        scene.refuses(&name, &policy, "no key of the policy made it");
        // Added to what lies there, in both forms.
        scene.sign(&name, "a");
        scene.accepts(&name, &policy);
        let output = scene.run(&["image", "verify", &name, "--policy", "policy.toml", "--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["manifestDigest"], scene.image.digest());
        let signatures = document["verdict"]["signatures"].as_array().unwrap();
        let forms = |key: &Value| -> Vec<&str> {
            let by = signatures.iter().filter(|signature| signature["key"] == *key);
            by.map(|signature| signature["form"].as_str().unwrap()).collect()
        };
        assert_eq!(forms(&"a".into()), ["simple-signing", "bundle"], "{document:#}");
        assert_eq!(forms(&Value::Null).len(), 2, "{document:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_bundles_by_the_referrers_api_and_by_the_fallback_tag() {
    for (scene, api) in scenes().await.into_iter().zip([false, true]) {
        let (name, policy) = (scene.name(), scene.policy(&["a"], 1));
        scene.sign(&name, "a");
        // The older form is nowhere: only the bundle can count.
        scene.proxy.fault(".sig", usize::MAX, Fault::Status(404));
        scene.accepts(&name, &policy);
        assert!(!scene.proxy.requests("/referrers/").is_empty(), "the API is asked first");
        // Without the fallback tag either, it is the API that finds it.
        scene.proxy.fault(&scene.list_tag(), usize::MAX, Fault::Status(404));
        match api {
            true => scene.accepts(&name, &policy),
            false => scene.refuses(&name, &policy, "no signature was found"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wants_as_many_keys_as_the_policy_says() {
    for scene in scenes().await {
        let (name, policy) = (scene.name(), scene.policy(&["a", "b"], 2));
        scene.sign(&name, "a");
        scene.sign(&name, "a");
        scene.refuses(&name, &policy, "wants signatures by 2 of a, b, and found only a");
        scene.sign(&name, "b");
        scene.accepts(&name, &policy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_no_signature_of_another_image() {
    for scene in scenes().await {
        let other = image(2);
        scene.registry.push(REPOSITORY, "2", &other).await;
        let name = scene.name();
        scene.sign(&format!("docker://{}/{REPOSITORY}:2", scene.proxy.host), "a");
        let tag = format!("{}.sig", other.digest().replace(':', "-"));
        let url = |tag: &str| format!("http://{}/v2/{REPOSITORY}/manifests/{tag}", scene.registry.host);
        let client = reqwest::Client::new();
        let swapped = client.get(url(&tag)).header("Accept", MANIFEST).send().await.unwrap().bytes().await.unwrap();
        let put = client.put(url(&scene.signature_tag())).header("Content-Type", MANIFEST).body(swapped);
        assert_eq!(put.send().await.unwrap().status().as_u16(), 201);
        scene.refuses(&name, &scene.policy(&["a"], 1), "it is for another image");
        // Junk beside a signature that counts does no harm.
        scene.sign(&name, "a");
        scene.accepts(&name, &scene.policy(&["a"], 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_an_index_signature_for_what_the_index_names() {
    for scene in scenes().await {
        let foreign = image(3);
        scene.registry.push(REPOSITORY, "foreign", &foreign).await;
        let entries = [("s390x", &foreign), (rocketos_oci::running_architecture(), &scene.image)];
        scene.registry.push_index(REPOSITORY, "all", &entries).await;
        let name = format!("docker://{}/{REPOSITORY}:all", scene.proxy.host);
        let policy = scene.policy(&["a"], 1);
        scene.refuses(&name, &policy, "no signature was found");
        // Another manifest of the same index says nothing of this one.
        scene.sign(&format!("docker://{}/{REPOSITORY}:foreign", scene.proxy.host), "a");
        scene.refuses(&name, &policy, "no signature was found");
        scene.sign(&name, "b");
        scene.refuses(&name, &policy, "no key of the policy made it");
        scene.sign(&name, "a");
        scene.accepts(&name, &policy);
        let output = scene.run(&["image", "verify", &name, "--policy", "policy.toml", "--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["manifestDigest"], scene.image.digest());
        assert_eq!(document["throughIndex"], true);
        // Asked for without the index, the manifest was not signed.
        scene.refuses(&scene.name(), &policy, "no signature was found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_a_policy_that_can_be_read() {
    let scene = scene().await;
    let name = scene.name();
    scene.sign(&name, "a");
    scene.refuses(&name, "", "the policy has no entry for docker://");
    scene.refuses(&name, "[repository", "policy.toml");
    scene.refuses(&name, "[repositories.'a.b']\naccept = 'unsigned'", "has no field 'repositories'");
    let place = format!("[repository.'{}']\n", scene.proxy.host);
    scene.refuses(&name, &format!("{place}accept = 'nothing'"), "accepts no image");
    let output = scene.run(&["image", "verify", &name, "--policy", "absent.toml"]);
    assert_eq!(output.status.code(), Some(NOT_ALLOWED));
    assert!(said(&output).contains("absent.toml"), "{}", said(&output));
    let output = scene.verify(&name, &format!("{place}accept = 'unsigned'"));
    assert!(output.status.success() && said(&output).contains("asks for no signature"), "{}", said(&output));
    let output = scene.run(&["image", "verify", &name, "--policy", "unsigned"]);
    assert!(said(&output).contains("[default] of --policy unsigned asks for no signature"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_no_silence_for_a_verdict() {
    let scene = scene().await;
    let name = scene.name();
    let policy = scene.policy(&["a"], 1);
    scene.proxy.fault(".sig", usize::MAX, Fault::Status(503));
    let output = scene.verify(&name, &policy);
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(said(&output).contains("looking for signatures of docker://"), "{}", said(&output));
    // What was found elsewhere counts.
    scene.proxy.clear();
    scene.sign(&name, "a");
    scene.proxy.fault(".sig", usize::MAX, Fault::Status(503));
    scene.accepts(&name, &policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_signatures_in_layouts_and_archives() {
    let scene = scene().await;
    let (name, policy) = (scene.name(), scene.policy(&["a"], 1));
    // Past the proxy, which remembers what rocketctl asks for.
    let at = |reference: &str| format!("docker://{}/{REPOSITORY}{reference}", scene.registry.host);
    for transport in ["oci", "oci-archive"] {
        let unsigned = format!("{transport}:{}", scene.path(&format!("{transport}-unsigned")).display());
        scene.skopeo(&at(":1"), &format!("{unsigned}:{TAG}"));
        scene.refuses(&unsigned, &policy, "no signature was found");
    }
    scene.sign(&name, "a");
    let layout = |tag: &str| format!("oci:{}:{tag}", scene.path("oci").display());
    scene.skopeo(&at(":1"), &layout(TAG));
    scene.skopeo(&at(&format!(":{}", scene.signature_tag())), &layout(&scene.signature_tag()));
    // The image is the only one: what lies beside it is none.
    scene.accepts(&format!("oci:{}", scene.path("oci").display()), &policy);
    std::os::unix::fs::symlink(scene.path("oci"), scene.path("link")).unwrap();
    scene.accepts("oci:link", &policy);
    let tarred = Command::new("tar")
        .args(["--create", "--file", "archive.tar", "--directory", "oci", "."])
        .current_dir(scene.folder.path())
        .status();
    assert!(tarred.unwrap().success());
    scene.accepts(&format!("oci-archive:archive.tar:{TAG}"), &policy);
    // Without the tag's name in the layout, its manifest is found by nobody.
    let index = fs::read_to_string(scene.path("oci/index.json")).unwrap();
    fs::write(scene.path("oci/index.json"), index.replace(&scene.signature_tag(), "other")).unwrap();
    scene.refuses(&layout(TAG), &policy, "no signature was found");
    // A bundle is found by its subject, whatever its name.
    let list = format!("http://{}/v2/{REPOSITORY}/manifests/{}", scene.registry.host, scene.list_tag());
    let list = reqwest::Client::new().get(list).header("Accept", INDEX).send().await.unwrap().bytes().await.unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let bundle = list["manifests"][0]["digest"].as_str().unwrap();
    scene.skopeo(&at(&format!("@{bundle}")), &layout("bundle"));
    scene.accepts(&layout(TAG), &policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_signatures_of_what_podman_has_at_the_registry() {
    let scene = scene().await;
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
        scene.folder.path().display()
    );
    fs::write(scene.path("storage.conf"), storage).unwrap();
    let policy = scene.policy(&["a"], 1);
    let name = format!("containers-storage:{}/{REPOSITORY}:{TAG}", scene.proxy.host);
    scene.skopeo(&format!("docker://{}/{REPOSITORY}:{TAG}", scene.registry.host), &name);
    scene.refuses(&name, &policy, "no signature was found");
    scene.sign(&scene.name(), "a");
    scene.accepts(&name, &policy);
    // An image built here has no registry to ask.
    let local = name.replace(&scene.proxy.host, "localhost");
    scene.skopeo(&format!("docker://{}/{REPOSITORY}:{TAG}", scene.registry.host), &local);
    let policy = policy.replace(&format!("[storage.'{}']", scene.proxy.host), "[storage.'localhost']");
    scene.refuses(&local, &policy, "no signature was found");
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_with_a_program_that_holds_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene().await;
    let name = scene.name();
    let script = |name: &str, body: &str| {
        let path = scene.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let sign = |program: &str| scene.run(&["image", "sign", &name, "--signer", program, "--public-key", "a.pub"]);
    for (name, body, says) in [
        ("failing", "exit 3", "failed with exit status: 3"),
        ("silent", "cat > /dev/null", "not a signature by its public key"),
        ("stranger", "exec openssl dgst -sha256 -sign b.pem", "not a signature by its public key"),
        ("endless", "exec yes", "failed with signal"),
    ] {
        let output = sign(&script(name, body));
        assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
        assert!(said(&output).contains(says), "{name}: {}", said(&output));
    }
    scene.refuses(&name, &scene.policy(&["a"], 1), "no signature was found");
    let output = sign(&script("token", "exec openssl dgst -sha256 -sign a.pem"));
    assert!(output.status.success(), "{}", said(&output));
    scene.accepts(&name, &scene.policy(&["a"], 1));
}
