//! A generation as bytes: JSON whose first fields are its format and the SHA-256 of the rest.
//!
//! ```text
//! {"format":1,"sha256":"…","generation":{"generation":7,"written":"…","by":"…","why":"…",…}}
//! ```
//!
//! Fields that are not known are passed over: after a rollback an older system reads what a newer one wrote. What would change the
//! meaning of the rest comes with another format.
//!
//! These types alone write values out, secrets too; what others may serialise has none.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Content, Generation, Override, Parked, UserData};
use crate::{Key, Tree};

/// The only format there is.
pub const FORMAT: u32 = 1;
/// Bytes of a generation: twice a tree's, and what is said of each key.
pub const GENERATION_BYTES: usize = 8 << 20;
/// What stands before the digest.
const BEFORE: &str = r#"{"format":1,"sha256":""#;
/// What stands behind it.
const BEHIND: &str = r#"","generation":"#;
/// Digits of a digest.
const DIGEST: usize = 64;
/// How a document ends.
const END: &str = "}\n";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    generation: u64,
    written: DateTime<Utc>,
    by: String,
    why: String,
    revision: u64,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    user_data: Vec<WrittenUserData>,
    overrides: BTreeMap<Key, WrittenOverride>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    parked: BTreeMap<Key, WrittenParked<WrittenOverride>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    removed: BTreeMap<Key, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenUserData {
    provider: String,
    sha256: String,
    settings: Value,
    lines: BTreeMap<Key, usize>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    parked: BTreeMap<Key, WrittenParked<Value>>,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenOverride {
    value: Value,
    by: String,
    at: DateTime<Utc>,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct WrittenParked<T> {
    item: T,
    why: String,
}

/// Only the format, which says whether the rest can be read.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// The bytes of a generation; nothing where they are more than [`GENERATION_BYTES`].
pub(super) fn write(generation: &Generation) -> Option<Vec<u8>> {
    let inner = serde_json::to_string(&Written::from(generation)).ok()?;
    let digest = hex::encode(Sha256::digest(&inner));
    let bytes = [BEFORE, &digest, BEHIND, &inner, END].concat().into_bytes();
    (bytes.len() <= GENERATION_BYTES).then_some(bytes)
}

/// Reads a generation; why not, in words that repeat nothing of it.
pub(super) fn read(bytes: &[u8]) -> Result<Generation, String> {
    if bytes.len() > GENERATION_BYTES {
        return Err(format!("it has more than {GENERATION_BYTES} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let parts = || {
        let (digest, rest) = text.strip_prefix(BEFORE)?.split_at_checked(DIGEST)?;
        Some((digest, rest.strip_prefix(BEHIND)?.strip_suffix(END)?))
    };
    let Some((digest, inner)) = parts() else {
        return Err(match serde_json::from_str::<Header>(text) {
            Ok(Header { format }) if format != FORMAT => format!("it has format {format}; this system reads {FORMAT}"),
            _ => "it is cut off, or no generation".to_owned(),
        });
    };
    if hex::encode(Sha256::digest(inner)) != digest {
        return Err("it was changed since it was written: its SHA-256 is another".to_owned());
    }
    let written: Written = serde_json::from_str(inner)
        .map_err(|error| format!("it does not parse (line {}, column {})", error.line(), error.column()))?;
    written.try_into()
}

impl From<&Generation> for Written {
    fn from(from: &Generation) -> Self {
        let Generation { number, written, by, why, content } = from;
        let Content { revision, user_data, overrides, parked, removed } = content.clone();
        let user_data = user_data.into_iter().map(WrittenUserData::from).collect();
        let parked = each(parked, |Parked { item, why }| WrittenParked { item: WrittenOverride::from(item), why });
        let overrides = each(overrides, WrittenOverride::from);
        let (written, by, why) = (*written, by.clone(), why.clone());
        Self { generation: *number, written, by, why, revision, user_data, overrides, parked, removed }
    }
}

impl TryFrom<Written> for Generation {
    type Error = String;
    fn try_from(from: Written) -> Result<Self, String> {
        let Written { generation, written, by, why, revision, user_data, overrides, parked, removed } = from;
        let parked = each(parked, |WrittenParked { item, why }| Parked { item: item.into(), why });
        let overrides = each(overrides, Override::from);
        let mut content = Content { revision, overrides, parked, removed, ..Content::default() };
        for data in user_data {
            content.put_user_data(data.try_into()?);
        }
        Ok(Self { number: generation, written, by, why, content })
    }
}

impl From<UserData> for WrittenUserData {
    fn from(UserData { provider, sha256, tree, lines, parked, revision }: UserData) -> Self {
        let parked = each(parked, |Parked { item, why }| WrittenParked { item, why });
        Self { provider, sha256, settings: tree.to_value(), lines, parked, revision }
    }
}

impl TryFrom<WrittenUserData> for UserData {
    type Error = String;
    fn try_from(from: WrittenUserData) -> Result<Self, String> {
        let WrittenUserData { provider, sha256, settings, lines, parked, revision } = from;
        let tree = Tree::from_value(settings).map_err(|error| error.to_string())?;
        let parked = each(parked, |WrittenParked { item, why }| Parked { item, why });
        Ok(Self { provider, sha256, tree, lines, parked, revision })
    }
}

impl From<Override> for WrittenOverride {
    fn from(Override { value, by, at, revision }: Override) -> Self {
        Self { value, by, at, revision }
    }
}

impl From<WrittenOverride> for Override {
    fn from(WrittenOverride { value, by, at, revision }: WrittenOverride) -> Self {
        Self { value, by, at, revision }
    }
}

fn each<A, B>(all: BTreeMap<Key, A>, to: impl Fn(A) -> B) -> BTreeMap<Key, B> {
    all.into_iter().map(|(key, item)| (key, to(item))).collect()
}
