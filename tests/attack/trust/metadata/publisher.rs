//! A publisher, three places where it publishes, and a node of each that was up to date.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use rocketos_model::Place;
use rocketos_tests::Registry;
use rocketos_trust::tuf::{Client, State, TargetName};
use serde_json::json;
use tempfile::TempDir;

use super::repository::{KIND, Repository as Reached, TAG};
use crate::{
    content::{Bytes, digest},
    exit::causes,
    hostile::Hostile,
    node::reader,
    scene::{rocketctl, tools},
    tuf::{NOW, Repository, Served, at},
};

/// When everything had expired that is attacked for it, by every clock.
pub const LONG_AGO: &str = "2026-01-01T00:00:00Z";
/// What stands for a file that no registry would take.
const STAND_IN: &[u8] = b"an endless file";

/// Publisher, places and nodes.
pub struct Scene {
    pub repository: Repository,
    pub folder: TempDir,
    /// What the nodes take for the present.
    pub now: u64,
    /// In front of the registry, and a web server.
    pub fronts: [Hostile; 2],
    reader: rocketos_oci::Reader,
    origin: Registry,
}

/// A channel's document.
pub fn document(version: &str) -> Vec<u8> {
    json!({
        "format": 1, "channel": "stable",
        "releases": [{
            "version": version, "variant": "standalone", "architecture": "amd64",
            "image": "docker://registry.example/os/node", "digest": format!("sha256:{}", "5".repeat(64)),
            "published": "2026-11-01T00:00:00Z",
        }],
    })
    .to_string()
    .into_bytes()
}

