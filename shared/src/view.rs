//! Stored items as the API and events show them (contract §7, "The bodies that programs depend on").

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    phone::E164,
    process::{KeptEvent, Kind, Status, payload_of, record_of},
    record::{OCCURRED_AT, Record},
    statistics::{Counters, counter, family, success_rate},
    store::Item,
};

/// A view as JSON. All views are maps of texts, so that there is no error.
pub(crate) fn json_of(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

/// A phone number with its statistics and payment history.
#[expect(clippy::struct_field_names, reason = "the name is the contract's")]
#[derive(Serialize, JsonSchema)]
pub(crate) struct PhoneNumber {
    #[schemars(with = "E164")]
    phone_number: String,
    statistics: Statistics,
    payments: Payments,
}

/// What happened with a number.
#[derive(Serialize, JsonSchema)]
struct Statistics {
    total_interactions: i64,
    total_calls: i64,
    total_duration_seconds: i64,
    /// How many interactions had which outcome.
    outcomes: BTreeMap<String, i64>,
    /// The share of ended calls whose outcome is one of the tenant's `success_outcomes`.
    success_rate: f64,
    first_contact_at: Option<Timestamp>,
    last_contact_at: Option<Timestamp>,
}

/// What a number paid. Amounts are in minor units, by currency.
#[derive(Serialize, JsonSchema)]
struct Payments {
    succeeded: i64,
    failed: i64,
    totals: BTreeMap<String, i64>,
    refunded: BTreeMap<String, i64>,
    last_payment_at: Option<Timestamp>,
}

/// A number's item, shown.
pub(crate) fn phone_number(phone: &E164, item: &Item, success_outcomes: &[String]) -> Value {
    let counters: Counters = item.numbers().map(|(name, n)| (name.to_owned(), n)).collect();
    let count = |name: &str| counters.get(name).copied().unwrap_or(0);
    let time = |name: &str| item.get_number(name).and_then(|ms| Timestamp::from_millisecond(ms).ok());
    json_of(&PhoneNumber {
        phone_number: phone.as_str().to_owned(),
        statistics: Statistics {
            total_interactions: count(counter::INTERACTIONS),
            total_calls: count(counter::CALLS),
            total_duration_seconds: count(counter::DURATION),
            outcomes: family(&counters, counter::OUTCOME),
            success_rate: success_rate(&counters, success_outcomes),
            first_contact_at: time("f"),
            last_contact_at: time("l"),
        },
        payments: Payments {
            succeeded: count(counter::PAID),
            failed: count(counter::UNPAID),
            totals: family(&counters, counter::TOTAL),
            refunded: family(&counters, counter::REFUNDED),
            last_payment_at: time("pl"),
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

/// A webhook that came in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct InboundEvent<'a> {
    id: &'a str,
    system_id: &'a str,
    /// The sender's own identity of it.
    event_id: &'a str,
    /// As the sender names it.
    event_type: &'a str,
    status: Status,
    received_at: Timestamp,
    /// Milliseconds from its receipt to the verdict on it.
    processing_ms: i64,
    /// What was odd about it.
    warnings: &'a [String],
    /// Its body.
    payload: Value,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// The failure that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_id: Option<&'a str>,
    /// What it made: `interaction_id` and the like.
    #[serde(flatten)]
    data: &'a Map<String, Value>,
}

/// An inbound event, shown.
pub(crate) fn inbound_event(event: &KeptEvent) -> Value {
    json_of(&InboundEvent {
        id: &event.id,
        system_id: &event.system_id,
        event_id: &event.event_id,
        event_type: &event.event_type,
        status: event.status,
        received_at: event.received_at,
        processing_ms: event.processing_ms,
        warnings: &event.warnings,
        payload: event.payload(),
        error: event.error.as_deref(),
        failure_id: event.failure_id.as_deref(),
        data: &event.data,
    })
}

/// An operation that can't be done: why, and with what.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Failure<'a> {
    id: &'a str,
    /// `process_inbound_event`, `sync_contact`, `deliver` and the like.
    operation: &'a str,
    system_id: Option<&'a str>,
    /// A sentence.
    error: Option<&'a str>,
    /// A stable name of the error.
    code: Option<&'a str>,
    /// Tries, the first one included.
    attempts: Option<i64>,
    first_failed_at: Option<&'a str>,
    last_failed_at: Option<&'a str>,
    inbound_event_id: Option<&'a str>,
    /// What was to be done.
    payload: Value,
}

/// The item of a failure, shown; `None` where it isn't one.
pub(crate) fn failure(item: &Item) -> Option<Value> {
    let text = |name: &str| item.get_text(name);
    Some(json_of(&Failure {
        id: text("sk")?,
        operation: text("op")?,
        system_id: text("sys"),
        error: text("err"),
        code: text("code"),
        attempts: item.get_number("attempts"),
        first_failed_at: text("first"),
        last_failed_at: text("last"),
        inbound_event_id: text("inb"),
        payload: payload_of(item),
    }))
}
