//! Sending what was kept through again: with today's mapping and configuration, by way of the retry queue, and so through
//! the ordinary path. What is applied already stays as it is.

use std::time::Duration;

use crate::{
    deliver,
    hub::Hub,
    inbound::InboundEvent,
    operation::{Operation, Reason, ReplayFailures, SyncTask, Waiting},
    process::{failure_key, failure_list, inbound_key, replay_of_event, replay_of_failure},
    store::{Delayed, Item, Key, StoreError},
    sync::{self, state::Scope},
    tenant::TenantContext,
};

/// Failures on a page, and pages of one run: what a run can do within a few seconds.
const PAGE: i32 = 100;
const PAGES_MAX: usize = 10;

/// Queues the event or the delivery that a failure holds, and gives the event's identity; `None` where there is no such failure.
///
/// # Errors
/// [`StoreError`] where AWS fails: it isn't queued then.
pub async fn failure(hub: &Hub, context: &TenantContext, id: &str) -> Result<Option<String>, StoreError> {
    let item = hub.store.get(&failure_key(context.tenant(), id)).await?;
    if let Some((event_id, delivery)) = item.as_ref().and_then(|item| deliver::held_by(item, context.tenant())) {
        hub.send_at(&Operation::Deliver(Box::new(delivery)), hub.now()).await?;
        return Ok(Some(event_id));
    }
    if let Some((scope, held)) = item.as_ref().and_then(|item| sync::held_by(item, context.tenant())) {
        let task = sync::again(hub, &scope, held).await?;
        sync::job::ask(hub, &scope, task, hub.now(), None).await?;
        return Ok(Some(id.to_owned()));
    }
    queue(hub, item.and_then(|item| replay_of_failure(&item, context.tenant()))).await
}

/// Queues a kept inbound event, and gives its identity; `None` where there is no such event.
///
/// # Errors
/// As [`failure()`].
pub async fn event(hub: &Hub, context: &TenantContext, id: &str) -> Result<Option<String>, StoreError> {
    let tenant = context.tenant();
    let Some(item) = hub.store.get(&inbound_key(tenant, id)).await? else { return Ok(None) };
    if let Some(held_by) = item.get_text("fail")
        && let Some(event_id) = failure(hub, context, held_by).await?
    {
        return Ok(Some(event_id));
    }
    queue(hub, replay_of_event(&item, tenant)).await
}

async fn queue(hub: &Hub, event: Option<InboundEvent>) -> Result<Option<String>, StoreError> {
    let Some(event) = event else { return Ok(None) };
    let identity = event.replay.as_ref().map(|replay| replay.event_id.clone());
    hub.defer(waiting(hub, event), Duration::ZERO).await?;
    Ok(identity)
}

fn waiting(hub: &Hub, event: InboundEvent) -> Waiting {
    Waiting { event, attempt: 0, reason: Reason::Replay, due: hub.now() }
}

/// Queues the events of many failures, and hands the rest on where it is a lot. Going from the newest to the oldest, it
/// doesn't meet those again that fail anew meanwhile.
///
/// # Errors
/// [`StoreError`] where AWS fails: the job is to be run again, and repeats what it queued already.
pub async fn failures(hub: &Hub, context: &TenantContext, mut job: ReplayFailures) -> Result<(), StoreError> {
    debug_assert_eq!(context.tenant(), &job.tenant_id);
    let tenant = context.tenant();
    let list = failure_list(tenant);
    for _ in 0..PAGES_MAX {
        let filters: Vec<_> = job.system_id.iter().map(|system| ("sys", system.as_str())).collect();
        let after = job.after.take().map(|(sort, sk)| (sort, failure_key(tenant, &sk)));
        let page = hub.store.list(&list, &job.span, &filters, after, PAGE).await?;
        syncs_again(hub, context, &page.items).await?;
        let again = |item| match deliver::held_by(item, tenant) {
            Some((_, delivery)) => Some(Operation::Deliver(Box::new(delivery))),
            None => replay_of_failure(item, tenant).map(|event| Operation::Inbound(waiting(hub, event))),
        };
        let messages = page.items.iter().filter_map(again).map(|operation| operation.to_message());
        let messages: Vec<_> = messages.map(|message| Delayed { message, delay_seconds: 0 }).collect();
        let count = hub.store.enqueue_every(messages).await?;
        tracing::info!(%tenant, count, "failures are sent through again");
        let Some((sort, Key { sk, .. })) = page.next else { return Ok(()) };
        job.after = Some((sort, sk));
    }
    start(hub, job).await
}

/// Marks the records that failures hold, and makes a job for each of their syncs.
async fn syncs_again(hub: &Hub, context: &TenantContext, failures: &[Item]) -> Result<(), StoreError> {
    let mut jobs: Vec<(Scope, SyncTask)> = Vec::new();
    for (scope, held) in failures.iter().filter_map(|failure| sync::held_by(failure, context.tenant())) {
        let job = (scope.clone(), sync::again(hub, &scope, held).await?);
        if !jobs.contains(&job) {
            jobs.push(job);
        }
    }
    for (scope, task) in jobs {
        sync::job::ask(hub, &scope, task, hub.now(), None).await?;
    }
    Ok(())
}

/// Lets `process-retries` run a job.
///
/// # Errors
/// [`StoreError`] where SQS fails.
pub async fn start(hub: &Hub, job: ReplayFailures) -> Result<(), StoreError> {
    hub.store.enqueue(Operation::ReplayFailures(job).to_message(), 0).await
}
