//! Operations: pieces of work that can wait and be tried again (contract §1), as messages on a queue.
//!
//! A message is an envelope in plain JSON, so that an operator sees whose it is and why it waits. What is inside an event is
//! packed and in base64, because SQS refuses some characters that JSON allows and counts bytes.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, UnpackError},
    connector::Entity,
    event::Event,
    hub::Settings,
    ids::{SystemId, TenantId},
    inbound::InboundEvent,
    store::{Message as QueueMessage, Queue, Span},
};

/// The version of the messages that this code writes.
const VERSION: u32 = 1;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Process an inbound event.
    Inbound(Waiting),
    /// Send many failures through again.
    ReplayFailures(ReplayFailures),
    /// Make a delivery: post an event to a subscription's endpoint.
    Deliver(Box<Deliver>),
    /// Send a subscription what it missed.
    ReplayEvents(ReplayEvents),
    /// Keep a tenant's records in step with a system.
    Sync(SyncJob),
}

/// A run of a sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncJob {
    /// Whose.
    pub tenant_id: TenantId,
    /// With which system.
    pub system_id: SystemId,
    /// Of what.
    pub entity: Entity,
    /// What is to be done.
    pub task: SyncTask,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The call of the API that asked for it, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// What a run of a sync does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncTask {
    /// Sends what is marked.
    Send,
    /// Marks all records, from the one after this on, and then sends them.
    MarkAll {
        /// The last record that was marked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Pages in what the other side has. How far it is stands in the state of the sync.
    Import {
        /// Which import: a job of one that is over does nothing.
        id: String,
    },
    /// Takes in one record of the other side that couldn't be taken in before.
    TakeIn {
        /// The failure that holds it.
        failure_id: String,
    },
}

impl SyncTask {
    /// For the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::MarkAll { .. } => "mark_all",
            Self::Import { .. } => "import",
            Self::TakeIn { .. } => "take_in",
        }
    }
}

/// An inbound event that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The event.
    pub event: InboundEvent,
    /// Where it waits for AWS to recover: which retry is to be made, from 0.
    pub attempt: u32,
    /// What it waits for.
    pub reason: Reason,
    /// Not before this time.
    pub due: Timestamp,
}

/// What an inbound event waits for.
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

/// Failures of one tenant that are to be sent through again, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFailures {
    /// Whose.
    pub tenant_id: TenantId,
    /// Only this system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_id: Option<SystemId>,
    /// Only those that failed last within this span.
    pub span: Span,
    /// Where to go on: the sort keys, on the index and in the table, of the last one that was sent through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<(String, String)>,
}

/// One event to one subscription, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deliver {
    /// Whose.
    pub tenant_id: TenantId,
    /// To which subscription.
    pub subscription_id: String,
    /// Which event.
    pub event_id: String,
    /// The event itself, where it is small enough; else it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// Attempts that were made before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub made: u32,
    /// Retries of this run of the schedule that were made before; a retry by hand begins it anew.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
    /// Why it is made, where not because the event is new or the schedule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The failure that it is sent out of: a success ends that, whatever the record knows of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_id: Option<String>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Its turn at an endpoint with a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Timestamp>,
    /// What the event came of, for the log; where it is read, the event says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl Deliver {
    /// The first attempt.
    #[must_use]
    pub fn first(tenant: &TenantId, subscription: &str, event: &str) -> Self {
        Self {
            tenant_id: tenant.clone(),
            subscription_id: subscription.to_owned(),
            event_id: event.to_owned(),
            event: None,
            made: 0,
            step: 0,
            cause: None,
            failure_id: None,
            due: None,
            turn: None,
            correlation_id: None,
        }
    }
}

/// Why a delivery is made out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It seems to have been left behind: it is made only if it has no record.
    LeftBehind,
    /// A person asks for it, whatever became of it before.
    Asked,
}

/// Events of one tenant that are to be sent to one subscription, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayEvents {
    /// Whose.
    pub tenant_id: TenantId,
    /// To which subscription.
    pub subscription_id: String,
    /// Those that happened then or later.
    pub since: Timestamp,
    /// Those that happened then or earlier: what comes later is sent by itself.
    pub until: Timestamp,
    /// Also those that it received already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Where to go on: the last event that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A time that is further ahead can't be: no policy waits for longer than a day, and clocks are not off by hours.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(48);

