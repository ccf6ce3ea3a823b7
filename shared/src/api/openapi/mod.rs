//! `GET /v1/openapi.json`: the API, described from its routes and from the types that it reads and writes.

mod operations;
mod schemas;

use std::{collections::BTreeSet, sync::OnceLock};

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use self::{
    operations::{Answers, Named, Operation},
    schemas::{Components, page, read, written},
};
use super::{
    answer::Answer,
    route::{Op, ROUTES, Route},
};
use crate::{
    connector::Entity,
    ids::SystemId,
    keys::Scope,
    phone::E164,
    problem::{Code, Problem},
};

/// One example of each schema; a test checks that they fit, and that none is missing.
const EXAMPLES: &str = include_str!("examples.json");
const ABOUT: &str = "\
The tenants' own API of the SMRT Integration Hub.

Send an API key with each call, as `Authorization: Bearer smrt_…`. Times are RFC 3339 in UTC, phone numbers E.164, money in \
minor units. Every error is a problem (RFC 9457) with a `code` that doesn't change and a `detail` that says what to do; those \
that the gateway itself answers (401, 403) have only a `message`. A key may make 6,000 calls a minute; `RateLimit` tells what \
is left. Send an `Idempotency-Key` with a POST, and it is done once however often it is sent within 24 hours.";

/// The OpenAPI document (<https://spec.openapis.org/oas/v3.1.1.html>), as `GET /v1/openapi.json` answers it.
#[must_use]
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(describe)
}

/// The answer. It is for anybody, from any page that renders it.
pub(super) fn answer() -> Answer {
    Answer::ok(document().clone()).with_headers([
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ])
}

fn describe() -> Value {
    let mut components = Components::default();
    let mut refusals = Refusals {
        problem: components.reference("Problem", written::<Problem>),
        message: components.reference("GatewayMessage", gateway_message),
        responses: Map::new(),
    };
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for route in ROUTES.iter().filter(|route| route.op != Op::Describe) {
        let operation = operations::of(route.op);
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
        let described = described(route, &operation, &mut components, &mut refusals);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.as_str().to_lowercase(), described);
        }
    }
    let codes: Map<String, Value> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), code.description().into())).collect();
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SMRT Integration Hub",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "x-problem-codes": codes,
        },
        "servers": [{"url": "/"}],
        "security": [{"api_key": []}],
        "tags": tags.iter().map(|tag| json!({"name": tag})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {"api_key": {
                "type": "http", "scheme": "bearer",
                "description": "A key of the tenant: from `provision-tenant`, or from `POST /v1/api-keys`.",
            }},
            "headers": {
                "RateLimit-Policy": header("How many calls a key may make, in how many seconds: `\"key\";q=6000;w=60`."),
                "RateLimit": header("How many calls are left, and for how many seconds: `\"key\";r=5999;t=42`."),
                "ETag": header("The entity tag, for `If-Match` and `If-None-Match`."),
                "Retry-After": json!({"description": "Seconds to wait.", "schema": {"type": "integer"}}),
                "Idempotent-Replayed": header("`true` where the answer is that of an earlier call with the same key."),
            },
            "responses": refusals.responses,
            "schemas": components.into_value(&examples),
        },
    })
}

fn header(description: &str) -> Value {
    json!({"description": description, "schema": {"type": "string"}})
}

fn gateway_message() -> Value {
    json!({
        "type": "object", "required": ["message"], "properties": {"message": {"type": ["string", "null"]}},
        "description": "What the gateway itself answers.",
    })
}

fn described(route: &Route, operation: &Operation, components: &mut Components, refusals: &mut Refusals) -> Value {
    let codes = codes(route, operation);
    let scope = format!("Needs a key with the scope `{}`.", route.scope.as_str());
    let mut described = json!({
        "operationId": id(&format!("{:?}", route.op)),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": scope,
        "parameters": parameters(route, operation),
        "responses": responses(operation, components, &codes, refusals),
    });
    if let (Some((name, schema)), Some(fields)) = (operation.takes, described.as_object_mut()) {
        let schema = components.reference(name, schema);
        let body = json!({
            "required": !operation.takes_nothing_too, "content": {"application/json": {"schema": schema}},
        });
        fields.insert("requestBody".into(), body);
    }
    described
}

