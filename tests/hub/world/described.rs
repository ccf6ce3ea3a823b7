//! Whether the API answers as its OpenAPI document says. Every answer that a test gets is checked.

use std::{cell::RefCell, collections::HashMap};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use http::{Method, header};
use serde_json::Value;

use super::Answer;

/// The document's schemas, compiled as they are needed.
struct Checker {
    compiler: Compiler,
    schemas: Schemas,
    compiled: HashMap<String, SchemaIndex>,
}

thread_local! {
    static CHECKER: RefCell<Checker> = RefCell::new(Checker::new());
}

impl Checker {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("openapi.json", shared::api::document().clone()).unwrap();
        Self { compiler, schemas: Schemas::new(), compiled: HashMap::new() }
    }

    fn check(&mut self, pointer: &str, body: &Value) -> Result<(), String> {
        let index = if let Some(index) = self.compiled.get(pointer) {
            *index
        } else {
            let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
            let index = self.compiler.compile(&format!("openapi.json#{fragment}"), &mut self.schemas).unwrap();
            *self.compiled.entry(pointer.to_owned()).or_insert(index)
        };
        self.schemas.validate(body, index).map_err(|error| error.to_string())
    }
}

/// The document's path that a call is to; where several are, the one without parameters.
fn path_of<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    let path = path.split('?').next().unwrap_or_default();
    let given: Vec<&str> = path.split('/').collect();
    let fits = |known: &&str| {
        let known: Vec<&str> = known.split('/').collect();
        known.len() == given.len()
            && known
                .iter()
                .zip(&given)
                .all(|(known, given)| known.starts_with('{') && !given.is_empty() || known == given)
    };
    let paths = document["paths"].as_object().unwrap();
    let known = paths.keys().map(String::as_str).filter(fits);
    known.min_by_key(|known| known.contains('{'))
}

/// Panics where the answer isn't as described.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let document = shared::api::document();
    let name = method.as_str().to_lowercase();
    let Some(template) = path_of(document, path) else { return };
    let escaped = template.replace('~', "~0").replace('/', "~1");
    let mut place = format!("/paths/{escaped}/{name}/responses/{}", answer.status.as_u16());
    let content_type =
        answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The gateway's own answers where a function fails.
    if answer.status.is_server_error() && content_type == "application/json" {
        return;
    }
    if document.pointer(&format!("/paths/{escaped}/{name}")).is_none() {
        assert_eq!(answer.body["code"], "method_not_allowed", "{method} {path}");
        return;
    }
    let response =
        document.pointer(&place).unwrap_or_else(|| panic!("{method} {path}: {} isn't described", answer.status));
    if let Some(reference) = response.get("$ref").and_then(Value::as_str) {
        place = reference.trim_start_matches('#').to_owned();
    }
    let Some(content) = document.pointer(&format!("{place}/content")) else {
        assert_eq!(answer.body, Value::Null, "{method} {path} has a body");
        return;
    };
    assert!(content.get(content_type).is_some(), "{method} {path}: {content_type} isn't described");
    let pointer = format!("{place}/content/{}/schema", content_type.replace('/', "~1"));
    let checked = CHECKER.with_borrow_mut(|checker| checker.check(&pointer, &answer.body));
    assert!(checked.is_ok(), "{method} {path}: {}\n{}", checked.unwrap_err(), answer.body);
}
