//! The whole engine: every sample event through its rule, the contract's examples, and properties.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::phone::Region;

mod expected;
mod hubspot;
mod properties;
mod samples;

/// Compiles a rule that a test relies on.
fn compiled(rule: &Value) -> CompiledRule {
    match parse_rule(rule).and_then(|rule| rule.compile()) {
        Ok(rule) => rule,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn builtin_rule(system_id: &str) -> CompiledRule {
    let json = builtin(system_id).unwrap_or_else(|| panic!("{system_id} has a built-in rule"));
    compiled(&serde_json::from_str(json).expect("JSON"))
}

fn no_headers(_: &str) -> Option<&'static str> {
    None
}

/// Maps a payload by the type that the rule finds in it.
fn map(rule: &CompiledRule, payload: &Value) -> Outcome {
    rule.map(rule.event_type(payload, &no_headers).as_deref(), payload, &Region::default())
}

fn mapped(outcome: Outcome) -> Mapped {
    match outcome {
        Outcome::Mapped(mapped) => mapped,
        other => panic!("{other:?}"),
    }
}

fn failure(outcome: Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Failed { code, error, .. } => (code, error),
        other => panic!("{other:?}"),
    }
}

fn values(mapped: &Mapped) -> BTreeMap<&str, Value> {
    mapped.fields.iter().map(|(name, field)| (name.as_str(), field.value.clone())).collect()
}

#[test]
fn a_contact_or_a_company_is_emptied_by_null_or_a_blank_text() {
    let fields = json!({
        "email": {"path": ["a.email", "b.email"], "validate": "email"},
        "phone_number": {"path": "a.phone", "transform": "phone"},
        "first_name": {"path": "a.first", "default": "Nobody"},
        "updated_at": {"path": "a.at", "transform": "timestamp"},
    });
    let map_as = |more: Value, payload: &Value| {
        let mut event = json!({"key": "id", "fields": fields});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mapped = mapped(map(&compiled(&json!({"system_id": "erp", "events": {"*": event}})), payload));
        json!(values(&mapped))
    };
    for (payload, expected) in [
        (json!({"id": "1"}), json!({"first_name": "Nobody"})),
        (json!({"id": "1", "a": {"email": null, "at": null}}), json!({"email": null, "first_name": "Nobody"})),
        (json!({"id": "1", "b": {"email": " "}}), json!({"email": null, "first_name": "Nobody"})),
        (json!({"id": "1", "a": {"phone": "", "first": "Ada"}}), json!({"phone_number": null, "first_name": "Ada"})),
        (
            json!({"id": "1", "a": {"email": null}, "b": {"email": "b@example.com"}}),
            json!({"email": "b@example.com", "first_name": "Nobody"}),
        ),
    ] {
        assert_eq!(map_as(json!({"record": "contact"}), &payload), expected, "{payload}");
    }
    let null = json!({"id": "1", "a": {"phone": null}});
    for other in [
        json!({"record": "contact", "action": "delete"}),
        json!({"interaction_type": "note", "without_phone": "wait", "fields": {"phone_number": fields["phone_number"]}}),
    ] {
        assert_eq!(map_as(other.clone(), &null).get("phone_number"), None, "{other}");
    }
}

/// The example of contract §3, as it stands there.
fn contract_rule() -> Value {
    json!({"system_id":"sarah_ai","event_id":"event_id","event_type":"event_type",
     "events":{"call.ended":{"interaction_type":"outbound_call",
       "fields":{
         "phone_number":{"path":"call.destination_number","transform":"phone","required":true},
         "duration_seconds":{"path":"call.duration_seconds","transform":"duration"},
         "outcome":{"path":"call.disposition","transform":{"lookup":{"INTERESTED":"interested"},"default":"other"}}}}}})
}

fn ended(call: &Value) -> Value {
    json!({"event_id": "e1", "event_type": "call.ended", "call": call})
}

#[test]
fn the_contracts_example_maps_as_it_says() {
    let rule = compiled(&contract_rule());
    let payload = ended(&json!({
        "id": "c1", "destination_number": "(415) 555-0132", "duration_seconds": "3:05", "disposition": "INTERESTED"}));
    assert_eq!(rule.event_id(&payload).as_deref(), Some("e1"));
    let mapped = mapped(map(&rule, &payload));
    assert_eq!(mapped.target, Target::Interaction { interaction_type: "outbound_call".to_owned() });
    assert_eq!(
        json!(values(&mapped)),
        json!({"phone_number": "+14155550132", "duration_seconds": 185, "outcome": "interested"})
    );
    // The head of the built-in rule fills what this one leaves out.
    assert_eq!(mapped.key.as_deref(), Some("c1"));
    assert_eq!(mapped.warnings, [""; 0]);
}

