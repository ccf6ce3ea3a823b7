//! `sync-contacts`, `sync-companies`, `sync-interactions`: work off their queues of jobs, one job a run.

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};

use super::{
    flight::Flight,
    import::Progress,
    link::{self, mark, marks_partition, marks_prefix},
    run::{Run, Stop, resumption},
    schedule::job,
    state::{self, Health, Scope, system_key},
};
use crate::{
    batch::{Left, contained, leave},
    connector::Connector,
    hub::{Edge, Hub},
    limits::outbound::Quota,
    operation::{MessageError, Operation, SyncJob, SyncTask},
    process::stored,
    registry::{self, integration_key},
    schedule::{KEEP_AGAIN, SUSPENDED_AGAIN},
    store::{Item, Range, StoreError, Write},
    tenant::TenantContext,
    time::run_end,
};

/// A run begins nothing more so long before its time is over: its calls may take 30 s, and what comes of them is written.
const MARGIN: Duration = Duration::from_secs(45);
/// A job may take this long, within the function's 300 s.
const JOB_TIME_MAX: Duration = Duration::from_secs(290);
/// What is due sooner than the next schedule is waited for by a job of its own.
const SOON: Duration = Duration::from_mins(5);
/// A job that finds another at work comes again after this time, unless that one does its work.
const AFTER_ANOTHER: Duration = Duration::from_secs(20);
/// Records that are marked in one go, and pages of one run.
const MARKED_PAGE: i32 = 25;
const MARKED_PAGES: usize = 400;

/// Works off one batch.
///
/// # Errors
/// None: each message has its own outcome.
pub async fn handle(edge: &Edge, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let end = run_end(event.context.deadline, MARGIN);
    let mut response = SqsBatchResponse::default();
    for message in &event.payload.records {
        if let Err(error) = contained(JOB_TIME_MAX, work_off(edge, message, end)).await {
            leave(&mut response, message, &error);
        }
    }
    Ok(response)
}

fn work_off<'a>(edge: &'a Edge, message: &'a SqsMessage, end: Option<Timestamp>) -> BoxFuture<'a, Result<(), Left>> {
    Box::pin(async move {
        match Operation::from_message(message.body.as_deref().unwrap_or_default(), edge.now())? {
            Operation::Sync(job) => {
                // Only the schedule and the tenant's own calls make jobs.
                let context = TenantContext::authenticated(job.tenant_id.clone());
                let hub = &edge.acting_for(&context);
                match work(hub, &context, job.clone(), end).await {
                    Err(error) if error.is_retryable() => Ok(put_back(hub, job, &error).await?),
                    done => Ok(done?),
                }
            }
            _ => Err(MessageError::WrongQueue.into()),
        }
    })
}

/// Sends a job on its way, to be done at `due`, for an API call if one asks for it.
///
/// # Errors
/// [`StoreError`] where AWS doesn't take it.
pub async fn ask(
    hub: &Hub,
    scope: &Scope,
    task: SyncTask,
    due: Timestamp,
    correlation_id: Option<&str>,
) -> Result<(), StoreError> {
    hub.send_at(&Operation::Sync(job(scope, task, Some(due), correlation_id)), due).await
}

/// Lets a job come again soon, where AWS fails for the moment: left to SQS, it would come after half an hour, and be a dead
/// letter before a longer outage is over.
async fn put_back(hub: &Hub, job: SyncJob, error: &StoreError) -> Result<(), StoreError> {
    let SyncJob { tenant_id: tenant, system_id: system, entity, correlation_id, .. } = &job;
    tracing::warn!(%tenant, %system, entity = entity.as_str(), correlation_id, %error, "a sync comes again");
    let due = hub.now().saturating_add(KEEP_AGAIN).unwrap_or(Timestamp::MAX);
    hub.send_at(&Operation::Sync(SyncJob { due: Some(due), ..job }), due).await
}

async fn work(hub: &Hub, context: &TenantContext, job: SyncJob, end: Option<Timestamp>) -> Result<(), StoreError> {
    let SyncJob { tenant_id: tenant, system_id: system, entity, task, due, correlation_id } = job;
    let correlation_id = correlation_id.as_deref();
    let scope = &Scope { tenant, system, entity };
    if let Some(due) = due.filter(|due| *due > hub.now()) {
        return ask(hub, scope, task, due, correlation_id).await;
    }
    let target = hub.registry.find_outbound(&hub.store, &scope.tenant, &scope.system, hub.now()).await?;
    let outbound = target.as_ref().and_then(|target| target.integration.outbound.clone());
    let Some((target, outbound)) = target.zip(outbound) else {
        tracing::info!(tenant = %scope.tenant, system = %scope.system, correlation_id, "nothing is sent to a system that is gone or inactive");
        let owner = registry::tenant(&hub.store, context).await?;
        if owner.is_some_and(|owner| !owner.active && owner.deleting_since.is_none()) {
            // What is marked stays so, and the schedule makes a job for it once the tenant isn't suspended any more.
            let again = hub.now().saturating_add(SUSPENDED_AGAIN).unwrap_or(Timestamp::MAX);
            return if task == SyncTask::Send { Ok(()) } else { ask(hub, scope, task, again, correlation_id).await };
        }
        return forget(hub, scope, end).await;
    };
    let Some(plan) = outbound.entity(scope.entity) else { return Ok(()) };
    let task = match task {
        SyncTask::MarkAll { after } => match mark_all(hub, scope, after, end, correlation_id).await? {
            Some(after) => {
                return ask(hub, scope, SyncTask::MarkAll { after: Some(after) }, hub.now(), correlation_id).await;
            }
            None => SyncTask::Send,
        },
        task => task,
    };
    let health = hub.store.get(&system_key(&scope.tenant, &scope.system)).await?;
    let health = health.as_ref().map(Health::from_item).unwrap_or_default();
    if let Some(until) = health.pause(hub.now()) {
        return ask(hub, scope, task, until, correlation_id).await;
    }
    // Before the lease, which would outlive a failure.
    let secrets = hub.secrets.get(&scope.tenant, hub.now()).await?;
    let quota = Quota::new(hub, context, &scope.system, target.integration.limits);
    let connector = Connector::new(hub, context, &scope.system, &outbound, secrets.credentials(&scope.system), &quota);
    let Some((lease, left)) = state::take(hub, scope).await? else {
        let again = hub.now().saturating_add(AFTER_ANOTHER).unwrap_or(Timestamp::MAX);
        return if task == SyncTask::Send { Ok(()) } else { ask(hub, scope, task, again, correlation_id).await };
    };
    let run =
        Run::new(hub, context, scope, (&target, plan), (&connector, &quota), &lease, (end, correlation_id), &health);
    let began = hub.now();
    let done = with_lease(&run, hub, scope, (&task, &left)).await;
    let ms = hub.now().as_millisecond() - began.as_millisecond();
    hub.metrics.synced(scope, task.name(), (run.synced(), ms), correlation_id);
    done
}

