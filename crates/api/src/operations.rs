//! Every operation, in one table: the router serves it, and the description is written from it, so that neither has what the other lacks.

mod nodes;
mod settings;
mod transactions;

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::Query, http::Uri};
use rocketos_settings::store::WORDS_CHARS;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Kind, Node, Problem, news::News, node::How, transactions::Transactions, wire};

/// Writes the schema of a type.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// How an operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

/// What a request has in its body.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Nothing that is read.
    None,
    /// Settings, as the model has them.
    Settings,
    /// A type.
    Of(Describe),
}

/// What an answer has in its body.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    /// Nothing.
    Nothing,
    /// A type.
    Json(Describe),
    /// A JSON Schema.
    Schema,
    /// A tar archive, deflated.
    Archive,
    /// Events.
    Events(Describe),
}

/// How an operation is done.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It may wait for disks and programs.
    Work(fn(&Asked) -> Result<Answer, Problem>),
    /// It goes on until somebody leaves.
    Events,
    /// The connection becomes a program's.
    Exec,
}

/// An operation.
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// Whether who asks has to be one who may change a node.
    pub(crate) changes: bool,
    /// Whether it is made to a generation.
    pub(crate) if_match: bool,
    pub(crate) query: Describe,
    pub(crate) body: Body,
    pub(crate) status: u16,
    pub(crate) says: Says,
    /// What may go wrong, besides what may with every request.
    pub(crate) problems: &'static [Kind],
    pub(crate) run: Run,
}

/// What everybody uses who does an operation.
pub(crate) struct Shared {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) transactions: Transactions,
    pub(crate) news: News,
}

/// Who asks for something, and what they say.
pub(crate) struct Asked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) uid: u32,
    pub(crate) who: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) uri: Uri,
    pub(crate) if_match: Option<u64>,
    pub(crate) body: Value,
}

/// What comes of it.
pub(crate) struct Answer {
    pub(crate) body: Option<Value>,
    /// In the place of a body, what is no JSON.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The generation that it is about.
    pub(crate) generation: Option<u64>,
    /// Where what was made is.
    pub(crate) location: Option<String>,
}

impl Answer {
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_value(value)
            .map_err(|error| Problem::new(Kind::Failed, format!("writing the answer: {error}")))?;
        Ok(Self { body: Some(body), ..Self::empty() })
    }

    pub(crate) const fn empty() -> Self {
        Self { body: None, bytes: None, generation: None, location: None }
    }
}

impl Asked {
    /// The query; a name in it that is not known is an error.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        query(&self.uri)
    }

    /// The body.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        T::deserialize(&self.body).map_err(|error| Problem::new(Kind::Malformed, format!("the body: {error}")))
    }

    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// How settings are changed.
    pub(crate) fn how(&self, changing: Changing) -> Result<How, Problem> {
        let why = changing.why.unwrap_or_default();
        if why.chars().count() > WORDS_CHARS || why.chars().any(char::is_control) {
            return Err(Problem::new(Kind::Malformed, format!("why is one line of at most {WORDS_CHARS} characters")));
        }
        let dry_run = changing.dry_run.unwrap_or(false);
        Ok(How { base: self.if_match, by: self.who.clone(), why, dry_run })
    }
}

/// Reads a query.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(query) = Query::try_from_uri(uri).map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
    Ok(query)
}

/// The query of what takes none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The query of what changes settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Changing {
    /// Only say what would come of it.
    #[serde(default)]
    dry_run: Option<bool>,
    /// Why, in a line; history keeps it.
    #[serde(default)]
    #[schemars(extend("maxLength" = WORDS_CHARS, "pattern" = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    why: Option<String>,
}

/// The schema of a type, by its name.
pub(crate) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a query, whole.
fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// A document whose form others decide.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Document(#[allow(dead_code, reason = "a schema needs no value")] serde_json::Map<String, Value>);

/// What may go wrong where settings are changed.
const CHANGE: &[Kind] = &[
    Kind::Malformed,
    Kind::Locked,
    Kind::Busy,
    Kind::Stale,
    Kind::TooLarge,
    Kind::MediaType,
    Kind::Timeout,
    Kind::Invalid,
    Kind::NotApplied,
    Kind::NotPutBack,
    Kind::NotYet,
    Kind::Full,
];
/// The same where it is also about something that may not be there.
const CHANGE_OF: &[Kind] = &[
    Kind::Malformed,
    Kind::NotFound,
    Kind::Locked,
    Kind::Busy,
    Kind::Stale,
    Kind::TooLarge,
    Kind::MediaType,
    Kind::Timeout,
    Kind::Invalid,
    Kind::NotApplied,
    Kind::NotPutBack,
    Kind::NotYet,
    Kind::Full,
];
/// What may go wrong where the updater is asked.
const UPDATE: &[Kind] =
    &[Kind::Malformed, Kind::Busy, Kind::NothingToDo, Kind::Refused, Kind::NotYet, Kind::Unreachable, Kind::Full];

/// The same where it is about a deployment.
const ROLLBACK: &[Kind] = &[
    Kind::Malformed,
    Kind::NotFound,
    Kind::Busy,
    Kind::NothingToDo,
    Kind::Refused,
    Kind::NotYet,
    Kind::Unreachable,
    Kind::Full,
];

/// What may go wrong with every request: that who asks may not, the node fails, or too many ask.
pub(crate) const ALWAYS: [Kind; 4] = [Kind::Malformed, Kind::NotPermitted, Kind::Failed, Kind::Crowded];

/// What reads, with nothing to say but its path.
const fn read(id: &'static str, path: &'static str, summary: &'static str, says: Says, run: Run) -> Operation {
    Operation {
        id,
        method: Method::Get,
        path,
        summary,
        changes: false,
        if_match: false,
        query: whole::<Nothing>,
        body: Body::None,
        status: 200,
        says,
        problems: &[],
        run,
    }
}

/// What changes settings.
const fn change(id: &'static str, path: &'static str, summary: &'static str, run: Run) -> Operation {
    Operation {
        id,
        method: Method::Post,
        path,
        summary,
        changes: true,
        if_match: true,
        query: whole::<Changing>,
        body: Body::None,
        status: 200,
        says: Says::Json(of::<wire::Receipt>),
        problems: CHANGE,
        run,
    }
}

/// What the updater does.
const fn update(id: &'static str, path: &'static str, summary: &'static str, run: Run) -> Operation {
    Operation {
        id,
        method: Method::Post,
        path,
        summary,
        changes: true,
        if_match: false,
        query: whole::<Nothing>,
        body: Body::None,
        status: 200,
        says: Says::Json(of::<Document>),
        problems: UPDATE,
        run,
    }
}

/// All of them, group by group.
pub(crate) fn all() -> impl Iterator<Item = &'static Operation> {
    settings::ALL.iter().chain(transactions::ALL).chain(nodes::ALL)
}
