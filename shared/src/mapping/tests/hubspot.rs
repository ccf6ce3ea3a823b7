//! What HubSpot's notifications say, by the built-in rule. The bodies have the form of
//! <https://developers.hubspot.com/docs/api-reference/legacy/webhooks/guide>, with values of our own.

use serde_json::{Value, json};

use super::super::{Action, Outcome, Rule, Target, builtin, parse_rule};
use crate::phone::Region;

fn said(notification: &Value) -> Outcome {
    let json = serde_json::from_str(builtin("hubspot").unwrap()).unwrap();
    let rule: Rule = parse_rule(&json).unwrap();
    let rule = rule.compile().unwrap();
    let event_type = rule.event_type(notification, &|_| None);
    // HubSpot doesn't promise that an `eventId` is unique: the body tells one notification from another.
    assert_eq!(rule.event_id(notification), None);
    rule.map(event_type.as_deref(), notification, &Region::default())
}

fn notification(kind: &str, more: &Value) -> Value {
    let mut whole = json!({"eventId": 16401, "subscriptionId": 652, "portalId": 48, "appId": 39,
        "occurredAt": 1_768_478_400_123_i64, "subscriptionType": kind, "attemptNumber": 0, "objectId": 508,
        "changeSource": "CRM_UI", "sourceId": "userId:7"});
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

#[test]
fn each_notification_says_one_thing_of_one_record() {
    let changed = |name: &str, value: &str| json!({"propertyName": name, "propertyValue": value});
    let of = |type_id: &str, more: Value| {
        let mut more = more;
        more["objectTypeId"] = type_id.into();
        more
    };
    let contact = Target::Contact;
    let table = [
        ("contact.creation", json!({}), contact.clone(), Action::Upsert, None),
        (
            "contact.propertyChange",
            changed("firstname", "Ada"),
            contact.clone(),
            Action::Upsert,
            Some(("first_name", "Ada")),
        ),
        (
            "contact.propertyChange",
            changed("phone", "(415) 555-0132"),
            contact.clone(),
            Action::Upsert,
            Some(("phone_number", "+14155550132")),
        ),
        ("contact.propertyChange", changed("favourite_colour", "red"), contact.clone(), Action::Upsert, None),
        ("contact.deletion", json!({}), contact.clone(), Action::Delete, None),
        (
            "company.propertyChange",
            changed("domain", "Example.com "),
            Target::Company,
            Action::Upsert,
            Some(("domain", "example.com")),
        ),
        ("company.deletion", json!({}), Target::Company, Action::Delete, None),
        (
            "object.propertyChange",
            of("0-1", changed("email", "ADA@example.com")),
            contact.clone(),
            Action::Upsert,
            Some(("email", "ada@example.com")),
        ),
        ("object.deletion", of("0-2", json!({})), Target::Company, Action::Delete, None),
    ];
    for (kind, more, target, action, field) in table {
        let Outcome::Mapped(mapped) = said(&notification(kind, &more)) else { panic!("{kind} isn't mapped") };
        assert_eq!((&mapped.target, mapped.action, mapped.key.as_deref()), (&target, action, Some("508")), "{kind}");
        assert_eq!(mapped.text("updated_at"), Some("2026-01-15T12:00:00.123Z"), "{kind}");
        let others = mapped.fields.keys().filter(|name| *name != "updated_at");
        assert_eq!(others.collect::<Vec<_>>(), field.iter().map(|(name, _)| name).collect::<Vec<_>>(), "{kind}");
        assert!(field.is_none_or(|(name, value)| mapped.text(name) == Some(value)), "{kind} {:?}", mapped.fields);
        assert_eq!(mapped.warnings, [""; 0], "{kind}");
    }
    assert!(matches!(said(&notification("deal.creation", &json!({}))), Outcome::Ignored { .. }));
}
