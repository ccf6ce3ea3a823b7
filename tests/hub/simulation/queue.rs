//! What calls functions without being asked, as unkindly as SQS and EventBridge may: messages come twice, late, out of
//! order and several batches at once; runs of schedules come twice or not at all.

mod stream;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    types::{Message, QueueAttributeName},
};
use fastrand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{crm::Crms, journal::Journal, plan::Plan};
use crate::world::World;

/// The queues, the functions that they feed, and how many messages these take at once.
const SOURCES: [(&str, &str, usize); 5] = [
    ("RetryQueue", "process-retries", 10),
    ("DeliveryQueue", "deliver-webhooks", 10),
    ("SyncContactsQueue", "sync-contacts", 1),
    ("SyncCompaniesQueue", "sync-companies", 1),
    ("SyncInteractionsQueue", "sync-interactions", 1),
];

/// A queue that feeds a function.
struct Source {
    name: &'static str,
    function: &'static str,
    batch: usize,
    sqs: Client,
    url: String,
}

impl Source {
    /// How many messages it holds: visible, delayed and under way.
    async fn count(&self) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let get = self.sqs.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let counts = get.send().await.unwrap().attributes.unwrap_or_default();
        counts.values().map(|count| count.parse::<u64>().unwrap()).sum()
    }
}

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
    /// The share of the stream's records that are lost.
    lost: f64,
    /// When the last of them is found.
    found_at: Mutex<Option<Instant>>,
    sources: Vec<Arc<Source>>,
    crms: Option<Arc<Crms>>,
    is_calm: AtomicBool,
    is_over: AtomicBool,
    under_way: AtomicUsize,
}

impl Queue {
    pub async fn begin(world: &Arc<World>, plan: &Plan, journal: &Arc<Journal>, crms: Option<Arc<Crms>>) -> Arc<Self> {
        let mut sources = Vec::new();
        for (name, function, batch) in SOURCES {
            let is_used = match function {
                "deliver-webhooks" => !plan.hooks.is_empty(),
                "process-retries" => true,
                _ => crms.is_some(),
            };
            if is_used {
                let (sqs, url) = world.queue(name).await;
                sources.push(Arc::new(Source { name, function, batch, sqs, url }));
            }
        }
        let queue = Arc::new(Self {
            world: Arc::clone(world),
            journal: Arc::clone(journal),
            rng: Mutex::new(Rng::with_seed(!plan.seed)),
            twice: plan.twice,
            late_seconds: plan.late_seconds,
            undeleted: plan.undeleted,
            unpunctual: plan.unpunctual,
            restarts: plan.restarts,
            lost: plan.lost,
            found_at: Mutex::default(),
            sources,
            crms,
            is_calm: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        });
        for source in &queue.sources {
            tokio::spawn(Arc::clone(&queue).feed(Arc::clone(source)));
        }
        tokio::spawn(Arc::clone(&queue).feed_stream());
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

    async fn feed(self: Arc<Self>, source: Arc<Source>) {
        while !self.is_over.load(Ordering::Relaxed) {
            // The embedded queue draws lots between what happens at the same moment, and no seed decides those: so the wait
            // neither begins nor ends with anything else.
            let pause = self.rng.lock().unwrap().u64(1..1000);
            sleep(Duration::from_millis(pause)).await;
            let receive = source.sqs.receive_message().queue_url(&source.url).max_number_of_messages(10);
            let receive = receive.wait_time_seconds(20);
            let mut messages = receive.send().await.unwrap().messages.unwrap_or_default();
            // Messages whose visibility timed out together come back in any order: this brings them into one that a seed decides.
            messages.sort_by(|one, other| one.body().cmp(&other.body()));
            self.rng.lock().unwrap().shuffle(&mut messages);
            while !messages.is_empty() {
                let size = self.rng.lock().unwrap().usize(1..=messages.len().min(source.batch));
                let batch = messages.split_off(messages.len() - size);
                if self.unlucky(self.twice) {
                    tokio::spawn(Arc::clone(&self).deliver(Arc::clone(&source), batch.clone()));
                }
                tokio::spawn(Arc::clone(&self).deliver(Arc::clone(&source), batch));
            }
        }
    }

    async fn deliver(self: Arc<Self>, source: Arc<Source>, batch: Vec<Message>) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        sleep(self.lateness()).await;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let records: Vec<_> = batch
            .iter()
            .map(|message| json!({"messageId": text(message.message_id()), "body": text(message.body())}))
            .collect();
        let answer = self.world.invoke(source.function, json!({"Records": records})).await;
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
        let (function, all, vain) = (source.function, batch.len(), failed.len());
        self.journal.say(&format!("{all} messages are delivered to {function}, {vain} of them in vain"));
        for message in batch.iter().filter(|message| !failed.contains(&text(message.message_id()))) {
            if !self.unlucky(self.undeleted) {
                let delete = source.sqs.delete_message().queue_url(&source.url);
                let delete = delete.receipt_handle(text(message.receipt_handle()));
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
            if !self.is_calm.load(Ordering::Relaxed) || self.is_needed(&function).await {
                Arc::clone(&self).run(function.clone()).await;
            }
        }
    }

    /// A quiet minute in a calm needs no run; that saves most of the time of a long wait. Where nothing was lost, nothing
    /// may need to be found either.
    async fn is_needed(&self, function: &str) -> bool {
        match function {
            "sweep-events" => self.lost > 0.0,
            "schedule-syncs" => !self.world.marks().await.is_empty(),
            _ => !self.world.waits().await.is_empty(),
        }
    }

    pub async fn run(self: Arc<Self>, function: String) {
        match self.world.invoke(&function, json!({})).await {
            Ok(answer) if answer["released"].as_u64() == Some(0) => {}
            answer => self.journal.say(&format!("{function}: {}", answer.is_ok())),
        }
    }

    /// Waits until nothing waits any more.
    pub async fn drain(&self, most: Duration) {
        let end = Instant::now() + most;
        loop {
            sleep(Duration::from_mins(1)).await;
            let left = self.left().await;
            if left.is_empty() {
                return;
            }
            if Instant::now() > end {
                return self.journal.violation(format!("after {most:?} there are still {}", left.join(", ")));
            }
        }
    }

    async fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for source in &self.sources {
            left.push((source.count().await, source.name));
        }
        left.push((self.world.waits().await.len() as u64, "waits"));
        left.push((self.world.aws.stream_records(1).await.unwrap().len() as u64, "records of the stream"));
        left.push((self.under_way.load(Ordering::Relaxed) as u64, "batches under way"));
        let is_lost = self.found_at.lock().unwrap().is_some_and(|at| Instant::now() < at);
        left.push((is_lost.into(), "events to be found"));
        if let Some(crms) = &self.crms {
            left.push((crms.untold() as u64, "webhooks of CRMs"));
            left.push((self.world.marks().await.len() as u64, "records to be sent"));
        }
        left.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Nothing may be left that nothing can be done with.
    pub async fn check_dead_letters(&self) {
        for name in ["RetryDeadLetters", "DeliveryDeadLetters", "SyncDeadLetters"] {
            let (sqs, url) = self.world.queue(name).await;
            let count = Source { name, function: "", batch: 0, sqs, url }.count().await;
            if count > 0 {
                self.journal.violation(format!("there are {count} {name}"));
            }
        }
    }
}
