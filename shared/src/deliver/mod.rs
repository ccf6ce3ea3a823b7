//! `deliver-webhooks`: makes deliveries. SQS hands over batches; all of a batch are made at the same time, and each message
//! is answered for by itself.
//!
//! `attempt` is one delivery's path. What the first attempts leave to be recorded is written together, up to 25 records a
//! call: one call each would cost as much CPU as the posts.

mod attempt;
mod exhausted;
mod health;
mod outcome;
pub mod payload;
pub mod record;
mod replay;
pub mod subscriptions;
mod test;
mod turn;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use lambda_runtime::{Error, LambdaEvent};

use self::attempt::Undone;
pub use self::{exhausted::held_by, test::test};
use crate::{
    batch::{Left, contained, correlation_id, leave},
    hub::Edge,
    ids::TenantId,
    operation::{Cause, Deliver, MessageError, Operation},
    schedule::{KEEP_AGAIN, SUSPENDED_AGAIN},
    store::{Item, Message, Queue, Store, StoreError, WRITES_MAX},
    tenant::TenantContext,
};

/// A message may take this long: a turn, an answer, and calls to AWS; well within the function's 60 s.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(50);

/// What was posted and can't be recorded is posted again, since nothing tells that it was: not more often than this, SQS'
/// longest delay.
const POST_AGAIN: Duration = Duration::from_mins(15);

/// What ends within this time of each other is recorded in one call.
const GATHER: Duration = Duration::from_millis(2);

/// The delivery of an event, as a person asks for it.
#[must_use]
pub fn asked(tenant: &TenantId, subscription: &str, event: &str) -> Deliver {
    Deliver { cause: Some(Cause::Asked), ..Deliver::first(tenant, subscription, event) }
}

/// Works off one batch.
///
/// # Errors
/// None: each message has its own outcome.
pub async fn handle(edge: &Edge, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let messages = event.payload.records;
    let mut response = SqsBatchResponse::default();
    let attempt = async |message| (message, contained(MESSAGE_TIME_MAX, Box::pin(work_off(edge, message))).await);
    let mut attempts: FuturesUnordered<_> = messages.iter().map(attempt).collect();
    let mut writes = FuturesUnordered::new();
    let mut gathered: Vec<Gathered<'_>> = Vec::new();
    loop {
        let is_full = gathered.len() >= WRITES_MAX || (attempts.is_empty() && !gathered.is_empty());
        tokio::select! {
            biased;
            Some((message, outcome)) = attempts.next(), if !is_full => match outcome {
                Ok(Some((context, item))) => gathered.push((message, context, item)),
                Ok(None) => {}
                Err(error) => leave(&mut response, message, &error),
            },
            Some(left) = writes.next() => {
                let left: Vec<(&SqsMessage, Left)> = left;
                for (message, error) in &left {
                    leave(&mut response, message, error);
                }
            },
            () = tokio::time::sleep(GATHER), if !is_full && !gathered.is_empty() => {
                writes.push(write(edge, std::mem::take(&mut gathered)));
            },
            () = std::future::ready(()), if is_full => writes.push(write(edge, std::mem::take(&mut gathered))),
            else => return Ok(response),
        }
    }
}

async fn work_off(edge: &Edge, message: &SqsMessage) -> Result<Option<(TenantContext, Item)>, Left> {
    let operation = Operation::from_message(message.body.as_deref().unwrap_or_default(), edge.now())?;
    // Only this tenant's own events and API calls are ever queued.
    let context = TenantContext::authenticated(operation.tenant().clone());
    let hub = &edge.acting_for(&context);
    if matches!(operation, Operation::Deliver(_) | Operation::ReplayEvents(_))
        && hub.subscriptions.is_suspended(&hub.store, &context, hub.now()).await.unwrap_or_default()
    {
        return wait(edge, message, SUSPENDED_AGAIN).await.map(|()| None);
    }
    match operation {
        Operation::Deliver(delivery) => match attempt::make(hub, &context, *delivery).await {
            Ok(unwritten) => Ok(unwritten.map(|item| (context, item))),
            Err(Undone::Before(error)) => put_back(edge, message, error, KEEP_AGAIN).await.map(|()| None),
            Err(Undone::After(error)) => put_back(edge, message, error, POST_AGAIN).await.map(|()| None),
        },
        Operation::ReplayEvents(job) => Ok(replay::run(hub, &context, job).await.map(|()| None)?),
        Operation::Inbound(_) | Operation::ReplayFailures(_) | Operation::Sync(_) => {
            Err(MessageError::WrongQueue.into())
        }
    }
}

/// Lets a message come again after `delay`, where AWS fails for the moment: left to SQS, it would be a dead letter before a
/// longer outage is over.
async fn put_back(edge: &Edge, message: &SqsMessage, error: StoreError, delay: Duration) -> Result<(), Left> {
    if !error.is_retryable() {
        return Err(error.into());
    }
    let correlation_id = correlation_id(message);
    tracing::warn!(message_id = message.message_id, correlation_id, %error, delay_seconds = delay.as_secs(), "a delivery comes again");
    wait(edge, message, delay).await
}

/// Lets a message come again after `delay`, as it is.
async fn wait(edge: &Edge, message: &SqsMessage, delay: Duration) -> Result<(), Left> {
    let body = message.body.clone().unwrap_or_default();
    let group = Operation::from_message(&body, edge.now())?.to_message().group;
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    Ok(edge.store.enqueue(Message { queue: Queue::Deliveries, group, body }, seconds).await?)
}

/// What is to be recorded, and for which tenant.
type Gathered<'m> = (&'m SqsMessage, TenantContext, Item);

/// A message and the record of its delivery.
type Recorded<'m> = (&'m SqsMessage, Item);

/// Records several deliveries; gives those messages that are left to SQS. Where tenants have sessions, a call is for one of
/// them; else one call is for all.
async fn write<'m>(edge: &Edge, gathered: Vec<Gathered<'m>>) -> Vec<(&'m SqsMessage, Left)> {
    let mut groups: BTreeMap<Option<TenantId>, (Store, Vec<Recorded<'m>>)> = BTreeMap::new();
    for (message, context, item) in gathered {
        let tenant = edge.store.has_sessions().then(|| context.tenant().clone());
        let store = || if tenant.is_some() { edge.acting_for(&context).store } else { edge.store.clone() };
        groups.entry(tenant.clone()).or_insert_with(|| (store(), Vec::new())).1.push((message, item));
    }
    let written = groups.into_values().map(|(store, group)| write_group(edge, store, group));
    join_all(written).await.into_iter().flatten().collect()
}

async fn write_group<'m>(edge: &Edge, store: Store, group: Vec<(&'m SqsMessage, Item)>) -> Vec<(&'m SqsMessage, Left)> {
    let (messages, mut items): (Vec<&'m SqsMessage>, Vec<Item>) = group.into_iter().unzip();
    // Two copies of one message would be two writes of one item, which DynamoDB refuses.
    let mut seen = HashSet::with_capacity(items.len());
    items.retain(|item| seen.insert(item.key()));
    let Err(error) = store.put_all(items).await else { return Vec::new() };
    let back =
        messages.into_iter().map(async |message| (message, put_back(edge, message, error.clone(), POST_AGAIN).await));
    let back = join_all(back).await;
    back.into_iter().filter_map(|(message, outcome)| Some((message, outcome.err()?))).collect()
}