#[test]
fn what_can_not_be_taken_is_left_out_or_fails_the_event() {
    let rule = compiled(&contract_rule());
    let phone = "+14155550132";
    let soon = mapped(map(&rule, &ended(&json!({"destination_number": phone, "duration_seconds": "soon"}))));
    assert_eq!(json!(values(&soon)), json!({"phone_number": phone}));
    assert_eq!(
        soon.warnings,
        [
            "duration_seconds was left out: the value of call.duration_seconds is not a duration from 0 to 316224000 seconds."
        ]
    );
    let table = [
        (json!({}), code::NO_CUSTOMER_PHONE, "No customer phone: call.destination_number found nothing."),
        (json!({"destination_number": " "}), code::NO_CUSTOMER_PHONE, "No customer phone: "),
        (
            json!({"destination_number": "nobody at all"}),
            code::INVALID_PHONE_NUMBER,
            "The field phone_number can't be taken",
        ),
        (json!({"destination_number": {}}), code::INVALID_PHONE_NUMBER, "The field phone_number can't be taken"),
    ];
    for (call, code, error) in table {
        let failure = failure(map(&rule, &ended(&call)));
        assert_eq!(failure.0, code);
        assert!(failure.1.starts_with(error), "{}", failure.1);
    }
    let other = json!({"event_type": "call.lost"});
    assert_eq!(failure(map(&rule, &other)).0, code::UNKNOWN_EVENT_TYPE);
    assert_eq!(failure(map(&rule, &json!({}))).0, code::NO_EVENT_TYPE);
}

#[test]
fn required_fields_fail_the_event_and_all_are_named() {
    let rule = compiled(&json!({"events": {"*": {"record": "company", "fields": {
        "name": {"path": "n", "required": true},
        "domain": {"path": "d", "required": true, "validate": {"pattern": "^[a-z.]+$"}},
        "phone_number": {"path": "p"}}}}}));
    let (code, error) = failure(map(&rule, &json!({"d": "NO"})));
    assert_eq!(code, code::INVALID_FIELD);
    assert_eq!(
        error,
        "The field domain can't be taken: the value of d does not match the pattern. \
         The required field name is missing: n found nothing."
    );
    // A record's phone number doesn't say whose it is, so it is left out like any other field.
    let mapped = mapped(map(&rule, &json!({"d": "a.b", "n": "A", "p": "none yet"})));
    assert_eq!(mapped.target, Target::Company);
    assert_eq!((mapped.fields.len(), mapped.warnings.len()), (2, 1));
}

#[test]
fn an_event_without_a_number_fails_waits_or_is_ignored() {
    let rule = |policy: Option<&str>| {
        let mut rule = json!({"key": "id", "events": {"*": {"interaction_type": "x", "fields": {
            "phone_number": {"path": "phone"}}}}});
        if let Some(policy) = policy {
            rule["without_phone"] = json!(policy);
        }
        compiled(&rule)
    };
    let payload = json!({"id": 7});
    assert_eq!(failure(map(&rule(None), &payload)).0, code::NO_CUSTOMER_PHONE);
    assert_eq!(failure(map(&rule(Some("fail")), &payload)).0, code::NO_CUSTOMER_PHONE);
    assert_eq!(map(&rule(Some("ignore")), &payload), Outcome::Ignored { event_type: "*".to_owned() });
    let waiting = mapped(map(&rule(Some("wait")), &payload));
    assert_eq!((waiting.key.as_deref(), waiting.text("phone_number")), (Some("7"), None));
    // Nothing to wait under.
    assert_eq!(failure(map(&rule(Some("wait")), &json!({}))).0, code::NO_CUSTOMER_PHONE);
}