/// `listContacts` of `ListContacts`.
fn id(op: &str) -> String {
    let mut chars = op.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

fn parameters(route: &Route, operation: &Operation) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": in_path_schema(route.path, name)}))
        .collect();
    parameters.extend(operation.query.iter().map(
        |query| json!({"name": query.name, "in": "query", "schema": query.schema, "description": query.description}),
    ));
    let mut header = |name: &str, schema: Value, description: &str| {
        parameters.push(json!({"name": name, "in": "header", "schema": schema, "description": description}));
    };
    let tags = || json!({"type": "string"});
    if operation.is_tagged && route.method == Method::GET {
        header("If-None-Match", tags(), "Answers 304 where it has this entity tag.");
    } else if operation.is_tagged {
        header("If-Match", tags(), "Changes it only where it has this entity tag.");
        header("If-None-Match", tags(), "`*` changes nothing that exists.");
    }
    if route.method == Method::POST {
        let key = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
        header(
            "Idempotency-Key",
            key,
            "The call is done once, however often it is sent with this key within 24 hours.",
        );
    }
    parameters
}

/// Of which form a parameter of the path is.
fn in_path_schema(path: &str, name: &str) -> Value {
    match (name, path.split('/').nth(2)) {
        ("system_id", _) => read::<SystemId>(),
        ("entity_type", _) => read::<Entity>(),
        ("e164", _) => read::<E164>(),
        (_, Some("contacts")) => json!({"type": "string", "pattern": "^con_[A-Za-z0-9_-]{1,60}$"}),
        (_, Some("companies")) => json!({"type": "string", "pattern": "^com_[A-Za-z0-9_-]{1,60}$"}),
        _ => json!({"type": "string", "minLength": 1}),
    }
}

/// The codes that an operation can be answered.
fn codes(route: &Route, operation: &Operation) -> BTreeSet<Code> {
    use Code::{
        BodyTooLarge, Busy, IdempotencyInProgress, IdempotencyKeyReused, Internal, InvalidApiKey, InvalidRequest,
        MissingScope, NotFound, PreconditionFailed, RateLimited, Unavailable,
    };
    let mut codes = BTreeSet::from([InvalidRequest, InvalidApiKey, MissingScope, RateLimited, Internal, Unavailable]);
    codes.extend(operation.codes);
    if route.path.contains('{') {
        codes.insert(NotFound);
    }
    if route.scope == Scope::Write {
        codes.insert(Busy);
    }
    if operation.takes.is_some() {
        codes.insert(BodyTooLarge);
    }
    if operation.is_tagged && route.method != Method::GET {
        codes.insert(PreconditionFailed);
    }
    if route.method == Method::POST {
        codes.extend([IdempotencyInProgress, IdempotencyKeyReused, BodyTooLarge]);
    }
    codes
}

