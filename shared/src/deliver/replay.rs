//! Sends a subscription what it missed, in the order of time, one after the other.
//!
//! A run ends after some seconds and hands the rest on. Two at once for one subscription would send the same twice, so each
//! takes a lease.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    attempt,
    record::{DeliveryStatus, Record, delivery_key},
};
use crate::{
    event::{Event, event_partition, events_of, first_id_at},
    hub::Hub,
    lease,
    operation::{Operation, ReplayEvents},
    store::{Item, Key, Range, StoreError},
    subscription::Subscription,
    tenant::TenantContext,
};

/// Items of the outbox that are looked at in one go: their events' records fit one `BatchGetItem` mostly.
const PAGE: i32 = 50;
/// A run begins no delivery after this time, so that it ends within the lease, whatever the endpoint does.
const RUN_MAX: Duration = Duration::from_secs(15);
/// Another run is under way: after so long it may be over.
const BUSY: Duration = Duration::from_secs(5);

/// Runs a job.
pub(super) async fn run(hub: &Hub, context: &TenantContext, job: ReplayEvents) -> Result<(), StoreError> {
    debug_assert_eq!(context.tenant(), &job.tenant_id);
    let name = format!("replay#{}", job.subscription_id);
    let Some(lease) = lease::take(hub, context, &name).await? else {
        let later = hub.now().saturating_add(BUSY).unwrap_or(Timestamp::MAX);
        return hub.send_at(&Operation::ReplayEvents(job), later).await;
    };
    let rest = some(hub, context, job).await;
    lease.give_back(hub).await;
    match rest? {
        Some(job) => hub.send_at(&Operation::ReplayEvents(job), hub.now()).await,
        None => Ok(()),
    }
}

/// Sends some, and gives what is left.
async fn some(hub: &Hub, context: &TenantContext, mut job: ReplayEvents) -> Result<Option<ReplayEvents>, StoreError> {
    let (tenant, began) = (context.tenant(), hub.now());
    hub.subscriptions.forget(tenant);
    let range = Range { from: first_id_at(job.since), to: format!("{}~", first_id_at(job.until)) };
    loop {
        let after = job.after.clone();
        let page = hub.store.range(&event_partition(tenant), &range, &[], (after, PAGE, true)).await?;
        for item in &page.items {
            let found = hub.subscriptions.find(&hub.store, context, &job.subscription_id, hub.now()).await?;
            let Some(subscription) = found.filter(|found| found.is_active()) else { return Ok(None) };
            send(hub, context, &subscription, item, job.all).await?;
            job.after = item.get_text("sk").map(str::to_owned);
            if hub.now().duration_since(began).unsigned_abs() >= RUN_MAX {
                return Ok(Some(job));
            }
        }
        if page.next.is_none() {
            return Ok(None);
        }
    }
}

/// Sends those events of an item that the subscription wants and, unless `all` are to be sent, hasn't got.
async fn send(
    hub: &Hub,
    context: &TenantContext,
    subscription: &Arc<Subscription>,
    item: &Item,
    all: bool,
) -> Result<(), StoreError> {
    let tenant = context.tenant();
    let wanted: Vec<(String, Event)> = events_of(item).unwrap_or_default();
    let wanted: Vec<_> = wanted.into_iter().filter(|(id, event)| subscription.wants(tenant, id, event)).collect();
    let keys: Vec<Key> = wanted.iter().map(|(id, _)| delivery_key(tenant, &subscription.id, id)).collect();
    let records = hub.store.get_many(&keys).await?;
    for ((id, event), record) in wanted.iter().zip(records) {
        let record = record.as_ref().and_then(Record::from_item);
        let has_it = record.as_ref().is_some_and(|record| record.status == DeliveryStatus::Succeeded);
        if all || !has_it {
            attempt::again(hub, context, subscription, (id, event), record).await?;
        }
    }
    Ok(())
}