async fn with_lease(
    run: &Run<'_>,
    hub: &Hub,
    scope: &Scope,
    (task, left): (&SyncTask, &Item),
) -> Result<(), StoreError> {
    let stop = match do_task(run, task, left).await {
        Ok(stop) => stop,
        Err(error) => {
            // Where this fails too, the lease ends by itself.
            let _ = run.abandon().await;
            return Err(error);
        }
    };
    if stop.is_some() || *task != SyncTask::Send {
        run.give_back().await?;
    }
    if let Some(stop) = &stop {
        // A lease that is lost is another run's, and so is the rest.
        let Some(due) = resumption(stop, hub.now()) else { return Ok(()) };
        return ask(hub, scope, task.clone(), due, run.correlation_id).await;
    }
    wait_for_next(hub, scope).await
}

async fn do_task(run: &Run<'_>, task: &SyncTask, left: &Item) -> Result<Option<Stop>, StoreError> {
    run.take_over(&Flight::from_item(left)).await?;
    match task {
        SyncTask::Import { id } => {
            let progress = Progress::from_item(left).filter(|progress| progress.id == *id && progress.is_running());
            match progress {
                Some(progress) => run.import(progress).await,
                None => Ok(None),
            }
        }
        SyncTask::TakeIn { failure_id } => run.take_in_again(failure_id).await.map(|()| None),
        SyncTask::Send | SyncTask::MarkAll { .. } => run.all().await,
    }
}

/// Where something is due before the next schedule, a job is made for it.
async fn wait_for_next(hub: &Hub, scope: &Scope) -> Result<(), StoreError> {
    let (partition, prefix) =
        (marks_partition(&scope.tenant, scope.entity), marks_prefix(&scope.tenant, &scope.system));
    let page = hub.store.due_with(&partition, &prefix, None, (None, 1)).await?;
    let sort = page.items.first().and_then(|item| item.get_text("due_at"));
    let due = sort.and_then(|sort| sort.rsplit('#').next()?.parse::<Timestamp>().ok());
    let soon = hub.now().saturating_add(SOON).unwrap_or(Timestamp::MAX);
    match due.filter(|due| *due < soon) {
        Some(due) => ask(hub, scope, SyncTask::Send, due.max(hub.now()), None).await,
        None => Ok(()),
    }
}

/// Takes the marks away where the system is gone for good: else each schedule would find them. What ties records to it stays,
/// for when it is registered again.
async fn forget(hub: &Hub, scope: &Scope, end: Option<Timestamp>) -> Result<(), StoreError> {
    if hub.store.get(&integration_key(&scope.tenant, &scope.system)).await?.is_some() {
        return Ok(());
    }
    let (partition, prefix) =
        (marks_partition(&scope.tenant, scope.entity), marks_prefix(&scope.tenant, &scope.system));
    while end.is_none_or(|end| hub.now() < end) {
        let page = hub.store.due_with(&partition, &prefix, None, (None, MARKED_PAGE)).await?;
        let unmarked: Vec<Write> = page.items.iter().filter_map(Item::key).map(|key| link::unmark(&key)).collect();
        if unmarked.is_empty() {
            break;
        }
        hub.store.commit(unmarked).await?;
    }
    Ok(())
}

/// Marks all records of a tenant, from the one after `after` on; gives where to go on, if there are more than one run takes.
async fn mark_all(
    hub: &Hub,
    scope: &Scope,
    mut after: Option<String>,
    end: Option<Timestamp>,
    correlation_id: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let partition = format!("{}#{}", scope.tenant, scope.entity.kind().name());
    let range = Range::prefixed(&format!("{}_", scope.entity.kind().name()));
    for _ in 0..MARKED_PAGES {
        let page = hub.store.range(&partition, &range, &[], (after.take(), MARKED_PAGE, true)).await?;
        let version = |item: &Item| Some((item.get_text("sk")?.to_owned(), stored(item)?.0));
        let marks: Vec<Write> = page
            .items
            .iter()
            .filter_map(version)
            .map(|(id, version)| mark(&scope.place(&id), version, hub.now(), correlation_id))
            .collect();
        if !marks.is_empty() {
            hub.store.commit(marks).await?;
        }
        match page.next {
            None => return Ok(None),
            Some((_, key)) if end.is_some_and(|end| hub.now() >= end) => return Ok(Some(key.sk)),
            Some((_, key)) => after = Some(key.sk),
        }
    }
    Ok(after)
}