impl Operation {
    /// As a message for its queue.
    #[must_use]
    pub fn to_message(&self) -> QueueMessage {
        let body = match self {
            Self::Inbound(waiting) => Body::InboundEvent(waiting.into()),
            Self::ReplayFailures(job) => Body::ReplayFailures(job.clone()),
            Self::Deliver(delivery) => Body::MakeDelivery(delivery.clone()),
            Self::ReplayEvents(job) => Body::ReplayEvents(job.clone()),
            Self::Sync(job) => Body::SyncRecords(job.clone()),
        };
        let body = serde_json::to_string(&Message { v: VERSION, body }).unwrap_or_default();
        QueueMessage { queue: self.queue(), group: self.group(), body }
    }

    /// The queue whose function does it.
    #[must_use]
    pub fn queue(&self) -> Queue {
        match self {
            Self::Inbound(_) | Self::ReplayFailures(_) => Queue::Retries,
            Self::Deliver(_) | Self::ReplayEvents(_) => Queue::Deliveries,
            Self::Sync(job) => Queue::Syncs(job.entity),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Inbound(waiting) => &waiting.event.tenant_id,
            Self::ReplayFailures(job) => &job.tenant_id,
            Self::Deliver(delivery) => &delivery.tenant_id,
            Self::ReplayEvents(job) => &job.tenant_id,
            Self::Sync(job) => &job.tenant_id,
        }
    }

    /// What its log lines are found by.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Inbound(waiting) => waiting.event.correlation_id.as_deref(),
            Self::Deliver(delivery) => delivery.correlation_id.as_deref(),
            Self::Sync(job) => job.correlation_id.as_deref(),
            Self::ReplayFailures(_) | Self::ReplayEvents(_) => None,
        }
    }

    /// Each endpoint and each CRM is a group of its own: a slow one keeps nobody else waiting, not even its own tenant's others.
    fn group(&self) -> Option<String> {
        match self {
            Self::Inbound(_) | Self::ReplayFailures(_) => None,
            Self::Deliver(delivery) => Some(delivery.subscription_id.clone()),
            Self::ReplayEvents(job) => Some(job.subscription_id.clone()),
            Self::Sync(job) => Some(format!("{}.{}", job.tenant_id, job.system_id)),
        }
    }

    /// Reverses [`Operation::to_message`], at `now`.
    ///
    /// # Errors
    /// [`MessageError`] says what about the message isn't ours.
    pub fn from_message(text: &str, now: Timestamp) -> Result<Self, MessageError> {
        /// What every message has. To read the rest by its kind, once that is known, is twice as fast as serde's tagged enum,
        /// that has to keep everything that comes before the tag, and an event is long.
        #[derive(Deserialize)]
        struct Envelope<'a> {
            v: u32,
            #[serde(borrow)]
            kind: Cow<'a, str>,
        }
        fn rest<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, MessageError> {
            serde_json::from_str(text).map_err(|_| MessageError::NotOurs)
        }
        let envelope: Envelope = rest(text)?;
        if envelope.v != VERSION {
            return Err(MessageError::UnknownVersion);
        }
        let operation = match &*envelope.kind {
            "inbound_event" => Self::Inbound(rest::<Packed>(text)?.unpack()?),
            "replay_failures" => Self::ReplayFailures(rest(text)?),
            "make_delivery" => Self::Deliver(rest(text)?),
            "replay_events" => Self::ReplayEvents(rest(text)?),
            "sync_records" => Self::Sync(rest(text)?),
            _ => return Err(MessageError::UnknownVersion),
        };
        if operation.latest().is_some_and(|time| time.duration_since(now) > AHEAD_MAX) {
            return Err(MessageError::AbsurdTime);
        }
        Ok(operation)
    }

    /// The latest time that it names.
    fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Inbound(waiting) => Some(waiting.due.max(waiting.event.received_at)),
            Self::ReplayFailures(job) => job.span.until,
            Self::Deliver(delivery) => delivery.due.max(delivery.turn),
            Self::ReplayEvents(job) => Some(job.until),
            Self::Sync(job) => job.due,
        }
    }
}

