//! Events: what happened in the CRM, for subscribers to be told of (contract §6).
//!
//! The events of one change are one item, written in the change's own transaction: the *outbox*. The table's stream hands
//! the item to `publish-events`; it stays for as long as events can be replayed. Events are written only for tenants that
//! have, or had, a subscription ([`crate::integration::Tenant::publishes`]): they cost 2 write units.

mod catalog;
mod changes;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

pub use self::{
    catalog::event_types,
    changes::{failure, of_change, phone_created},
};
use crate::{
    codec,
    hub::Settings,
    ids::{TenantId, sortable},
    signature::canonical_json,
    store::{ABSENT, Item, Key, Write},
    view::json_of,
};

macro_rules! event_types {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// What can happen (contract §6).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum EventType {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)*
        }

        impl EventType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As subscribers know it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A sentence about it.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

event_types! {
    PhoneNumberCreated "phone_number.created" "A phone number became known to the CRM.",
    InteractionCreated "phone_number.interaction.created" "Something happened with a phone number: a call, a payment, a ticket.",
    InteractionUpdated "phone_number.interaction.updated" "More became known of an interaction.",
    PaymentRecorded "payment.recorded" "A payment was made, failed or was given back.",
    MerchantUpdated "merchant.updated" "A merchant of a payment processor was made known or changed.",
    ContactCreated "contact.created" "A contact was made.",
    ContactUpdated "contact.updated" "A contact changed.",
    ContactDeleted "contact.deleted" "A contact was deleted.",
    CompanyCreated "company.created" "A company was made.",
    CompanyUpdated "company.updated" "A company changed.",
    CompanyDeleted "company.deleted" "A company was deleted.",
    OperationFailed "operation.failed" "An operation can't be done, or was tried in vain; it is among the failures.",
    SubscriptionDisabled "subscription.disabled" "A subscription gets no more deliveries, because its endpoint is gone or failed for days.",
    WebhookTest "webhook.test" "Somebody tries whether an endpoint takes webhooks.",
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When.
    pub at: Timestamp,
    /// The payload's `data`, in canonical form: what `X-Webhook-Signature` signs, and ASCII only.
    pub data: String,
    /// What it came of, for the log. Subscribers aren't told, and a message says it beside the event.
    #[serde(skip)]
    pub correlation_id: Option<String>,
}

/// An event that is about to be written: its type and its data.
pub type Draft = (EventType, Value);

/// Events of one change: the last character of an event's id counts them.
const EVENTS_MAX: usize = 10;

/// `evt_`, 10 characters of time and 16 at random; one more in an event's own id.
const OUTBOX_ID_LEN: usize = 30;

/// The partition of a tenant's events, by time.
#[must_use]
pub fn event_partition(tenant: &TenantId) -> String {
    format!("{tenant}#evt")
}

/// An id for an event that isn't kept.
#[must_use]
pub fn transient_id(now: Timestamp, random: u128) -> String {
    format!("{}0", sortable("evt", now, random))
}

/// The least id that an event at or after `at` can have.
#[must_use]
pub fn first_id_at(at: Timestamp) -> String {
    sortable("evt", at, 0)
}

/// The write that keeps the events of a change and hands them to the stream. `None` where there are none, or where they are
/// too large to keep.
///
/// The condition holds always, since the id is new; it tells the stream's readers that the item is.
#[must_use]
pub fn outbox(
    tenant: &TenantId,
    drafts: &[Draft],
    (now, random): (Timestamp, u128),
    settings: &Settings,
    correlation_id: Option<&str>,
) -> Option<Write> {
    if drafts.is_empty() {
        return None;
    }
    let events: Vec<(EventType, &Value)> = drafts.iter().take(EVENTS_MAX).map(|(t, data)| (*t, data)).collect();
    let packed = codec::pack(&serde_json::to_vec(&events).ok()?);
    if packed.len() > ITEM_BYTES_MAX {
        tracing::warn!(%tenant, correlation_id, bytes = packed.len(), "a change is too large for its events to be kept");
        return None;
    }
    let key = Key { pk: event_partition(tenant), sk: sortable("evt", now, random) };
    let item = Item::new(&key)
        .text("outbox", "event")
        .number("at", now.as_millisecond())
        .bytes("events", packed)
        .text("cor", correlation_id.unwrap_or_default())
        .number("ttl", now.as_second().saturating_add_unsigned(settings.event_retention.as_secs()));
    Some(Write::Put { item, condition: ABSENT, values: Vec::new() })
}

/// DynamoDB takes items of 400 KB.
const ITEM_BYTES_MAX: usize = 380_000;
/// What a packed item can unpack to: a record of 200 KB, twice, and more.
const UNPACKED_BYTES_MAX: usize = 2_000_000;

