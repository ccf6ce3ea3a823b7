//! The inbound event as it is kept: audit record, marker that tells a repeat, and source of a replay.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    codec,
    hub::{Hub, Settings},
    ids::{SystemId, TenantId},
    inbound::{InboundEvent, Replay, payload},
    store::{Item, Key},
};

/// What became of an inbound event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its effect is stored.
    Processed,
    /// A repeat of one that was processed.
    Duplicate,
    /// It waits in the retry queue.
    Queued,
    /// It can't be applied; a failure holds it.
    Failed,
    /// Nothing to do with it.
    Ignored,
}

impl Status {
    /// As stored and as the API names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Duplicate => "duplicate",
            Self::Queued => "queued",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }

    /// Reads [`Status::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Processed, Self::Duplicate, Self::Queued, Self::Failed, Self::Ignored]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// The verdict on an event, as it goes into its record.
#[derive(Clone, Debug)]
pub(super) struct Note<'a> {
    pub id: &'a str,
    pub identity: &'a str,
    pub event_type: &'a str,
    pub status: Status,
    pub data: &'a Map<String, Value>,
    pub error: &'a str,
    pub code: &'a str,
    pub failure_id: &'a str,
    pub warnings: &'a [String],
}

/// The key of an inbound event's record.
#[must_use]
pub fn inbound_key(tenant: &TenantId, id: &str) -> Key {
    Key::of(tenant, "in", id)
}

/// The list of a tenant's inbound events on the index by time.
#[must_use]
pub fn inbound_list(tenant: &TenantId) -> String {
    format!("{tenant}#in")
}

/// The item for `event`. Attribute names count towards its size, so they are short.
pub(super) fn item(hub: &Hub, event: &InboundEvent, note: &Note<'_>) -> Item {
    let now = hub.now();
    let json =
        |value: Value| if value.as_object().is_some_and(Map::is_empty) { String::new() } else { value.to_string() };
    let warnings: Vec<&String> = event.warnings.iter().chain(note.warnings).collect();
    let warnings = if warnings.is_empty() { String::new() } else { serde_json::json!(warnings).to_string() };
    let item = Item::new(&inbound_key(&event.tenant_id, note.id))
        .listed(&inbound_list(&event.tenant_id), event.received_at)
        .text("ty", note.event_type)
        .text("st", note.status.as_str())
        .text("data", json(Value::Object(note.data.clone())))
        .text("err", note.error)
        .text("code", note.code)
        .text("fail", note.failure_id)
        .text("warn", warnings)
        .number("ms", now.as_millisecond() - event.received_at.as_millisecond())
        .number("ttl", now.as_second().saturating_add_unsigned(hub.settings.inbound_retention.as_secs()));
    with_event(item, event, note.identity)
}

/// An item that keeps what it takes to send the event through again.
pub(super) fn with_event(item: Item, event: &InboundEvent, identity: &str) -> Item {
    let headers = if event.headers.is_empty() { String::new() } else { serde_json::json!(event.headers).to_string() };
    let item = item
        .text("sys", event.system_id.as_str())
        .text("eid", identity)
        .text("hdr", headers)
        .text("sid", event.signed_id.as_deref().unwrap_or_default())
        .bytes("body", codec::pack(event.body.as_bytes()));
    if event.form { item.number("form", 1) } else { item }
}

/// Reverses [`with_event`], for sending it through again. `None` where the item is no longer readable.
fn event_of(item: &Item, tenant: &TenantId, received_at: Timestamp) -> Option<InboundEvent> {
    let (body, form) = body_of(item)?;
    Some(InboundEvent {
        tenant_id: tenant.clone(),
        system_id: SystemId::parse(item.get_text("sys")?).ok()?,
        received_at,
        body,
        form,
        signed_id: item.get_text("sid").map(str::to_owned),
        headers: serde_json::from_str(item.get_text("hdr").unwrap_or("{}")).unwrap_or_default(),
        warnings: Vec::new(),
        replay: None,
        correlation_id: item.get_text("cor").map(str::to_owned),
    })
}

