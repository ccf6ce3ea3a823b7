//! The preset `hubspot` against HubSpot's OpenAPI documents (`shared/tests-data/hubspot`): every request is one that they
//! describe, and every answer has their form, so that a test can't make up what HubSpot doesn't do.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};

use super::*;
use crate::{
    mapping::{Nulls, Outcome},
    phone::Region,
};

/// A document, its schemas in the form of JSON Schema.
struct Document {
    json: Value,
}

impl Document {
    fn of(entity: Entity) -> Self {
        let text = match entity {
            Entity::Contact => include_str!("../../../tests-data/hubspot/contacts.json"),
            Entity::Company => include_str!("../../../tests-data/hubspot/companies.json"),
            Entity::Interaction => include_str!("../../../tests-data/hubspot/calls.json"),
        };
        let mut json = serde_json::from_str(text).unwrap();
        strict(&mut json);
        Self { json }
    }

    /// Checks a request, and gives the place of its operation.
    fn check_request(&self, arrival: &Arrival) -> String {
        let (path, query) = arrival
            .url
            .strip_prefix("https://crm.example/api")
            .unwrap()
            .split_once('?')
            .unwrap_or_else(|| (arrival.url.strip_prefix("https://crm.example/api").unwrap(), ""));
        let paths = self.json["paths"].as_object().unwrap();
        let fits = |template: &&String| {
            let (mut ours, mut theirs) = (path.split('/'), template.split('/'));
            let same = ours.by_ref().zip(theirs.by_ref()).all(|(our, their)| our == their || their.starts_with('{'));
            same && path.split('/').count() == template.split('/').count()
        };
        // A path without placeholders counts first.
        let template = paths.keys().filter(fits).min_by_key(|template| template.contains('{'));
        let template = template.unwrap_or_else(|| panic!("there is no {path}"));
        let method = arrival.method.as_str().to_lowercase();
        let operation = &paths[template][&method];
        assert!(operation.is_object(), "there is no {method} {template}");
        let known: BTreeSet<_> =
            operation["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        for (name, _) in form_urlencoded::parse(query.as_bytes()) {
            assert!(known.contains(&*name), "{method} {template} has no parameter {name}");
        }
        let place = format!("/paths/{}/{method}", template.replace('/', "~1"));
        let body = format!("{place}/requestBody/content/application~1json/schema");
        match self.json.pointer(&body) {
            Some(_) => self.check(&body, &arrival.json()),
            None => assert_eq!(arrival.body, "", "{method} {template} has no body"),
        }
        place
    }

    /// Checks that an answer has the form that the operation's has.
    fn check_answer(&self, operation: &str, status: u16, body: &Value) {
        let schema = format!("{operation}/responses/{status}/content/application~1json/schema");
        assert!(self.json.pointer(&schema).is_some(), "{operation} doesn't answer {status}");
        self.check(&schema, body);
    }

    fn check(&self, place: &str, body: &Value) {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource("https://api.example/document", self.json.clone()).unwrap();
        let mut schemas = Schemas::new();
        let place = place.replace('{', "%7B").replace('}', "%7D");
        let schema = compiler.compile(&format!("https://api.example/document#{place}"), &mut schemas).unwrap();
        schemas.validate(body, schema).unwrap_or_else(|error| panic!("{error:#}: {body}"));
    }
}

/// From OpenAPI 3.0 to JSON Schema: what may be null; and an object has no other fields than its own.
fn strict(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.values_mut().for_each(strict);
            if fields.remove("nullable") == Some(Value::Bool(true)) {
                let own = fields["type"].take();
                fields["type"] = json!([own, "null"]);
            }
            let has_fields = fields.get("properties").and_then(Value::as_object).is_some_and(|own| !own.is_empty());
            if has_fields && fields.contains_key("type") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(strict),
        _ => {}
    }
}

const AT: &str = "2026-01-15T12:00:05.123Z";

fn object(id: &str, properties: &Value) -> Value {
    json!({"id": id, "properties": properties, "createdAt": AT, "updatedAt": AT, "archived": false})
}

