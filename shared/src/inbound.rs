//! An inbound event: one verified webhook, as it is processed, queued and kept.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    codec::{self, UnpackError},
    hub::Settings,
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
}

/// A kept event that goes through again: with today's mapping, but as the event that it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its identity of the first time, whatever the mapping says today.
    pub event_id: String,
    /// The failure that holds it: gone once the event is applied, renewed if it fails again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_id: Option<String>,
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

/// An inbound event on the retry queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The event.
    pub event: InboundEvent,
    /// Retries made so far.
    pub attempt: u32,
    /// What it waits for.
    pub reason: Reason,
}

/// What an event on the retry queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// AWS to recover.
    Unavailable,
    /// Its system's next window.
    RateLimited,
    /// Nothing: a person sends it through again.
    Replay,
}

impl Waiting {
    /// As a message for the retry queue.
    ///
    /// The envelope is plain, so that an operator sees whose it is; the event inside is packed and in base64, because SQS
    /// refuses some characters that JSON allows and counts bytes.
    #[must_use]
    pub fn to_message(&self) -> String {
        let event = serde_json::to_vec(&self.event).unwrap_or_default();
        let message = Message {
            v: 1,
            kind: "inbound_event".into(),
            tenant_id: self.event.tenant_id.clone(),
            system_id: self.event.system_id.clone(),
            attempt: self.attempt,
            reason: self.reason,
            data: BASE64.encode(codec::pack(&event)),
        };
        serde_json::to_string(&message).unwrap_or_default()
    }

    /// Reverses [`Waiting::to_message`].
    ///
    /// # Errors
    /// [`MessageError`] says what about the message isn't ours.
    pub fn from_message(text: &str) -> Result<Self, MessageError> {
        let message: Message = serde_json::from_str(text).map_err(|_| MessageError::NotOurs)?;
        if message.v != 1 || message.kind != "inbound_event" {
            return Err(MessageError::UnknownVersion);
        }
        let packed = BASE64.decode(&message.data).map_err(|_| MessageError::NotOurs)?;
        // The envelope of JSON in JSON at most sextuples a body.
        let event = codec::unpack(&packed, 6 * Settings::BODY_BYTES_MAX + 64 * 1024)?;
        let event: InboundEvent = serde_json::from_slice(&event).map_err(|_| MessageError::NotOurs)?;
        if event.tenant_id != message.tenant_id || event.system_id != message.system_id {
            return Err(MessageError::NotOurs);
        }
        Ok(Self { event, attempt: message.attempt, reason: message.reason })
    }
}

/// The payload of a body that was received: it was checked then. `None` if it is damaged.
#[must_use]
pub fn payload(body: &str, form: bool) -> Option<Value> {
    if form { Some(receive::body::form(body)) } else { json::parse(body).ok() }
}

/// A message on the retry queue, version 1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    v: u32,
    kind: String,
    tenant_id: TenantId,
    system_id: SystemId,
    /// Retries made so far.
    attempt: u32,
    /// What it waits for.
    reason: Reason,
    data: String,
}

/// Why a message can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not of our form.
    #[error("the message isn't one of ours")]
    NotOurs,
    /// Of a version or kind that this code doesn't know.
    #[error("the message is of a version or kind that this version doesn't know; deploy the newer version")]
    UnknownVersion,
    /// Its payload can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(body: &str) -> InboundEvent {
        InboundEvent {
            tenant_id: TenantId::parse("tenant_a").unwrap(),
            system_id: SystemId::parse("sarah_ai").unwrap(),
            received_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            body: body.to_owned(),
            form: false,
            signed_id: Some("msg_1".into()),
            headers: BTreeMap::new(),
            warnings: vec!["odd".into()],
            replay: None,
        }
    }

    proptest! {
        #[test]
        fn a_message_brings_the_event_back_in_characters_that_sqs_takes(body in ".{0,300}") {
            let waiting = Waiting { event: event(&body), attempt: 2, reason: Reason::RateLimited };
            let message = waiting.to_message();
            prop_assert!(message.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(Waiting::from_message(&message), Ok(waiting));
        }

        #[test]
        fn foreign_messages_are_errors(text in ".{0,200}") {
            prop_assert!(Waiting::from_message(&text).is_err());
        }
    }

    #[test]
    fn messages_of_other_versions_or_tenants_are_refused() {
        let message = Waiting { event: event("{}"), attempt: 0, reason: Reason::Unavailable }.to_message();
        let newer = message.replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(Waiting::from_message(&newer), Err(MessageError::UnknownVersion));
        let other = message.replacen("tenant_a", "tenant_b", 1);
        assert_eq!(Waiting::from_message(&other), Err(MessageError::NotOurs));
    }
}
