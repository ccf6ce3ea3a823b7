//! What calls functions without being asked, as unkindly as SQS and EventBridge may: messages come twice, late, out of
//! order and several batches at once; runs of schedules come twice or not at all.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::types::{Message, QueueAttributeName};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{journal::Journal, plan::Plan};
use crate::world::World;

/// What feeds the functions.
pub struct Queue {
    world: Arc<World>,
    journal: Arc<Journal>,
    rng: Mutex<Rng>,
    twice: f64,
    late_seconds: u64,
    undeleted: f64,
    unpunctual: f64,
    restarts: f64,
    is_calm: AtomicBool,
    is_over: AtomicBool,
    under_way: AtomicUsize,
}

impl Queue {
    pub fn begin(world: &Arc<World>, plan: &Plan, journal: &Arc<Journal>) -> Arc<Self> {
        let queue = Arc::new(Self {
            world: Arc::clone(world),
            journal: Arc::clone(journal),
            rng: Mutex::new(Rng::with_seed(!plan.seed)),
            twice: plan.twice,
            late_seconds: plan.late_seconds,
            undeleted: plan.undeleted,
            unpunctual: plan.unpunctual,
            restarts: plan.restarts,
            is_calm: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        });
        tokio::spawn(Arc::clone(&queue).feed());
        for schedule in world.schedules() {
            tokio::spawn(Arc::clone(&queue).keep_time(schedule.function, schedule.interval));
        }
        queue
    }

    /// From now on everything is delivered once and on time.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// By chance, in a storm.
    fn unlucky(&self, share: f64) -> bool {
        let draw = self.rng.lock().unwrap().f64();
        !self.is_calm.load(Ordering::Relaxed) && draw < share
    }

    fn lateness(&self) -> Duration {
        if self.is_calm.load(Ordering::Relaxed) || self.late_seconds == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.rng.lock().unwrap().u64(0..self.late_seconds * 1000))
    }

    async fn feed(self: Arc<Self>) {
        let (sqs, url) = self.world.retry_queue().await;
        while !self.is_over.load(Ordering::Relaxed) {
            // The embedded queue draws lots between what happens at the same moment, and no seed decides those: so the wait
            // neither begins nor ends with anything else.
            let pause = self.rng.lock().unwrap().u64(1..1000);
            sleep(Duration::from_millis(pause)).await;
            let receive = sqs.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(20);
            let mut messages = receive.send().await.unwrap().messages.unwrap_or_default();
            // Messages whose visibility timed out together come back in any order: this brings them into one that a seed decides.
            messages.sort_by(|one, other| one.body().cmp(&other.body()));
            self.rng.lock().unwrap().shuffle(&mut messages);
            while !messages.is_empty() {
                let size = self.rng.lock().unwrap().usize(1..=messages.len());
                let batch = messages.split_off(messages.len() - size);
                if self.unlucky(self.twice) {
                    tokio::spawn(Arc::clone(&self).deliver(batch.clone()));
                }
                tokio::spawn(Arc::clone(&self).deliver(batch));
            }
        }
    }

    async fn deliver(self: Arc<Self>, batch: Vec<Message>) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        sleep(self.lateness()).await;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let records: Vec<_> = batch
            .iter()
            .map(|message| json!({"messageId": text(message.message_id()), "body": text(message.body())}))
            .collect();
        let answer = self.world.invoke("process-retries", json!({"Records": records})).await;
        let in_batch = || batch.iter().map(|message| text(message.message_id()));
        let failed: Vec<String> = if let Ok(answer) = &answer {
            let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
            failures.map(|failure| text(failure["itemIdentifier"].as_str())).collect()
        } else {
            if self.unlucky(self.restarts) {
                self.world.restart();
            }
            in_batch().collect()
        };
        self.journal.say(&format!("{} messages are delivered, {} of them in vain", batch.len(), failed.len()));
        let (sqs, url) = self.world.retry_queue().await;
        for message in batch.iter().filter(|message| !failed.contains(&text(message.message_id()))) {
            if !self.unlucky(self.undeleted) {
                let delete = sqs.delete_message().queue_url(&url).receipt_handle(text(message.receipt_handle()));
                // Its visibility may have timed out, and it be somebody else's.
                let _ = delete.send().await;
            }
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    async fn keep_time(self: Arc<Self>, function: String, interval: Duration) {
        while !self.is_over.load(Ordering::Relaxed) {
            sleep(interval).await;
            if self.unlucky(self.unpunctual) {
                continue;
            }
            if self.unlucky(self.unpunctual) {
                tokio::spawn(Arc::clone(&self).run(function.clone()));
            }
            // A quiet minute in a calm needs no run; that saves most of the time of a long wait.
            if !self.is_calm.load(Ordering::Relaxed) || !self.waits().await.is_empty() {
                Arc::clone(&self).run(function.clone()).await;
            }
        }
    }

    async fn run(self: Arc<Self>, function: String) {
        match self.world.invoke(&function, json!({})).await {
            Ok(answer) if answer["released"].as_u64() == Some(0) => {}
            answer => self.journal.say(&format!("{function}: {}", answer.is_ok())),
        }
    }

    /// When what waits in the table is due.
    async fn waits(&self) -> Vec<String> {
        let items = self.world.items().await;
        let mut due: Vec<_> = items.iter().filter_map(|item| item.get_text("due_at")).map(str::to_owned).collect();
        due.sort_unstable();
        due
    }

    /// Waits until nothing waits any more.
    pub async fn drain(&self, most: Duration) {
        let (sqs, url) = self.world.retry_queue().await;
        let end = Instant::now() + most;
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        loop {
            sleep(Duration::from_mins(1)).await;
            let get = sqs.get_queue_attributes().queue_url(&url).set_attribute_names(Some(names.to_vec()));
            let counts = get.send().await.unwrap().attributes.unwrap_or_default();
            let waiting = self.waits().await;
            let in_queue: Vec<&String> = counts.values().filter(|count| *count != "0").collect();
            if in_queue.is_empty() && waiting.is_empty() && self.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
            if Instant::now() > end {
                let state: Value = counts.iter().map(|(name, n)| (name.to_string(), n.clone())).collect();
                return self.journal.violation(format!(
                    "after {most:?} there are still messages: {state}, and {} waits",
                    waiting.len()
                ));
            }
        }
    }
}