/// The events that an item of the outbox holds, with their ids; `None` where it isn't one or is damaged.
#[must_use]
pub fn events_of(item: &Item) -> Option<Vec<(String, Event)>> {
    let (id, at) = (item.get_text("sk")?, Timestamp::from_millisecond(item.get_number("at")?).ok()?);
    let plain = codec::unpack(item.get_bytes("events")?, UNPACKED_BYTES_MAX).ok()?;
    let drafts: Vec<(EventType, Box<RawValue>)> = serde_json::from_slice(&plain).ok()?;
    let correlation_id = item.get_text("cor").map(str::to_owned);
    let event = |(n, (event_type, data)): (usize, (EventType, Box<RawValue>))| {
        let (data, correlation_id) = (canonical(data.get().as_bytes())?, correlation_id.clone());
        Some((format!("{id}{n}"), Event { event_type, at, data, correlation_id }))
    };
    drafts.into_iter().enumerate().map(event).collect()
}

impl Event {
    /// An event that isn't kept.
    #[must_use]
    pub fn transient(event_type: EventType, at: Timestamp, data: &Value) -> Self {
        let data = canonical(data.to_string().as_bytes()).unwrap_or_else(|| "{}".to_owned());
        Self { event_type, at, data, correlation_id: None }
    }

    /// As the API shows it, and as filters see it.
    #[must_use]
    pub fn view(&self, tenant: &TenantId, id: &str) -> Value {
        json_of(&Shown {
            event_id: id,
            event_type: self.event_type,
            timestamp: self.at,
            source_system: SOURCE_SYSTEM,
            tenant_id: tenant,
            data: serde_json::from_str(&self.data).unwrap_or_default(),
        })
    }
}

/// Something that happened in the CRM.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct Shown<'a> {
    event_id: &'a str,
    event_type: EventType,
    timestamp: Timestamp,
    source_system: &'a str,
    tenant_id: &'a TenantId,
    /// As its type says; see `GET /v1/event-types`.
    data: Map<String, Value>,
}

/// Contract §6: what all payloads say of where they come from.
pub const SOURCE_SYSTEM: &str = "smrt_crm";

/// The item that an event is in, and its place there; `None` where the text isn't an event's id.
#[must_use]
pub fn event_place(tenant: &TenantId, id: &str) -> Option<(Key, usize)> {
    let (outbox, n) = id.split_at_checked(OUTBOX_ID_LEN)?;
    let n = n.parse().ok().filter(|n| *n < EVENTS_MAX)?;
    outbox.starts_with("evt_").then(|| (Key { pk: event_partition(tenant), sk: outbox.to_owned() }, n))
}

fn canonical(json: &[u8]) -> Option<String> {
    canonical_json(json).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_put_into_the_outbox_comes_out_with_ids_that_lead_back() {
        let tenant = TenantId::parse("acme").unwrap();
        let var = |name: &str| ["TABLE_NAME", "SECRETS_PREFIX"].contains(&name).then(String::new);
        let settings = Settings::from_env(var).unwrap();
        let now: Timestamp = "2026-01-15T12:00:00.123Z".parse().unwrap();
        let drafts = [
            (EventType::PhoneNumberCreated, json!({"phone_number": "+14155550132"})),
            (EventType::ContactUpdated, json!({"contact": {"name": "Zoë \u{1f600}", "score": 1e16, "a": null}})),
        ];
        let Some(Write::Put { item, condition, .. }) = outbox(&tenant, &drafts, (now, 7), &settings, Some("inb_1"))
        else {
            panic!("no write")
        };
        assert_eq!(condition, ABSENT);
        let events = events_of(&item).unwrap();
        assert_eq!(events[1].1.data, r#"{"contact":{"a":null,"name":"Zo\u00eb \ud83d\ude00","score":1e+16}}"#);
        assert_eq!((events[0].1.at, events[1].1.correlation_id.as_deref()), (now, Some("inb_1")));
        for (n, (id, event)) in events.iter().enumerate() {
            assert_eq!(event_place(&tenant, id), Some((item.key().unwrap(), n)));
            assert_eq!(event.event_type, drafts[n].0);
            assert!(first_id_at(now) <= *id && *id < first_id_at(now + std::time::Duration::from_millis(1)));
        }
        assert!(outbox(&tenant, &[], (now, 7), &settings, None).is_none());
        for bad in ["", "evt_", "evt_0123456789abcdefghjkmnpqrs", "int_0123456789abcdefghjkmnpqrst0", "evt_é"] {
            assert_eq!(event_place(&tenant, bad), None, "{bad}");
        }
    }

    #[test]
    fn types_are_named_as_in_the_contract() {
        for event_type in EventType::ALL {
            assert_eq!(serde_json::to_value(event_type).unwrap(), json!(event_type.as_str()));
        }
    }
}