#[test]
fn github_types_stand_in_a_header_with_their_action() {
    let payload = json!({"action": "opened", "issue": {"body": "+1 415 555 0132", "id": 5}});
    let event = json!({"interaction_type": "github_issue", "fields": {"phone_number": {"path": "issue.body"}}});
    let headers = |name: &str| (name == "x-github-event").then_some("issues");
    for (name, matches) in [("issues.opened", true), ("issues", true), ("*", true), ("issues.closed", false)] {
        let rule = compiled(&json!({"system_id": "github", "events": {name: event}}));
        let event_type = rule.event_type(&payload, &headers);
        assert_eq!(event_type.as_deref(), Some("issues.opened"));
        let outcome = rule.map(event_type.as_deref(), &payload, &Region::default());
        assert_eq!(matches!(outcome, Outcome::Mapped(_)), matches, "{name}: {outcome:?}");
        if !matches {
            assert_eq!(outcome, Outcome::Ignored { event_type: "issues.opened".to_owned() });
        }
    }
    let rule = compiled(&json!({"system_id": "github", "events": {"issues": event}}));
    // An event without a number is none of the CRM's business.
    let silent = json!({"action": "opened"});
    assert!(matches!(rule.map(Some("issues.opened"), &silent, &Region::default()), Outcome::Ignored { .. }));
    assert_eq!(rule.event_type(&payload, &no_headers), None);
}

#[test]
fn an_unnamed_type_of_a_registered_system_is_ignored() {
    let rule = compiled(&json!({"event_type": "type", "events": {}}));
    assert_eq!(map(&rule, &json!({"type": "x"})), Outcome::Ignored { event_type: "x".to_owned() });
}

#[test]
fn outward_reverses_what_has_an_inverse() {
    let rule = compiled(&json!({"events": {"*": {"record": "contact", "fields": {
        "first_name": {"path": "properties.names[0]", "transform": "trim"},
        "last_name": {"path": ["properties.all | [1]", "properties.names[1]"]},
        "phone_number": {"path": "properties.phone", "transform": "phone"},
        "email": {"path": "properties.emails[-1]"},
        "company_name": {"path": "properties.names[0].company"},
        "updated_at": {"path": "updated", "transform": "timestamp"},
        "custom_fields.tier": {"path": "tier", "transform": {"lookup": {"GOLD": "gold", "AU": "gold", "TIN": "tin"}}},
        "custom_fields.kind": {"path": "kind", "transform": {"lookup": {"P": "person"}, "default": "other"}},
        "custom_fields.spent": {"path": "spent", "transform": {"money": {"unit": "major", "currency": "KWD"}}},
        "custom_fields.talked": {"path": "talked", "transform": {"duration": "milliseconds"}},
        "custom_fields.source": {"transform": {"constant": "crm"}},
        "custom_fields.tags": {"path": "tags", "transform": "join"}}}}}));
    let record = json!({"id": "con_1", "first_name": "Ada", "last_name": "Lovelace", "phone_number": "+442079460958",
        "email": "ada@example.com", "company_name": "Engines", "updated_at": "2026-01-15T10:30:00Z",
        "custom_fields": {"tier": "gold", "kind": "person", "spent": 12_345, "talked": 185, "source": "crm", "tags": "a b"}});
    let outward = rule.outward("*", record.as_object().expect("an object"), Nulls::Skip).expect("the event is named");
    assert_eq!(
        outward.value,
        json!({"properties": {"names": ["Ada", "Lovelace"], "phone": "+442079460958"}, "updated": "2026-01-15T10:30:00Z",
            "kind": "P", "spent": "12.345", "talked": 185_000})
    );
    assert_eq!(outward.left_out, ["company_name", "custom_fields.tags", "custom_fields.tier", "email"]);
    let tin = json!({"custom_fields": {"tier": "tin", "kind": "other"}});
    let outward = rule.outward("*", tin.as_object().expect("an object"), Nulls::Skip).expect("the event is named");
    assert_eq!((outward.value, outward.left_out), (json!({"tier": "TIN"}), vec!["custom_fields.kind".to_owned()]));
}

