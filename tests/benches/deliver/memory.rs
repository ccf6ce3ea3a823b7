//! Resident memory with 10,000 deliveries in flight or waiting.
//!
//! Each is measured in a process of its own, in which nothing else is; this one is the endpoint that never answers, and AWS
//! where it doesn't belong to what is measured.

use std::{
    io::{BufRead, BufReader, Write, stdin},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use futures_util::future::join_all;
use lambda_runtime::{Context, LambdaEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use shared::{deliver, event::Event, store::Delayed};
use tokio::runtime::Runtime;

use super::{
    client::plain_client,
    deployment::{Deployment, FUNCTION},
    endpoint::{Endpoint, Manner},
    figures::as_f64,
    function::hub_at,
    plain,
    resident::megabytes,
    sample::{BATCH, Delivery, batch, deliveries},
};

/// The argument that makes this a child.
pub const CHILD: &str = "child";

const DELIVERIES: usize = 10_000;
/// What `cargo local` works on at once.
const LOCAL_IN_FLIGHT: usize = 640;

/// What a child has to know, as JSON in its argument.
#[derive(Serialize, Deserialize)]
struct Told {
    endpoint: String,
    /// One that answers, for warming up, and its subscription.
    warm: (String, String),
    aws_url: String,
    subscription: String,
    secret: String,
    event: Event,
}

pub fn run() {
    println!("\nResident memory, {DELIVERIES} deliveries to an endpoint that never answers; the target is 100 MB");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    measure("the bundle, 640 in flight and the others in its queue", "bundle", LOCAL_IN_FLIGHT);
    measure("deliver-webhooks alone, all in flight", "function", DELIVERIES);
    measure("floor: plain posts, all in flight", "plain", DELIVERIES);
}

fn measure(name: &str, role: &str, in_flight: usize) {
    let (endpoint, deployment) = (Endpoint::start(Manner::Hang), Deployment::start(None));
    let (event, warm) = (deployment.interaction(), Endpoint::start(Manner::Take));
    let warm = (warm.url.clone(), deployment.subscribe(&warm.url, "webhook.test").0);
    let (subscription, secret) = deployment.subscribe(&endpoint.url, "*");
    let told =
        Told { endpoint: endpoint.url.clone(), warm, aws_url: deployment.aws_url(), subscription, secret, event };
    let told = serde_json::to_string(&told).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = child.args([CHILD, role, &told]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let before = megabytes(&child, "VmRSS");
    writeln!(child.stdin.as_ref().unwrap(), "go").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "sent");
    // Its first batches are of what was in the queue when it was being filled: mostly one. They time out, and full ones follow.
    while endpoint.unanswered() < in_flight {
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_secs(1));
    let in_flight = endpoint.unanswered();
    let [after, most] = ["VmRSS", "VmHWM"].map(|name| megabytes(&child, name));
    child.kill().unwrap();
    child.wait().unwrap();
    let each = (after - before) * 1e3 / as_f64(DELIVERIES);
    println!("  {name}: {after:.1} MB, {before:.1} before, {most:.1} at most; {in_flight} in flight");
    println!("    {each:.2} KB a delivery");
}

/// What a child does. It ends with its parent.
pub fn child(role: &str, told: &str) {
    let told: Told = serde_json::from_str(told).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match role {
        "bundle" => bundle(&runtime, &told),
        "function" => runtime.block_on(function(&told)),
        _ => runtime.block_on(plain_posts(&told)),
    }
}

fn ready() {
    println!("ready");
    await_parent();
}

fn await_parent() {
    stdin().read_line(&mut String::new()).unwrap();
}

/// A deployment of its own, whose queue is filled.
fn bundle(runtime: &Runtime, told: &Told) {
    let deployment = Deployment::start(None);
    let (subscription, _) = deployment.subscribe(&told.endpoint, "*");
    let hub = deployment.hub(None);
    ready();
    for n in 0..DELIVERIES / BATCH {
        let batch = nth_batch(n, &told.event, &subscription);
        let message = |delivery: &Delivery| Delayed { message: delivery.operation().to_message(), delay_seconds: 0 };
        let taken = runtime.block_on(hub.store.enqueue_all(batch.iter().map(message).collect())).unwrap();
        assert_eq!(taken.len(), BATCH);
    }
    println!("sent");
    await_parent();
}

/// A copy that knows the tenant already, with all batches at once.
async fn function(told: &Told) {
    let hub = hub_at(FUNCTION, &told.aws_url);
    let invoke = |n, subscription| {
        let bytes = batch(&nth_batch(n, &told.event, subscription), hub.now());
        deliver::handle(&hub, LambdaEvent::new(serde_json::from_slice(&bytes).unwrap(), Context::default()))
    };
    invoke(DELIVERIES, &told.warm.1).await.unwrap();
    ready();
    println!("sent");
    join_all((0..DELIVERIES / BATCH).map(|n| invoke(n, &told.subscription))).await;
}

async fn plain_posts(told: &Told) {
    let client = &plain_client();
    let post = async |n, url| {
        let batch = nth_batch(n, &told.event, &told.subscription);
        join_all(batch.iter().map(|delivery| plain::post(client, url, &told.secret, delivery))).await;
    };
    post(DELIVERIES, &told.warm.0).await;
    ready();
    println!("sent");
    join_all((0..DELIVERIES / BATCH).map(|n| post(n, &told.endpoint))).await;
}

fn nth_batch(n: usize, event: &Event, subscription: &str) -> Vec<Delivery> {
    deliveries(event, n * BATCH..(n + 1) * BATCH, &[subscription.to_owned()])
}
