//! containers-policy.json(5), for images that were made for bootc.
//!
//! What maps exactly is taken; a requirement that is not checked here refuses, by its name, every image it applies to;
//! what the manual page does not know makes the whole file unusable, as it does for the tools it belongs to.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rocketos_model::{ImageReference, limits::CONFIG_FILE_BYTES, reference::DEFAULT_TAG};
use serde_json::{Map, Value};

use super::{Accept, Demand, Entry, Format, Policy, PolicyError, Table, folders, json::Once, parents, read::Root};
use crate::{
    identity::{Identity, Name},
    key::PublicKey,
    limits,
    nearest::suggestion,
};

/// The file, below the root.
pub const PATH: &str = "etc/containers/policy.json";

/// The transports that are read here.
const READ: [(&str, Table); 4] = [
    ("docker", Table::Repository),
    ("oci", Table::LayoutDirectory),
    ("oci-archive", Table::LayoutArchive),
    ("containers-storage", Table::Storage),
];
/// Those no image comes from here (containers-transports(5)): what is said of them cannot apply.
const NOT_READ: [&str; 7] = ["atomic", "dir", "docker-archive", "docker-daemon", "ostree", "sif", "tarball"];
/// Requirements, with the fields each may have besides `type`.
const REQUIREMENTS: [(&str, &[&str]); 4] = [
    ("insecureAcceptAnything", &[]),
    ("reject", &[]),
    ("signedBy", &["keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"]),
    (
        SIGSTORE,
        &[
            KEYS[0], KEYS[1], KEYS[2], KEYS[3], OTHERS[0], OTHERS[1], OTHERS[2], OTHERS[3], OTHERS[4], OTHERS[5],
            IDENTITY,
        ],
    ),
];
const SIGSTORE: &str = "sigstoreSigned";
const IDENTITY: &str = "signedIdentity";
/// Where the keys of `sigstoreSigned` stand: exactly one of these.
const KEYS: [&str; 4] = ["keyPath", "keyPaths", "keyData", "keyDatas"];
/// What else `sigstoreSigned` may ask for, and nothing here checks.
const OTHERS: [&str; 6] =
    ["fulcio", "pki", "rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];
/// Identities, with the fields each must have besides `type`.
const IDENTITIES: [(&str, &[&str]); 6] = [
    ("matchExact", &[]),
    ("matchRepoDigestOrExact", &[]),
    ("matchRepository", &[]),
    ("exactReference", &["dockerReference"]),
    ("exactRepository", &["dockerRepository"]),
    ("remapIdentity", &["prefix", "signedPrefix"]),
];

/// The places of a reference, the most specific first: itself, its parents, its domains, its transport, everywhere.
pub(super) fn places(reference: &ImageReference) -> Vec<(Table, String)> {
    let mut all = Vec::new();
    let table = match reference {
        ImageReference::Registry { tag, digest, .. } => {
            if let Some(name) = Name::of(reference).map(|name| name.repository) {
                all.push(match digest {
                    Some(digest) => format!("{name}@{digest}"),
                    None => format!("{name}:{}", tag.as_deref().unwrap_or(DEFAULT_TAG)),
                });
                all.extend(parents(&name).map(str::to_owned));
                let host = name.split(['/', ':']).next().unwrap_or_default();
                let domains = std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'));
                all.extend(domains.map(|(_, rest)| format!("*.{rest}")));
            }
            Table::Repository
        }
        ImageReference::Layout { path, .. } => {
            all.extend(folders(path));
            Table::LayoutDirectory
        }
        ImageReference::Archive { path, .. } => {
            all.extend(folders(path));
            Table::LayoutArchive
        }
        ImageReference::Storage { .. } => Table::Storage,
    };
    all.push(String::new());
    let mut places: Vec<(Table, String)> = all.into_iter().map(|name| (table, name)).collect();
    places.push((Table::Anywhere, String::new()));
    places
}

/// How people call the entry of a place.
pub(super) fn called(table: Table, name: &str) -> String {
    match READ.iter().find(|(_, read)| *read == table) {
        Some((transport, _)) => format!("transports.{transport}.\"{name}\""),
        None => "default".to_owned(),
    }
}

/// Reads the file below `root`; the policy is absent where there is none.
pub(super) fn read(root: &Root) -> Result<Policy, PolicyError> {
    let path = Path::new("/").join(PATH);
    match root.read(&path, CONFIG_FILE_BYTES)? {
        Some(bytes) => parse(&path, &bytes, &|key| root.key(key)),
        None => Ok(Policy::default()),
    }
}

/// Reads a key's file.
type Load<'a> = &'a dyn Fn(&Path) -> Result<Vec<u8>, PolicyError>;

fn parse(path: &Path, bytes: &[u8], load: Load<'_>) -> Result<Policy, PolicyError> {
    let Once(file) =
        serde_json::from_slice(bytes).map_err(|source| PolicyError::Json { path: path.to_owned(), source })?;
    let top = Place { path, place: "the top of the file".to_owned(), load };
    let file = top.object(&file)?;
    top.fields(file, ["default", "transports"])?;
    let mut policy = Policy { format: Some(Format::Containers), ..Policy::default() };
    let default = file.get("default").ok_or_else(|| top.wrong("'default' is missing"))?;
    let mut put = |table, name: &str, accept| {
        policy.entries.insert((table, name.to_owned()), Entry { accept, path: path.to_owned() });
    };
    put(Table::Anywhere, "", top.at("default").accept(default)?);
    let transports = top.at("transports");
    let empty = Map::new();
    let by_transport = file.get("transports").map_or(Ok(&empty), |value| transports.object(value))?;
    transports.fields(by_transport, READ.iter().map(|(name, _)| *name).chain(NOT_READ))?;
    for (transport, scopes) in by_transport {
        let at = transports.at(transport);
        for (scope, requirements) in at.object(scopes)? {
            let at = Place { path, place: format!("{}.\"{scope}\"", at.place), load };
            let accept = at.accept(requirements)?;
            match READ.iter().find(|(name, _)| name == transport) {
                Some((_, Table::Storage)) if !scope.is_empty() => {
                    // Scopes there name drivers and folders of podman's, which a reference of ours does not.
                    put(Table::Storage, "", Accept::Unsupported(format!("{} (a scope of podman's storage)", at.place)));
                    break;
                }
                Some((_, table @ (Table::LayoutDirectory | Table::LayoutArchive))) if !scope.is_empty() => {
                    if folders(Path::new(scope)).next().as_deref() != Some(scope) {
                        return Err(at.wrong("an absolute path is expected, without '..' or a slash at its end"));
                    }
                    put(*table, scope, accept);
                }
                Some((_, table)) => put(*table, scope, accept),
                None => {}
            }
        }
    }
    if policy.entries.len() > limits::ENTRIES {
        let (what, found, limit) = ("entries", policy.entries.len() as u64, limits::ENTRIES as u64);
        return Err(PolicyError::TooLarge { path: path.to_owned(), what, found, limit });
    }
    Ok(policy)
}

/// Speaks of one part of the file.
struct Place<'a> {
    path: &'a Path,
    place: String,
    load: Load<'a>,
}

