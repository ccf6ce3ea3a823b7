//! What it takes to drain a queue of 10,000 waiting events, beside two floors: to receive and delete them, and to make one
//! plain transaction of each besides.
//!
//! The services run behind their port in a thread of their own. Receiving, `process-retries` and deleting run in this
//! one, a batch after the other as on one copy of the function, and what counts is this thread's CPU time.
//! `cargo bench -p tests --bench drain`; `docs/benchmarks.md` holds the results.

#[path = "../common/figures.rs"]
mod figures;
#[path = "../common/measure.rs"]
mod measure;
mod services;
#[path = "../common/tenant.rs"]
mod tenant;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use futures_util::future::join_all;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::json;
use shared::{hub::Edge, retry};

use self::{
    figures::{as_f64, median},
    measure::thread_cpu,
    services::{Load, Services},
};

const EVENTS: usize = 10_000;
/// Floor and subject take turns, so that whatever else the machine does meets both.
const ROUNDS: usize = 5;
/// The batch size of the template, and the most that SQS gives at once.
const BATCH: i32 = 10;

const LOADS: [Load; 3] = [
    Load { name: "each on a number of its own", numbers: EVENTS, held: Duration::ZERO },
    Load { name: "all on 4 numbers", numbers: 4, held: Duration::ZERO },
    Load { name: "all on 4 numbers, contended", numbers: 4, held: Duration::from_millis(5) },
];

/// What is done with a batch before it is deleted.
#[derive(Clone, Copy)]
enum Work {
    Nothing,
    /// The calls that the hub makes at least, with the same bytes, but nothing understood.
    PlainTransactions,
    ProcessRetries,
}

fn main() {
    // The function's log lines are part of its work.
    tracing_subscriber::fmt().with_writer(std::io::sink).with_max_level(tracing::Level::INFO).init();
    for load in &LOADS {
        println!("\n{EVENTS} events, {}", load.name);
        print_calls(load);
        let works = [Work::Nothing, Work::PlainTransactions, Work::ProcessRetries];
        let rounds: Vec<_> =
            (0..ROUNDS).map(|_| works.map(|work| run(&Services::start(load, EVENTS, None), work))).collect();
        let [floor, calls, drain] = [0, 1, 2].map(|n| median(rounds.iter().map(|times| times[n].as_secs_f64())));
        println!(
            "  CPU: {:.2} times the floor with a transaction, {:.1} times that without",
            drain / calls,
            drain / floor
        );
        for (name, cpu) in [("drained", drain), ("floor with a transaction", calls), ("floor", floor)] {
            let events = as_f64(EVENTS);
            println!("  {name}: {:.0} events a CPU second, {:.0} µs each", events / cpu, 1e6 * cpu / events);
        }
    }
}

/// Drains once without taking the time, and prints the calls.
fn print_calls(load: &Load) {
    let tap = load.tap();
    run(&Services::start(load, EVENTS, Some(Arc::clone(&tap))), Work::ProcessRetries);
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for record in tap.take() {
        *calls.entry(record.operation).or_default() += 1;
    }
    for (operation, count) in calls {
        println!("  {operation}: {:.4} calls an event", as_f64(count) / as_f64(EVENTS));
    }
}

/// Empties the queue, and gives the CPU time of this thread.
fn run(services: &Services, work: Work) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sqs = aws_sdk_sqs::Client::new(&services.sdk);
    let dynamodb = aws_sdk_dynamodb::Client::new(&services.sdk);
    let (table, queue_url) = (&services.settings.table, &services.settings.retry_queue_url);
    let hub = services.hub();
    let before = thread_cpu();
    runtime.block_on(async {
        let mut done = 0;
        while done < EVENTS {
            let request = sqs.receive_message().queue_url(queue_url).max_number_of_messages(BATCH);
            let messages = request.wait_time_seconds(20).send().await.unwrap().messages.unwrap_or_default();
            assert!(!messages.is_empty(), "the queue is empty after {done} events");
            match work {
                Work::Nothing => {}
                Work::PlainTransactions => drop(join_all(messages.iter().map(|m| write(&dynamodb, table, m))).await),
                Work::ProcessRetries => process(&hub, &messages).await,
            }
            done += messages.len();
            delete(&sqs, queue_url, messages).await;
        }
    });
    thread_cpu().saturating_sub(before)
}

/// Writes three items, as a call that has ended does, made of the message's own bytes.
async fn write(dynamodb: &aws_sdk_dynamodb::Client, table: &str, message: &Message) {
    let body = message.body.as_deref().unwrap();
    let mut request = dynamodb.transact_write_items();
    for (n, part) in body.as_bytes().chunks(body.len().div_ceil(3)).enumerate() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = Put::builder().table_name(table).condition_expression("attribute_not_exists(pk)");
        let put = put.item("pk", text(message.message_id.as_deref().unwrap())).item("sk", text(&n.to_string()));
        let put = put.item("doc", text(std::str::from_utf8(part).unwrap())).build().unwrap();
        request = request.transact_items(TransactWriteItem::builder().put(put).build());
    }
    request.send().await.unwrap();
}

/// Invokes the function with a batch as Lambda hands it over.
async fn process(hub: &Edge, messages: &[Message]) {
    let record = |message: &Message| {
        json!({"messageId": message.message_id, "receiptHandle": message.receipt_handle, "body": message.body,
            "attributes": {}, "messageAttributes": {}})
    };
    let event = json!({"Records": messages.iter().map(record).collect::<Vec<_>>()});
    let event = LambdaEvent::new(serde_json::from_value(event).unwrap(), Context::default());
    let answer = retry::handle(hub, event).await.unwrap();
    assert!(answer.batch_item_failures.is_empty());
}

async fn delete(sqs: &aws_sdk_sqs::Client, queue_url: &str, messages: Vec<Message>) {
    let entry = |(n, message): (usize, Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.set_receipt_handle(message.receipt_handle).build().unwrap()
    };
    let entries = messages.into_iter().enumerate().map(entry).collect();
    sqs.delete_message_batch().queue_url(queue_url).set_entries(Some(entries)).send().await.unwrap();
}
