//! A registered system, whose events make contacts, companies and interactions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Counts;
use crate::records::Entity;

pub const SOURCE: &str = "source";

/// The system as an integration of the tenant.
pub fn integration() -> Value {
    let phone = |path: &str| json!({"path": path, "transform": "phone", "required": true});
    json!({
        "system_id": SOURCE,
        "signature": {"scheme": "standard"},
        "batch": true,
        "limits": {"per_minute": 1_000_000, "per_day": 10_000_000},
        "mapping": {
            "system_id": SOURCE,
            "event_id": "id",
            "event_type": "type",
            "occurred_at": "at",
            "key": "record",
            "events": {
                "contact": {"record": "contact", "fields": {
                    "first_name": {"path": "first_name"},
                    "last_name": {"path": "last_name"},
                    "phone_number": phone("phone"),
                    "email": {"path": "email", "validate": "email"},
                    "company_name": {"path": "company"},
                }},
                "company": {"record": "company", "fields": {
                    "name": {"path": "name"},
                    "domain": {"path": "domain"},
                    "phone_number": phone("phone"),
                }},
                "call": {"interaction_type": "outbound_call", "fields": {
                    "phone_number": phone("phone"),
                    "outcome": {"path": "outcome"},
                    "duration_seconds": {"path": "seconds", "transform": "duration"},
                    "agent_name": {"path": "agent"},
                }},
            },
        },
    })
}

/// The number of a contact, whose calls are the interactions.
pub fn phone(contact: usize) -> String {
    format!("+1415{}", 2_000_000 + contact)
}

/// The interactions of a contact: all contacts have their turns.
pub fn interactions_of(contact: usize, counts: Counts) -> usize {
    (contact..counts.interactions).step_by(counts.contacts).count()
}

/// The event that makes the record with this number.
pub fn event(entity: Entity, number: usize, counts: Counts, at: Timestamp) -> Value {
    let mut event = match entity {
        Entity::Contact => json!({
            "type": "contact",
            "first_name": format!("First {number}"),
            "last_name": format!("Last {number}"),
            "phone": phone(number),
            "email": format!("contact-{number}@example.com"),
            "company": format!("Company {}", number % counts.companies.max(1)),
        }),
        Entity::Company => json!({
            "type": "company",
            "name": format!("Company {number}"),
            "domain": format!("company-{number}.example"),
            "phone": phone(counts.contacts + number),
        }),
        Entity::Interaction => json!({
            "type": "call",
            "phone": phone(number % counts.contacts),
            "outcome": (if number.is_multiple_of(3) { "interested" } else { "no_answer" }),
            "seconds": 30 + number % 300,
            "agent": "Sarah",
        }),
    };
    event["id"] = format!("{}-{number}", entity.name()).into();
    event["record"] = event["id"].clone();
    event["at"] = at.to_string().into();
    event
}
