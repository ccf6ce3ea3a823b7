//! What `GET /v1/event-types` says: each type with the JSON Schema of its payload, and an example.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Event, EventType};
use crate::{deliver::payload, ids::TenantId};

/// All types, each with a sentence, the JSON Schema (2020-12) of its payload, and an example of one.
#[must_use]
pub fn event_types() -> Vec<Value> {
    let one = |event_type: &EventType| {
        json!({
            "event_type": event_type.as_str(),
            "description": event_type.description(),
            "schema": schema(*event_type),
            "example": example(*event_type),
        })
    };
    EventType::ALL.iter().map(one).collect()
}

fn schema(event_type: EventType) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event_type.as_str(),
        "type": "object",
        "required": ["event_id", "event_type", "timestamp", "source_system", "tenant_id", "data", "metadata"],
        "properties": {
            "event_id": {"type": "string", "pattern": "^evt_[0-9a-z]+$", "description": "The same over all attempts; also `webhook-id`."},
            "event_type": {"const": event_type.as_str()},
            "timestamp": {"type": "string", "format": "date-time"},
            "source_system": {"const": super::SOURCE_SYSTEM},
            "tenant_id": {"type": "string"},
            "data": data_schema(event_type),
            "metadata": {
                "type": "object",
                "required": ["retry_count", "signature", "version"],
                "properties": {
                    "retry_count": {"type": "integer", "minimum": 0},
                    "signature": {"type": "string", "pattern": "^sha256=[0-9a-f]{64}$"},
                    "version": {"const": "1.0"},
                },
            },
        },
    })
}

