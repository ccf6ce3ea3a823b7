//! `process-retries`: works off the retry queue, by [`batch`]es.
//!
//! A message that must wait longer is sent anew with its next delay and then deleted, which may at worst repeat it, and a
//! repeat changes nothing. One that can't even be sent anew is left to SQS.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent};

use crate::{
    batch::{self, Left, contained},
    hub::{Edge, Hub},
    limits::{Admission, inbound},
    operation::{MessageError, Operation, Reason, Waiting},
    process::{Verdict, give_up, orphan, process, settled},
    registry::{self, Target},
    replay,
    schedule::{self, KEEP_AGAIN, SUSPENDED_AGAIN},
    store::StoreError,
    tenant::TenantContext,
};

/// A message may take this long, well within the function's 29 s, so that its neighbours' outcomes are still reported.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(20);

/// Works off one batch.
///
/// # Errors
/// None: each message has its own outcome.
pub async fn handle(edge: &Edge, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records;
    let outcomes = join_all(messages.iter().map(|message| contained(MESSAGE_TIME_MAX, work_off(edge, message)))).await;
    let mut response = SqsBatchResponse::default();
    for (message, outcome) in messages.iter().zip(outcomes) {
        if let Err(error) = outcome {
            batch::leave(&mut response, message, &error);
        }
    }
    Ok(response)
}

async fn work_off(edge: &Edge, message: &SqsMessage) -> Result<(), Left> {
    let body = message.body.as_deref().unwrap_or_default();
    match Operation::from_message(body, edge.now())? {
        Operation::Inbound(waiting) => {
            // Only a verified webhook is ever queued.
            let context = TenantContext::authenticated(waiting.event.tenant_id.clone());
            Ok(retry(&edge.acting_for(&context), &context, waiting).await?)
        }
        Operation::ReplayFailures(job) => {
            // Only the tenant's own API queues this.
            let context = TenantContext::authenticated(job.tenant_id.clone());
            Ok(replay::failures(&edge.acting_for(&context), &context, job).await?)
        }
        Operation::Deliver(_) | Operation::ReplayEvents(_) | Operation::Sync(_) => Err(MessageError::WrongQueue.into()),
    }
}

/// What a try gave.
enum Outcome {
    Done(Verdict),
    /// Its tenant is gone.
    Dropped,
    Later {
        delay: Duration,
        attempt: u32,
        reason: Reason,
    },
}

async fn retry(hub: &Hub, context: &TenantContext, waiting: Waiting) -> Result<(), StoreError> {
    let outcome = attempt(hub, context, &waiting).await;
    let (tenant, system) = (&waiting.event.tenant_id, &waiting.event.system_id);
    let correlation_id = waiting.event.correlation_id.as_deref();
    match outcome {
        Outcome::Done(Verdict { status, correlation_id, .. }) => {
            tracing::info!(%tenant, %system, correlation_id, attempt = waiting.attempt, status = status.as_str(), "retry");
            Ok(())
        }
        Outcome::Dropped => {
            tracing::info!(%tenant, %system, correlation_id, status = "dropped", "the tenant of an event that waited is gone");
            Ok(())
        }
        Outcome::Later { delay, attempt, reason } => {
            tracing::info!(%tenant, %system, correlation_id, attempt, delay_seconds = delay.as_secs(), status = "queued", "retry");
            hub.defer(Waiting { attempt, reason, ..waiting }, delay).await
        }
    }
}

async fn attempt(hub: &Hub, context: &TenantContext, waiting: &Waiting) -> Outcome {
    let event = &waiting.event;
    let later = |delay| Outcome::Later { delay, attempt: waiting.attempt, reason: waiting.reason };
    // Came before its time: the queue delays by 15 minutes at most, and copies' clocks differ.
    let early = Duration::try_from(waiting.due.duration_since(hub.now())).unwrap_or_default();
    if !early.is_zero() {
        return later(early);
    }
    let found = hub.registry.find(&hub.store, &event.tenant_id, &event.system_id, hub.now()).await;
    let Ok(target) = found else { return later(KEEP_AGAIN) };
    let tries = retry_number(waiting).map_or(1, |n| n.saturating_add(2));
    let Some(target) = target else {
        match registry::tenant(&hub.store, context).await {
            Ok(Some(owner)) if owner.active => {}
            // It was accepted, and waits until the tenant goes on; what waits for a tenant that is deleted goes with it.
            Ok(Some(owner)) if owner.deleting_since.is_none() => return later(SUSPENDED_AGAIN),
            Ok(_) => return Outcome::Dropped,
            Err(_) => return later(KEEP_AGAIN),
        }
        return orphan(hub, context, event, tries).await.map_or(later(KEEP_AGAIN), Outcome::Done);
    };
    let payload = event.payload().unwrap_or_default();
    if waiting.reason == Reason::RateLimited
        && let Admission::Refused { retry_after_seconds } =
            inbound(&hub.store, &event.tenant_id, &event.system_id, target.integration.limits, hub.now()).await
    {
        // SQS delivers some messages twice. Copies of what is applied needn't wait for a window each.
        return match settled(hub, &target, event, &payload).await {
            Ok(Some(verdict)) => Outcome::Done(verdict),
            _ => later(Duration::from_secs(retry_after_seconds.unsigned_abs())),
        };
    }
    let error = match process(hub, context, &target, event, &payload).await {
        Ok(verdict) => return Outcome::Done(verdict),
        Err(error) => error,
    };
    if let Some(next) = next_try(hub, &target, waiting) {
        return next;
    }
    let kept = give_up(hub, context, Some(&target), (event, tries), &error).await;
    kept.map_or(later(KEEP_AGAIN), Outcome::Done)
}

/// The next try by the system's policy, if it has one left.
fn next_try(hub: &Hub, target: &Target, waiting: &Waiting) -> Option<Outcome> {
    let attempt = retry_number(waiting).map_or(0, |n| n.saturating_add(1));
    let delay = schedule::delay(&target.integration.retry, attempt, None, (hub.random)())?;
    // What was over its limit was admitted now, and isn't counted against it again.
    Some(Outcome::Later { delay, attempt, reason: Reason::Unavailable })
}

/// Which retry this is, from 0; `None` where it is the first try, of what waited for its window or is replayed.
fn retry_number(waiting: &Waiting) -> Option<u32> {
    (waiting.reason == Reason::Unavailable).then_some(waiting.attempt)
}
