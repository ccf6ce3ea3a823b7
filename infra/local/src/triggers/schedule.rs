//! Calls a function at intervals, as EventBridge Scheduler does.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::stopped;
use crate::Clock;
use crate::aws::{ACCOUNT_ID, REGION};
use crate::lambda::Lambda;
use crate::template::Schedule;

/// Runs one schedule until it is time to stop. A run that takes longer than the interval skips the next.
pub(super) async fn run(schedule: Schedule, lambda: Arc<Lambda>, clock: Clock, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval_at(Instant::now() + schedule.interval, schedule.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&mut stop) => return,
        }
        let event = schedule.input.clone().unwrap_or_else(|| default_event(&schedule, &lambda, &clock));
        if let Err(error) = lambda.invoke(&schedule.function, event).await {
            tracing::error!(function = schedule.function, schedule = schedule.name, %error, "a scheduled run failed");
        }
    }
}

/// What the scheduler sends where the template gives no input.
fn default_event(schedule: &Schedule, lambda: &Lambda, clock: &Clock) -> Value {
    let time = Timestamp::try_from(clock()).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "version": "0",
        "id": lambda.request_id(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT_ID,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": REGION,
        "resources": [format!("arn:aws:scheduler:{REGION}:{ACCOUNT_ID}:schedule/default/{}", schedule.name)],
        "detail": "{}",
    })
}
