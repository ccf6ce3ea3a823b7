//! How calls to AWS and functions fare, and what they must not do while they live.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use jiff::Timestamp;
use local::{
    aws::{Call, Fate, Fault, Service},
    functions::FunctionError,
};
use serde_json::Value;
use shared::{
    operation::{Operation, Reason, Waiting},
    schedule::KEEP_AGAIN,
};
use tokio::{sync::Notify, time::Instant};

use super::{
    attempts::Attempts,
    endpoints::Post,
    journal::{Admitted, Journal},
    plan::Plan,
};
use crate::world::{World, Wrap};

/// A call that takes longer has failed, as far as the bundle knows; the least of the time-outs of its clients.
const CALL_TIME_MAX: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// The invocation that makes a call.
    static INVOCATION: Arc<Invocation>;
}

/// One run of a function.
struct Invocation {
    function: String,
    /// What it was given from the retry queue.
    given: Vec<Waiting>,
    /// What it was given from the queue of deliveries, and what it did with it.
    attempts: Attempts,
    start: Timestamp,
    /// What the clocks showed then.
    clock: Timestamp,
    end_it: Notify,
    seen: Mutex<Seen>,
}

/// What it did so far.
#[derive(Default)]
struct Seen {
    /// Messages that it sent; the SDK may send one several times.
    sent: BTreeSet<String>,
    /// Events that it tried to apply.
    tried: BTreeSet<String>,
    /// Whether anything failed it, or the table.
    failed: bool,
    table_failed: bool,
}

/// Lets a function be ended while it waits for AWS.
pub fn mortal(journal: &Arc<Journal>) -> Wrap {
    let journal = Arc::clone(journal);
    Arc::new(move |name, function| {
        let (journal, name, function) = (Arc::clone(&journal), name.to_owned(), Arc::clone(&function));
        Arc::new(move |event, context| {
            if !journal.is_running() {
                return function(event, context);
            }
            let attempts = Attempts::of(&event, journal.clock());
            let given = given(&event, journal.clock());
            let invocation = Arc::new(Invocation {
                function: name.clone(),
                given,
                attempts,
                start: journal.time(),
                clock: journal.clock(),
                end_it: Notify::new(),
                seen: Mutex::default(),
            });
            let work = INVOCATION.scope(Arc::clone(&invocation), function(event, context));
            let journal = Arc::clone(&journal);
            Box::pin(async move {
                let answer = tokio::select! {
                    biased;
                    () = invocation.end_it.notified() => {
                        journal.say(&format!("{} dies", invocation.function));
                        Err(FunctionError { error_type: "Runtime.ExitError".into(), message: "killed".into() })
                    }
                    answer = work => answer,
                };
                invocation.note_admitted(&journal);
                answer
            })
        })
    })
}

/// Notes an attempt of a delivery.
pub fn note_post(post: Post, journal: &Journal) {
    let noted = INVOCATION.try_with(|invocation| {
        // However the clocks jumped, it may be due by what they showed when the run began.
        let passed = journal.time().duration_since(invocation.start);
        let now = journal.clock().max(invocation.clock + passed);
        invocation.attempts.post(post, now)
    });
    if let Ok(Err(why)) = noted {
        journal.violation(why);
    }
}

/// The events in a batch of the retry queue.
fn given(event: &Value, now: Timestamp) -> Vec<Waiting> {
    let records = event["Records"].as_array().into_iter().flatten();
    let operations = records.filter_map(|record| Operation::from_message(record["body"].as_str()?, now).ok());
    operations
        .filter_map(|operation| match operation {
            Operation::Inbound(waiting) => Some(waiting),
            Operation::ReplayFailures(_) | Operation::Deliver(_) | Operation::ReplayEvents(_) | Operation::Sync(_) => {
                None
            }
        })
        .collect()
}

/// The weather.
#[derive(Clone)]
pub struct Weather {
    world: Arc<World>,
    journal: Arc<Journal>,
    jumps: Vec<(Duration, i64)>,
    is_clear: Arc<AtomicBool>,
    began: Instant,
}

