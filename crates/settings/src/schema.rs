//! The schema: made from the model, asked for names, secrets and descriptions, and written down for people and programs.

mod elsewhere;
mod reference;

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::{Key, Settings, Tree, secret::SHOWN};

pub use elsewhere::ELSEWHERE;

/// How like two names must be for one to be offered for the other (Jaro-Winkler, 1 is equal).
const LIKE: f64 = 0.75;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut root = settings.into_generator().into_root_schema_for::<Settings>().to_value();
    tidy(&mut root);
    root.sort_all_objects();
    Schema(root)
});

/// The JSON Schema (2020-12) of a table of settings.
#[derive(Debug)]
pub struct Schema(Value);

impl Schema {
    /// The schema of this program's model.
    pub fn get() -> &'static Self {
        &SCHEMA
    }

    /// The schema as a JSON document, as `docs/settings-schema.json` has it.
    pub fn document(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// Every setting on one page of Markdown, as `docs/settings-reference.md` has it.
    pub fn reference(&self) -> String {
        reference::page(&self.0)
    }

    /// The schema of what is at a key.
    pub fn at(&self, key: &Key) -> Option<&Value> {
        key.names().iter().try_fold(&self.0, |schema, name| below(schema, name))
    }

    /// Why there is no such key, and what was probably meant; nothing where there is one.
    pub fn refusal(&self, key: &Key) -> Option<String> {
        let mut schema = &self.0;
        for (at, name) in key.names().iter().enumerate() {
            let Some(inner) = below(schema, name) else {
                return Some(match elsewhere::instead(key) {
                    Some(instead) => format!("Rocket OS does not have it: {instead}"),
                    None => unknown(schema, &key.names()[..at], name),
                });
            };
            schema = inner;
        }
        None
    }

    /// Why a name in the lists of a value is refused; nothing where all are known.
    pub(crate) fn stranger(&self, key: &Key, value: &Value) -> Option<String> {
        stranger(self.at(key)?, value, "")
    }

    /// Tables with more names in them than the schema lets: which, how many, and how many may be.
    pub(crate) fn overfull(&self, tree: &Tree) -> Vec<(Key, usize, u64)> {
        let mut found = Vec::new();
        overfull(&self.0, &mut Vec::new(), &tree.to_value(), &mut found);
        found
    }

    /// How much of a path in the value of a key the schema knows, and whether what is wrong there may be told in full: no secret is
    /// at its end or below.
    pub(crate) fn may_show(&self, key: &Key, path: &[String]) -> (usize, bool) {
        // Of what nobody knows nothing is shown.
        let Some(mut schema) = self.at(key) else { return (0, false) };
        for (at, name) in path.iter().enumerate() {
            let inner = if name.starts_with('[') { items(schema) } else { below(schema, name) };
            match inner {
                Some(inner) => schema = inner,
                None => return (at, !has_secret(schema)),
            }
        }
        (path.len(), !has_secret(schema))
    }

    /// The tree as people may see it: each secret, and what the model does not know, is replaced by [`SHOWN`].
    pub fn shown(&self, tree: &Tree) -> Value {
        shown(&self.0, tree.to_value())
    }

    /// Every text in the value of a key that nobody is shown: where [`Schema::shown_at`] says [`SHOWN`].
    pub fn hidden_at(&self, key: &Key, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        match self.at(key) {
            Some(schema) => hidden(schema, value, &mut found),
            None => texts(value, &mut found),
        }
        found
    }

    /// A value as people may see it.
    pub fn shown_at(&self, key: &Key, value: &Value) -> Value {
        match self.at(key) {
            Some(schema) => shown(schema, value.clone()),
            None => Value::from(SHOWN),
        }
    }
}

/// The schema of a name in a table.
fn below<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    match schema.get("properties").and_then(|properties| properties.get(name)) {
        Some(property) => Some(property),
        None => schema.get("additionalProperties").filter(|more| more.is_object()),
    }
}

fn overfull(schema: &Value, names: &mut Vec<String>, value: &Value, found: &mut Vec<(Key, usize, u64)>) {
    let Some(table) = value.as_object() else { return };
    let most = schema.get("maxProperties").and_then(Value::as_u64).filter(|most| table.len() as u64 > *most);
    if let (Some(most), Ok(key)) = (most, Key::new(names.as_slice())) {
        found.push((key, table.len(), most));
    }
    for (name, value) in table {
        let Some(schema) = below(schema, name) else { continue };
        names.push(name.clone());
        overfull(schema, names, value, found);
        names.pop();
    }
}

