//! `schedule-syncs`: every five minutes, a job for each tenant, system and kind of record with something to send.
//!
//! The marks stand on the index by tenant and system, so a run hops from one to the next: a query for each that has something
//! to send, none for those that haven't, however many records are marked.

use futures_util::future::join_all;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Value, json};

use super::{
    link::{SHARDS, shard_partition},
    state::Scope,
};
use crate::{
    connector::Entity,
    hub::Edge,
    ids::{SystemId, TenantId},
    operation::{Operation, SyncJob, SyncTask},
    store::{Delayed, StoreError},
};

/// Jobs that are sent in one go.
const JOBS_AT_ONCE: usize = 100;

/// Makes the jobs.
///
/// # Errors
/// Where AWS fails for a part of them: the next run makes those.
pub async fn handle(edge: &Edge, _: LambdaEvent<Value>) -> Result<Value, Error> {
    let shards = Entity::ALL.into_iter().flat_map(|entity| (0..SHARDS).map(move |shard| (entity, shard)));
    let made = join_all(shards.map(|(entity, shard)| schedule(edge, entity, shard))).await;
    let jobs: usize = made.iter().flatten().sum();
    if jobs > 0 {
        tracing::info!(jobs, "syncs are due");
    }
    match made.into_iter().find_map(Result::err) {
        Some(error) => Err(error.into()),
        None => Ok(json!({"jobs": jobs})),
    }
}

async fn schedule(edge: &Edge, entity: Entity, shard: u32) -> Result<usize, StoreError> {
    let (partition, now) = (shard_partition(entity, shard), edge.now());
    let (mut from, mut count, mut jobs) = (String::from("0"), 0, Vec::new());
    loop {
        let page = edge.store.due_between(&partition, (&from, "~"), None, 1).await?;
        let first = page.items.first().and_then(|item| item.get_text("due_at").map(str::to_owned));
        let next = first.as_deref().and_then(|sort| scope(sort, entity));
        if let Some((scope, due)) = &next
            && *due <= now
        {
            let message = Operation::Sync(job(scope, SyncTask::Send, None, None)).to_message();
            jobs.push(Delayed { message, delay_seconds: 0 });
        }
        if jobs.len() >= JOBS_AT_ONCE || next.is_none() {
            count += edge.store.enqueue_every(std::mem::take(&mut jobs)).await?;
        }
        let Some((scope, _)) = next else { return Ok(count) };
        // Behind all of its marks.
        from = format!("{}#{}#~", scope.tenant, scope.system);
    }
}

/// Whose mark it is, and when it is due.
fn scope(sort: &str, entity: Entity) -> Option<(Scope, Timestamp)> {
    let mut parts = sort.splitn(3, '#');
    let mut next = || parts.next();
    let (tenant, system) = (TenantId::parse(next()?).ok()?, SystemId::parse(next()?).ok()?);
    Some((Scope { tenant, system, entity }, next()?.parse().ok()?))
}

/// A job of a scope, for an API call if one asks for it.
#[must_use]
pub fn job(scope: &Scope, task: SyncTask, due: Option<Timestamp>, correlation_id: Option<&str>) -> SyncJob {
    let Scope { tenant: tenant_id, system: system_id, entity } = scope.clone();
    SyncJob { tenant_id, system_id, entity, task, due, correlation_id: correlation_id.map(str::to_owned) }
}
