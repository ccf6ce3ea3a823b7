//! What calls functions without being asked: queues, a table's stream and schedules.

mod queue;
mod schedule;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Clock;
use crate::aws::Aws;
use crate::lambda::Lambda;
use crate::template::Template;

/// Runs all triggers of `template` until `stop` turns true (or its sender is gone) and the running invocations have
/// ended. `clock` dates the events of schedules.
pub async fn run(template: &Template, aws: &Aws, lambda: &Arc<Lambda>, clock: &Clock, stop: &watch::Receiver<bool>) {
    let mut triggers = JoinSet::new();
    for trigger in &template.queue_triggers {
        triggers.spawn(queue::run(trigger.clone(), aws.clone(), Arc::clone(lambda), stop.clone()));
    }
    for trigger in &template.stream_triggers {
        triggers.spawn(stream::run(trigger.clone(), aws.clone(), Arc::clone(lambda), stop.clone()));
    }
    for trigger in &template.schedules {
        triggers.spawn(schedule::run(trigger.clone(), Arc::clone(lambda), Arc::clone(clock), stop.clone()));
    }
    triggers.join_all().await;
}

/// Is done when it is time to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to say so: the same thing.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Those of a batch that the function names as failed; `None` where it names something else, for which Lambda fails the
/// whole batch (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>).
fn failures<'a>(answer: &'a Value, batch: &[&str]) -> Option<HashSet<&'a str>> {
    let failures = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Some(HashSet::new()),
        Some(failures) => failures.as_array()?,
    };
    failures.iter().map(|failure| failure.get("itemIdentifier")?.as_str().filter(|id| batch.contains(id))).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