/// The event that a failure holds, to be sent through again with today's mapping; `None` where the item isn't a failure or
/// is no longer readable.
#[must_use]
pub fn replay_of_failure(failure: &Item, tenant: &TenantId) -> Option<InboundEvent> {
    let event = event_of(failure, tenant, failure.get_text("first")?.parse().ok()?)?;
    let attempts = failure.get_number("attempts").and_then(|n| n.try_into().ok()).unwrap_or_default();
    let (event_id, failure_id) = (failure.get_text("eid")?.to_owned(), failure.get_text("sk").map(str::to_owned));
    Some(again(event, Replay { event_id, failure_id, attempts }))
}

/// A kept inbound event, to be sent through again with today's mapping; `None` where the item isn't one or is no longer
/// readable. One that failed is sent through by [`replay_of_failure`].
#[must_use]
pub fn replay_of_event(item: &Item, tenant: &TenantId) -> Option<InboundEvent> {
    let kept = KeptEvent::from_item(item)?;
    let event = event_of(item, tenant, kept.received_at)?;
    Some(again(event, Replay { event_id: kept.event_id, failure_id: None, attempts: 0 }))
}

fn again(event: InboundEvent, replay: Replay) -> InboundEvent {
    let correlation_id = event.correlation_id.clone().unwrap_or_else(|| event.inbound_id(&replay.event_id));
    InboundEvent { replay: Some(replay), correlation_id: Some(correlation_id), ..event }
}

/// The body that an item keeps, and whether it is a form.
fn body_of(item: &Item) -> Option<(String, bool)> {
    let body = codec::unpack(item.get_bytes("body")?, 2 * Settings::BODY_BYTES_MAX).ok()?;
    Some((String::from_utf8(body).ok()?, item.get_number("form").is_some()))
}

/// The payload that an item keeps, parsed; `null` where it is no longer readable.
#[must_use]
pub fn payload_of(item: &Item) -> Value {
    body_of(item).and_then(|(body, form)| payload(&body, form)).unwrap_or_default()
}

/// A kept inbound event, read back.
#[derive(Clone, Debug)]
pub struct KeptEvent {
    /// `inb_…`.
    pub id: String,
    /// The system.
    pub system_id: String,
    /// The sender's identity of the event.
    pub event_id: String,
    /// Its type, as the sender names it.
    pub event_type: String,
    /// What became of it.
    pub status: Status,
    /// When it was received.
    pub received_at: Timestamp,
    /// What it made: `interaction_id` and the like.
    pub data: Map<String, Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// The failure's stable code.
    pub code: Option<String>,
    /// The failure that holds it.
    pub failure_id: Option<String>,
    /// What was odd about it.
    pub warnings: Vec<String>,
    /// Milliseconds from receipt to verdict.
    pub processing_ms: i64,
    /// The body, unpacked.
    pub body: Option<String>,
    form: bool,
}

impl KeptEvent {
    /// Reads an item of [`inbound_key`]; `None` where it isn't one.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get_text(name).map(str::to_owned);
        let (time, _) = item.get_text("g1sk")?.split_once('#')?;
        let (body, form) = body_of(item).unzip();
        let json = |name: &str| item.get_text(name).unwrap_or("null");
        Some(Self {
            id: text("sk")?,
            system_id: text("sys")?,
            event_id: text("eid").unwrap_or_default(),
            event_type: text("ty").unwrap_or_default(),
            status: Status::parse(item.get_text("st")?)?,
            received_at: time.parse().ok()?,
            data: serde_json::from_str(json("data")).unwrap_or_default(),
            error: text("err"),
            code: text("code"),
            failure_id: text("fail"),
            warnings: serde_json::from_str(json("warn")).unwrap_or_default(),
            processing_ms: item.get_number("ms").unwrap_or_default(),
            body,
            form: form.unwrap_or_default(),
        })
    }

    /// The payload, parsed; `null` where it is no longer readable.
    #[must_use]
    pub fn payload(&self) -> Value {
        self.body.as_deref().and_then(|body| payload(body, self.form)).unwrap_or(Value::Null)
    }
}