/// A message on a queue, as it is written.
#[derive(Serialize)]
struct Message {
    v: u32,
    #[serde(flatten)]
    body: Body,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Body {
    InboundEvent(Packed),
    ReplayFailures(ReplayFailures),
    MakeDelivery(Box<Deliver>),
    ReplayEvents(ReplayEvents),
    SyncRecords(SyncJob),
}

#[derive(Serialize, Deserialize)]
struct Packed {
    tenant_id: TenantId,
    system_id: SystemId,
    /// Which retry is to be made, from 0.
    attempt: u32,
    /// What it waits for.
    reason: Reason,
    due: Timestamp,
    data: String,
}

impl From<&Waiting> for Packed {
    fn from(waiting: &Waiting) -> Self {
        let event = serde_json::to_vec(&waiting.event).unwrap_or_default();
        Self {
            tenant_id: waiting.event.tenant_id.clone(),
            system_id: waiting.event.system_id.clone(),
            attempt: waiting.attempt,
            reason: waiting.reason,
            due: waiting.due,
            data: BASE64.encode(codec::pack(&event)),
        }
    }
}

impl Packed {
    fn unpack(self) -> Result<Waiting, MessageError> {
        let packed = BASE64.decode(&self.data).map_err(|_| MessageError::NotOurs)?;
        // The envelope of JSON in JSON at most sextuples a body.
        let event = codec::unpack(&packed, 6 * Settings::BODY_BYTES_MAX + 64 * 1024)?;
        let event: InboundEvent = serde_json::from_slice(&event).map_err(|_| MessageError::NotOurs)?;
        if event.tenant_id != self.tenant_id || event.system_id != self.system_id {
            return Err(MessageError::NotOurs);
        }
        Ok(Waiting { event, attempt: self.attempt, reason: self.reason, due: self.due })
    }
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
    /// For another function: put there by hand.
    #[error("the message belongs into another queue; put it there")]
    WrongQueue,
    /// It names a time days ahead.
    #[error("the message names a time that is days ahead; check the clocks, then put it back")]
    AbsurdTime,
    /// Its payload can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_322_800, 0);

    fn waiting(body: &str) -> Operation {
        let event = InboundEvent {
            tenant_id: TenantId::parse("tenant_a").unwrap(),
            system_id: SystemId::parse("sarah_ai").unwrap(),
            received_at: NOW,
            body: body.to_owned(),
            form: false,
            signed_id: Some("msg_1".into()),
            headers: BTreeMap::new(),
            warnings: vec!["odd".into()],
            replay: None,
            correlation_id: Some("inb_1".into()),
        };
        Operation::Inbound(Waiting { event, attempt: 2, reason: Reason::RateLimited, due: NOW })
    }

    proptest! {
        #[test]
        fn a_message_brings_the_event_back_in_characters_that_sqs_takes(body in ".{0,300}") {
            let message = waiting(&body).to_message().body;
            prop_assert!(message.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(Operation::from_message(&message, NOW), Ok(waiting(&body)));
        }

        #[test]
        fn foreign_messages_are_errors(text in ".{0,200}") {
            prop_assert!(Operation::from_message(&text, NOW).is_err());
        }
    }

    #[test]
    fn messages_of_the_time_before_they_said_what_they_came_of_are_still_read() {
        let delivery = r#""subscription_id":"sub_1","event_id":"evt_1","event":{"type":"webhook.test","at":"2026-01-02T03:04:05Z","data":"{}"}"#;
        for (kind, rest) in
            [("make_delivery", delivery), ("sync_records", r#""system_id":"crm","entity":"contact","task":"send""#)]
        {
            let message = format!(r#"{{"v":1,"kind":"{kind}","tenant_id":"acme",{rest}}}"#);
            let operation = Operation::from_message(&message, NOW).unwrap();
            assert_eq!(operation.correlation_id(), None);
            assert!(!operation.to_message().body.contains("correlation"));
        }
        assert_eq!(waiting("{}").correlation_id(), Some("inb_1"));
    }

    #[test]
    fn each_other_message_is_refused_with_its_reason() {
        use MessageError::{AbsurdTime, NotOurs, UnknownVersion};
        let message = waiting("{}").to_message().body;
        let with = |old: &str, new: &str| {
            assert!(message.contains(old), "{message}");
            message.replacen(old, new, 1)
        };
        for (message, error) in [
            (with("\"v\":1", "\"v\":2"), UnknownVersion),
            (with("inbound_event", "outbound_rocket"), UnknownVersion),
            (with("tenant_a", "tenant_b"), NotOurs),
            (with("\"attempt\":2", "\"attempt\":-2"), NotOurs),
            (with("\"attempt\":2", "\"attempt\":99999999999"), NotOurs),
            (with("\"due\":\"2026", "\"due\":\"2099"), AbsurdTime),
            (with("\"due\":\"2026", "\"due\":\"+999999"), NotOurs),
            ("hello".into(), NotOurs),
            ("{}".into(), NotOurs),
            (r#"{"v":1,"kind":"replay_failures","tenant_id":"Not a name","span":{}}"#.into(), NotOurs),
        ] {
            assert_eq!(Operation::from_message(&message, NOW), Err(error), "{message}");
        }
    }
}
