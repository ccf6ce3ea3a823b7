//! One attempt of a delivery: is it still wanted, is it its turn, post, judge, record, and go on by the schedule.
//!
//! The next attempt is sent on its way before this one is recorded, so that what dies in between repeats an attempt and
//! loses none. A message says how many attempts were made before it; where the record has more, another message has taken
//! its place, and it ends there.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::{
    exhausted, health, payload,
    record::{Attempt, DeliveryStatus, Record, delivery_key},
};
use crate::{
    event::{Event, event_place, events_of},
    hub::Hub,
    operation::{Cause, Deliver, Operation},
    outgoing::{Reply, Request, SendError},
    process::failure_key,
    schedule,
    store::{Item, Key, StoreError},
    subscription::{DisabledReason, Subscription},
    tenant::TenantContext,
};

/// Contract §6.
pub(super) const TIME_OUT: Duration = Duration::from_secs(30);

/// So long a delivery waits for its turn in the function; for a longer wait it goes back into the queue, whose delays are
/// whole seconds.
const WAIT_MAX: Duration = Duration::from_millis(2_500);
/// So long before its turn a delivery comes out of the queue: a second that its whole seconds may take, and one that it may
/// be late. One that misses its turn has to take another, and where all are late alike, none would ever be made.
const EARLY: Duration = Duration::from_secs(2);
/// A turn that is over by so much isn't used any more: deliveries that are late together would come together.
const TURN_MAX: Duration = Duration::from_millis(200);

/// What an attempt leaves to be written together with others.
pub(super) type Unwritten = Option<Item>;

/// Why an attempt isn't done.
pub(super) enum Undone {
    /// Nothing was posted.
    Before(StoreError),
    /// It was posted, and what came of it can't be recorded.
    After(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Before(error)
    }
}

/// Makes the attempt that a message asks for.
pub(super) async fn make(hub: &Hub, context: &TenantContext, delivery: Deliver) -> Result<Unwritten, Undone> {
    let now = hub.now();
    let Some(subscription) = hub.subscriptions.find(&hub.store, context, &delivery.subscription_id, now).await? else {
        tracing::info!(tenant = %context.tenant(), subscription = delivery.subscription_id, "a deleted subscription gets nothing");
        return Ok(None);
    };
    let known = Known::of(hub, context, &delivery).await?;
    if !known.is_wanted(&delivery) {
        return Ok(None);
    }
    let made = known.record.as_ref().map_or(delivery.made, |record| record.made);
    let work = Work { hub, context, subscription, delivery: Deliver { made, ..delivery } };
    if !work.subscription.is_active() {
        let reason = "the subscription is disabled; replay the event once it is enabled again";
        return Ok(work.end(known, reason).await?);
    }
    let Some(event) = known.event.clone() else {
        return Ok(work.end(known, "the event is no longer kept").await?);
    };
    if !work.has_turn(&known, &event).await? {
        return Ok(None);
    }
    let outcome = work.post(&event).await?;
    work.settle(known.record, &event, outcome).await.map_err(Undone::After)
}

/// Makes an attempt of a replay, whose event and record are known.
pub(super) async fn again(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Arc<Subscription>,
    (event_id, event): (&str, &Event),
    record: Option<Record>,
) -> Result<(), StoreError> {
    let made = record.as_ref().map_or(0, |record| record.made);
    let delivery = Deliver { made, ..Deliver::first(context.tenant(), &subscription.id, event_id) };
    let work = Work { hub, context, subscription: Arc::clone(subscription), delivery };
    while let Some(turn) = work.next_turn().await? {
        tokio::time::sleep(until(turn, hub.now())).await;
        if until(hub.now(), turn) <= TURN_MAX {
            break;
        }
    }
    // A replay goes step by step, and what it did is seen by the next.
    let outcome = work.post(event).await?;
    match work.settle(record, event, outcome).await? {
        Some(item) => hub.store.put_all(vec![item]).await,
        None => Ok(()),
    }
}

fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// What is known of a delivery before its attempt.
struct Known {
    event: Option<Event>,
    record: Option<Record>,
}

