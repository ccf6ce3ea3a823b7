//! What calls functions without being asked: queues and schedules.

mod queue;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

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