fn responses(
    operation: &Operation,
    components: &mut Components,
    codes: &BTreeSet<Code>,
    refusals: &mut Refusals,
) -> Value {
    let mut responses = Map::new();
    let mut success = |status: StatusCode, description: &str, schema: Option<Value>| {
        let mut response = json!({"description": description, "headers": headers(operation)});
        if let (Some(schema), Some(fields)) = (schema, response.as_object_mut()) {
            fields.insert("content".into(), json!({"application/json": {"schema": schema}}));
        }
        responses.insert(status.as_str().to_owned(), response);
    };
    let mut reference = |(name, schema): Named| components.reference(name, schema);
    match operation.answers {
        Answers::Nothing => success(StatusCode::NO_CONTENT, "Done.", None),
        Answers::One(status, of) => success(status, "Done.", Some(reference(of))),
        Answers::Page(of) => success(StatusCode::OK, "A page of the list.", Some(page(&reference(of)))),
        Answers::All(of) => {
            let all = json!({"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": reference(of)}}});
            success(StatusCode::OK, "All of them.", Some(all));
        }
        Answers::Put { made, replaced } => {
            success(StatusCode::CREATED, "It is made.", Some(reference(made)));
            success(StatusCode::OK, "It is replaced.", Some(reference(replaced)));
        }
    }
    if operation.is_tagged && matches!(operation.answers, Answers::One(..)) && operation.takes.is_none() {
        success(StatusCode::NOT_MODIFIED, "It has the entity tag of `If-None-Match`.", None);
    }
    let statuses: BTreeSet<u16> = codes.iter().map(|code| code.status().as_u16()).collect();
    for status in statuses {
        let own: Vec<Code> = codes.iter().copied().filter(|code| code.status().as_u16() == status).collect();
        let name = own.iter().map(|code| code.as_str()).collect::<Vec<_>>().join("-");
        responses.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        refusals.add(name, &own);
    }
    responses.into()
}

fn headers(operation: &Operation) -> Value {
    let mut names = vec!["RateLimit-Policy", "RateLimit"];
    if operation.is_tagged && !matches!(operation.answers, Answers::Nothing) {
        names.push("ETag");
    }
    references(&names)
}

fn references(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect::<Map<_, _>>()
        .into()
}

/// The answers that aren't a success: one for each set of codes of one status.
struct Refusals {
    /// The schemas of our answers and of the gateway's own.
    problem: Value,
    message: Value,
    responses: Map<String, Value>,
}

impl Refusals {
    fn add(&mut self, name: String, codes: &[Code]) {
        if !self.responses.contains_key(&name) {
            let response = self.response(codes);
            self.responses.insert(name, response);
        }
    }

    fn response(&self, codes: &[Code]) -> Value {
        let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let description: Vec<String> =
            codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.description())).collect();
        let example =
            |code: &Code| (code.as_str().to_owned(), json!({"value": Problem::new(*code, code.description())}));
        let examples: Map<String, Value> = codes.iter().map(example).collect();
        let schema = json!({"allOf": [self.problem, {"properties": {"code": {"enum": names}}}]});
        let mut content = json!({"application/problem+json": {"schema": schema, "examples": examples}});
        // The authorizer's refusals are the gateway's to tell.
        let is_gateways = matches!(codes, [Code::InvalidApiKey | Code::MissingScope]);
        if let (Some(fields), true) = (content.as_object_mut(), is_gateways) {
            fields.insert("application/json".into(), json!({"schema": self.message}));
        }
        let waits = matches!(codes.first(), Some(Code::RateLimited | Code::Unavailable | Code::Busy));
        let headers = references(if waits { &["Retry-After"] } else { &[] });
        json!({"description": description.join(" "), "headers": headers, "content": content})
    }
}

#[cfg(test)]
mod tests {
    use boon::{Compiler, Draft, Schemas};

    use super::*;

    #[test]
    fn every_schema_has_an_example_that_fits() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("openapi.json", document.clone()).unwrap();
        for (name, schema) in schemas {
            // Parts of an `outbound`.
            if ["entity", "call"].contains(&name.as_str()) {
                continue;
            }
            let example = schema.get("examples").and_then(|list| list.get(0)).unwrap_or_else(|| panic!("{name}"));
            let mut found = Schemas::new();
            let index = compiler.compile(&format!("openapi.json#/components/schemas/{name}"), &mut found).unwrap();
            assert!(found.validate(example, index).is_ok(), "{name}: {}", found.validate(example, index).unwrap_err());
        }
        let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap();
        let unused: Vec<&String> = examples.keys().filter(|name| !schemas.contains_key(*name)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
