//! A registry, a liar in front of it, a layout of the same content, and a node that looks at both.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use rocketos_tests::{Progress, Registry, Tools, command::Run, paths};
use rocketos_trust::{PrivateKey, Signer as _};
use tempfile::TempDir;

use crate::{
    content::{Bytes, Content, digest, media_type},
    hostile::Hostile,
    node::Node,
};

/// The repository of every image here.
const REPOSITORY: &str = "os/test";
/// What compiling may take.
const COMPILING: Duration = Duration::from_secs(900);
/// `rocketctl`'s code for what the policy does not allow.
const NOT_ALLOWED: i32 = 77;
/// For what is not what it should be.
const ALTERED: i32 = 65;

/// The programs of the harness.
pub fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| Tools::ensure(&Progress::new()).unwrap())
}

/// `rocketctl`, compiled first.
pub fn rocketctl() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        Run::new("cargo").args(["build", "-p", "rocketctl"]).limit(COMPILING).quiet().unwrap();
        paths::target().join("debug/rocketctl")
    };
    Command::new(BUILT.get_or_init(build))
}

/// True where minutes may pass: `cargo xtask test --long`.
pub fn long() -> bool {
    std::env::var_os("ROCKETOS_TESTS_LONG").is_some()
}

/// When an attack is seen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Seen {
    /// Before a layer is asked for.
    BeforeLayers,
    /// While layers arrive, or when the image is put together.
    InLayers,
}

pub struct Scene {
    pub folder: TempDir,
    pub hostile: Hostile,
    pub node: Node,
    policy: String,
    pushed: Content,
    _registry: Registry,
}

impl Scene {
    /// The registry has `content`; the policy wants `threshold` of `keys` wherever an image comes from.
    pub async fn new(content: &Content, keys: &[&PrivateKey], threshold: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(tools(), &folder.path().join("registry")).unwrap();
        push(&registry.on_host(), content).await;
        let hostile = Hostile::start(Some(registry.on_host()));
        let conf = folder.path().join("registries.conf");
        fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", hostile.host)).unwrap();
        let policy = policy(keys, threshold);
        fs::write(folder.path().join("policy.toml"), &policy).unwrap();
        let node = Node::new(&conf, &policy);
        Self { folder, hostile, node, policy, pushed: content.clone(), _registry: registry }
    }

    /// The policy wants this key, and no other, from now on.
    pub fn trust(&mut self, key: &PrivateKey) {
        self.policy = policy(&[key], 1);
        fs::write(self.folder.path().join("policy.toml"), &self.policy).unwrap();
        self.renew();
    }

    /// The node has nothing again.
    pub fn renew(&mut self) {
        self.node = Node::new(&self.folder.path().join("registries.conf"), &self.policy);
    }

    /// Both places have `content` now; their references.
    pub fn show(&self, content: &Content, tag: &str) -> [String; 2] {
        let (honest, shown) = (self.pushed.paths(), content.paths());
        let gone = honest.keys().filter(|path| !shown.contains_key(*path)).map(|path| (path.clone(), None));
        let lies = shown.iter().filter(|(path, bytes)| honest.get(*path) != Some(bytes));
        self.hostile.answer(gone.chain(lies.map(|(path, bytes)| (path.clone(), Some(bytes.clone())))).collect());
        let layout = self.folder.path().join("layout");
        content.write(&layout);
        [format!("docker://{}/{REPOSITORY}:{tag}", self.hostile.host), format!("oci:{}:{tag}", layout.display())]
    }

    /// The same image by its digest, which only registries are asked by.
    pub fn by_digest(&self, name: &str) -> String {
        format!("docker://{}/{REPOSITORY}@{name}", self.hostile.host)
    }

    /// Runs `rocketctl image verify`.
    pub fn verify(&self, reference: &str) -> Output {
        rocketctl()
            .args(["image", "verify", reference, "--policy"])
            .arg(self.folder.path().join("policy.toml"))
            .env("CONTAINERS_REGISTRIES_CONF", self.folder.path().join("registries.conf"))
            .output()
            .unwrap()
    }

