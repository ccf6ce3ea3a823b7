//! The record of a delivery: one event to one subscription, with its attempts.
//!
//! Its id holds the subscription's and the event's, and so leads to its key: a subscription's deliveries are one partition,
//! in the order of their events. That takes no index, and one write unit.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::TenantId,
    operation::Deliver,
    store::{Item, Key, Values},
    view::json_of,
};

/// Attempts that a record keeps; the oldest go. A schedule has eight, and people try again by hand.
const ATTEMPTS_MAX: usize = 20;

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// There will be another attempt.
    Pending,
    /// The endpoint took it.
    Succeeded,
    /// There will be no more attempts.
    Exhausted,
}

impl DeliveryStatus {
    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Exhausted => "exhausted",
        }
    }

    /// Reads [`DeliveryStatus::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Succeeded, Self::Exhausted].into_iter().find(|status| status.as_str() == text)
    }
}

/// One attempt, as it is kept and shown (contract §7, `delivery`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// What the endpoint answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Why it failed: a stable code and a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
    /// The beginning of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
}

/// The state of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The event's type, for lists.
    pub event_type: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// Attempts that were made, those included that are no longer kept.
    pub made: u32,
    /// When the next attempt is due, if there is to be one.
    pub next_attempt_at: Option<Timestamp>,
    /// Why it ended without an attempt of its own.
    pub reason: Option<String>,
    /// The failure that holds it, once it is exhausted.
    pub failure_id: Option<String>,
    /// The latest attempts, the newest last.
    pub attempts: Vec<Attempt>,
}

/// The partition of a subscription's deliveries.
#[must_use]
pub fn delivery_partition(tenant: &TenantId, subscription: &str) -> String {
    format!("{tenant}#dlv#{subscription}")
}

/// The key of a delivery.
#[must_use]
pub fn delivery_key(tenant: &TenantId, subscription: &str, event: &str) -> Key {
    Key { pk: delivery_partition(tenant, subscription), sk: event.to_owned() }
}

/// The id of a delivery: `dlv_`, the event's part and the subscription's, so that ids sort by time.
#[must_use]
pub fn delivery_id(subscription: &str, event: &str) -> String {
    let bare = |id: &str, prefix: &str| id.strip_prefix(prefix).unwrap_or(id).to_owned();
    format!("dlv_{}{}", bare(event, "evt_"), bare(subscription, "sub_"))
}

/// Characters of an event's id after its prefix: time, random bits, place.
const EVENT_PART_LEN: usize = 27;