impl Known {
    /// The first attempt brings its event along and has no record, so nothing is read.
    async fn of(hub: &Hub, context: &TenantContext, delivery: &Deliver) -> Result<Self, StoreError> {
        let tenant = context.tenant();
        if let Some(event) = &delivery.event
            && delivery.made == 0
            && delivery.cause.is_none()
        {
            return Ok(Self { event: Some(event.clone()), record: None });
        }
        let record_key = delivery_key(tenant, &delivery.subscription_id, &delivery.event_id);
        let Some((outbox, n)) = event_place(tenant, &delivery.event_id) else {
            return Ok(Self { event: None, record: None });
        };
        let found = hub.store.get_many(&[record_key, outbox]).await?;
        let [record, outbox] = <[Option<Item>; 2]>::try_from(found).unwrap_or_default();
        let events = outbox.as_ref().and_then(events_of).unwrap_or_default();
        let event = events.into_iter().nth(n).map(|(_, event)| event);
        Ok(Self {
            event: event.or_else(|| delivery.event.clone()),
            record: record.as_ref().and_then(Record::from_item),
        })
    }

    fn is_wanted(&self, delivery: &Deliver) -> bool {
        let Some(record) = &self.record else { return true };
        match delivery.cause {
            Some(Cause::Asked) => true,
            Some(Cause::LeftBehind) => false,
            None => record.status == DeliveryStatus::Pending && record.made <= delivery.made,
        }
    }
}

/// One attempt and all that it takes.
struct Work<'a> {
    hub: &'a Hub,
    context: &'a TenantContext,
    subscription: Arc<Subscription>,
    delivery: Deliver,
}

/// How an attempt ended.
pub(super) struct Outcome {
    pub(super) attempt: Attempt,
    pub(super) succeeded: bool,
    gone: bool,
    retry_after: Option<Duration>,
}

