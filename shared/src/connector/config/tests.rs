//! Configuration, good and bad.

use serde_json::json;

use super::*;
use crate::{
    mapping::{self, Nulls, Outcome},
    phone::Region,
};

fn with(more: Value) -> Value {
    let mut json = json!({"base_url": "https://crm.example/api"});
    if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
        json.extend(more);
    }
    json
}

fn faults(json: &Value) -> Vec<String> {
    Outbound::compile(json).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn contact(parts: &Value) -> Value {
    with(Value::Object(Map::from_iter([("entities".to_owned(), json!({"contact": parts}))])))
}

#[test]
fn presets_compile_as_they_are_and_as_a_tenants_own() {
    for (name, preset) in [("generic", Preset::Generic), ("hubspot", Preset::Hubspot)] {
        let outbound = Outbound::compile(&with(json!({"preset": name}))).unwrap();
        assert_eq!(outbound.entities().collect::<Vec<_>>(), Entity::ALL);
        assert!(outbound.validate.is_some());
        let mut own = preset.json();
        own["base_url"] = "https://crm.example".into();
        assert_eq!(faults(&own), Vec::<String>::new());
        for entity in Entity::ALL {
            let plan = outbound.entity(entity).unwrap();
            assert!(plan.deletes() && plan.finds() && plan.lists());
            // A preset's plan is compiled once for all tenants.
            let again = Outbound::compile(&with(json!({"preset": name}))).unwrap();
            assert!(std::ptr::eq(plan, again.entity(entity).unwrap()));
        }
    }
}

#[test]
fn what_is_left_out_is_the_presets() {
    let outbound = Outbound::compile(&with(json!({"timeout_seconds": 30, "entities": {
        "company": false,
        "interaction": null,
        "contact": {"create": {"path": "/people"}, "delete": null, "find": {"items": "found"}, "list": null,
            "fields": {"smrt_crm_id": {"path": "ours"}, "email": {"path": "mail"}}}}})))
    .unwrap();
    assert_eq!(outbound.timeout(), Duration::from_secs(30));
    assert_eq!(outbound.entities().collect::<Vec<_>>(), [Entity::Contact, Entity::Interaction]);
    let plan = outbound.entity(Entity::Contact).unwrap();
    assert_eq!((plan.create.method.as_str(), plan.create.path.shown()), ("POST", "/people"));
    assert_eq!((plan.update.method.as_str(), plan.update.path.shown()), ("PATCH", "/contacts/{external_id}"));
    assert_eq!((plan.deletes(), plan.finds(), plan.lists()), (false, true, false));
    assert_eq!(plan.find.as_ref().unwrap().call.path.shown(), "/contacts");
    assert_eq!(plan.fields().collect::<Vec<_>>(), ["email", "smrt_crm_id"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let json = json!({"preset": "salesforce", "base_url": "ftp://x", "colour": "red", "timeout_seconds": 31,
        "auth": {"type": "oauth2", "token_url": "nowhere", "client_auth": "header"},
        "entities": {"deal": {}}});
    let mut fields: Vec<_> = faults(&json).iter().map(|fault| fault.split(':').next().unwrap().to_owned()).collect();
    let mut expected =
        ["colour", "preset", "base_url", "timeout_seconds", "auth.token_url", "auth.client_id", "auth.client_auth"]
            .map(|field| format!("outbound.{field}"));
    expected.sort_unstable();
    fields.sort_unstable();
    assert_eq!(fields, expected);
    let json = with(json!({"entities": {"deal": {}, "company": 5, "contact": {
        "creat": {}, "update": {"path": "/x"}, "delete": {"method": "TRACE"}, "find": {"path": "/y"},
        "list": {"next": null}, "id": "a..b", "wrap": 5, "clear": {}, "interaction_type": "call",
        "fields": {"first_name": {"path": "x", "transform": "fone"}, "nam": {"path": "x"}, "smrt_crm_id": {"path": "x"}}}}}));
    let mut faults = faults(&json);
    faults.sort_unstable();
    let expected = [
        "outbound.entities.company: must be an object, or false",
        "outbound.entities.contact.clear: must be null, text, a number",
        "outbound.entities.contact.creat: there is no such field; there are create, update",
        "outbound.entities.contact.delete.method: must be one of GET, POST, PUT, PATCH, DELETE",
        "outbound.entities.contact.fields.first_name: there is no transform `fone`",
        "outbound.entities.contact.fields.nam: there is no field `nam`",
        "outbound.entities.contact.find.path: must have `{id}`",
        "outbound.entities.contact.id: `a..b` is neither",
        "outbound.entities.contact.interaction_type: belongs to interactions only",
        "outbound.entities.contact.list.next: and `cursor_param` go together",
        "outbound.entities.contact.update.path: must have `{external_id}`",
        "outbound.entities.contact.wrap: must be text",
        "outbound.entities.deal: is none of contact, company and interaction",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn each_wrong_part_has_a_reason() {
    let table = [
        (json!([]), "outbound: must be an object"),
        (json!({}), "outbound.base_url: is required"),
        (with(json!({"base_url": 5})), "outbound.base_url: must be text"),
        (with(json!({"base_url": "https://a.example/?key=1"})), "outbound.base_url: must not have a query"),
        (with(json!({"base_url": "https://a.example/?"})), "outbound.base_url: must not have a query"),
        (with(json!({"base_url": "https://u:p@a.example/"})), "outbound.base_url: the URL has a user"),
        (with(json!({"preset": 5})), "outbound.preset: must be"),
        (with(json!({"timeout_seconds": 0})), "outbound.timeout_seconds: must be a whole number from 1 to 30"),
        (with(json!({"timeout_seconds": "5"})), "outbound.timeout_seconds: must be a whole number"),
        (with(json!({"auth": "key"})), "outbound.auth: must be an object"),
        (with(json!({"auth": {"type": "digest"}})), "outbound.auth.type: must be one of api_key"),
        (with(json!({"auth": {"type": "api_key"}})), "outbound.auth.header: is required"),
        (with(json!({"auth": {"type": "api_key", "header": "a b"}})), "outbound.auth.header: is no header's name"),
        (with(json!({"auth": {"type": "api_key", "header": "Host"}})), "outbound.auth.header: is reserved"),
        (with(json!({"auth": {"type": "api_key", "header": "Idempotency-Key"}})), "outbound.auth.header: is reserved"),
        (with(json!({"auth": {"type": "api_key", "header": "Sec-Fetch-Mode"}})), "outbound.auth.header: is reserved"),
        (with(json!({"auth": {"type": "basic", "username": "a:b"}})), "outbound.auth.username: must not have a colon"),
        // A secret that wasn't taken out is never stored.
        (with(json!({"auth": {"type": "bearer", "token": "x"}})), "outbound.auth.token: there is no such field"),
        (with(json!({"auth": {"type": "bearer", "password": "x"}})), "outbound.auth.password: there is no such field"),
        (
            with(json!({"auth": {"type": "oauth2", "token_url": "https://u@a.example/", "client_id": "x"}})),
            "outbound.auth.token_url: the URL has a user",
        ),
        (with(json!({"validate": {"path": "me"}})), "outbound.validate.path: must begin with one `/`"),
        (with(json!({"validate": {"path": "/{id}"}})), "outbound.validate.path: must not have a placeholder"),
        (with(json!({"validate": {"path": "/me", "body": {}}})), "outbound.validate.body: there is no such field"),
        (with(json!({"entities": []})), "outbound.entities: must be an object"),
        (with(json!({"entities": {"Contact": {}}})), "outbound.entities.Contact: is none of"),
        (with(json!({"entities": {"contact": "off"}})), "outbound.entities.contact: must be an object, or false"),
        (contact(&json!({"create": null})), "outbound.entities.contact.create: is required"),
        (contact(&json!({"create": "/contacts"})), "outbound.entities.contact.create: must be an object"),
        (
            contact(&json!({"create": {"path": "/c/{external_id}"}})),
            "contact.create.path: must not have `{external_id}`",
        ),
        (contact(&json!({"create": {"body": {}}})), "contact.create.body: there is no such field"),
        (contact(&json!({"delete": {"body": 5}})), "contact.delete.body: must be an object"),
        (contact(&json!({"delete": {"path": "/c"}})), "contact.delete.path: must have `{external_id}`"),
        (contact(&json!({"list": {"path": "/c/{id}"}})), "contact.list.path: must not have a placeholder"),
        (contact(&json!({"list": {"cursor_param": null}})), "contact.list.next: and `cursor_param` go together"),
        (contact(&json!({"list": {"items": 5}})), "contact.list.items: must be a path or a list of paths"),
        (contact(&json!({"id": null})), "contact.id: is required"),
        (contact(&json!({"id": []})), "contact.id: must be a path or a list of paths"),
        (contact(&json!({"fields": {}})), "contact.fields: must be an object of at least one field"),
        (contact(&json!({"fields": {"smrt_crm_id": {"pth": "x"}}})), "contact.fields.smrt_crm_id: unknown field `pth`"),
        (contact(&json!({"fields": null})), "contact.fields: must be an object of at least one field"),
        (contact(&json!({"fields": {"email": {"path": "e"}}})), "contact.find: needs a field `smrt_crm_id`"),
        (contact(&json!({"fields": {"email": {}}, "find": null})), "contact.fields.email: needs a `path`"),
        (contact(&json!({"batch": {"max": 0}})), "contact.batch.max: must be a whole number from 1 to 1000"),
        (
            contact(&json!({"batch": {"max": 5, "upsert": "/u"}})),
            "contact.batch.id_property: is required with `upsert`",
        ),
    ];
    for (json, expected) in table {
        let said = faults(&json);
        assert!(said.len() == 1 && said[0].contains(expected), "{json}: {said:#?}");
    }
}

#[test]
fn what_a_deployment_may_call_is_checked_apart() {
    let json = json!({"base_url": "http://127.0.0.1:8080/api/", "auth": {"type": "oauth2",
        "token_url": "http://auth.internal/token", "client_id": "x"}});
    let outbound = Outbound::compile(&json).unwrap();
    let fields = |reach| outbound.check(reach).into_iter().map(|error| error.field).collect::<Vec<_>>();
    assert_eq!(fields(Reach::Public), ["outbound.base_url", "outbound.auth.token_url"]);
    assert_eq!(fields(Reach::Loopback), ["outbound.auth.token_url"]);
    assert_eq!(fields(Reach::Any), Vec::<String>::new());
    assert_eq!(outbound.endpoint("/contacts").unwrap().as_str(), "http://127.0.0.1:8080/api/contacts");
    assert_eq!(format!("{outbound:?}"), "Outbound(Endpoint(http://127.0.0.1:8080/…), [Contact, Company, Interaction])");
}

#[test]
fn records_go_out_and_come_in_by_one_mapping() {
    let outbound = Outbound::compile(&with(json!({}))).unwrap();
    let plan = outbound.entity(Entity::Contact).unwrap();
    let record = json!({"first_name": "Ada", "phone_number": "+442079460958", "email": null, "updated_at": "2026-01-15T10:30:00Z",
        "custom_fields": {"tier": "gold"}, "smrt_crm_id": "con_1", "last_contact_at": "2026-01-14T10:30:00Z", "success_rate": 0.25});
    let custom = json!({"tier": "gold", "smrt_crm_id": "con_1", "last_call_date": "2026-01-14T10:30:00Z", "call_success_rate": 0.25});
    let body = json!({"first_name": "Ada", "phone": "+442079460958", "email": null, "custom_fields": custom});
    assert_eq!(plan.body(record.as_object().unwrap(), Nulls::Send).value, body);
    // Part of a record is part of a body.
    let part = json!({"custom_fields": {"tier": null}, "updated_at": "2026-01-15T10:30:00Z"});
    assert_eq!(plan.body(part.as_object().unwrap(), Nulls::Send).value, json!({"custom_fields": {"tier": null}}));

    let mut listed = body;
    listed["id"] = 7.into();
    listed["updated_at"] = "2026-01-15T12:00:00+02:00".into();
    let Outcome::Mapped(mapped) = plan.map(&listed, &Region::default()) else { panic!("it is mapped") };
    assert_eq!(mapped.key.as_deref(), Some("7"));
    assert_eq!(mapped.text("updated_at"), Some("2026-01-15T10:00:00Z"));
    assert_eq!((mapped.text("smrt_crm_id"), mapped.text("first_name")), (Some("con_1"), Some("Ada")));
    assert_eq!(plan.our_id(&listed, &Region::default()).as_deref(), Some("con_1"));
    assert_eq!(plan.updated_at(&listed), Some("2026-01-15T10:00:00Z".parse().unwrap()));

    let plan = outbound.entity(Entity::Interaction).unwrap();
    let call = json!({"id": "9", "phone": "(415) 555-0132", "duration_seconds": "3:05"});
    let Outcome::Mapped(mapped) = plan.map(&call, &Region::default()) else { panic!("it is mapped") };
    assert_eq!(mapped.text("phone_number"), Some("+14155550132"));
    assert_eq!(mapped.target, mapping::Target::Interaction { interaction_type: "crm_interaction".to_owned() });
}
