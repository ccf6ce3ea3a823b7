//! Deliveries per CPU second of the function.
//!
//! AWS runs behind its port, and the endpoint behind its own, in threads of their own. `deliver-webhooks` runs in this one, a
//! batch after the other as on one copy of the function, and what counts is this thread's CPU time. Receiving and deleting
//! messages are the event source's work on Lambda and don't count; reading the batch's JSON does.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use lambda_runtime::{Context, LambdaEvent};
use local::aws::Tap;
use shared::{deliver, hub::Edge};
use tracing::Instrument;

use super::{
    client::plain_client,
    deployment::Deployment,
    endpoint::{Endpoint, Manner},
    figures::{as_f64, median},
    function::timestamp,
    measure::thread_cpu,
    plain,
    sample::{BATCH, Delivery, batch, deliveries},
};

const DELIVERIES: usize = 10_000;
/// Floor and subject take turns, so that whatever else the machine does meets both.
const ROUNDS: usize = 5;
/// To how many subscriptions each event goes, and the target: deliveries a CPU second.
const LOADS: [(usize, f64); 2] = [(1, 3_500.0), (10, 8_000.0)];

/// Everything around the function.
struct Stage {
    deployment: Deployment,
    endpoint: Endpoint,
    secret: String,
    batches: Vec<(Vec<Delivery>, Vec<u8>)>,
}

pub fn run() {
    for (subscriptions, target) in LOADS {
        let stage = Stage::set(subscriptions);
        println!("\n{DELIVERIES} deliveries, {subscriptions} subscriptions of each event");
        stage.print_calls();
        let rounds: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [stage.deliver(None), stage.post()]).collect();
        let [subject, floor] = [0, 1].map(|n| median(rounds.iter().map(|times| times[n])));
        println!("  CPU: {:.2} times the floor; the target is {target} deliveries a CPU second", subject / floor);
        for (name, cpu) in [("deliver-webhooks", subject), ("plain posts", floor)] {
            let count = as_f64(DELIVERIES);
            println!("  {name}: {:.0} a CPU second, {:.0} µs each", count / cpu, 1e6 * cpu / count);
        }
    }
}

impl Stage {
    fn set(subscriptions: usize) -> Self {
        let (deployment, endpoint) = (Deployment::start(None), Endpoint::start(Manner::Take));
        let event = deployment.interaction();
        let made: Vec<_> = (0..subscriptions).map(|_| deployment.subscribe(&endpoint.url, "*")).collect();
        let (ids, secrets): (Vec<String>, Vec<String>) = made.into_iter().unzip();
        // The first batch warms the copy up, and doesn't count.
        let events = (DELIVERIES + BATCH).div_ceil(subscriptions);
        let all = deliveries(&event, 0..events, &ids);
        let batches = all.chunks(BATCH).map(|chunk| (chunk.to_vec(), batch(chunk, timestamp()))).collect();
        Self { deployment, endpoint, secret: secrets[0].clone(), batches }
    }

    /// Delivers once without taking the time, and prints the calls.
    fn print_calls(&self) {
        let tap = Tap::recording();
        self.deliver(Some(&self.deployment.tapped(&tap)));
        let mut calls: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for record in tap.take() {
            let (count, units) = calls.entry(record.operation.clone()).or_default();
            *count += 1;
            *units += record.capacity_units();
        }
        for (operation, (count, units)) in calls {
            let [count, units] = [as_f64(count), units].map(|sum| sum / as_f64(DELIVERIES + BATCH));
            println!("  {operation}: {count:.4} calls and {units:.3} units a delivery");
        }
    }

    /// CPU seconds of this thread for all deliveries but those of the first batch.
    fn deliver(&self, aws_url: Option<&str>) -> f64 {
        let (hub, before) = (self.deployment.hub(aws_url), self.endpoint.requests());
        let cpu = self.measure(&async |_, bytes| invoke(&hub, bytes).await);
        assert_eq!(self.endpoint.requests() - before, DELIVERIES + BATCH);
        cpu
    }

    /// The same for plain posts.
    fn post(&self) -> f64 {
        let client = plain_client();
        let (url, secret) = (&self.endpoint.url, &self.secret);
        self.measure(&async |deliveries, _| {
            join_all(deliveries.iter().map(|delivery| plain::post(&client, url, secret, delivery))).await;
        })
    }

    fn measure(&self, work: &impl AsyncFn(&[Delivery], &[u8])) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (first, rest) = self.batches.split_first().unwrap();
        runtime.block_on(work(&first.0, &first.1));
        let before = thread_cpu();
        runtime.block_on(async {
            for (deliveries, bytes) in rest {
                work(deliveries, bytes).await;
            }
        });
        thread_cpu().saturating_sub(before).as_secs_f64()
    }
}

/// Invokes the function as the runtime does: with bytes, and within a span of the request's.
async fn invoke(hub: &Edge, bytes: &[u8]) {
    let event = LambdaEvent::new(serde_json::from_slice(bytes).unwrap(), Context::default());
    let span = tracing::info_span!("Lambda runtime invoke", requestId = "8286a188-ba32-4475-8077-530cd35c09a9");
    let answer = deliver::handle(hub, event).instrument(span).await.unwrap();
    assert!(answer.batch_item_failures.is_empty());
}
