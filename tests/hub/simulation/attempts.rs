//! What a run of `deliver-webhooks` may do: attempt what is due, and let the rest wait by its subscription's schedule.

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::Value;
use shared::operation::{Cause, Deliver, Operation};

use super::{endpoints::Post, journal::Journal};

/// Times are cut to the millisecond here and there.
const INEXACT_SECONDS: f64 = 0.01;

/// The deliveries that a run was given, and the attempts that it made.
#[derive(Default)]
pub struct Attempts {
    given: Vec<Deliver>,
    posts: Mutex<Vec<Post>>,
}

impl Attempts {
    /// Of a batch of messages.
    pub fn of(event: &Value, now: Timestamp) -> Self {
        let records = event["Records"].as_array().into_iter().flatten();
        let operations = records.filter_map(|record| Operation::from_message(record["body"].as_str()?, now).ok());
        let given = operations.filter_map(|operation| match operation {
            Operation::Deliver(delivery) => Some(*delivery),
            _ => None,
        });
        Self { given: given.collect(), posts: Mutex::default() }
    }

    fn given(&self, subscription: &str, event: &str) -> impl Iterator<Item = &Deliver> {
        self.given.iter().filter(move |given| given.subscription_id == subscription && given.event_id == event)
    }

    /// Notes an attempt, or says why it may not be made at `now`.
    pub fn post(&self, post: Post, now: Timestamp) -> Result<(), String> {
        let given: Vec<&Deliver> = self.given(&post.subscription, &post.event).collect();
        let (subscription, event) = (post.subscription.clone(), post.event.clone());
        self.posts.lock().unwrap().push(post);
        if given.is_empty() {
            return Err(format!("{subscription} was told {event}, and no message asked for it"));
        }
        let due = given.iter().filter_map(|given| given.due).min();
        if let Some(due) = due.filter(|due| *due > now && given.iter().all(|given| given.due.is_some())) {
            return Err(format!("{subscription} was told {event} at {now}, before its time, {due}"));
        }
        Ok(())
    }

    /// Whether a delivery may be sent on like this: as it came only where AWS failed the run, after one of two waits.
    pub fn may_send(&self, next: &Deliver, failed_wait: Option<u64>, journal: &Journal) -> Result<(), String> {
        let comes_again = matches!(failed_wait, Some(60 | 900));
        if comes_again && self.given(&next.subscription_id, &next.event_id).any(|before| before == next) {
            return Ok(());
        }
        let mut given = self.given(&next.subscription_id, &next.event_id);
        if given.any(|before| is_put_back(before, next) || self.is_retry(before, next, journal)) {
            return Ok(());
        }
        let posts = self.posts.lock().unwrap();
        let own = posts.iter().filter(|post| post.event == next.event_id && post.subscription == next.subscription_id);
        let ends: Vec<_> = own.map(|post| (post.ends, post.failed, post.retry_after)).collect();
        let given: Vec<_> = self.given(&next.subscription_id, &next.event_id).collect();
        Err(format!("it was given {given:?}, and its attempts were {ends:?}"))
    }

    /// By the schedule, after an attempt that failed.
    fn is_retry(&self, before: &Deliver, next: &Deliver, journal: &Journal) -> bool {
        let counted = next.step == before.step + 1
            && next.made > 0
            && (next.made <= before.made + 1 || before.cause == Some(Cause::Asked))
            && (next.cause, &next.event, next.turn) == (None, &None, None);
        let subscription = journal.subscriptions().iter().find(|s| s.id == next.subscription_id);
        let seconds = subscription.and_then(|subscription| subscription.hook.wait_seconds(before.step));
        let (Some(seconds), Some(due), true) = (seconds.map(f64::from), next.due, counted) else { return false };
        let posts = self.posts.lock().unwrap();
        let own = posts.iter().filter(|post| post.event == next.event_id && post.subscription == next.subscription_id);
        own.filter(|post| post.failed).any(|post| {
            let wait = due.duration_since(journal.clock_at(post.ends)).as_secs_f64();
            let asked = post.retry_after.map_or(0.0, |asked| asked.as_secs_f64());
            let (least, most) = ((seconds * 0.8).max(asked), (seconds * 1.2).max(asked));
            (least - INEXACT_SECONDS..most + INEXACT_SECONDS).contains(&wait)
        })
    }
}

/// The same again: it came early, or waits for its turn.
fn is_put_back(before: &Deliver, next: &Deliver) -> bool {
    (before.step, before.due, before.cause, &before.event) == (next.step, next.due, next.cause, &next.event)
        && next.made <= before.made.max(if before.cause.is_some() { u32::MAX } else { 0 })
        && (next.due.is_some() || next.turn.is_some())
}