/// The schema of what is in an array; of a pair's, that of the last.
fn items(schema: &Value) -> Option<&Value> {
    schema.get("items").or_else(|| schema.get("prefixItems")?.as_array()?.last())
}

fn has_secret(schema: &Value) -> bool {
    schema.get("writeOnly") == Some(&Value::Bool(true))
        || schema.get("properties").and_then(Value::as_object).is_some_and(|all| all.values().any(has_secret))
        || schema.get("additionalProperties").is_some_and(has_secret)
        || items(schema).is_some_and(has_secret)
}

fn shown(schema: &Value, value: Value) -> Value {
    if schema.get("writeOnly") == Some(&Value::Bool(true)) {
        return Value::from(SHOWN);
    }
    match value {
        Value::Object(table) if has_secret(schema) || is_table(schema) => table
            .into_iter()
            .map(|(name, value)| {
                let value = below(schema, &name).map_or(Value::from(SHOWN), |schema| shown(schema, value));
                (name, value)
            })
            .collect(),
        Value::Array(values) => match items(schema) {
            Some(schema) => values.into_iter().map(|value| shown(schema, value)).collect(),
            None => Value::from(SHOWN),
        },
        // A value where something with secrets belongs: it may be one.
        _ if has_secret(schema) => Value::from(SHOWN),
        value => value,
    }
}

/// What [`shown`] takes out.
fn hidden(schema: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        _ if schema.get("writeOnly") == Some(&Value::Bool(true)) => texts(value, found),
        Value::Object(table) if has_secret(schema) || is_table(schema) => {
            for (name, value) in table {
                match below(schema, name) {
                    Some(schema) => hidden(schema, value, found),
                    None => texts(value, found),
                }
            }
        }
        Value::Array(values) => match items(schema) {
            Some(schema) => values.iter().for_each(|value| hidden(schema, value, found)),
            None => texts(value, found),
        },
        _ if has_secret(schema) => texts(value, found),
        _ => {}
    }
}

/// Every text in a value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(table) => table.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True for the schema of a table.
fn is_table(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
}

/// Says that a name is unknown, with the nearest, or all where none is near.
fn unknown(schema: &Value, above: &[String], name: &str) -> String {
    let place = Key::new(above).map_or("among settings".to_owned(), |key| format!("in {key}"));
    match nearest(schema, name) {
        Some(known) => format!("there is no '{name}' {place}; {known}"),
        None => format!("there is nothing below {}, which is a value", place.trim_start_matches("in ")),
    }
}

/// The name of a table that is nearest, or all of them; nothing where there is none.
fn nearest(schema: &Value, name: &str) -> Option<String> {
    let known: Vec<&String> = schema.get("properties")?.as_object()?.keys().collect();
    let near = known
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), *known))
        .filter(|(like, _)| *like >= LIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    Some(match near {
        Some((_, nearest)) => format!("did you mean '{nearest}'?"),
        None => {
            let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
            format!("there are {}", known.join(", "))
        }
    })
}

/// A name in a list of tables that is unknown, and where it is. Where secrets belong it is not repeated: it may be one.
fn stranger(schema: &Value, value: &Value, place: &str) -> Option<String> {
    match value {
        Value::Array(values) => {
            let schema = items(schema)?;
            values.iter().enumerate().find_map(|(at, value)| stranger(schema, value, &format!("{place}[{at}]")))
        }
        Value::Object(table) => table.iter().find_map(|(name, value)| match below(schema, name) {
            Some(schema) => stranger(schema, value, &format!("{place}.{name}")),
            None => {
                let known = nearest(schema, name)?;
                let name = if has_secret(schema) { "such name".to_owned() } else { format!("'{name}'") };
                Some(format!("there is no {name} in {place}; {known}"))
            }
        }),
        _ => None,
    }
}

/// Takes out what only Rust's types say: null for what may be absent, and defaults, which layers have.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(table) => {
            table.remove("default");
            if let Some(Value::Array(kinds)) = table.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = kinds.as_slice() {
                    let one = one.clone();
                    table.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(values)) = table.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::Array(choices)) = table.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [one] = choices.as_slice() {
                    let one = one.as_object().cloned().unwrap_or_default();
                    table.remove("anyOf");
                    // What the field says of itself counts before what its type says.
                    for (name, value) in one {
                        table.entry(name).or_insert(value);
                    }
                }
            }
            table.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