fn object(required: &[&str], properties: &Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

fn data_schema(event_type: EventType) -> Value {
    let text = json!({"type": "string"});
    let maybe_text = json!({"type": ["string", "null"]});
    let time = json!({"type": "string", "format": "date-time"});
    let phone = json!({"type": "string", "pattern": "^\\+[1-9][0-9]{6,14}$"});
    match event_type {
        EventType::PhoneNumberCreated => object(&["phone_number"], &json!({"phone_number": phone})),
        EventType::InteractionCreated | EventType::InteractionUpdated => {
            let interaction = json!({
                "id": text, "type": maybe_text, "outcome": maybe_text, "duration_seconds": {"type": ["number", "null"]},
                "agent_name": maybe_text, "created_at": time, "occurred_at": time, "updated_at": time, "system_id": text,
                "metadata": {"type": "object"},
            });
            let interaction =
                object(&["id", "type", "outcome", "duration_seconds", "agent_name", "created_at"], &interaction);
            object(&["phone_number", "interaction"], &json!({"phone_number": phone, "interaction": interaction}))
        }
        EventType::PaymentRecorded => {
            let payment = json!({
                "interaction_id": text, "payment_id": text, "status": {"enum": ["succeeded", "failed"]},
                "amount": {"type": "integer", "description": "In minor units."}, "currency": {"type": "string"},
                "refunded": {"type": "integer", "description": "In minor units."}, "processor": text,
            });
            let payment = object(&["interaction_id", "status"], &payment);
            object(&["phone_number", "payment"], &json!({"phone_number": phone, "payment": payment}))
        }
        EventType::MerchantUpdated => record_schema("merchant"),
        EventType::ContactCreated | EventType::ContactUpdated | EventType::ContactDeleted => record_schema("contact"),
        EventType::CompanyCreated | EventType::CompanyUpdated | EventType::CompanyDeleted => record_schema("company"),
        EventType::OperationFailed => {
            let failure = json!({"id": text, "operation": text, "code": text, "error": text, "system_id": text});
            let failure = object(&["id", "operation", "code", "error"], &failure);
            object(&["failure"], &json!({"failure": failure}))
        }
        EventType::SubscriptionDisabled => {
            let subscription = json!({"id": text, "url": text, "disabled_reason": text, "disabled_at": time});
            let subscription = object(&["id", "url", "disabled_reason"], &subscription);
            object(&["subscription"], &json!({"subscription": subscription}))
        }
        EventType::WebhookTest => object(&["subscription_id"], &json!({"subscription_id": text, "message": text})),
    }
}

/// A record as `GET /v1/contacts/{id}` and the like show it.
fn record_schema(name: &str) -> Value {
    let record = object(
        &["id", "updated_at"],
        &json!({"id": {"type": "string"}, "updated_at": {"type": "string", "format": "date-time"}}),
    );
    json!({"type": "object", "required": [name], "properties": {name: record}})
}

fn example(event_type: EventType) -> Value {
    let at = Timestamp::constant(1_705_314_600, 0);
    let event = Event::transient(event_type, at, &example_data(event_type));
    // A name of the right form; the example's signature is that of a secret that anybody may know.
    let tenant =
        TenantId::parse("tenant_abc123").unwrap_or_else(|_| unreachable!("a tenant's name is of the right form"));
    let id = format!("{}0", crate::ids::sortable("evt", at, 0));
    let (body, _) = payload::build(&tenant, &id, &event, 0, &["whsec_ZXhhbXBsZS1vZi1hLXNlY3JldC1vbmx5"]);
    serde_json::from_str(&body).unwrap_or_default()
}

fn example_data(event_type: EventType) -> Value {
    let at = "2024-01-15T10:27:00Z";
    let contact = json!({"id": "con_4m7q", "first_name": "Ada", "last_name": "Lovelace", "phone_number": "+12345678900",
        "email": "ada@example.com", "company_id": null, "company_name": "Analytical Engines", "custom_fields": {},
        "system_id": "external_crm", "created_at": at, "updated_at": at});
    let company = json!({"id": "com_9x2k", "name": "Analytical Engines", "domain": "example.com", "phone_number": null,
        "custom_fields": {}, "system_id": "external_crm", "created_at": at, "updated_at": at});
    match event_type {
        EventType::PhoneNumberCreated => json!({"phone_number": "+12345678900"}),
        EventType::InteractionCreated | EventType::InteractionUpdated => {
            json!({"phone_number": "+12345678900", "interaction": {
            "id": "int_789xyz012", "type": "outbound_call", "outcome": "interested", "duration_seconds": 180,
            "agent_name": "John Smith", "created_at": at, "occurred_at": at, "updated_at": at, "system_id": "sarah_ai",
            "metadata": {"sarah_call_id": "call_1"}}})
        }
        EventType::PaymentRecorded => json!({"phone_number": "+12345678900", "payment": {
            "interaction_id": "int_789xyz012", "payment_id": "pay_1", "status": "succeeded", "amount": 4200,
            "currency": "USD", "processor": "card_connect"}}),
        EventType::MerchantUpdated => json!({"merchant": {"id": "mer_1c8w", "name": "Corner Shop", "status": "active",
            "metadata": {}, "system_id": "payment_processor", "created_at": at, "updated_at": at}}),
        EventType::ContactCreated | EventType::ContactUpdated | EventType::ContactDeleted => {
            json!({"contact": contact})
        }
        EventType::CompanyCreated | EventType::CompanyUpdated | EventType::CompanyDeleted => {
            json!({"company": company})
        }
        EventType::OperationFailed => json!({"failure": {"id": "fail_01hm6x", "operation": "process_inbound_event",
            "code": "unknown_phone_number", "error": "Customer phone not found in CRM; replay the event once the number is known",
            "system_id": "payment_processor"}}),
        EventType::SubscriptionDisabled => {
            json!({"subscription": {"id": "sub_01hm6x", "url": "https://example.com/hooks",
            "disabled_reason": "failing", "disabled_at": at}})
        }
        EventType::WebhookTest => {
            json!({"subscription_id": "sub_01hm6x", "message": "This is a test; there is nothing to do."})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_schema_whose_required_fields_its_example_has() {
        let types = event_types();
        assert_eq!(types.len(), EventType::ALL.len());
        for described in types {
            let (schema, example) = (&described["schema"], &described["example"]);
            check(schema, example, &described["event_type"].to_string());
        }
    }

    /// That objects have what is required of them, down to the leaves.
    fn check(schema: &Value, value: &Value, at: &str) {
        for name in schema["required"].as_array().into_iter().flatten().map(|n| n.as_str().unwrap()) {
            assert!(value.get(name).is_some(), "{at} lacks {name}");
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(name) {
                check(inner, value, &format!("{at}.{name}"));
                assert!(inner.get("const").is_none_or(|only| only == value), "{at}.{name}");
            }
        }
    }
}
