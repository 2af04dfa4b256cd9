//! A repository that publishes real signed metadata into memory, and a node that follows it.

#![allow(dead_code, reason = "each test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::{Padding, Rsa},
    sha::{sha256, sha512},
    sign::{RsaPssSaltlen, Signer},
};
use rocketos_trust::tuf::{
    Body, Client, Fresh, Place, Role, State, TargetName, Transport, TransportError, TufError, encode,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What tests take for the present: 2030-01-01.
pub const NOW: u64 = 1_893_456_000;
/// When documents expire unless a test says otherwise: a month later.
pub const LATER: &str = "2030-02-01T00:00:00Z";
/// Expired the day before.
pub const EARLIER: &str = "2029-12-31T00:00:00Z";
pub const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What is signed: serde_json sorts the fields of a value, and of all it escapes tests have line ends, quotes and
/// backslashes, of which canonical JSON escapes the last two.
pub fn canonical(value: &Value) -> Vec<u8> {
    serde_json::to_string(value).unwrap().replace("\\n", "\n").into_bytes()
}

/// A key pair as metadata has it.
#[derive(Debug, Clone)]
pub struct Key {
    pkey: PKey<Private>,
    pub public: Value,
    pub id: String,
}

impl Key {
    fn new(pkey: PKey<Private>, kind: &str, scheme: &str, public: String) -> Self {
        Self::with(pkey, json!({"keytype": kind, "scheme": scheme, "keyval": {"public": public}}))
    }

    fn with(pkey: PKey<Private>, public: Value) -> Self {
        let id = hex::encode(sha256(&canonical(&public)));
        Self { pkey, public, id }
    }

    pub fn ed25519() -> Self {
        let pkey = PKey::generate_ed25519().unwrap();
        let public = hex::encode(pkey.raw_public_key().unwrap());
        Self::new(pkey, "ed25519", "ed25519", public)
    }

    pub fn ecdsa() -> Self {
        let pkey = PKey::ec_gen("prime256v1").unwrap();
        let public = String::from_utf8(pkey.public_key_to_pem().unwrap()).unwrap();
        Self::new(pkey, "ecdsa", "ecdsa-sha2-nistp256", public)
    }

    pub fn rsa() -> Self {
        let pkey = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let public = String::from_utf8(pkey.public_key_to_pem().unwrap()).unwrap();
        Self::new(pkey, "rsa", "rsassa-pss-sha256", public)
    }

    /// The same key under another id, by a field nobody knows.
    pub fn twin(&self) -> Self {
        let mut public = self.public.clone();
        public["x-twin"] = json!(true);
        Self::with(self.pkey.clone(), public)
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self.public["keytype"].as_str().unwrap() {
            "ed25519" => Signer::new_without_digest(&self.pkey).unwrap().sign_oneshot_to_vec(message).unwrap(),
            "rsa" => {
                let mut signer = Signer::new(MessageDigest::sha256(), &self.pkey).unwrap();
                signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
                signer.sign_oneshot_to_vec(message).unwrap()
            }
            _ => Signer::new(MessageDigest::sha256(), &self.pkey).unwrap().sign_oneshot_to_vec(message).unwrap(),
        }
    }

    /// RSA as PKCS #1 v1.5, which the scheme is not.
    pub fn sign_pkcs1(&self, message: &[u8]) -> Vec<u8> {
        Signer::new(MessageDigest::sha256(), &self.pkey).unwrap().sign_oneshot_to_vec(message).unwrap()
    }
}

/// A signed document.
pub fn signed(document: &Value, keys: &[Key]) -> Value {
    let message = canonical(document);
    let signatures: Vec<_> =
        keys.iter().map(|key| json!({"keyid": key.id, "sig": hex::encode(key.sign(&message))})).collect();
    json!({"signed": document, "signatures": signatures})
}

/// A file that the repository serves.
#[derive(Debug, Clone)]
pub enum Served {
    Bytes(Vec<u8>),
    /// Has no end.
    Endless,
}

/// A repository.
#[derive(Debug)]
pub struct Repository {
    /// `signed` of each role, as the next publishing signs it, its version apart.
    pub documents: BTreeMap<String, Value>,
    /// Who signs each role.
    pub keys: BTreeMap<String, Vec<Key>>,
    /// What is served: metadata by file name, targets by path under `targets/`.
    pub files: BTreeMap<String, Served>,
    /// Whether the snapshot and the timestamp say lengths and digests.
    pub hashes: bool,
    /// Names of the files asked for, in order.
    pub asked: Arc<std::sync::Mutex<Vec<String>>>,
    /// Bytes handed out.
    pub sent: Arc<AtomicU64>,
}

fn head(kind: &str) -> Value {
    json!({"_type": kind, "spec_version": "1.0.34", "version": 0, "expires": LATER})
}

impl Repository {
    /// All four roles at version 1, one Ed25519 key each.
    pub fn new() -> Self {
        Self::with(true, |_| vec![Key::ed25519()])
    }

    pub fn with(consistent: bool, keys: impl Fn(&str) -> Vec<Key>) -> Self {
        let mut repository = Self {
            documents: BTreeMap::new(),
            keys: BTreeMap::new(),
            files: BTreeMap::new(),
            hashes: false,
            asked: Arc::default(),
            sent: Arc::default(),
        };
        for role in TOP {
            repository.documents.insert(role.to_owned(), head(role));
        }
        let root = repository.document("root");
        root["consistent_snapshot"] = json!(consistent);
        root["keys"] = json!({});
        root["roles"] = json!({});
        repository.document("timestamp")["meta"] = json!({});
        repository.document("snapshot")["meta"] = json!({});
        repository.document("targets")["targets"] = json!({});
        for role in TOP {
            repository.give_keys(role, keys(role), 1);
        }
        repository.publish(&["root", "targets", "snapshot", "timestamp"]);
        repository
    }

    pub fn document(&mut self, role: &str) -> &mut Value {
        self.documents.get_mut(role).unwrap()
    }

    /// Replaces a top-level role's keys; they sign from now on. The root has to be published.
    pub fn give_keys(&mut self, role: &str, keys: Vec<Key>, threshold: u64) {
        let ids: Vec<_> = keys.iter().map(|key| &key.id).collect();
        let root = self.documents.get_mut("root").unwrap();
        root["roles"][role] = json!({"keyids": ids, "threshold": threshold});
        for key in &keys {
            root["keys"][&key.id] = key.public.clone();
        }
        self.keys.insert(role.to_owned(), keys);
    }

    /// Lets `from` delegate to `role` with one key, and returns it.
    pub fn delegate(&mut self, from: &str, role: &str, more: Value) -> Key {
        let key = Key::ed25519();
        let delegations = &mut self.document(from)["delegations"];
        if delegations.is_null() {
            *delegations = json!({"keys": {}, "roles": []});
        }
        delegations["keys"][&key.id] = key.public.clone();
        let mut delegation = json!({"name": role, "keyids": [key.id], "threshold": 1, "terminating": false});
        for (field, value) in more.as_object().unwrap() {
            delegation[field] = value.clone();
        }
        delegations["roles"].as_array_mut().unwrap().push(delegation);
        self.documents.entry(role.to_owned()).or_insert_with(|| {
            let mut document = head("targets");
            document["targets"] = json!({});
            document
        });
        self.keys.entry(role.to_owned()).or_default().push(key.clone());
        key
    }

    /// Adds a target to a role, and serves it under every name it may be asked for.
    pub fn target(&mut self, role: &str, name: &str, content: &[u8]) {
        let digests = [hex::encode(sha256(content)), hex::encode(sha512(content))];
        self.document(role)["targets"][name] =
            json!({"length": content.len(), "hashes": {"sha256": digests[0], "sha512": digests[1]}});
        let (folder, file) = name.rsplit_once('/').map_or((String::new(), name), |(a, b)| (format!("{a}/"), b));
        self.files.insert(format!("targets/{name}"), Served::Bytes(content.to_vec()));
        for digest in digests {
            self.files.insert(format!("targets/{folder}{digest}.{file}"), Served::Bytes(content.to_vec()));
        }
    }

    /// Publishes the next version of each role, in this order.
    pub fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            let version = self.document(role)["version"].as_u64().unwrap() + 1;
            self.publish_as(role, version);
        }
    }

    /// Publishes a role under a version of the test's choice.
    pub fn publish_as(&mut self, role: &str, version: u64) {
        self.document(role)["version"] = json!(version);
        let bytes = serde_json::to_vec_pretty(&signed(&self.documents[role], &self.keys[role])).unwrap();
        self.serve(role, version, &bytes);
        let mut meta = json!({"version": version});
        if self.hashes {
            meta["length"] = json!(bytes.len());
            meta["hashes"] = json!({"sha256": hex::encode(sha256(&bytes))});
        }
        match *role {
            _ if role == "root" || role == "timestamp" => {}
            _ if role == "snapshot" => self.document("timestamp")["meta"]["snapshot.json"] = meta,
            _ => self.document("snapshot")["meta"][format!("{role}.json")] = meta,
        }
    }

    /// Serves bytes as a role's document.
    pub fn serve(&mut self, role: &str, version: u64, bytes: &[u8]) {
        let role = encode(role);
        for name in [format!("{role}.json"), format!("{version}.{role}.json")] {
            self.files.insert(name, Served::Bytes(bytes.to_vec()));
        }
    }

    pub fn bytes(&self, file: &str) -> Vec<u8> {
        match &self.files[file] {
            Served::Bytes(bytes) => bytes.clone(),
            Served::Endless => panic!("{file} is endless"),
        }
    }

    /// The names asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The same, as a directory.
    pub fn write_to(&self, folder: &std::path::Path) {
        for (name, served) in &self.files {
            let Served::Bytes(bytes) = served else { continue };
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

impl Transport for &Repository {
    type Body = Pieces;

    async fn open(&self, place: Place<'_>) -> Result<Option<Pieces>, TransportError> {
        let name = match place {
            Place::Metadata(name) => name.to_owned(),
            Place::Target(name) => format!("targets/{name}"),
        };
        self.asked.lock().unwrap().push(name.clone());
        let served = self.files.get(&name).cloned();
        Ok(served.map(|served| Pieces { served: Some(served), sent: Arc::clone(&self.sent) }))
    }
}

pub struct Pieces {
    served: Option<Served>,
    sent: Arc<AtomicU64>,
}

impl Body for Pieces {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let piece = match &mut self.served {
            Some(Served::Endless) => Some(vec![b' '; 16 << 10]),
            Some(Served::Bytes(bytes)) if bytes.len() > 100 => {
                let rest = bytes.split_off(100);
                Some(std::mem::replace(bytes, rest))
            }
            _ => match self.served.take() {
                Some(Served::Bytes(bytes)) => Some(bytes),
                _ => None,
            },
        };
        self.sent.fetch_add(piece.as_ref().map_or(0, Vec::len) as u64, Ordering::Relaxed);
        Ok(piece)
    }
}

/// A node: its trusted state, and what it has of the root.
pub struct Node {
    pub folder: TempDir,
    pub now: u64,
}

impl Node {
    /// A node whose image has root version 1.
    pub fn new(repository: &Repository) -> Self {
        let node = Self { folder: TempDir::new().unwrap(), now: NOW };
        Client::open(node.state(), Some(&repository.bytes("1.root.json")), repository).unwrap();
        node
    }

    pub fn state(&self) -> State {
        State::open(self.folder.path()).unwrap()
    }

    pub fn file(&self, role: &str) -> PathBuf {
        self.folder.path().join(format!("{}.json", encode(role)))
    }

    /// The version of the document on the disk.
    pub fn version(&self, role: &str) -> Option<u64> {
        let bytes = fs::read(self.file(role)).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()?["signed"]["version"].as_u64()
    }

    pub fn versions(&self) -> [Option<u64>; 4] {
        TOP.map(|role| self.version(role))
    }

    /// All files of the state.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap());
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap_or_default())).collect()
    }

    pub fn refresh(&self, repository: &Repository) -> Result<(), TufError> {
        self.with(repository, |_| Ok(()))
    }

    pub fn with<R>(
        &self,
        repository: &Repository,
        then: impl FnOnce(&Fresh<'_, &Repository>) -> Result<R, TufError>,
    ) -> Result<R, TufError> {
        let mut client = Client::open(self.state(), None, repository)?;
        let fresh = block_on(client.refresh(at(self.now)))?;
        then(&fresh)
    }

    /// Finds a target and reads it.
    pub fn read(&self, repository: &Repository, name: &str) -> Result<(Role, Vec<u8>), TufError> {
        self.with(repository, |fresh| {
            block_on(async {
                let target = fresh.find(&TargetName::new(name)?).await?;
                Ok((target.role.clone(), fresh.fetch(&target).await?))
            })
        })
    }
}
