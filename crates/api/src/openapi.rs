//! The description of the service (OpenAPI 3.1), written from the table of operations and the types that they read and write.
//!
//! OpenAPI 3.1 takes JSON Schema 2020-12 as it is, which the settings have already: so what remains to be written is one page, and no
//! second library derives the same schemas from the same types.

use std::{collections::BTreeMap, sync::LazyLock};

use rocketos_settings::Schema as Model;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    Kind, Problem,
    frames::PROTOCOL,
    operations::{self, ALWAYS, Body, Method, Operation, Run, Says},
    problem,
    router::ARCHIVE,
};

/// Where schemas are, as references name them.
const SCHEMAS: &str = "/components/schemas";
/// The name of the settings' own schema.
const SETTINGS: &str = "Settings";

static DESCRIPTION: LazyLock<Value> = LazyLock::new(write);

/// The description as a JSON document, as `docs/openapi.json` has it.
pub fn document() -> String {
    format!("{:#}\n", *DESCRIPTION)
}

/// The same as a value.
pub(crate) fn value() -> Value {
    DESCRIPTION.clone()
}

fn write() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations::all() {
        let described = describe(operation, &mut generator);
        paths.entry(operation.path).or_default().insert(method(operation.method).to_owned(), described);
    }
    generator.subschema_for::<Problem>();
    let mut schemas = generator.take_definitions(true);
    schemas.insert(SETTINGS.to_owned(), model());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rocket OS",
            "version": "1",
            "description": "How a node is managed: HTTP/1.1 on the unix socket /run/rocketos/api.sock. Who asks is known by \
                the socket; reading and changing are different permissions.",
        },
        "servers": [{ "url": "http://localhost", "description": "The socket; the name of the host means nothing." }],
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// The schema of settings, as it is without its own head.
fn model() -> Value {
    let mut schema: Value = serde_json::from_str(&Model::get().document()).unwrap_or_default();
    if let Some(table) = schema.as_object_mut() {
        table.remove("$schema");
    }
    schema
}

const fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = names(operation.path).map(path_parameter).collect();
    parameters.extend(query_parameters(&(operation.query)(generator).to_value()));
    if operation.if_match {
        parameters.push(json!({
            "name": "If-Match",
            "in": "header",
            "description": "The generation that the change is made to, as ETag has it; where another counts by now, nothing is \
                changed. Without it the change is made to whatever counts.",
            "schema": { "type": "string", "pattern": "^(\\*|[0-9]{1,10}|\"[0-9]{1,10}\")$" },
        }));
    }
    if matches!(operation.run, Run::Exec) {
        parameters.push(json!({
            "name": "Upgrade",
            "in": "header",
            "required": true,
            "description": "What the connection becomes; with 'Connection: Upgrade'.",
            "schema": { "type": "string", "enum": [PROTOCOL] },
        }));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": match operation.changes {
            true => "For who may change the node.",
            false => "For who may read.",
        },
        "responses": responses(operation, generator),
    });
    if !parameters.is_empty() {
        described["parameters"] = Value::from(parameters);
    }
    let body = match operation.body {
        Body::None => None,
        Body::Settings => Some(reference(SETTINGS)),
        Body::Of(describe) => Some(describe(generator).to_value()),
    };
    if let Some(schema) = body {
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}

/// Names in the braces of a path.
pub(crate) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    let (description, schema) = match name {
        "number" => ("The generation.", json!({ "type": "integer", "minimum": 1, "maximum": 9_999_999_999_u64 })),
        "container" => (
            "The host container's name.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$" }),
        ),
        "id" => ("The transaction.", json!({ "type": "string", "pattern": "^[A-Za-z0-9]{16}$" })),
        _ => ("Its name.", json!({ "type": "string", "enum": ["boot"] })),
    };
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// The fields of a query's type, each a parameter.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        // That it may be left out is said by what it is: a parameter.
        if let Some(Value::Array(kinds)) = schema.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [one] = kinds.as_slice() {
                schema["type"] = one.clone();
            }
        }
        let table = schema.as_object_mut();
        let description = table.and_then(|table| {
            table.remove("default");
            table.remove("description")
        });
        json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
    };
    fields.iter().map(parameter).collect()
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let content = match operation.says {
        Says::Nothing => None,
        Says::Json(describe) => Some(json!({ "application/json": { "schema": describe(generator).to_value() } })),
        Says::Schema => Some(json!({ "application/schema+json": { "schema": { "type": "object" } } })),
        Says::Archive => Some(json!({ ARCHIVE: { "schema": { "type": "string", "format": "binary" } } })),
        Says::Events(describe) => {
            // What a stream says event by event has no place in a description but its words.
            let event = describe(generator).to_value();
            let schema = json!({ "type": "string", "description": "Each event's name, and its data as JSON.", "x-event": event });
            Some(json!({ "text/event-stream": { "schema": schema } }))
        }
    };
    let mut good = json!({ "description": operation.summary });
    if let Some(content) = content {
        good["content"] = content;
    }
    let mut responses = Map::from_iter([(operation.status.to_string(), good)]);
    let mut kinds: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in operation.problems.iter().chain(&ALWAYS) {
        let same = kinds.entry(kind.status()).or_default();
        if !same.contains(kind) {
            same.push(*kind);
        }
    }
    for (status, kinds) in kinds {
        let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
        let content = json!({ problem::MEDIA_TYPE: { "schema": reference("Problem") } });
        let bad = json!({ "description": format!("{}.", titles.join("; ")), "content": content });
        responses.insert(status.to_string(), bad);
    }
    responses
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#{SCHEMAS}/{name}") })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn the_committed_description_is_that_of_the_service() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let committed = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let how = "run `cargo run -p rocketos-api --example description` and commit what it writes";
        assert!(committed == document(), "docs/openapi.json is old: {how}");
    }

    #[test]
    fn the_page_names_every_path_and_every_problem() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/api.md");
        let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for operation in operations::all() {
            assert!(page.contains(&format!("{}`", operation.path)), "docs/api.md lacks {}", operation.path);
        }
        for kind in Kind::ALL {
            let row = page.lines().find(|line| line.starts_with(&format!("| {} |", kind.status())));
            let named = row.is_some_and(|row| row.contains(&format!("`{}`", kind.name())));
            assert!(named, "docs/api.md lacks {} at {}", kind.name(), kind.status());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn look(all: &Value, value: &Value, seen: &mut usize) {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
                assert!(all.pointer(pointer).is_some(), "{reference} leads nowhere");
                *seen += 1;
            }
            match value {
                Value::Array(values) => values.iter().for_each(|value| look(all, value, seen)),
                Value::Object(values) => values.values().for_each(|value| look(all, value, seen)),
                _ => {}
            }
        }
        let (all, mut seen) = (value(), 0);
        look(&all, &all, &mut seen);
        assert!(seen > 50, "{seen}");
        // schemars numbers types of one name.
        let schemas = all["components"]["schemas"].as_object().unwrap();
        let numbered: Vec<_> =
            schemas.keys().filter(|name| name.ends_with(|last: char| last.is_ascii_digit())).collect();
        assert!(numbered.is_empty(), "two types have one name: {numbered:?}");
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_what_it_does() {
        let mut names = Vec::new();
        for operation in operations::all() {
            assert!(operation.summary.ends_with('.'), "{}", operation.id);
            assert!(operation.path.starts_with("/v1/"), "{}", operation.id);
            names.push(operation.id);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
