//! An inbound event: one verified webhook, as it is processed, queued and kept.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{SystemId, TenantId, derived, sha256_hex},
    json,
    mapping::CompiledRule,
    receive,
};

/// One webhook after its signature verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboundEvent {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Which system sent it.
    pub system_id: SystemId,
    /// When we received it.
    pub received_at: Timestamp,
    /// The body as it came: JSON text, or a form.
    pub body: String,
    /// Whether `body` is a form (`application/x-www-form-urlencoded`), not JSON.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub form: bool,
    /// The id in a signed header, where the scheme has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_id: Option<String>,
    /// Headers that the mapping may look at, and ids worth keeping ([`KEPT_HEADERS`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What was odd about the request but no reason to refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Set where a person sends a kept event through again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// What its log lines are found by, once it waits; until then its record's id, that a change of the mapping may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// A kept event that goes through again: with today's mapping, but as the event that it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its identity of the first time, whatever the mapping says today.
    pub event_id: String,
    /// The failure that holds it: gone once the event is applied, renewed if it fails again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_id: Option<String>,
    /// The tries that the failure counted so far.
    #[serde(default)]
    pub attempts: u32,
}

/// Headers that are kept with an event, besides the one in which its mapping finds the type. They are not signed, so
/// nothing else may depend on them.
pub const KEPT_HEADERS: [&str; 3] = ["x-github-event", "x-github-delivery", "x-shopify-webhook-id"];

/// Ids longer than this are replaced by their hash.
const IDENTITY_CHARS_MAX: usize = 200;

impl InboundEvent {
    /// What tells this event from others of its system (contract §2): the mapping's `event_id`, else the body's
    /// `event_id` or `id`, else the signed header, else the hash of the body. For `github` always the hash, since its
    /// delivery id isn't signed. `rule` is `None` where the system is gone.
    #[must_use]
    pub fn identity(&self, rule: Option<&CompiledRule>, payload: &Value) -> String {
        if let Some(replay) = &self.replay {
            return replay.event_id.clone();
        }
        if self.system_id.as_str() == "github" {
            return self.body_hash();
        }
        let in_body = |name: &str| match payload.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let named = rule.and_then(|rule| rule.event_id(payload)).filter(|id| !id.is_empty());
        let named = named.or_else(|| in_body("event_id")).or_else(|| in_body("id")).or_else(|| self.signed_id.clone());
        match named {
            Some(id) if id.chars().count() <= IDENTITY_CHARS_MAX => id,
            Some(id) => format!("sha256:{}", sha256_hex(id.as_bytes())),
            None => self.body_hash(),
        }
    }

    /// The identity of an event that names none.
    fn body_hash(&self) -> String {
        format!("sha256:{}", sha256_hex(self.body.as_bytes()))
    }

    /// The record's id for an event with this identity: the same for every repeat.
    #[must_use]
    pub fn inbound_id(&self, identity: &str) -> String {
        derived("inb", &[self.tenant_id.as_str(), self.system_id.as_str(), identity])
    }

    /// The payload: the body parsed. `None` can't be for an event that was received; the body was checked then.
    #[must_use]
    pub fn payload(&self) -> Option<Value> {
        payload(&self.body, self.form)
    }
}

/// The payload of a body that was received: it was checked then. `None` if it is damaged.
#[must_use]
pub fn payload(body: &str, form: bool) -> Option<Value> {
    if form { Some(receive::body::form(body)) } else { json::parse(body).ok() }
}
