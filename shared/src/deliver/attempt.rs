//! One attempt of a delivery: is it still wanted, is it its turn, post, judge, record, and go on by the schedule.
//!
//! The next attempt is sent on its way before this one is recorded, so that what dies in between repeats an attempt and
//! loses none. A message says how many attempts were made before it; where the record has more, another message has taken
//! its place, and it ends there.

use std::{sync::Arc, time::Duration};

use super::{
    exhausted, health,
    outcome::{Outcome, post},
    record::{Attempt, DeliveryStatus, Record, delivery_key},
};
use crate::{
    event::{Event, event_place, events_of},
    hub::Hub,
    operation::{Cause, Deliver, Operation},
    process::failure_key,
    schedule,
    store::{Item, StoreError},
    subscription::{DisabledReason, Subscription},
    tenant::TenantContext,
};

/// Contract §6.
pub(super) const TIME_OUT: Duration = Duration::from_secs(30);

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
        let (tenant, subscription) = (context.tenant(), &delivery.subscription_id);
        tracing::info!(%tenant, subscription, correlation_id = delivery.correlation_id, "a deleted subscription gets nothing");
        return Ok(None);
    };
    let mut known = Known::of(hub, context, &delivery).await?;
    if !known.is_wanted(&delivery) {
        return Ok(None);
    }
    let made = known.record.as_ref().map_or(delivery.made, |record| record.made);
    let correlation_id = delivery.correlation_id.or_else(|| known.event.as_ref()?.correlation_id.clone());
    let delivery = Deliver { made, correlation_id, ..delivery };
    let work = Work { hub, context, subscription, delivery };
    if !work.subscription.is_active() {
        let reason = "the subscription is disabled; replay the event once it is enabled again";
        return Ok(work.end(known, reason).await?);
    }
    let Some(event) = known.event.take() else {
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
    let correlation_id = event.correlation_id.clone();
    let delivery = Deliver { made, correlation_id, ..Deliver::first(context.tenant(), &subscription.id, event_id) };
    let work = Work { hub, context, subscription: Arc::clone(subscription), delivery };
    work.await_turn().await?;
    // A replay goes step by step, and what it did is seen by the next.
    let outcome = work.post(event).await?;
    match work.settle(record, event, outcome).await? {
        Some(item) => hub.store.put_all(vec![item]).await,
        None => Ok(()),
    }
}

/// What is known of a delivery before its attempt.
pub(super) struct Known {
    pub(super) event: Option<Event>,
    pub(super) record: Option<Record>,
}

impl Known {
    /// The first attempt brings its event along and has no record, so nothing is read; but one that waited for its turn has,
    /// and a copy of it may have been made meanwhile.
    async fn of(hub: &Hub, context: &TenantContext, delivery: &Deliver) -> Result<Self, StoreError> {
        let tenant = context.tenant();
        if let Some(event) = &delivery.event
            && delivery.made == 0
            && delivery.cause.is_none()
            && delivery.turn.is_none()
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
pub(super) struct Work<'a> {
    pub(super) hub: &'a Hub,
    pub(super) context: &'a TenantContext,
    pub(super) subscription: Arc<Subscription>,
    pub(super) delivery: Deliver,
}

impl Work<'_> {
    /// Records what came of an attempt, and goes on by it.
    async fn settle(&self, before: Option<Record>, event: &Event, outcome: Outcome) -> Result<Unwritten, StoreError> {
        if outcome.succeeded {
            health::succeeded(self.hub, self.context, &self.subscription).await;
            return self.finish(before, event, outcome.attempt).await;
        }
        let now = self.hub.now();
        let correlation_id = self.delivery.correlation_id.as_deref();
        if outcome.gone {
            let because = (DisabledReason::Gone, correlation_id);
            health::disable(self.hub, self.context, &self.subscription.id, because, now).await?;
        } else {
            health::failed(self.hub, self.context, &self.subscription, (now, correlation_id)).await;
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
        let event = (self.delivery.event_id.as_str(), event, self.delivery.made);
        let outcome = post(hub, self.context, &self.subscription, event, (&secrets, TIME_OUT)).await;
        let outcome = outcome.map_err(|_| StoreError::Rejected {
            operation: "GetSecretValue",
            reason: "the subscription's secret isn't there; rotate it, then put the message back".into(),
        })?;
        hub.metrics.delivery(&self.delivery, &outcome.attempt, outcome.succeeded);
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

    pub(super) fn ttl(&self) -> i64 {
        ttl(self.hub)
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