impl Scene {
    /// Everything is at version 2, and every node has it.
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(tools(), &folder.path().join("registry")).unwrap();
        let fronts = [Hostile::start(Some(registry.on_host())), Hostile::start(None)];
        let conf = folder.path().join("registries.conf");
        fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", fronts[0].host)).unwrap();
        let mut repository = Repository::new();
        repository.target("targets", "stable.json", &document("1"));
        repository.publish(&["root", "targets", "snapshot", "timestamp"]);
        let reader = reader(&conf);
        let mut scene = Self { repository, folder, now: NOW, fronts, reader, origin: registry };
        fs::write(scene.folder.path().join("root.json"), scene.repository.bytes("1.root.json")).unwrap();
        scene.restart().await;
        scene
    }

    /// All nodes begin with the first root, and follow to what is there.
    pub async fn restart(&mut self) {
        for at in 0..3 {
            let _ = fs::remove_dir_all(self.state(at));
        }
        self.publish().await;
        self.accepted("at first").await;
    }

    pub fn places(&self) -> [String; 3] {
        [
            format!("dir:{}", self.folder.path().join("served").display()),
            format!("docker://{}/os/node", self.fronts[0].host),
            format!("http://{}/os", self.fronts[1].host),
        ]
    }

    fn state(&self, place: usize) -> PathBuf {
        self.folder.path().join(format!("state-{place}"))
    }

    /// Puts what the publisher has at all three places.
    pub async fn publish(&self) {
        let served = self.folder.path().join("served");
        let _ = fs::remove_dir_all(&served);
        let (mut files, mut web, mut endless) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, content) in &self.repository.files {
            let name = if name.starts_with("targets/") { name.clone() } else { format!("metadata/{name}") };
            let path = served.join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content {
                Served::Bytes(bytes) => {
                    fs::write(path, bytes).unwrap();
                    files.insert(name.clone(), bytes.clone());
                    web.insert(format!("os/{name}"), Some(bytes.clone().into()));
                }
                Served::Endless => {
                    fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
                    files.insert(name.clone(), STAND_IN.to_vec());
                    endless.insert(format!("blobs/{}", digest(STAND_IN)), Some(Bytes::Endless));
                    web.insert(format!("os/{name}"), Some(Bytes::Endless));
                }
            }
        }
        let [registry, _] = &self.fronts;
        registry.answer(BTreeMap::new());
        // Past the liar, who knows no uploads.
        let direct = format!("docker://{}/os/node", self.origin.on_host()).parse().unwrap();
        let conf = self.folder.path().join("direct.conf");
        fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", self.origin.on_host())).unwrap();
        crate::node::reader(&conf).put_files(&direct, TAG, KIND, KIND, files).await.unwrap();
        registry.answer(endless);
        self.fronts[1].answer(web);
    }

    /// What a node does with a place: brings its metadata up to date, and reads the channel.
    pub async fn read(&self, place: usize) -> Result<Vec<u8>, String> {
        let place_text = &self.places()[place];
        let place_parsed: Place = place_text.parse().unwrap();
        let reached = Reached::open(&self.reader, &place_parsed).await.map_err(|error| format!("{error:#}"))?;
        let state = State::open(self.state(place)).unwrap();
        let root = self.repository.bytes("1.root.json");
        let mut client = Client::open(state, Some(&root), reached).map_err(|error| causes(&error))?;
        let fresh = client.refresh(at(self.now)).await.map_err(|error| causes(&error))?;
        let name = TargetName::new("stable.json").unwrap();
        let target = fresh.find(&name).await.map_err(|error| causes(&error))?;
        fresh.fetch(&target).await.map_err(|error| causes(&error))
    }

    /// Runs `rocketctl release show`, which remembers nothing.
    pub fn show(&self, place: usize, channel: &str) -> Output {
        rocketctl()
            .args(["release", "show", "--root", "root.json", "--from", &self.places()[place], "--channel", channel])
            .env("CONTAINERS_REGISTRIES_CONF", self.folder.path().join("registries.conf"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Every node takes what is there.
    pub async fn accepted(&self, what: &str) {
        for place in 0..3 {
            let read = self.read(place).await;
            let found = read.unwrap_or_else(|said| panic!("{what}: {}: {said}", self.places()[place]));
            assert!(found.starts_with(b"{"), "{what}");
        }
    }

    /// No node takes it, for reasons that have all of `says`. Of what was trusted only the documents of `advanced` may
    /// have been replaced, by newer ones.
    pub async fn refused(&self, what: &str, says: &[&str], advanced: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        for place in 0..3 {
            let before = files(&self.state(place));
            let text = &self.places()[place];
            let said = self.read(place).await.err().unwrap_or_else(|| panic!("{what}: {text} was believed"));
            for part in says {
                assert!(said.contains(part), "{what}: {text}: '{part}' is not in: {said}");
            }
            for (name, bytes) in &before {
                let after = fs::read(self.state(place).join(name)).unwrap_or_default();
                let role = name.trim_end_matches(".json");
                // A root that takes keys away makes the node forget what these signed (5.3.11).
                let forgotten = advanced.contains(&"root") && after.is_empty();
                match advanced.contains(&role) {
                    true if forgotten => {}
                    true => assert!(version(&after) >= version(bytes), "{what}: {text}: {name} is older"),
                    false => assert!(after == *bytes, "{what}: {text}: {name} was replaced, or lost"),
                }
            }
            let strange = files(&self.state(place)).into_keys().find(|name| !before.contains_key(name));
            assert_eq!(strange, None, "{what}: {text}");
            all.push(said);
        }
        all
    }

    /// The same, and `rocketctl` says it too.
    pub async fn refused_by_all(&self, what: &str, says: &[&str], advanced: &[&str]) {
        self.refused(what, says, advanced).await;
        for place in 0..3 {
            let output = self.show(place, "stable");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{what}: rocketctl believes {}", self.places()[place]);
            for part in says {
                assert!(said.contains(part), "{what}: '{part}' is not in: {said}");
            }
        }
    }
}

fn version(document: &[u8]) -> u64 {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    document["signed"]["version"].as_u64().unwrap()
}

/// The files of a folder.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Publishes a role and all that announces it.
pub fn publish_up(repository: &mut Repository, role: &str) {
    let order = ["targets", "snapshot", "timestamp"];
    match order.iter().position(|other| *other == role) {
        Some(at) => repository.publish(&order[at..]),
        None => repository.publish(&["root"]),
    }
}

/// The documents that are taken before this role's is looked at.
pub fn before(role: &str) -> &'static [&'static str] {
    match role {
        "snapshot" => &["timestamp"],
        "targets" => &["timestamp", "snapshot"],
        _ => &[],
    }
}