/// A HubSpot with one kind of object: keeps to the documents, both ways.
fn hubspot(entity: Entity) -> Crm {
    Crm::new(move |_, arrival| {
        let document = Document::of(entity);
        let place = document.check_request(arrival);
        let operation = document.json.pointer(&place).unwrap()["operationId"].as_str().unwrap().to_owned();
        let done =
            |results: Vec<Value>| json!({"status": "COMPLETE", "results": results, "startedAt": AT, "completedAt": AT});
        let inputs = || arrival.json()["inputs"].as_array().cloned().unwrap_or_default();
        let (status, body) = match operation.rsplit_once('_').unwrap().1 {
            "create" => (201, object("5", &arrival.json()["properties"])),
            "update" if !arrival.url.ends_with("/batch/update") => (200, object("5", &arrival.json()["properties"])),
            "update" => (200, done(inputs().iter().map(|i| object(text(i), &i["properties"])).collect())),
            "upsert" => {
                let made = inputs().into_iter().rev().map(|input| {
                    let mut made = object("5", &input["properties"]);
                    made["new"] = true.into();
                    made
                });
                (200, done(made.collect()))
            }
            "archive" => return reply(204, ""),
            "getById" => (200, object("5", &json!({"smrt_crm_id": "con_1", "hs_object_id": "5"}))),
            "getPage" => {
                let next = json!({"next": {"after": "33452", "link": "https://api.hubapi.com/x"}});
                (
                    200,
                    json!({"results": [object("5", &json!({"email": "a@example.com", "company": null}))], "paging": next}),
                )
            }
            other => panic!("{other}"),
        };
        document.check_answer(&place, status, &body);
        answer(status, &body)
    })
}

fn text(input: &Value) -> &str {
    input["id"].as_str().unwrap()
}

fn preset(entities: &Value) -> Outbound {
    generic(&json!({"preset": "hubspot", "entities": entities}))
}

