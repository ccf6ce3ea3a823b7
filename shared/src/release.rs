//! `release-waiting`: once a minute, moves what is due soon from the table into its queue.
//!
//! It is sent first and deleted then: what dies in between sends it again, and a repeat changes nothing. Each message gets
//! the rest of its wait as its delay, so that a run a minute keeps to the second.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::{Value, json};

use crate::{
    hub::Edge,
    store::{Delayed, Item, Key, SHARDS, StoreError, wait_partition},
    time::run_end,
};

/// What is due within this time is released: two runs ahead, so that a run that is late or fails delays nothing.
const AHEAD: Duration = Duration::from_mins(2);
/// Messages released in one go: what one `BatchGetItem` reads.
const PAGE: i32 = 100;
/// A run ends so long before its time does, and leaves the rest to the next.
const MARGIN: Duration = Duration::from_secs(10);

/// Releases what is due.
///
/// # Errors
/// Where AWS fails for a part of it: that waits for the next run.
pub async fn handle(edge: &Edge, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let end = run_end(event.context.deadline, MARGIN);
    let shards = join_all((0..SHARDS).map(|shard| release(edge, shard, end))).await;
    let released: usize = shards.iter().flatten().sum();
    if released > 0 {
        tracing::info!(released, "operations are due");
    }
    match shards.into_iter().find_map(Result::err) {
        Some(error) => Err(error.into()),
        None => Ok(json!({"released": released})),
    }
}

async fn release(edge: &Edge, shard: u8, end: Option<Timestamp>) -> Result<usize, StoreError> {
    let until = edge.now().saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let (mut released, mut after) = (0, None);
    loop {
        let page = edge.store.due(&wait_partition(shard), until, after, PAGE).await?;
        let keys: Vec<Key> = page.items.iter().filter_map(Item::key).collect();
        released += move_to_queue(edge, &keys).await?;
        after = page.next;
        if after.is_none() || end.is_some_and(|end| edge.now() >= end) {
            return Ok(released);
        }
    }
}

async fn move_to_queue(edge: &Edge, keys: &[Key]) -> Result<usize, StoreError> {
    let found = edge.store.waiting(keys, edge.now()).await?;
    let waiting = keys.iter().zip(found).filter_map(|(key, found)| Some((key, found?)));
    let (keys, messages): (Vec<&Key>, Vec<Delayed>) = waiting.unzip();
    let taken = edge.store.enqueue_all(messages).await?;
    let done: Vec<Key> = taken.iter().filter_map(|position| keys.get(*position).copied().cloned()).collect();
    let count = done.len();
    edge.store.delete_all(done).await?;
    Ok(count)
}