impl Work<'_> {
    /// Waits for what is early, and for its turn at an endpoint with a rate. `false` where it went back into the queue.
    async fn has_turn(&self, known: &Known, event: &Event) -> Result<bool, StoreError> {
        let early = self.delivery.due.map(|due| (due, until(due, self.hub.now())));
        match early {
            Some((due, wait)) if wait > WAIT_MAX => {
                self.hub.send_at(&Operation::Deliver(Box::new(self.delivery.clone())), due).await?;
                return Ok(false);
            }
            Some((_, wait)) => tokio::time::sleep(wait).await,
            None => {}
        }
        let mut turn = self.delivery.turn;
        loop {
            let now = self.hub.now();
            let next = match turn {
                Some(turn) if until(now, turn) <= TURN_MAX => turn,
                _ => match self.next_turn().await? {
                    None => return Ok(true),
                    Some(turn) => turn,
                },
            };
            let wait = until(next, now);
            if wait.is_zero() {
                return Ok(true);
            }
            if wait > WAIT_MAX {
                self.wait(known, event, next).await?;
                return Ok(false);
            }
            tokio::time::sleep(wait).await;
            turn = Some(next);
        }
    }

    fn interval_ms(&self) -> Option<i64> {
        let rate = self.subscription.config.rate_per_second.as_ref()?.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "from 1 to 100,000")]
        Some((1_000.0 / rate).ceil() as i64)
    }

    /// The next turn at the endpoint; `None` where it has no rate.
    async fn next_turn(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(interval_ms) = self.interval_ms() else { return Ok(None) };
        let key = Key::of(self.context.tenant(), "pace", self.subscription.id.clone());
        self.hub.store.turn(&key, interval_ms, self.hub.now()).await.map(Some)
    }

    /// Back into the queue until `turn`, a little before it where the queue's whole seconds allow.
    async fn wait(&self, known: &Known, event: &Event, turn: Timestamp) -> Result<(), StoreError> {
        let delivery = Deliver { turn: Some(turn), ..self.delivery.clone() };
        if known.record.is_none() && delivery.made == 0 && delivery.cause.is_none() {
            // So that people see it, and the sweep doesn't take it for left behind.
            let record = Record { next_attempt_at: Some(turn), ..Record::new(event.event_type.as_str()) };
            let (condition, values) = Record::unchanged(None);
            self.hub.store.put(record.item(&self.delivery, self.ttl()), condition, values).await?.ok();
        }
        let early = turn.checked_sub(EARLY).unwrap_or(turn);
        self.hub.send_at(&Operation::Deliver(Box::new(delivery)), early).await
    }

    /// Records what came of an attempt, and goes on by it.
    async fn settle(&self, before: Option<Record>, event: &Event, outcome: Outcome) -> Result<Unwritten, StoreError> {
        if outcome.succeeded {
            health::succeeded(self.hub, self.context, &self.subscription).await;
            return self.finish(before, event, outcome.attempt).await;
        }
        let now = self.hub.now();
        if outcome.gone {
            health::disable(self.hub, self.context, &self.subscription.id, DisabledReason::Gone, now).await?;
        } else {
            health::failed(self.hub, self.context, &self.subscription, now).await;
        }
        let next = if outcome.gone { None } else { self.subscription.retry_seconds(self.delivery.step) };
        let Some(seconds) = next else {
            exhausted::keep(self.hub, &self.delivery, before, event, outcome.attempt).await?;
            return Ok(None);
        };
        let delay = schedule::around(seconds, outcome.retry_after, (self.hub.random)());
        let due = now.saturating_add(delay).unwrap_or(now);
        let next = Deliver {
            event: None,
            made: self.delivery.made.saturating_add(1),
            step: self.delivery.step.saturating_add(1),
            cause: None,
            due: Some(due),
            turn: None,
            ..self.delivery.clone()
        };
        self.hub.send_at(&Operation::Deliver(Box::new(next)), due).await?;
        let record = before.clone().unwrap_or_else(|| Record::new(event.event_type.as_str()));
        let record = Record { status: DeliveryStatus::Pending, next_attempt_at: Some(due), reason: None, ..record };
        self.record(before, record.with(outcome.attempt)).await.map(|()| None)
    }

    /// Posts the event, signed now.
    async fn post(&self, event: &Event) -> Result<Outcome, StoreError> {
        let (hub, now) = (self.hub, self.hub.now());
        let version = (self.subscription.id.as_str(), self.subscription.secret_version);
        let document = hub.secrets.for_subscription(self.context.tenant(), version, now).await?;
        let secrets = document.signing_secrets(version.0, version.1, now);
        let id = &self.delivery.event_id;
        let (body, signature) = payload::build(self.context.tenant(), id, event, self.delivery.made, &secrets);
        let headers = payload::headers(&self.subscription.headers, id, event, (&body, &signature), (&secrets, now));
        let headers = headers.map_err(|_| StoreError::Unavailable {
            operation: "GetSecretValue",
            reason: "the subscription's secret isn't there; rotate it".into(),
        })?;
        let request = Request {
            method: Method::POST,
            endpoint: self.subscription.endpoint.clone(),
            headers,
            body: Bytes::from(body),
            timeout: TIME_OUT,
        };
        let outcome = Outcome::new((hub.send)(request).await, now, hub.now());
        self.log(&outcome);
        Ok(outcome)
    }

    /// It took it.
    async fn finish(&self, before: Option<Record>, event: &Event, attempt: Attempt) -> Result<Unwritten, StoreError> {
        let unread = before.is_none() && self.delivery.made == 0 && self.delivery.cause.is_none();
        let record = before.clone().unwrap_or_else(|| Record::new(event.event_type.as_str()));
        let status = DeliveryStatus::Succeeded;
        let record = Record { status, next_attempt_at: None, reason: None, failure_id: None, ..record }.with(attempt);
        if unread {
            return Ok(Some(record.item(&self.delivery, self.ttl())));
        }
        // A copy of the first message may have put a record in the place of the one that knew of the failure.
        let known = before.as_ref().and_then(|before| before.failure_id.as_ref());
        let mut failures: Vec<_> = known.into_iter().chain(&self.delivery.failure_id).collect();
        failures.dedup();
        for failure in failures {
            self.hub.store.delete(&failure_key(self.context.tenant(), failure)).await?;
        }
        self.record(before, record).await.map(|()| None)
    }

    /// Stores the record. Where another copy recorded an attempt meanwhile, this one is added to it.
    async fn record(&self, mut before: Option<Record>, record: Record) -> Result<(), StoreError> {
        let mut record = record;
        for _ in 0..ROUNDS_MAX {
            let (condition, values) = Record::unchanged(before.as_ref());
            let item = record.item(&self.delivery, self.ttl());
            let Err(refused) = self.hub.store.put(item, condition, values).await? else { return Ok(()) };
            let stored = refused.as_ref().and_then(Record::from_item);
            record = stored.clone().map_or(record.clone(), |stored| merged(stored, &record));
            before = stored;
        }
        Ok(())
    }

    /// Ends it without an attempt.
    async fn end(&self, known: Known, reason: &str) -> Result<Unwritten, StoreError> {
        let event_type = known.event.as_ref().map(|event| event.event_type.as_str()).unwrap_or_default();
        let record = known.record.clone().unwrap_or_else(|| Record::new(event_type));
        let ended = Record {
            status: DeliveryStatus::Exhausted,
            next_attempt_at: None,
            reason: Some(reason.to_owned()),
            ..record
        };
        self.record(known.record, ended).await.map(|()| None)
    }

    fn ttl(&self) -> i64 {
        ttl(self.hub)
    }

    /// One line for each attempt: whose, what became of it, how long it took. No URL, header, body or secret.
    fn log(&self, outcome: &Outcome) {
        let attempt = &outcome.attempt;
        tracing::info!(
            tenant = %self.context.tenant(),
            subscription = self.subscription.id,
            event = self.delivery.event_id,
            attempt = self.delivery.made,
            succeeded = outcome.succeeded,
            http_status = attempt.status_code,
            error = attempt.error.as_deref(),
            ms = attempt.duration_ms,
            "delivery"
        );
    }
}

