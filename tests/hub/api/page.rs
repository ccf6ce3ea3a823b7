//! The reference in docs/api.md: the OpenAPI document as a page to be read. `UPDATE_SAMPLES=1` writes it anew.

use std::{fmt::Write as _, path::Path};

use serde_json::{Map, Value};

const HEAD: &str = "\
# The API

Made of the OpenAPI document that `GET /v1/openapi.json` answers, by `UPDATE_SAMPLES=1 cargo test -p tests --test hub api::page`.
Viewers of OpenAPI documents may load that from any page; it needs no key.

";

#[test]
#[expect(clippy::disallowed_methods, reason = "whether to write it is said to this test")]
fn the_page_says_what_the_document_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let page = page(shared::api::document());
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/api.md is out of date: UPDATE_SAMPLES=1 cargo test -p tests --test hub api::page");
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().map(Map::iter).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

fn page(document: &Value) -> String {
    let mut page = HEAD.to_owned();
    page += text(document, "/info/description");
    page += "\n\n";
    for tag in document["tags"].as_array().unwrap() {
        let _ = write!(page, "## {}\n\n", text(tag, "/name"));
        for (path, methods) in object(&document["paths"]) {
            for (method, operation) in object(methods).filter(|(_, own)| own["tags"][0] == tag["name"]) {
                operation_into(&mut page, (&method.to_uppercase(), path), operation);
            }
        }
    }
    page += "## Codes\n\nEvery error has one of these; its sentence, `detail`, says what to do.\n\n| code | status | meaning |\n| --- | --- | --- |\n";
    for code in shared::problem::Code::ALL {
        let _ = writeln!(page, "| `{}` | {} | {} |", code.as_str(), code.status().as_u16(), code.description());
    }
    page += "\n## Bodies\n\n";
    for (name, schema) in object(&document["components"]["schemas"]) {
        schema_into(&mut page, name, schema);
    }
    page.trim_end().to_owned() + "\n"
}

fn operation_into(page: &mut String, (method, path): (&str, &str), operation: &Value) {
    let _ =
        write!(page, "### {method} {path}\n\n{}. {}\n\n", text(operation, "/summary"), text(operation, "/description"));
    for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|own| own["in"] != "path") {
        let place = if parameter["in"] == "query" { "Query" } else { "Header" };
        let _ = writeln!(page, "* {place} `{}`: {}", text(parameter, "/name"), text(parameter, "/description"));
    }
    let body = text(operation, "/requestBody/content/application~1json/schema/$ref");
    if !body.is_empty() {
        let _ = writeln!(page, "* Body: {}", link(name(body)));
    }
    let mut codes = Vec::new();
    for (status, response) in object(&operation["responses"]) {
        // What isn't a success is named by its codes.
        if let Some(reference) = response.get("$ref").and_then(Value::as_str) {
            codes.extend(name(reference).split('-').map(|code| format!("`{code}`")));
            continue;
        }
        let schema = &response["content"]["application/json"]["schema"];
        let shown = match [text(schema, "/$ref"), text(schema, "/properties/data/items/$ref")] {
            ["", ""] => text(response, "/description").to_owned(),
            ["", of] => format!("a list of {}.", link(name(of))),
            [of, _] => format!("{}.", link(name(of))),
        };
        let _ = writeln!(page, "* {status}: {shown}");
    }
    let _ = write!(page, "* Errors: {}.\n\n", codes.join(", "));
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

fn schema_into(page: &mut String, name: &str, schema: &Value) {
    let _ = write!(page, "### {name}\n\n");
    if !text(schema, "/description").is_empty() {
        let _ = write!(page, "{}\n\n", text(schema, "/description"));
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, own) in object(&schema["properties"]) {
        let needed = if required.contains(&field.as_str()) { "" } else { ", optional" };
        let description = text(own, "/description");
        let colon = if description.is_empty() { "" } else { ": " };
        let _ = writeln!(page, "* `{field}` ({}{needed}){colon}{description}", kind(own));
    }
    if let Some(example) = schema.pointer("/examples/0") {
        let _ = write!(page, "\n```json\n{}\n```\n", serde_json::to_string_pretty(example).unwrap());
    }
    page.push('\n');
}

/// What a value is, in a word or a few.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return link(name(reference));
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    let one_of = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array());
    if let Some(values) = schema["enum"].as_array().or(one_of) {
        let few: Vec<String> =
            values.iter().map(|value| if one_of.is_some() { kind(value) } else { format!("`{value}`") }).collect();
        let mut few = few;
        few.dedup();
        return if few.len() > 20 { "one of many words".to_owned() } else { few.join(" or ") };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "anything".to_owned(),
    };
    match (types.join(" or "), schema.get("items")) {
        (list, Some(items)) if types.contains(&"array") => list.replace("array", &format!("list of {}", kind(items))),
        (other, _) => other,
    }
}
