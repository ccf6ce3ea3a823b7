//! The table's stream, as unkind as its queues: batches of any size, twice, late, or lost for good, as after 24 hours.

use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Queue;

/// The share of batches that are late: the next ones wait for them.
const LATE: f64 = 0.2;
/// After so long, what was lost is found: `sweep-events` runs every hour, and leaves the last one alone.
const FOUND: Duration = Duration::from_mins(122);

impl Queue {
    /// Hands the stream's records to `publish-events`.
    pub(super) async fn feed_stream(self: Arc<Self>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let (pause, limit) = {
                let mut rng = self.rng.lock().unwrap();
                (rng.u64(1..1000), rng.usize(1..20))
            };
            sleep(Duration::from_millis(pause)).await;
            let records = self.world.aws.stream_records(limit).await.unwrap();
            if records.is_empty() {
                self.world.aws.stream_changed().await;
                continue;
            }
            self.under_way.fetch_add(1, Ordering::Relaxed);
            let records = self.lose_some(records).await;
            if !records.is_empty() {
                self.publish(records).await;
            }
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn lose_some(&self, records: Vec<Value>) -> Vec<Value> {
        let (lost, left): (Vec<_>, Vec<_>) = records.into_iter().partition(|_| self.unlucky(self.lost));
        if !lost.is_empty() {
            self.journal.say(&format!("the stream loses {} records", lost.len()));
            *self.found_at.lock().unwrap() = Some(Instant::now() + FOUND);
            self.done(&lost).await;
        }
        left
    }

    async fn publish(self: &Arc<Self>, records: Vec<Value>) {
        if self.unlucky(LATE) {
            sleep(self.lateness()).await;
        }
        if self.unlucky(self.twice) {
            let (again, records) = (Arc::clone(self), records.clone());
            tokio::spawn(async move {
                again.under_way.fetch_add(1, Ordering::Relaxed);
                sleep(again.lateness()).await;
                let _ = again.world.invoke("publish-events", json!({"Records": records})).await;
                again.under_way.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let answer = self.world.invoke("publish-events", json!({"Records": records})).await;
        // What is before the first that failed is done.
        let done = match &answer {
            Ok(answer) => {
                let failed: Vec<&Value> = answer["batchItemFailures"].as_array().into_iter().flatten().collect();
                let failed = |record: &Value| failed.iter().any(|f| f["itemIdentifier"] == number(record));
                records.iter().position(failed).unwrap_or(records.len())
            }
            Err(_) => 0,
        };
        if answer.is_err() && self.unlucky(self.restarts) {
            self.world.restart();
        }
        self.journal.say(&format!("{done} of {} records of the stream are published", records.len()));
        if done > 0 && !self.unlucky(self.undeleted) {
            self.done(&records[..done]).await;
        }
    }

    async fn done(&self, records: &[Value]) {
        let numbers: Vec<&str> = records.iter().map(number).collect();
        self.world.aws.stream_done(&numbers).await.unwrap();
    }
}

fn number(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap()
}