    /// A node that has nothing takes it from both places, and `rocketctl` agrees.
    pub async fn accepts(&self, content: &Content, tag: &str) {
        for reference in self.show(content, tag) {
            let node = Node::new(&self.folder.path().join("registries.conf"), &self.policy);
            let image = node.take(&reference).await.unwrap_or_else(|said| panic!("{reference}: {said}"));
            assert_eq!(image.manifest_digest.to_string(), content.tags[tag]);
            let output = self.verify(&reference);
            assert!(output.status.success(), "{reference}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Neither place brings anything, for a reason that has all of `says`; `rocketctl` says the same where it can see it.
    pub async fn refuses(&self, content: &Content, tag: &str, seen: Seen, says: &[&str]) {
        for reference in self.show(content, tag) {
            self.refuses_from(&reference, seen, says).await;
            if seen == Seen::BeforeLayers {
                let output = self.verify(&reference);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(matches!(output.status.code(), Some(NOT_ALLOWED | ALTERED | 1)), "{}: {said}", output.status);
                contains(&reference, &said, says);
            }
        }
    }

    /// The same from one place, without `rocketctl`.
    pub async fn refuses_from(&self, reference: &str, seen: Seen, says: &[&str]) {
        let said =
            self.refusal(reference, seen).await.unwrap_or_else(|| panic!("{reference} was taken, not: {says:?}"));
        contains(reference, &said, says);
    }

    /// What the node says; none where it took the image. A refusal leaves nothing behind.
    pub async fn refusal(&self, reference: &str, seen: Seen) -> Option<String> {
        let (mut before, objects) = (self.node.names(), self.node.objects());
        let said = self.node.take(reference).await.err()?;
        let mut after = self.node.names();
        if seen == Seen::InLayers {
            // Layers that were whole are kept, under the digest of what they are.
            before.retain(|path, _| !path.contains("/streams/oci-layer-"));
            after.retain(|path, _| !path.contains("/streams/oci-layer-"));
        }
        assert_eq!(after, before, "{said}");
        assert_eq!(self.node.store.images().unwrap(), [], "{said}");
        if seen == Seen::BeforeLayers {
            assert_eq!(self.node.objects(), objects, "{said}");
        }
        Some(said)
    }
}

/// A policy that wants `threshold` of `keys`, whatever the place.
fn policy(keys: &[&PrivateKey], threshold: usize) -> String {
    let pem = |key: &PrivateKey| String::from_utf8(key.public_key().to_pem()).unwrap();
    let names: Vec<&str> = keys.iter().map(|key| key.public_key().name()).collect();
    let tables: String =
        keys.iter().map(|key| format!("[key.{}]\npem = '''\n{}'''\n", key.public_key().name(), pem(key))).collect();
    format!("{tables}[default]\naccept = 'signed'\nkeys = {names:?}\nthreshold = {threshold}\n")
}

fn contains(reference: &str, said: &str, says: &[&str]) {
    for part in says {
        assert!(said.contains(part), "{reference}: '{part}' is not in: {said}");
    }
}

/// Fills a registry with what is honest: every digest is of its bytes.
async fn push(host: &str, content: &Content) {
    let client = reqwest::Client::new();
    let base = format!("http://{host}/v2/{REPOSITORY}");
    let held = |bytes: &Bytes| match bytes {
        Bytes::Held(bytes) => bytes.to_vec(),
        _ => panic!("a registry is filled with what it can hold"),
    };
    for (name, bytes) in &content.blobs {
        let begun = client.post(format!("{base}/blobs/uploads/")).header("Content-Length", "0").send().await.unwrap();
        let place = begun.headers()["Location"].to_str().unwrap();
        let done = client.put(format!("{place}&digest={name}")).body(held(bytes)).send().await.unwrap();
        assert_eq!(done.status().as_u16(), 201, "{name}");
    }
    let put = async |name: &str, bytes: Vec<u8>| {
        let request = client.put(format!("{base}/manifests/{name}")).header("Content-Type", media_type(&bytes));
        let done = request.body(bytes).send().await.unwrap();
        assert_eq!(done.status().as_u16(), 201, "{name}");
    };
    // Lists come after what they list.
    let mut manifests: Vec<Vec<u8>> = content.manifests.values().map(held).collect();
    manifests.sort_by_key(|bytes| media_type(bytes) == crate::content::INDEX);
    for bytes in manifests {
        put(&digest(&bytes), bytes).await;
    }
    for tag in content.tags.keys() {
        put(tag, content.tagged(tag)).await;
    }
}

/// The peak of this process's memory since [`forget_peak`], in bytes.
pub fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

/// Begins a new peak with what is in use now (proc(5), `clear_refs`).
pub fn forget_peak() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// Every leaf of a document, as the path to it.
pub fn leaves(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    let below = |key: String, value: &Value| leaves(value).into_iter().map(move |rest| format!("/{key}{rest}"));
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| below(key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().flat_map(|(at, value)| below(at.to_string(), value)).collect(),
        _ => vec![String::new()],
    }
}

/// The document with one byte of the leaf changed: the lowest bit of a text's middle, of a number's last digit; a truth is
/// turned.
pub fn flip(document: &serde_json::Value, leaf: &str) -> Vec<u8> {
    use serde_json::{Value, json};
    let mut bent = document.clone();
    let value = bent.pointer_mut(leaf).unwrap();
    *value = match &*value {
        Value::String(text) if text.is_empty() => json!("\u{1}"),
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            json!(String::from_utf8(bytes).unwrap())
        }
        Value::Number(number) => json!(number.as_u64().unwrap() ^ 1),
        Value::Bool(truth) => json!(!truth),
        other => panic!("{leaf}: {other}"),
    };
    assert_ne!(bent, *document, "{leaf}");
    bent.to_string().into_bytes()
}
