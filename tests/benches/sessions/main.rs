//! What sessions of tenants take (docs/isolation.md): CPU of a webhook's event with and without, on a copy that knows the tenant;
//! and what beginning a session takes, in CPU and memory.
//!
//! The services run behind their port in a thread of their own, and what counts is this thread's CPU time. What counts for memory is
//! how much more a process grows that has sessions than one that hasn't: the services are in both.
//! `cargo bench -p tests --bench sessions`

#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/measure.rs"]
mod measure;
#[path = "../drain/services.rs"]
#[expect(dead_code, reason = "its queue stays empty here")]
mod services;
#[path = "../common/tenant.rs"]
mod tenant;

use std::{env, fs, process::Command, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use shared::{
    hub::Edge,
    operation::{Operation, Reason, Waiting},
    retry,
};

use self::{
    figures::{as_f64, median},
    measure::thread_cpu,
    services::{Load, Services},
};

const TENANT: &str = "tenant_demo";
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/tenant";
const NOW: &str = "2026-01-15T12:00:00Z";
const EVENTS: usize = 2_000;
const TENANTS: usize = 300;
const ROUNDS: usize = 7;
const BATCH: usize = 10;
/// The argument by which this process is one of those whose memory is compared.
const GROW: &str = "grow";

fn main() {
    tracing_subscriber::fmt().with_writer(std::io::sink).with_max_level(tracing::Level::INFO).init();
    let arguments: Vec<String> = env::args().collect();
    if let [_, grow, role] = arguments.as_slice()
        && grow == GROW
    {
        println!("{}", work_off(role, &tenants()).1);
        return;
    }
    warm();
    begin();
}

/// Events of one tenant.
fn warm() {
    let events: Vec<String> = (0..EVENTS + BATCH).map(|n| message(TENANT, n)).collect();
    let rounds: Vec<_> = (0..ROUNDS).map(|_| ["", ROLE_ARN].map(|role| work_off(role, &events).0)).collect();
    let [without, with] = [0, 1].map(|n| median(rounds.iter().map(|times| times[n].as_secs_f64())) / as_f64(EVENTS));
    println!("{EVENTS} events of one tenant, whose session the copy has");
    println!(
        "  without sessions: {:.0} µs of CPU each; with: {:.0} µs, {:.3} times",
        1e6 * without,
        1e6 * with,
        with / without
    );
    let ratios = rounds.iter().map(|times| times[1].as_secs_f64() / times[0].as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    println!("  of {ROUNDS} rounds: {:.3} to {:.3} times", ratios[0], ratios[ROUNDS - 1]);
}

/// Events of as many tenants, each met for the first time.
fn begin() {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| ["", ROLE_ARN].map(|role| work_off(role, &tenants()).0)).collect();
    let of = |n: usize| median(rounds.iter().map(|round| round[n].as_secs_f64())) / as_f64(TENANTS);
    println!("{TENANTS} tenants, each met for the first time");
    println!("  a session takes {:.0} µs of CPU to begin", 1e6 * (of(1) - of(0)));
    let grown = |role: &str| median((0..ROUNDS).map(|_| grown(role))) / as_f64(TENANTS);
    let (with, without) = (grown(ROLE_ARN), grown(""));
    println!("  a process grows by {with:.0} KB for each with sessions, by {without:.0} KB without");
}

/// None of them is there: the configuration is looked up by each one's session, and that is all.
fn tenants() -> Vec<String> {
    let others = vec![message("other", 0); BATCH];
    others.into_iter().chain((0..TENANTS).map(|n| message(&format!("tenant_{n}"), n))).collect()
}

/// By how many kilobytes a new process grows.
fn grown(role: &str) -> f64 {
    let told = Command::new(env::current_exe().unwrap()).args([GROW, role]).output().unwrap().stdout;
    String::from_utf8(told).unwrap().trim().parse().unwrap()
}

/// CPU of this thread for all events but the first batch, and by how many kilobytes the process grows meanwhile.
fn work_off(role: &str, events: &[String]) -> (Duration, f64) {
    let mut services = Services::start(&Load { name: "", numbers: 1, held: Duration::ZERO }, 0, None);
    role.clone_into(&mut services.settings.tenant_role_arn);
    let edge = services.hub();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, rest) = events.split_at(BATCH);
    runtime.block_on(process(&edge, first));
    let (before, resident) = (thread_cpu(), resident_kilobytes());
    runtime.block_on(async {
        for batch in rest.chunks(BATCH) {
            process(&edge, batch).await;
        }
    });
    (thread_cpu().saturating_sub(before), resident_kilobytes() - resident)
}

fn message(tenant: &str, n: usize) -> String {
    let sample = include_str!("../../../events/sarah_ai/call_ended.json");
    let mut body = serde_json::from_str::<Value>(sample).unwrap()["body"].take();
    body["event_id"] = json!(format!("evt_{n}"));
    body["call"]["id"] = json!(format!("call_{n}"));
    body["call"]["destination_number"] = json!(format!("+1415{:07}", 2_000_000 + n));
    let event = json!({"tenant_id": tenant, "system_id": "sarah_ai", "received_at": NOW, "body": body.to_string()});
    let (event, due): (_, Timestamp) = (serde_json::from_value(event).unwrap(), NOW.parse().unwrap());
    Operation::Inbound(Waiting { event, attempt: 0, reason: Reason::Unavailable, due }).to_message().body
}

/// Invokes the function with a batch as Lambda hands it over.
async fn process(edge: &Edge, bodies: &[String]) {
    let record = |body: &String| json!({"messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78", "body": body, "attributes": {}, "messageAttributes": {}});
    let event = json!({"Records": bodies.iter().map(record).collect::<Vec<_>>()});
    let event = LambdaEvent::new(serde_json::from_value(event).unwrap(), Context::default());
    let answer = retry::handle(edge, event).await.unwrap();
    assert!(answer.batch_item_failures.is_empty());
}

fn resident_kilobytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