/// The subscription and the event of a delivery's id; `None` where it isn't one.
#[must_use]
pub fn delivery_of(id: &str) -> Option<(String, String)> {
    let bare = id.strip_prefix("dlv_").filter(|bare| bare.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    let (event, subscription) = bare.split_at_checked(EVENT_PART_LEN).filter(|(_, rest)| !rest.is_empty())?;
    Some((format!("sub_{subscription}"), format!("evt_{event}")))
}

impl Record {
    /// Of which nothing has been done.
    #[must_use]
    pub fn new(event_type: &str) -> Self {
        Self {
            event_type: event_type.to_owned(),
            status: DeliveryStatus::Pending,
            made: 0,
            next_attempt_at: None,
            reason: None,
            failure_id: None,
            attempts: Vec::new(),
        }
    }

    /// Reads an item of [`delivery_key`]; `None` where it isn't one.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        Some(Self {
            event_type: item.get_text("ty").unwrap_or_default().to_owned(),
            status: DeliveryStatus::parse(item.get_text("st")?)?,
            made: item.get_number("n")?.try_into().ok()?,
            next_attempt_at: item.get_text("next").and_then(|at| at.parse().ok()),
            reason: item.get_text("why").map(str::to_owned),
            failure_id: item.get_text("fail").map(str::to_owned),
            attempts: serde_json::from_str(item.get_text("log").unwrap_or("[]")).unwrap_or_default(),
        })
    }

    /// As an item, that goes at `ttl`, in seconds since 1970.
    #[must_use]
    pub fn item(&self, delivery: &Deliver, ttl: i64) -> Item {
        let log = (!self.attempts.is_empty()).then(|| serde_json::to_string(&self.attempts).unwrap_or_default());
        Item::new(&delivery_key(&delivery.tenant_id, &delivery.subscription_id, &delivery.event_id))
            .text("ty", self.event_type.as_str())
            .text("st", self.status.as_str())
            .number("n", self.made.into())
            .text("next", self.next_attempt_at.map(|at| at.to_string()).unwrap_or_default())
            .text("why", self.reason.as_deref().unwrap_or_default())
            .text("fail", self.failure_id.as_deref().unwrap_or_default())
            .text("log", log.unwrap_or_default())
            .number("ttl", ttl)
    }

    /// With one more attempt.
    #[must_use]
    pub fn with(self, attempt: Attempt) -> Self {
        let made = self.made.saturating_add(1);
        Self { made, ..self.noting(attempt) }
    }

    /// With an attempt that isn't counted.
    #[must_use]
    pub fn noting(mut self, attempt: Attempt) -> Self {
        self.attempts.push(attempt);
        let over = self.attempts.len().saturating_sub(ATTEMPTS_MAX);
        self.attempts.drain(..over);
        self
    }

    /// That the stored record is still this one, so that no attempt of another copy is overwritten. One of which nothing has
    /// been done, because it waits for its first turn, is as good as none.
    #[must_use]
    pub fn unchanged(before: Option<&Self>) -> (&'static str, Values) {
        match before {
            None => (
                "attribute_not_exists(pk) OR (n = :none AND st = :pending)",
                vec![
                    (":none", AttributeValue::N("0".to_owned())),
                    (":pending", AttributeValue::S(DeliveryStatus::Pending.as_str().to_owned())),
                ],
            ),
            Some(before) => {
                let text = |name, text: &str| (name, AttributeValue::S(text.to_owned()));
                (
                    "n = :n AND st = :st",
                    vec![(":n", AttributeValue::N(before.made.to_string())), text(":st", before.status.as_str())],
                )
            }
        }
    }

    /// As the API shows it (contract §7).
    #[must_use]
    pub fn view(&self, subscription: &str, event: &str) -> Value {
        json_of(&Delivery {
            id: delivery_id(subscription, event),
            subscription_id: subscription,
            event_id: event,
            event_type: &self.event_type,
            status: self.status,
            attempts: &self.attempts,
            next_attempt_at: self.next_attempt_at,
            reason: self.reason.as_deref(),
            failure_id: self.failure_id.as_deref(),
        })
    }
}

/// One event to one subscription, with its attempts.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Delivery<'a> {
    id: String,
    subscription_id: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    status: DeliveryStatus,
    /// The latest ones, the newest last.
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    /// Why it ended without an attempt of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The failure that holds it, once it is exhausted.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_id: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::transient_id, ids::sortable};

    #[test]
    fn an_id_leads_to_subscription_and_event() {
        let at: Timestamp = "2026-01-15T12:00:00Z".parse().unwrap();
        let (subscription, event) = (sortable("sub", at, 7), transient_id(at, 9));
        let id = delivery_id(&subscription, &event);
        assert_eq!(delivery_of(&id), Some((subscription, event)));
        for bad in
            ["", "dlv_", "dlv_0123", "sub_0123456789abcdefghjkmnpqrstv0123", "dlv_0123456789abcdefghjkmnpq#s0123456789"]
        {
            assert_eq!(delivery_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_record_keeps_the_latest_attempts_and_counts_all() {
        let at = |n: i64| Timestamp::from_second(n).unwrap();
        let attempt = |n| Attempt { at: at(n), status_code: Some(500), error: None, duration_ms: n, response: None };
        let record = (0..30).fold(Record::new("webhook.test"), |record, n| record.with(attempt(n)));
        assert_eq!((record.made, record.attempts.len(), record.attempts[0].duration_ms), (30, ATTEMPTS_MAX, 10));
        let delivery = Deliver::first(&TenantId::parse("acme").unwrap(), "sub_1", "evt_1");
        assert_eq!(Record::from_item(&record.item(&delivery, 0)), Some(record));
    }
}