/// More copies than this aren't at work on the same delivery.
const ROUNDS_MAX: usize = 5;

/// When a delivery's record goes, in seconds since 1970.
pub(super) fn ttl(hub: &Hub) -> i64 {
    hub.now().as_second().saturating_add_unsigned(hub.settings.delivery_retention.as_secs())
}

/// The stored record with the last attempt of `own`. A success stays one.
///
/// Attempts of two copies of one message count as one: the messages of their retries say so, and would be taken for old.
fn merged(stored: Record, own: &Record) -> Record {
    let succeeded = [stored.status, own.status].contains(&DeliveryStatus::Succeeded);
    let status = if succeeded { DeliveryStatus::Succeeded } else { stored.status };
    let next_attempt_at = stored.next_attempt_at.filter(|_| !succeeded);
    let merged = Record { status, next_attempt_at, made: stored.made.max(own.made), ..stored };
    match own.attempts.last() {
        Some(attempt) if !merged.attempts.contains(attempt) => merged.noting(attempt.clone()),
        _ => merged,
    }
}

impl Outcome {
    pub(super) fn new(answer: Result<Reply, SendError>, began: Timestamp, ended: Timestamp) -> Self {
        let duration_ms = ended.duration_since(began).as_millis().try_into().unwrap_or(i64::MAX);
        let mut attempt = Attempt { at: began, status_code: None, error: None, duration_ms, response: None };
        match answer {
            Ok(reply) => {
                let (status, succeeded) = (reply.status, reply.status.is_success());
                attempt.status_code = Some(status.as_u16());
                attempt.response = shown(&reply.body);
                attempt.error = (!succeeded).then(|| format!("http_status: the endpoint answered {}", status.as_u16()));
                Self { attempt, succeeded, gone: status == StatusCode::GONE, retry_after: reply.retry_after }
            }
            Err(error) => {
                attempt.error = Some(format!("{}: {error}", error.code()));
                Self { attempt, succeeded: false, gone: false, retry_after: None }
            }
        }
    }
}

/// The beginning of an answer's body as text, for people; without what a terminal or a log could take for its own.
fn shown(body: &[u8]) -> Option<String> {
    const CHARS_MAX: usize = 500;
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}
