//! Stored items as the API and events show them (contract §7, "The bodies that programs depend on").

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    phone::E164,
    process::{KeptEvent, Kind, payload_of, record_of},
    record::{OCCURRED_AT, Record},
    statistics::{Counters, counter, family, success_rate},
    store::Item,
};

/// A phone number with its statistics and payment history.
pub(crate) fn phone_number(phone: &E164, item: &Item, success_outcomes: &[String]) -> Value {
    let counters: Counters = item.numbers().map(|(name, n)| (name.to_owned(), n)).collect();
    let count = |name: &str| counters.get(name).copied().unwrap_or(0);
    let time =
        |name: &str| item.get_number(name).and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|t| t.to_string());
    json!({
        "phone_number": phone.as_str(),
        "statistics": {
            "total_interactions": count(counter::INTERACTIONS),
            "total_calls": count(counter::CALLS),
            "total_duration_seconds": count(counter::DURATION),
            "outcomes": family(&counters, counter::OUTCOME),
            "success_rate": success_rate(&counters, success_outcomes),
            "first_contact_at": time("f"),
            "last_contact_at": time("l"),
        },
        "payments": {
            "succeeded": count(counter::PAID),
            "failed": count(counter::UNPAID),
            "totals": family(&counters, counter::TOTAL),
            "refunded": family(&counters, counter::REFUNDED),
            "last_payment_at": time("pl"),
        },
    })
}

/// The item of an interaction, contact, company or merchant; `None` where the item isn't a record.
pub(crate) fn record_item(kind: Kind, item: &Item) -> Option<Value> {
    let system = item.get_text("sys").unwrap_or_default();
    Some(record(kind, item.get_text("sk")?, system, &record_of(item)?))
}

/// An interaction, contact, company or merchant with its id, and the system that it is of.
pub(crate) fn record(kind: Kind, id: &str, system: &str, record: &Record) -> Value {
    let mut view = Map::from_iter([("id".to_owned(), Value::from(id))]);
    let fixed: &[&str] = match kind {
        Kind::Interaction => &["phone_number", "interaction_type", "outcome", "duration_seconds", "agent_name"],
        Kind::Contact => &["first_name", "last_name", "phone_number", "email", "company_id", "company_name"],
        Kind::Company => &["name", "domain", "phone_number"],
        Kind::Merchant => &["name", "status"],
    };
    for name in fixed {
        view.insert((*name).to_owned(), record.get(name).cloned().unwrap_or_default());
    }
    view.insert("system_id".into(), system.into());
    let grouped = if matches!(kind, Kind::Interaction | Kind::Merchant) { "metadata" } else { "custom_fields" };
    let mut group = Map::new();
    for (name, value) in record.fields() {
        match name.split_once('.') {
            Some((first, rest)) if first == grouped => {
                group.insert(rest.to_owned(), value);
            }
            // Where the mapping gives all of them at once.
            _ if name == grouped => group.extend(value.as_object().cloned().unwrap_or_default()),
            // What marks a record for ourselves, and what a payment counts for, is shown elsewhere.
            _ if name.starts_with('$') || name.starts_with("payment.") || name == OCCURRED_AT => {}
            _ => {
                view.insert(name.to_owned(), value);
            }
        }
    }
    view.insert(grouped.into(), Value::Object(group));
    times(record, kind, &mut view);
    Value::Object(view)
}

fn times(record: &Record, kind: Kind, view: &mut Map<String, Value>) {
    let (created, updated) = record.received();
    if kind == Kind::Interaction {
        view.insert(OCCURRED_AT.into(), record.first_at().to_string().into());
    }
    view.insert("created_at".into(), created.to_string().into());
    view.entry("updated_at").or_insert_with(|| updated.to_string().into());
}

/// An inbound event.
#[expect(clippy::indexing_slicing, reason = "the view is an object")]
pub(crate) fn inbound_event(event: &KeptEvent) -> Value {
    let mut view = json!({
        "id": event.id,
        "system_id": event.system_id,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "status": event.status,
        "received_at": event.received_at.to_string(),
        "processing_ms": event.processing_ms,
        "warnings": event.warnings,
        "payload": event.payload(),
    });
    if let Some(error) = &event.error {
        view["error"] = error.clone().into();
    }
    if let Some(failure) = &event.failure_id {
        view["failure_id"] = failure.clone().into();
    }
    for (name, id) in &event.data {
        view[name] = id.clone();
    }
    view
}

/// A failure: what can't be done, why, and with what.
pub(crate) fn failure(item: &Item) -> Option<Value> {
    let text = |name: &str| item.get_text(name);
    Some(json!({
        "id": text("sk")?,
        "operation": text("op")?,
        "system_id": text("sys"),
        "error": text("err"),
        "code": text("code"),
        "attempts": item.get_number("attempts"),
        "first_failed_at": text("first"),
        "last_failed_at": text("last"),
        "inbound_event_id": text("inb"),
        "payload": payload_of(item),
    }))
}