impl Weather {
    pub fn begin(world: &Arc<World>, plan: &Plan, journal: &Arc<Journal>) -> Self {
        let weather = Self {
            world: Arc::clone(world),
            journal: Arc::clone(journal),
            jumps: plan.jumps.clone(),
            is_clear: Arc::default(),
            began: Instant::now(),
        };
        let luck = Luck {
            rng: Mutex::new(Rng::with_seed(plan.seed)),
            faults: plan.faults,
            kills: plan.kills,
            latency_ms: plan.latency_ms,
            slow: plan.slow,
            outages: plan.outages.clone(),
        };
        let (began, is_clear, journal) = (weather.began, Arc::clone(&weather.is_clear), Arc::clone(journal));
        world.weather(move |_, call| {
            // What the simulation itself asks is answered.
            let Ok(invocation) = INVOCATION.try_with(Arc::clone) else { return Fault::None.into() };
            let clear = is_clear.load(Ordering::Relaxed);
            let fate = if clear { Fault::None.into() } else { luck.fate(call, began.elapsed()) };
            invocation.observe(call, &fate, &journal);
            if matches!(fate.fault, Fault::Hang | Fault::HangAfter) {
                // After the call, if it is to take effect.
                let invocation = Arc::clone(&invocation);
                tokio::spawn(async move {
                    tokio::time::sleep(fate.before + Duration::from_millis(1)).await;
                    invocation.end_it.notify_one();
                });
            }
            fate
        });
        weather
    }

    /// Lets the clocks jump when it is time, and copies of functions begin anew now and then.
    pub async fn jump_about(self) {
        for (at, seconds) in &self.jumps {
            tokio::time::sleep_until(self.began + *at).await;
            self.jump(*seconds);
            self.world.restart();
        }
    }

    fn jump(&self, seconds: i64) {
        if seconds < 0 {
            self.world.rewind(seconds.unsigned_abs());
        } else {
            self.world.advance(seconds.unsigned_abs());
        }
        self.journal.jumped(seconds);
    }

    /// From now on everything goes well, and the clocks are right.
    pub fn clear(&self) {
        self.is_clear.store(true, Ordering::Relaxed);
        match self.journal.off_seconds() {
            0 => {}
            off => self.jump(-off),
        }
    }
}

/// What decides on single calls.
struct Luck {
    rng: Mutex<Rng>,
    faults: f64,
    kills: f64,
    latency_ms: u64,
    slow: f64,
    outages: Vec<(std::ops::Range<Duration>, Service)>,
}

impl Luck {
    fn fate(&self, call: &Call, elapsed: Duration) -> Fate {
        let mut rng = self.rng.lock().unwrap();
        let latency = |rng: &mut Rng| {
            if rng.f64() < self.slow {
                return Duration::from_millis(rng.u64(500..3000));
            }
            Duration::from_millis(if self.latency_ms == 0 { 0 } else { rng.u64(0..self.latency_ms) })
        };
        let (before, after) = (latency(&mut rng), latency(&mut rng));
        let out = self.outages.iter().any(|(span, service)| *service == call.service && span.contains(&elapsed));
        let fault = if rng.f64() < self.kills {
            if rng.bool() { Fault::Hang } else { Fault::HangAfter }
        } else if out {
            Fault::Refuse { status: 500, code: "InternalServerError" }
        } else if rng.f64() < self.faults {
            match rng.u8(0..5) {
                0 => Fault::Refuse { status: 400, code: "ThrottlingException" },
                1 => Fault::Refuse { status: 503, code: "ServiceUnavailable" },
                2 => Fault::Disconnect,
                3 => Fault::TimeOut,
                _ => Fault::LoseAnswer,
            }
        } else {
            Fault::None
        };
        Fate { before, fault, after }
    }
}