/// A record of ours with every field that the preset maps, and what HubSpot is told of it.
fn samples() -> [(Entity, Value, Value); 3] {
    let contact = json!({"first_name": "Ada", "last_name": "Lovelace", "phone_number": "+442079460958", "email": "ada@example.com",
        "company_name": "Engines", "smrt_crm_id": "con_1", "custom_fields": {"x": 1}, "updated_at": AT});
    let company = json!({"name": "Engines", "domain": "engines.example", "phone_number": null, "smrt_crm_id": "con_1"});
    let interaction = json!({"phone_number": "+14155550132", "interaction_type": "outbound_call", "outcome": "interested",
        "duration_seconds": 180, "agent_name": "Sarah", "occurred_at": "2026-01-15T10:30:00Z", "smrt_crm_id": "con_1"});
    [
        (
            Entity::Contact,
            contact,
            json!({"firstname": "Ada", "lastname": "Lovelace", "phone": "+442079460958", "email": "ada@example.com",
                "company": "Engines", "smrt_crm_id": "con_1"}),
        ),
        (
            Entity::Company,
            company,
            json!({"name": "Engines", "domain": "engines.example", "phone": "", "smrt_crm_id": "con_1"}),
        ),
        (
            Entity::Interaction,
            interaction,
            json!({"hs_call_to_number": "+14155550132", "hs_call_direction": "OUTBOUND", "hs_call_title": "interested",
                "hs_call_duration": "180000", "hs_timestamp": "2026-01-15T10:30:00Z", "smrt_crm_id": "con_1"}),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_request_is_one_that_hubspot_describes() {
    for (entity, record, expected) in samples() {
        for entities in [json!({}), json!({entity.as_str(): {"batch": null}})] {
            let (outbound, crm) = (preset(&entities), hubspot(entity));
            let quota = unlimited();
            let connector = crm.connector(&outbound, None, &quota);
            let body = outbound.entity(entity).unwrap().body(record.as_object().unwrap(), Nulls::Send);
            assert_eq!((&body.value, body.left_out.len()), (&expected, 0), "{:?}", body.left_out);
            let outgoing =
                [create("con_1", body.value.clone()), update("con_1", "5", body.value), delete("con_1", "5")];
            for outcome in connector.sync_outbound(entity, &outgoing).await {
                let external_id = outcome.unwrap().external_id;
                assert_eq!(external_id, "5");
            }
            let found = connector.find(entity, "con_1").await.unwrap();
            assert_eq!(found, Some(written("5", Some(AT))));
            let page = connector.list(entity, Some("3 3")).await.unwrap();
            assert_eq!((page.records.len(), page.next.as_deref()), (1, Some("33452")));
            if entity == Entity::Contact {
                connector.validate_connection().await.unwrap();
            }
        }
    }
}

#[test]
fn what_is_listed_maps_to_what_was_sent() {
    let outbound = preset(&json!({}));
    for (entity, record, properties) in samples() {
        let plan = outbound.entity(entity).unwrap();
        let listed = object("5", &properties);
        let Outcome::Mapped(mapped) = plan.map(&listed, &Region::default()) else { panic!("{entity:?}") };
        assert_eq!((mapped.key.as_deref(), mapped.text("updated_at")), (Some("5"), Some(AT)));
        assert_eq!(plan.our_id(&listed, &Region::default()).as_deref(), Some("con_1"));
        for name in plan.fields().filter(|name| !record[*name].is_null()) {
            let value = mapped.fields.get(name).map(|field| &field.value);
            match &mapped.target {
                crate::mapping::Target::Interaction { interaction_type } if name == "interaction_type" => {
                    assert_eq!(record[name], *interaction_type);
                }
                _ => assert_eq!(value, Some(&record[name]), "{entity:?} {name}"),
            }
        }
    }
}

/// The list asks for every property that the mapping reads.
#[test]
fn lists_ask_for_what_is_mapped() {
    for (entity, _, properties) in samples() {
        let preset: Value = serde_json::from_str(include_str!("../../../connectors/hubspot.json")).unwrap();
        let path = preset["entities"][entity.as_str()]["list"]["path"].as_str().unwrap().to_owned();
        let asked: BTreeSet<&str> = path.split_once("properties=").unwrap().1.split(',').collect();
        assert_eq!(asked, properties.as_object().unwrap().keys().map(String::as_str).collect());
    }
}

/// The documents do say no.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "want string, but got number")]
async fn a_number_is_not_what_hubspot_describes() {
    let outgoing = [create("con_1", json!({"firstname": 5}))];
    drop(hubspot(Entity::Contact).sync(&preset(&json!({})), &outgoing).await);
}

/// Bodies in the form of HubSpot's documentation and of recorded answers, which keep less to the schemas than their own.
#[tokio::test(start_paused = true)]
async fn published_errors_are_understood() {
    let table = [
        (
            answer(
                401,
                &json!({"status": "error", "message": "The OAuth token used to make this call expired 1 day(s) ago.",
                "correlationId": "c", "category": "EXPIRED_AUTHENTICATION"}),
            ),
            "unauthorized",
            "expired 1 day(s) ago",
        ),
        (
            answer(
                403,
                &json!({"status": "error", "message": "This app hasn't been granted all required scopes",
                "errors": [{"message": "One or more of the following scopes are required."}], "category": "MISSING_SCOPES"}),
            ),
            "forbidden",
            "required scopes",
        ),
        (
            answer(
                409,
                &json!({"status": "error", "message": "Contact already exists. Existing ID: 512", "category": "CONFLICT"}),
            ),
            "conflict",
            "Existing ID: 512",
        ),
        (
            answer(
                429,
                &json!({"status": "error", "message": "You have reached your daily limit.", "errorType": "RATE_LIMIT",
                "policyName": "DAILY"}),
            ),
            "try_later",
            "daily limit",
        ),
        (
            answer(
                207,
                &json!({"status": "COMPLETE", "results": [], "numErrors": 1, "startedAt": AT, "completedAt": AT,
                "errors": [{"status": "error", "category": "VALIDATION_ERROR",
                    "message": "Property values were not valid: [{\"isValid\":false,\"error\":\"PROPERTY_DOESNT_EXIST\"}]",
                    "context": {"objectWriteTraceId": ["con_1"]}}]}),
            ),
            "invalid_record",
            "PROPERTY_DOESNT_EXIST",
        ),
    ];
    for (answered, code, said) in table {
        let crm = Crm::answering(answered);
        let error = crm.sync(&preset(&json!({})), &[create("con_1", json!({}))]).await.remove(0).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.for_tenant().contains(said), "{}", error.for_tenant());
    }
}
