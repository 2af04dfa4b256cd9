//! The reference page: a table per table of settings.

use std::fmt::Write as _;

use serde_json::Value;

/// What stands for the name that a person chooses.
const ANY: &str = "<name>";

/// The page.
pub(super) fn page(root: &Value) -> String {
    let mut page = String::from(
        "# Settings, one by one\n\n<!-- Made from the model: cargo run -p rocketos-settings --example reference -->\n\n\
         How they are layered, stored and carried along: [settings.md](settings.md). In files all are below `[settings]`.\n\
         `<name>` is one that you choose. A secret is taken and shown to nobody.\n",
    );
    let top: Vec<(&String, &Value)> = properties(root).filter(|(_, schema)| !is_table(schema)).collect();
    table(&mut page, "", "For people, and for what has no table of its own.", &top);
    for (name, schema) in properties(root).filter(|(_, schema)| is_table(schema)) {
        section(&mut page, name, schema);
    }
    page
}

/// A table and those below it.
fn section(page: &mut String, key: &str, schema: &Value) {
    if let Some(inner) = schema.get("additionalProperties").filter(|more| more.is_object()) {
        let key = format!("{key}.{ANY}");
        return match is_table(inner) {
            true => {
                let both = format!("{} {}", text(schema), text(inner));
                part(page, &key, &both, inner);
            }
            false => table(page, key.trim_end_matches(&format!(".{ANY}")), text(schema), &[(&ANY.to_owned(), inner)]),
        };
    }
    part(page, key, text(schema), schema);
}

fn part(page: &mut String, key: &str, words: &str, schema: &Value) {
    let values: Vec<(&String, &Value)> = properties(schema).filter(|(_, schema)| !is_table(schema)).collect();
    if !values.is_empty() {
        table(page, key, words, &values);
    }
    for (name, schema) in properties(schema).filter(|(_, schema)| is_table(schema)) {
        section(page, &format!("{key}.{name}"), schema);
    }
}

fn table(page: &mut String, key: &str, words: &str, rows: &[(&String, &Value)]) {
    let title = if key.is_empty() { "At the top" } else { key };
    let heading = if key.is_empty() { title.to_owned() } else { format!("`{title}`") };
    // Writing to a String does not fail.
    let _ = write!(page, "\n## {heading}\n\n{}\n\n| key | is | means |\n|---|---|---|\n", words.trim());
    for (name, schema) in rows {
        let _ = writeln!(page, "| `{name}` | {} | {} |", kind(schema), cell(text(schema)));
        rows_of_items(page, name, schema);
    }
}

/// What tables in an array have, a row each.
fn rows_of_items(page: &mut String, name: &str, schema: &Value) {
    let Some(item) = schema.get("items").filter(|item| item.get("properties").is_some()) else { return };
    let needed = |name: &str| item["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    for (field, schema) in properties(item) {
        let need = if needed(field) { ", needed" } else { "" };
        let _ = writeln!(page, "| `{name}[].{field}` | {}{need} | {} |", kind(schema), cell(text(schema)));
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn is_table(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
}

fn text(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// A description in one cell: its first paragraph, in one line.
fn cell(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The words that a value may be, where they are few.
fn words(schema: &Value) -> Option<String> {
    let all = schema.get("enum").or_else(|| schema.get("oneOf"))?.as_array()?;
    let all: Option<Vec<&str>> = all.iter().map(|one| one.get("const").unwrap_or(one).as_str()).collect();
    all.map(|all| format!("`{}`", all.join("`, `")))
}

/// The kind of a value, in words.
fn kind(schema: &Value) -> String {
    if schema.get("writeOnly") == Some(&Value::Bool(true)) {
        return "secret".to_owned();
    }
    if let Some(words) = words(schema) {
        return words;
    }
    let range = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" {least}–{most}"),
        _ => String::new(),
    };
    match schema.get("type") {
        Some(Value::String(kind)) => match kind.as_str() {
            "boolean" => "true or false".to_owned(),
            "integer" => format!("number{range}"),
            "string" => "text".to_owned(),
            "array" => {
                let most = schema.get("maxItems").map(|most| format!(", at most {most}")).unwrap_or_default();
                match schema.get("items") {
                    Some(item) if item.get("properties").is_some() => format!("list of tables{most}"),
                    Some(item) => format!("list of {}{most}", kind_of_item(item)),
                    None => "list".to_owned(),
                }
            }
            other => other.to_owned(),
        },
        Some(Value::Array(_)) => format!("number{range} or text"),
        _ => "text".to_owned(),
    }
}

fn kind_of_item(item: &Value) -> String {
    match kind(item).as_str() {
        "text" => "texts".to_owned(),
        "list" => "pairs".to_owned(),
        "list of texts" => "lists of texts".to_owned(),
        other => other.to_owned(),
    }
}
