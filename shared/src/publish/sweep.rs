//! `sweep-events`: finds events that were left behind, and publishes them.
//!
//! The stream keeps 24 hours; whatever else may be lost, a message or a mistake of ours, is found in the same way. Every
//! hour each tenant's events since the last sweep are compared with the records of their deliveries: a delivery without a
//! record is made. The last hour is left alone, because its deliveries may be under way.
//!
//! A tenant with subscriptions has one item on the index `due`, at the time up to which it was swept; a tenant without
//! events costs a query.

use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Value, json};

use super::{deliveries, now};
use crate::{
    deliver::record::delivery_key,
    event::{Event, event_partition, events_of, first_id_at},
    hub::{Edge, Hub},
    ids::TenantId,
    operation::{Cause, Deliver},
    store::{Delayed, Item, Key, Range, StoreError, Write},
    subscription::subscription_partition,
    tenant::TenantContext,
    time::{millis_text, run_end},
};

/// The partition of the index `due` in which tenants wait for their sweep.
const PARTITION: &str = "sweep";
/// Deliveries of younger events may be under way.
const LAG: Duration = Duration::from_hours(1);
/// A run ends so long before its time does; the next one goes on.
const MARGIN: Duration = Duration::from_secs(10);
/// Tenants and items of the outbox that are looked at in one go.
const PAGE: i32 = 50;

fn key(tenant: &TenantId) -> Key {
    Key { pk: subscription_partition(tenant), sk: "sweep".to_owned() }
}

fn item(tenant: &TenantId, swept: Timestamp) -> Item {
    Item::new(&key(tenant)).text("due_pk", PARTITION).text("due_at", millis_text(swept))
}

/// The write that has a tenant swept from `now` on; of its first subscription.
#[must_use]
pub fn sweep_item(tenant: &TenantId, now: Timestamp) -> Write {
    Write::Put { item: item(tenant, now), condition: "", values: Vec::new() }
}

/// Sweeps the tenants whose time has come, the longest unswept first.
///
/// # Errors
/// Where AWS fails for some of them: they wait for the next run.
pub async fn handle(edge: &Edge, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let end = run_end(event.context.deadline, MARGIN);
    let until = edge.now().saturating_sub(LAG).unwrap_or(Timestamp::UNIX_EPOCH);
    let (mut found, mut after, mut failed) = (0, None, None);
    loop {
        let page = edge.store.due(PARTITION, until, after, PAGE).await?;
        for item in &page.items {
            let tenant = item.key().and_then(|key| TenantId::parse(key.pk.strip_suffix("#sub")?).ok());
            let swept = item.get_text("due_at").and_then(|at| at.parse::<Timestamp>().ok());
            let Some((tenant, swept)) = tenant.zip(swept) else { continue };
            // Only our own subscriptions put a tenant there.
            let context = TenantContext::authenticated(tenant);
            match sweep(&edge.acting_for(&context), &context, (swept, until), end).await {
                Ok(count) => found += count,
                Err(error) => {
                    tracing::warn!(tenant = %context.tenant(), %error, "a tenant can't be swept now");
                    failed = Some(error);
                }
            }
        }
        after = page.next;
        if after.is_none() || end.is_some_and(|end| edge.now() >= end) {
            break;
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(json!({"left_behind": found})),
    }
}

/// Looks at a tenant's events of a span, and gives how many deliveries were left behind.
async fn sweep(
    hub: &Hub,
    context: &TenantContext,
    (from, until): (Timestamp, Timestamp),
    end: Option<Timestamp>,
) -> Result<usize, StoreError> {
    let tenant = context.tenant();
    // What a suspended tenant's messages wait with would be made twice; once it goes on, it is swept from where it was.
    if hub.subscriptions.is_suspended(&hub.store, context, hub.now()).await? {
        return Ok(0);
    }
    let range = Range { from: first_id_at(from), to: first_id_at(until) };
    let (mut found, mut after) = (0, None);
    loop {
        let page = hub.store.range(&event_partition(tenant), &range, &[], (after, PAGE, true)).await?;
        let events: Vec<_> = page.items.iter().filter_map(events_of).flatten().collect();
        let looked_at = events.last().map(|(_, event)| event.at);
        found += publish_missing(hub, context, events).await?;
        after = page.next.map(|(_, key)| key.sk);
        if let Some(swept) = if after.is_some() { looked_at } else { looked_at.map(|_| until) } {
            // From there on the next time; an event of the same millisecond is looked at twice.
            hub.store.put(item(tenant, swept), "", Vec::new()).await?.ok();
        }
        if after.is_none() || end.is_some_and(|end| hub.now() >= end) {
            return Ok(found);
        }
    }
}

async fn publish_missing(
    hub: &Hub,
    context: &TenantContext,
    events: Vec<(String, Event)>,
) -> Result<usize, StoreError> {
    let tenant = context.tenant();
    let subscriptions = hub.subscriptions.all(&hub.store, context, hub.now()).await?;
    let mut missing: Vec<Delayed> = Vec::new();
    for (id, event) in &events {
        // Subscriptions that were made or changed since may want events of a time when they didn't.
        let wanting: Vec<_> = subscriptions.iter().filter(|s| s.wanting_since <= event.at).cloned().collect();
        let wanted: Vec<Deliver> = deliveries(context, &wanting, (id, event)).collect();
        let keys: Vec<Key> = wanted.iter().map(|d| delivery_key(tenant, &d.subscription_id, &d.event_id)).collect();
        let records = hub.store.get_many(&keys).await?;
        let left_behind = wanted.into_iter().zip(records).filter(|(_, record)| record.is_none());
        let again = |(delivery, _)| now(Deliver { cause: Some(Cause::LeftBehind), ..delivery });
        missing.extend(left_behind.map(again));
    }
    let count = missing.len();
    if count > 0 {
        tracing::warn!(%tenant, count, "deliveries were left behind and are made now");
        hub.store.enqueue_every(missing).await?;
    }
    Ok(count)
}