impl Invocation {
    /// Looks at a call that is about to be made.
    fn observe(&self, call: &Call, fate: &Fate, journal: &Journal) {
        journal.say(&format!("{} calls {}: {:?}", self.function, call.operation, fate.fault));
        let request: Value = serde_json::from_slice(call.body).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap();
        let fails = fate.fault != Fault::None || fate.before + fate.after >= CALL_TIME_MAX;
        seen.failed |= fails;
        if call.service == Service::SecretsManager && fails {
            journal.secrets_failed();
        }
        if call.service == Service::DynamoDb && fails {
            seen.table_failed = true;
            let key = |name: &str| request["Key"][name]["S"].as_str().unwrap_or_default();
            if let Some(tenant) = key("pk").strip_suffix("#limit") {
                journal.uncounted(tenant, key("sk"));
            }
        }
        let message = match call.operation {
            "SendMessage" => request["MessageBody"].as_str(),
            "PutItem" => request["Item"]["msg"]["S"].as_str(),
            _ => None,
        };
        if let Some(message) = message
            && seen.sent.insert(message.to_owned())
        {
            match Operation::from_message(message, journal.clock()) {
                Ok(Operation::Inbound(waiting)) => {
                    if let Err(why) = self.may_send(&waiting, seen.table_failed, journal) {
                        journal.violation(format!("{} let {} wait: {why}", self.function, describe(&waiting)));
                    }
                }
                Ok(Operation::Deliver(next)) if self.function == "deliver-webhooks" => {
                    let failed_wait = request["DelaySeconds"].as_u64();
                    let failed_wait = failed_wait.filter(|_| seen.failed || journal.secrets_failed_since(self.start));
                    if let Err(why) = self.attempts.may_send(&next, failed_wait, journal) {
                        journal.violation(format!("at {} {next:?} was sent on: {why}", journal.clock()));
                    }
                }
                _ => {}
            }
        }
        if call.operation == "TransactWriteItems" {
            for item in request["TransactItems"].as_array().into_iter().flatten() {
                let id = item["Put"]["Item"]["sk"]["S"].as_str().filter(|id| id.starts_with("inb_"));
                if let Some(id) = id
                    && seen.tried.insert(id.to_owned())
                    && let Some(first) = self.given.iter().filter(|w| id_of(w) == id).min_by_key(|w| w.due)
                    && first.due > journal.clock().max(self.clock)
                {
                    journal.violation(format!("{} was tried before its time", describe(first)));
                }
            }
        }
    }

    /// Whether an event may wait like this: by its system's policy, and not for ever.
    fn may_send(&self, next: &Waiting, table_failed: bool, journal: &Journal) -> Result<(), String> {
        let (terms, now) = (journal.terms(next.event.system_id.as_str()), journal.clock());
        let wait = next.due.duration_since(now).as_secs_f64();
        let by_policy = |n: u32| {
            let least = terms.base_seconds * terms.factor.powi(i32::try_from(n).unwrap());
            n < terms.max_attempts && (least - 0.001..least * 1.2 + 1.0).contains(&wait)
        };
        let same = |w: &&Waiting| id_of(w) == id_of(next) && w.event.received_at == next.event.received_at;
        let from = |before: &Waiting| {
            let again = next.attempt == before.attempt && next.reason == before.reason;
            let n = if before.reason == Reason::Unavailable { before.attempt + 1 } else { 0 };
            let retried = next.reason == Reason::Unavailable && next.attempt == n;
            (retried && by_policy(next.attempt))
                || (again && table_failed && (wait - KEEP_AGAIN.as_secs_f64()).abs() < 0.001)
                || (again && next.reason == Reason::RateLimited && wait <= 60.0)
                || (again && next.due.duration_since(before.due).as_secs_f64().abs() < 1.0)
        };
        let first = || match next.reason {
            Reason::Unavailable => by_policy(0),
            Reason::RateLimited => wait <= 60.0,
            Reason::Replay => wait <= 0.0,
        };
        let mut before = self.given.iter().filter(same).peekable();
        let is_first = before.peek().is_none();
        let fair = if is_first { next.attempt == 0 && first() } else { before.any(from) };
        let before: Vec<_> = self.given.iter().filter(same).map(describe).collect();
        if fair { Ok(()) } else { Err(format!("for {wait:.3} s; it was given {before:?}")) }
    }

    /// What waited for its window and was tried had been admitted.
    fn note_admitted(&self, journal: &Journal) {
        let seen = self.seen.lock().unwrap();
        let mut waited: Vec<_> = self.given.iter().filter(|w| w.reason == Reason::RateLimited).collect();
        waited.sort_by_cached_key(|w| id_of(w));
        waited.dedup_by_key(|w| id_of(w)); // of two copies in one batch, one may have been refused
        for waiting in waited.into_iter().filter(|w| seen.tried.contains(&id_of(w))) {
            journal.admitted(Admitted {
                tenant: waiting.event.tenant_id.to_string(),
                system: waiting.event.system_id.to_string(),
                start: self.start,
                end: journal.time(),
            });
        }
    }
}

/// The record's id of an event that waits.
fn id_of(waiting: &Waiting) -> String {
    let payload = waiting.event.payload().unwrap_or_default();
    waiting.event.inbound_id(&waiting.event.identity(None, &payload))
}

fn describe(waiting: &Waiting) -> String {
    let Waiting { event, attempt, reason, due } = waiting;
    let payload = event.payload().unwrap_or_default();
    let identity = event.identity(None, &payload);
    format!("{}/{} {identity} (attempt {attempt}, {reason:?}, due {due})", event.tenant_id, event.system_id)
}
