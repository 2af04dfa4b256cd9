//! The repository, in memory.

use std::cell::LazyCell;

use openssl::{
    pkey::{Id, PKey, Private},
    sha::sha256,
    sign::Signer,
};
use rocketos_trust::tuf::{Body, Place, Transport, TransportError, limits};
use serde_json::{Value, json};

use super::Fuzzed;

/// Bytes of every target.
pub(super) const CONTENT: &[u8] = b"{}";
/// The role that the targets role of this repository delegates to.
const TEAM: &str = "team";
/// The raw key of the top-level roles, and that of the delegated one.
const SECRETS: [[u8; 32]; 2] = [[2; 32], [3; 32]];

/// A key as metadata has it.
struct Key {
    pkey: PKey<Private>,
    public: Value,
    id: String,
}

thread_local! {
    static KEYS: LazyCell<[Key; 2]> = LazyCell::new(|| SECRETS.map(Key::new));
}

impl Key {
    fn new(secret: [u8; 32]) -> Self {
        let pkey = PKey::private_key_from_raw_bytes(&secret, Id::ED25519).expect("any 32 bytes are a key");
        let public = hex::encode(pkey.raw_public_key().expect("a key has a public half"));
        let public = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}});
        let id = hex::encode(sha256(&canonical(&public)));
        Self { pkey, public, id }
    }

    fn sign(&self, message: &[u8]) -> String {
        let signed = Signer::new_without_digest(&self.pkey).and_then(|mut signer| signer.sign_oneshot_to_vec(message));
        hex::encode(signed.expect("the key signs"))
    }
}

/// Canonical JSON: fields in order, no blanks, only quotes and backslashes escaped.
fn canonical(value: &Value) -> Vec<u8> {
    let string = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes();
    match value {
        Value::String(text) => string(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            [b"[", items.join(&b',').as_slice(), b"]"].concat()
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by(|one, other| one.0.cmp(other.0));
            let field = |(name, value): (&String, &Value)| [string(name), vec![b':'], canonical(value)].concat();
            let fields: Vec<_> = fields.into_iter().map(field).collect();
            [b"{", fields.join(&b',').as_slice(), b"}"].concat()
        }
        plain => plain.to_string().into_bytes(),
    }
}

fn head(kind: &str, version: u64) -> Value {
    json!({"_type": kind, "spec_version": "1.0.34", "version": version, "expires": "2030-02-01T00:00:00Z"})
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// A document with its signature.
fn signed(key: &Key, document: &Value) -> Vec<u8> {
    let signatures = json!([{"keyid": key.id, "sig": key.sign(&canonical(document))}]);
    json!({"signed": document, "signatures": signatures}).to_string().into_bytes()
}

/// Documents by role; the root is its second version, where there is one.
pub(super) struct Repository {
    root: Option<Vec<u8>>,
    timestamp: Vec<u8>,
    snapshot: Vec<u8>,
    targets: Vec<u8>,
    team: Vec<u8>,
}

impl Repository {
    /// A sound repository, apart from one document.
    pub(super) fn with(fuzzed: Fuzzed, bytes: &[u8]) -> Self {
        let mut repository = Self::sound();
        let key = usize::from(fuzzed == Fuzzed::Delegated);
        let document = match serde_json::from_slice::<Value>(bytes) {
            Ok(value) if value.get("signed").is_none() => KEYS.with(|keys| signed(&keys[key], &value)),
            _ => bytes.to_vec(),
        };
        match fuzzed {
            Fuzzed::Root => repository.root = Some(document),
            Fuzzed::Timestamp => repository.timestamp = document,
            Fuzzed::Snapshot => repository.snapshot = document,
            Fuzzed::Targets => repository.targets = document,
            Fuzzed::Delegated => repository.team = document,
        }
        repository
    }

    fn sound() -> Self {
        let content = json!({"length": CONTENT.len(), "hashes": {"sha256": hex::encode(sha256(CONTENT))}});
        KEYS.with(|keys| {
            let [top, team] = &**keys;
            let delegation = json!({
                "name": TEAM, "keyids": [team.id], "threshold": 1, "terminating": false, "paths": ["team/*", "?"],
            });
            let targets = with(head("targets", 1), "targets", json!({"a/b/c.d": content}));
            let delegations = json!({"keys": {team.id.as_str(): team.public}, "roles": [delegation]});
            let meta = json!({"targets.json": {"version": 1}, "team.json": {"version": 1}});
            let listed = json!({"snapshot.json": {"version": 1}});
            let delegated = with(head("targets", 1), "targets", json!({"team/a": content}));
            Self {
                root: None,
                timestamp: signed(top, &with(head("timestamp", 1), "meta", listed)),
                snapshot: signed(top, &with(head("snapshot", 1), "meta", meta)),
                targets: signed(top, &with(targets, "delegations", delegations)),
                team: signed(team, &delegated),
            }
        })
    }

    /// The root that comes with the image.
    pub(super) fn shipped(&self) -> Vec<u8> {
        KEYS.with(|keys| {
            let [top, _] = &**keys;
            let role = json!({"keyids": [top.id], "threshold": 1});
            let roles = json!({"root": role, "timestamp": role, "snapshot": role, "targets": role});
            let root = with(head("root", 1), "roles", roles);
            let root = with(root, "keys", json!({top.id.as_str(): top.public}));
            signed(top, &with(root, "consistent_snapshot", json!(true)))
        })
    }
}

impl Transport for &Repository {
    type Body = Whole;

    async fn open(&self, place: Place<'_>) -> Result<Option<Whole>, TransportError> {
        let name = match place {
            Place::Target(name) => {
                // What a transport is handed, it uses as a path.
                assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")), "{name}");
                return Ok(Some(Whole(Some(CONTENT.to_vec()))));
            }
            Place::Metadata(name) => name,
        };
        assert!(!name.contains(['/', '\0']) && !name.starts_with('.'), "{name}");
        assert!(name.len() <= limits::ROLE_NAME_BYTES + 32, "{name}");
        let role = name.strip_suffix(".json").expect("a document's name");
        let (version, role) = role.split_once('.').unwrap_or(("", role));
        Ok(match role {
            "root" if version == "2" => self.root.clone().map(|root| Whole(Some(root))),
            "timestamp" => Some(Whole(Some(self.timestamp.clone()))),
            "snapshot" => Some(Whole(Some(self.snapshot.clone()))),
            "targets" => Some(Whole(Some(self.targets.clone()))),
            TEAM => Some(Whole(Some(self.team.clone()))),
            _ => None,
        })
    }
}

/// A file in one piece.
pub(super) struct Whole(Option<Vec<u8>>);

impl Body for Whole {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.0.take())
    }
}
