//! `process-retries`: works off the retry queue. SQS hands over batches; each message is answered for by itself, so that a
//! bad one neither holds up nor repeats its neighbours.
//!
//! A message that is done is deleted; one that must wait longer is sent anew with its next delay and then deleted, which
//! may at worst repeat it, and a repeat changes nothing. One that isn't ours, or that can't even be sent anew, is left to
//! SQS: it comes again, and after five times it is in the dead-letter queue.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use lambda_runtime::{Error, LambdaEvent};

use crate::{
    hub::Hub,
    inbound::{MessageError, Reason, Waiting},
    limits::{Admission, inbound},
    process::{give_up, process},
    registry::Target,
    schedule,
    store::StoreError,
    tenant::TenantContext,
};

/// While neither configuration can be read nor a failure kept, because the table is down, it is tried every so often.
const KEEP_AGAIN_SECONDS: i64 = 300;

/// Works off one batch.
///
/// # Errors
/// None: each message has its own outcome.
pub async fn handle(hub: &Hub, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records;
    let outcomes = join_all(messages.iter().map(|message| work_off(hub, message))).await;
    let mut response = SqsBatchResponse::default();
    for (message, outcome) in messages.into_iter().zip(outcomes) {
        if let Err(error) = outcome {
            tracing::warn!(message_id = message.message_id, %error, "a message is left to the queue");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

/// Why a message is left to SQS.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a try gave.
enum Outcome {
    Done(&'static str),
    Later { delay_seconds: i64, attempt: u32, reason: Reason },
}

async fn work_off(hub: &Hub, message: &SqsMessage) -> Result<(), Left> {
    let waiting = Waiting::from_message(message.body.as_deref().unwrap_or_default())?;
    // Only a verified webhook is ever queued.
    let context = TenantContext::authenticated(waiting.event.tenant_id.clone());
    let outcome = attempt(hub, &context, &waiting).await;
    let (tenant, system) = (&waiting.event.tenant_id, &waiting.event.system_id);
    match outcome {
        Outcome::Done(status) => tracing::info!(%tenant, %system, attempt = waiting.attempt, status, "retry"),
        Outcome::Later { delay_seconds, attempt, reason } => {
            tracing::info!(%tenant, %system, attempt, delay_seconds, status = "queued", "retry");
            hub.store.enqueue(Waiting { attempt, reason, ..waiting }.to_message(), delay_seconds).await?;
        }
    }
    Ok(())
}

async fn attempt(hub: &Hub, context: &TenantContext, waiting: &Waiting) -> Outcome {
    let event = &waiting.event;
    let found = hub.registry.find(&hub.store, &event.tenant_id, &event.system_id, hub.now()).await;
    let Ok(target) = found else { return again(hub, None, waiting) };
    let Some(target) = target else {
        let error =
            "the system was removed or switched off while the event waited; register it again and replay the event";
        return keep(hub, context, None, waiting, ("system_gone", error)).await;
    };
    if waiting.reason == Reason::RateLimited
        && let Admission::Refused { retry_after_seconds } =
            inbound(&hub.store, &event.tenant_id, &event.system_id, target.integration.limits, hub.now()).await
    {
        return Outcome::Later { delay_seconds: retry_after_seconds, attempt: waiting.attempt, reason: waiting.reason };
    }
    let payload = event.payload().unwrap_or_default();
    match process(hub, context, &target, event, &payload).await {
        Ok(verdict) => Outcome::Done(verdict.status.as_str()),
        Err(_) if waiting.attempt.saturating_add(1) < target.integration.retry.max_attempts => {
            again(hub, Some(&target), waiting)
        }
        Err(error) => {
            let error =
                format!("AWS was failing at every try, at last: {error}; replay the event once it has recovered");
            keep(hub, context, Some(&target), waiting, ("retries_exhausted", &error)).await
        }
    }
}

/// The next try, by the system's policy. Where not even that can be read, it isn't counted as a try.
fn again(hub: &Hub, target: Option<&Target>, waiting: &Waiting) -> Outcome {
    let Some(target) = target else {
        return Outcome::Later { delay_seconds: KEEP_AGAIN_SECONDS, attempt: waiting.attempt, reason: waiting.reason };
    };
    let attempt = waiting.attempt.saturating_add(1);
    let delay = schedule::delay(&target.integration.retry, attempt, None, (hub.random)()).unwrap_or_default();
    let delay_seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    // What was over its limit was admitted now, and isn't counted again.
    Outcome::Later { delay_seconds, attempt, reason: Reason::Unavailable }
}

async fn keep(
    hub: &Hub,
    context: &TenantContext,
    target: Option<&Target>,
    waiting: &Waiting,
    why: (&str, &str),
) -> Outcome {
    let tries = waiting.attempt.saturating_add(2);
    match give_up(hub, context, target, (&waiting.event, tries), why).await {
        Ok(verdict) => Outcome::Done(verdict.status.as_str()),
        // The table is down: nothing is lost while the event waits, and the next try may find it up again.
        Err(_) => {
            Outcome::Later { delay_seconds: KEEP_AGAIN_SECONDS, attempt: waiting.attempt, reason: waiting.reason }
        }
    }
}