impl<'a> Place<'a> {
    fn at(&self, name: &str) -> Place<'a> {
        let place = match self.place.as_str() {
            "the top of the file" => name.to_owned(),
            outer => format!("{outer}.{name}"),
        };
        Place { path: self.path, place, load: self.load }
    }

    fn wrong(&self, problem: impl Into<String>) -> PolicyError {
        PolicyError::Wrong { path: self.path.to_owned(), place: self.place.clone(), problem: problem.into() }
    }

    fn object<'v>(&self, value: &'v Value) -> Result<&'v Map<String, Value>, PolicyError> {
        value.as_object().ok_or_else(|| self.wrong("an object is expected"))
    }

    fn array<'v>(&self, value: &'v Value) -> Result<&'v Vec<Value>, PolicyError> {
        value.as_array().filter(|all| !all.is_empty()).ok_or_else(|| self.wrong("a list that is not empty is expected"))
    }

    fn text<'v>(&self, value: &'v Value) -> Result<&'v str, PolicyError> {
        value.as_str().ok_or_else(|| self.wrong("a string is expected"))
    }

    fn fields<'k>(
        &self,
        found: &Map<String, Value>,
        known: impl IntoIterator<Item = &'k str> + Clone,
    ) -> Result<(), PolicyError> {
        let unknown = found.keys().find(|field| !known.clone().into_iter().any(|name| name == field.as_str()));
        unknown.map_or(Ok(()), |field| {
            Err(PolicyError::Unknown {
                path: self.path.to_owned(),
                place: self.place.clone(),
                field: field.clone(),
                suggestion: suggestion(field, known),
            })
        })
    }

    /// The `type` of an object, one of `known`, after a look at its fields.
    fn kind<'k>(&self, found: &Map<String, Value>, known: &[(&'k str, &[&'k str])]) -> Result<&'k str, PolicyError> {
        let named = self.text(found.get("type").ok_or_else(|| self.wrong("'type' is missing"))?)?;
        let Some((kind, fields)) = known.iter().find(|(kind, _)| *kind == named) else {
            let suggestion = suggestion(named, known.iter().map(|(kind, _)| *kind));
            return Err(self.wrong(format!("'{named}' is no type: {suggestion}")));
        };
        self.fields(found, fields.iter().copied().chain(["type"]))?;
        Ok(kind)
    }

    /// A list of requirements, all of which must be met.
    fn accept(&self, requirements: &Value) -> Result<Accept, PolicyError> {
        let mut demands = Vec::new();
        let mut refused = None;
        let mut keys = 0;
        for requirement in self.array(requirements)? {
            let fields = self.object(requirement)?;
            let named = KEYS.iter().filter_map(|field| fields.get(*field));
            keys += named.map(|value| value.as_array().map_or(1, Vec::len)).sum::<usize>();
            if keys > limits::KEYS {
                let (what, found, limit) = ("keys for one place", keys as u64, limits::KEYS as u64);
                return Err(PolicyError::TooLarge { path: self.path.to_owned(), what, found, limit });
            }
            match self.kind(fields, &REQUIREMENTS)? {
                "insecureAcceptAnything" => {}
                "reject" => refused = Some(Accept::Nothing),
                SIGSTORE => match self.sigstore(fields)? {
                    Ok(demand) => demands.push(demand),
                    Err(what) => {
                        refused = Some(Accept::Unsupported(format!("{} ({SIGSTORE} with {what})", self.place)))
                    }
                },
                other => refused = Some(Accept::Unsupported(format!("{} ({other})", self.place))),
            }
        }
        Ok(match refused {
            Some(refused) => refused,
            None if demands.is_empty() => Accept::Unsigned,
            None => Accept::Signed(demands),
        })
    }

    /// What `sigstoreSigned` asks for, or the name of what is not checked here.
    fn sigstore(&self, fields: &Map<String, Value>) -> Result<Result<Demand, String>, PolicyError> {
        let identity = match fields.get(IDENTITY) {
            Some(identity) => self.at(IDENTITY).identity(identity)?,
            None => Identity::RepositoryIfDigest,
        };
        if let Some(other) = OTHERS.iter().find(|field| fields.contains_key(**field)) {
            return Ok(Err(format!("'{other}'")));
        }
        let mut given = KEYS.iter().filter_map(|field| fields.get(*field).map(|value| (*field, value)));
        let (Some((field, value)), None) = (given.next(), given.next()) else {
            return Err(self.wrong(format!("exactly one of '{}' is expected", KEYS.join("', '"))));
        };
        let at = self.at(field);
        let values = match field.ends_with('s') {
            true => at.array(value)?.iter().map(|value| at.text(value)).collect::<Result<Vec<&str>, _>>()?,
            false => vec![at.text(value)?],
        };
        let mut keys: Vec<PublicKey> = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            let (name, pem) = match field.starts_with("keyPath") {
                true => (value.to_owned(), at.key_file(value)),
                false => (format!("{}[{index}]", at.place), STANDARD.decode(value).map_err(|e| e.to_string())),
            };
            // As with the tools this file belongs to, an unusable key is felt where it is needed.
            let key = pem.and_then(|pem| PublicKey::from_pem(&name, &pem).map_err(|error| error.to_string()));
            match key {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(problem) => return Ok(Err(format!("'{field}': {problem}"))),
            }
        }
        Ok(Ok(Demand { keys, threshold: 1, identity }))
    }

    fn key_file(&self, path: &str) -> Result<Vec<u8>, String> {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!("{} is not an absolute path", path.display()));
        }
        (self.load)(&path).map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }

    fn identity(&self, value: &Value) -> Result<Identity, PolicyError> {
        let fields = self.object(value)?;
        let kind = self.kind(fields, &IDENTITIES)?;
        let text = |name: &str| {
            let value = fields.get(name).ok_or_else(|| self.wrong(format!("{kind} needs '{name}'")))?;
            self.text(value).map(str::to_owned)
        };
        let named = |name: &str| {
            let value = text(name)?;
            match Name::parse(&value) {
                Some(_) => Ok(value),
                None => Err(self.wrong(format!("'{value}' is no name of an image"))),
            }
        };
        Ok(match kind {
            "matchExact" => Identity::Exact,
            "matchRepoDigestOrExact" => Identity::RepositoryIfDigest,
            "matchRepository" => Identity::Repository,
            "exactReference" => Identity::ExactReference(named("dockerReference")?),
            "exactRepository" => Identity::ExactRepository(named("dockerRepository")?),
            _ => Identity::Remapped { prefix: text("prefix")?, signed: text("signedPrefix")? },
        })
    }
}