#[test]
fn outward_a_bag_and_what_leads_into_it_make_one_object_and_nulls_are_sent_where_asked_for() {
    let rule = compiled(&json!({"events": {"*": {"record": "contact", "fields": {
        "custom_fields": {"path": "extra"},
        "custom_fields.deep": {"path": "extra.a.b"},
        "smrt_crm_id": {"path": "extra.smrt_crm_id"},
        "company_name": {"path": "extra.company"},
        "email": {"path": "mail"},
        "first_name": {"path": "mail"},
        "phone_number": {"path": "phone", "transform": "phone"},
        "success_rate": {"path": "rate", "transform": ["string", "number"]}}}}}));
    let table = [
        (
            json!({"smrt_crm_id": "con_1", "custom_fields": {"x": 1}}),
            json!({"extra": {"x": 1, "smrt_crm_id": "con_1"}}),
        ),
        // The longer path decides, in whatever order the names sort.
        (
            json!({"company_name": "A", "smrt_crm_id": "con_1",
                "custom_fields": {"smrt_crm_id": "forged", "company": "B", "a": {"c": 1}, "deep": 2}}),
            json!({"extra": {"smrt_crm_id": "con_1", "company": "A", "a": {"b": 2, "c": 1}, "deep": 2}}),
        ),
        (json!({"custom_fields": {"x": null}}), json!({"extra": {"x": null}})),
        (json!({"success_rate": 0.25}), json!({"rate": "0.25"})),
    ];
    for (record, expected) in table {
        for nulls in [Nulls::Skip, Nulls::Send] {
            let outward = rule.outward("*", record.as_object().expect("an object"), nulls).expect("named");
            assert_eq!((outward.value, outward.left_out), (expected.clone(), Vec::<String>::new()), "{record}");
        }
    }
    let table = [
        (json!({"email": null, "phone_number": null}), json!({"mail": null, "phone": null}), json!({})),
        (
            json!({"custom_fields": {"deep": null}}),
            json!({"extra": {"a": {"b": null}, "deep": null}}),
            json!({"extra": {"deep": null}}),
        ),
        (json!({"custom_fields": null}), json!({"extra": null}), json!({})),
        (
            json!({"custom_fields": null, "smrt_crm_id": "con_1"}),
            json!({"extra": {"smrt_crm_id": "con_1"}}),
            json!({"extra": {"smrt_crm_id": "con_1"}}),
        ),
    ];
    for (record, sent, skipped) in table {
        let record = record.as_object().expect("an object");
        assert_eq!(rule.outward("*", record, Nulls::Send).expect("named").value, sent, "{record:?}");
        assert_eq!(rule.outward("*", record, Nulls::Skip).expect("named").value, skipped, "{record:?}");
    }
    // Of two fields with one path the first counts, be it null.
    let both = json!({"email": null, "first_name": "Ada"});
    let outward = rule.outward("*", both.as_object().expect("an object"), Nulls::Send).expect("named");
    assert_eq!((outward.value, outward.left_out), (json!({"mail": null}), vec!["first_name".to_owned()]));
}

#[test]
fn a_preview_tells_everything() {
    let payload = ended(&json!({"destination_number": "4155550132", "duration_seconds": -1, "id": 7}));
    let mut rule = contract_rule();
    rule["events"]["call.ended"]["fields"]["metadata.sarah_call_id"] = json!({"path": "call.id"});
    rule["events"]["call.ended"]["fields"]["agent_name"] = json!({"path": ["agent.name", "agent.display_name"]});
    let shown = preview(&rule, &payload, &Region::default());
    assert_eq!(
        serde_json::to_value(&shown).expect("JSON"),
        json!({"event_id": "e1", "event_type": "call.ended", "interaction_type": "outbound_call", "record": "interaction",
            "fields": {"phone_number": "+14155550132", "metadata": {"sarah_call_id": 7}},
            "warnings": [
                "fields.agent_name: path agent.name or agent.display_name found nothing",
                "fields.outcome: path call.disposition found nothing",
                "duration_seconds was left out: the value of call.duration_seconds is not a duration from 0 to 316224000 seconds."],
            "errors": []})
    );
    let table = [
        (json!({"events": 5}), json!({}), "events: is not an object"),
        (json!({"event_type": "t", "events": {}}), json!({}), "The event's type is not known: t found nothing."),
        (json!({"event_type": "t", "events": {}}), json!({"t": "x"}), "The rule doesn't name this event type."),
        (contract_rule(), ended(&json!({})), "No customer phone: call.destination_number found nothing."),
    ];
    for (rule, payload, error) in table {
        assert_eq!(preview(&rule, &payload, &Region::default()).errors, [error]);
    }
    let issues = json!({"system_id": "github", "events": {"issues": {"interaction_type": "x", "fields": {
        "phone_number": {"path": "phone"}}}}});
    let shown = preview(&issues, &json!({"phone": "4155550132"}), &Region::default());
    assert_eq!((shown.event_type.as_deref(), shown.errors), (Some("issues"), vec![]));
}

#[test]
fn a_compiled_rule_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<CompiledRule>();
}

#[test]
fn a_rule_survives_being_stored() {
    for system_id in BUILTIN_SYSTEMS {
        let json: Value = serde_json::from_str(builtin(system_id).expect("built in")).expect("JSON");
        let rule = parse_rule(&json).expect("of the right form");
        let stored = serde_json::to_value(&rule).expect("JSON");
        assert_eq!(stored, json, "{system_id}");
        assert_eq!(parse_rule(&stored), Ok(rule));
    }
    assert_eq!(builtin("helpdesk"), None);
}
