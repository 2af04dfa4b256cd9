//! What went wrong, as RFC 9457 writes it.

use std::fmt;

use rocketos_settings::{Key, Problem as Wrong, Problems, TreeError, store::StoreError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::wire::Receipt;

/// The media type of a problem (RFC 9457, section 3).
pub const MEDIA_TYPE: &str = "application/problem+json";
/// What stands before a kind's name in `type`.
const PREFIX: &str = "urn:rocketos:problem:";

/// A kind of problem. Its name, as it stands in `type`, means the same for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not understood.
    Malformed,
    /// Not allowed to who asks.
    NotPermitted,
    /// Not there.
    NotFound,
    /// Not to be had by this method.
    Method,
    /// Not come in time.
    Timeout,
    /// Settings stay as they are until the next boot.
    Locked,
    /// Somebody else is at it.
    Busy,
    /// Another generation counts by now.
    Stale,
    /// More than is taken.
    TooLarge,
    /// Not JSON.
    MediaType,
    /// As many as there may be.
    TooMany,
    /// Settings that are none.
    Invalid,
    /// A service did not take the settings; those before are in force again.
    NotApplied,
    /// The image is not what it should be, or the policy does not allow it.
    Refused,
    /// Nothing is there to do this with.
    NothingToDo,
    /// The node failed.
    Failed,
    /// A service did not take the settings, and not those before either.
    NotPutBack,
    /// This node does not do this yet.
    NotYet,
    /// Whoever the node asks does not answer.
    Unreachable,
    /// Too many ask.
    Crowded,
    /// A disk is full.
    Full,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NotPermitted,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::Locked,
        Self::Busy,
        Self::Stale,
        Self::TooLarge,
        Self::MediaType,
        Self::TooMany,
        Self::Invalid,
        Self::NotApplied,
        Self::Refused,
        Self::NothingToDo,
        Self::Failed,
        Self::NotPutBack,
        Self::NotYet,
        Self::Unreachable,
        Self::Crowded,
        Self::Full,
    ];

    /// Its name, its status and its title.
    const fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request is not understood"),
            Self::NotPermitted => ("not-permitted", 403, "Who asks may not do this"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::Method => ("method", 405, "This is not to be had by this method"),
            Self::Timeout => ("timeout", 408, "The request did not come in time"),
            Self::Locked => ("locked", 409, "Settings are locked until the next boot"),
            Self::Busy => ("busy", 409, "Somebody else is changing this node"),
            Self::NothingToDo => ("nothing-to-do", 409, "There is nothing to do this with"),
            Self::Stale => ("stale", 412, "Another generation counts by now"),
            Self::TooLarge => ("too-large", 413, "That is more than is taken"),
            Self::MediaType => ("media-type", 415, "Bodies are JSON"),
            Self::TooMany => ("too-many", 429, "There are as many as there may be"),
            Self::Invalid => ("invalid", 422, "The settings are wrong"),
            Self::NotApplied => ("not-applied", 422, "The settings were not applied; those before are in force"),
            Self::Refused => ("refused", 422, "The image is refused"),
            Self::Failed => ("failed", 500, "The node failed to do it"),
            Self::NotPutBack => ("not-put-back", 500, "Neither these settings nor those before are wholly in force"),
            Self::NotYet => ("not-yet", 501, "This node does not do this"),
            Self::Unreachable => ("unreachable", 502, "Whom the node asks does not answer"),
            Self::Crowded => ("crowded", 503, "Too many ask at once"),
            Self::Full => ("full", 507, "A disk is full"),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The status it is answered with.
    pub const fn status(self) -> u16 {
        self.facts().1
    }

    /// What it is in a line; the same for all of its kind.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    fn uri(self) -> String {
        format!("{PREFIX}{}", self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.uri())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.into_iter().find(|kind| kind.uri() == text);
        known.ok_or_else(|| de::Error::custom("a kind of problem that is not known"))
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProblemType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<String> = Self::ALL.iter().map(|kind| kind.uri()).collect();
        json_schema!({ "type": "string", "description": "What kind of problem it is.", "enum": names })
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// What kind of problem it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The same in a line.
    pub title: String,
    /// The status it is answered with.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// Everything that is wrong with settings.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<Wrong>,
    /// The generation that counts, where a change was made to another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u64>,
    /// What applying them came to, where it began.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub receipt: Option<Box<Receipt>>,
}

impl Problem {
    /// Of a kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (title, detail) = (kind.title().to_owned(), detail.into());
        Self { kind, title, status: kind.status(), detail, problems: Vec::new(), generation: None, receipt: None }
    }

    /// Settings that are wrong.
    pub fn invalid(problems: &Problems) -> Self {
        Self { problems: problems.all().to_vec(), ..Self::new(Kind::Invalid, problems.to_string()) }
    }

    /// One setting that is wrong.
    pub fn at(key: &Key, message: impl Into<String>) -> Self {
        Self::invalid(&Wrong { key: Some(key.clone()), set_by: None, message: message.into() }.into())
    }
}

impl From<TreeError> for Problem {
    fn from(error: TreeError) -> Self {
        let key = match &error {
            TreeError::Null(key) | TreeError::Conflict { key, .. } => Some(key.clone()),
            TreeError::Limit => return Self::new(Kind::TooLarge, error.to_string()),
            TreeError::NoTable | TreeError::Key(_) => None,
        };
        Self::invalid(&Wrong { key, set_by: None, message: error.to_string() }.into())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Stale { found, .. } => {
                return Self { generation: Some(*found), ..Self::new(Kind::Stale, error.to_string()) };
            }
            StoreError::Io { source, .. } => return of_io(&error.to_string(), source),
            StoreError::TooLarge => Kind::TooLarge,
            StoreError::Words => Kind::Malformed,
            StoreError::NoSuch(_) => Kind::NotFound,
            StoreError::Damaged { .. } | StoreError::Last => Kind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

/// What the system said no to.
pub fn of_io(doing: &str, error: &std::io::Error) -> Problem {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let kind = if matches!(error.kind(), StorageFull | QuotaExceeded) { Kind::Full } else { Kind::Failed };
    Problem::new(kind, format!("{doing}: {error}"))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own_and_is_read_as_it_is_written() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!((400..600).contains(&kind.status()), "{kind:?}");
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&text).unwrap(), kind);
        }
        assert!(serde_json::from_str::<Kind>("\"urn:rocketos:problem:other\"").is_err());
    }

    #[test]
    fn what_the_store_says_keeps_its_meaning() {
        let stale = Problem::from(StoreError::Stale { expected: 3, found: 5 });
        assert_eq!((stale.kind, stale.status, stale.generation), (Kind::Stale, 412, Some(5)));
        let io = |kind: std::io::ErrorKind| StoreError::Io {
            doing: "writing",
            path: "/x".into(),
            source: std::io::Error::from(kind),
        };
        assert_eq!(Problem::from(io(std::io::ErrorKind::StorageFull)).status, 507);
        assert_eq!(Problem::from(io(std::io::ErrorKind::PermissionDenied)).status, 500);
        assert_eq!(Problem::from(StoreError::NoSuch(9)).status, 404);
        assert_eq!(Problem::from(TreeError::Limit).status, 413);
        let null = Problem::from(TreeError::Null("a.b".parse().unwrap()));
        assert_eq!((null.status, null.problems[0].key.as_ref().unwrap().to_string()), (422, "a.b".to_owned()));
    }
}
