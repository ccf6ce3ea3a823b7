//! How many calls to AWS a webhook makes, and what they cost.

use serde_json::{Value, json};
use shared::operation::Reason;

use crate::world::{TENANT, World, call_ended, sample_body, waiting};

const NUMBER: &str = "+14155550132";

fn operations(world: &World) -> Vec<String> {
    world.calls().into_iter().map(|call| call.operation).collect()
}

#[tokio::test]
async fn a_warm_webhook_makes_two_calls() {
    let (world, tenant) = World::with_tenant().await;
    world.calls();
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", "+14155550199")).await;
    let first = ["BatchGetItem", "GetSecretValue", "UpdateItem", "UpdateItem", "TransactWriteItems"];
    assert_eq!(operations(&world), first, "configuration, secrets, the window's first count, the transaction");
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", "+14155550199")).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"]);
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "call_started")).await;
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "call_ended")).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"].repeat(2), "a later event of a call too");
    world.restart();
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "recording_available")).await;
    let cold = ["BatchGetItem", "GetSecretValue", "UpdateItem", "TransactWriteItems", "TransactWriteItems"];
    assert_eq!(operations(&world), cold, "a copy that didn't see the call learns of it from the refusal");
}

#[tokio::test]
async fn configuration_is_looked_at_again_after_ten_seconds_and_secrets_after_five_minutes() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", NUMBER)).await;
    world.calls();
    world.advance(9);
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"]);
    world.advance(1);
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    assert_eq!(operations(&world), ["BatchGetItem", "UpdateItem", "TransactWriteItems"]);
    world.advance(290);
    world.send(&tenant, "sarah_ai", &call_ended("e3", "c3", NUMBER)).await;
    assert!(operations(&world).contains(&"GetSecretValue".to_owned()));
}

#[tokio::test]
async fn what_doesnt_exist_is_remembered() {
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await;
    let unknown = async || {
        world.calls();
        world.request(http::Method::POST, &format!("/webhooks/{}/nothing", tenant.id), &[], "{}").await;
        operations(&world).into_iter().filter(|o| o == "BatchGetItem").count()
    };
    assert_eq!(unknown().await, 1);
    assert_eq!(unknown().await, 0);
    world.advance(10);
    assert_eq!(unknown().await, 1);
}

/// A batch of the retry queue, of events that wait.
fn batch(world: &World, events: std::ops::Range<u32>) -> Value {
    let record = |n: u32| {
        let body = call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER).to_string();
        let event = json!({"tenant_id": TENANT, "system_id": "sarah_ai", "received_at": world.now(), "body": body});
        let message = waiting(event, 0, Reason::Unavailable, world.now());
        json!({"messageId": n.to_string(), "body": message})
    };
    json!({"Records": events.map(record).collect::<Vec<_>>()})
}

/// Receiving and deleting are the event source's calls.
#[tokio::test]
async fn a_waiting_event_takes_one_call_when_it_is_drained() {
    let (world, tenant) = World::with_tenant().await;
    world.calls();
    for (events, calls) in [(0..1, vec!["BatchGetItem", "TransactWriteItems"]), (1..11, vec!["TransactWriteItems"; 10])]
    {
        let answer = world.invoke("process-retries", batch(&world, events)).await.unwrap();
        assert_eq!(answer["batchItemFailures"], json!([]));
        assert_eq!(operations(&world), calls, "a cold copy reads the configuration");
    }
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"], 11);
}

/// What the calls since the last look took: operation, write units of the table and of its index.
fn write_units(world: &World) -> Vec<(String, f64, f64)> {
    let units = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
    let of_table = |value: &Value| {
        (units(value, "/Table/CapacityUnits"), units(value, "/GlobalSecondaryIndexes/by_time/CapacityUnits"))
    };
    let calls = world.calls().into_iter().map(|call| {
        let consumed = call.consumed_capacity.unwrap_or_default();
        let (table, index) = of_table(if consumed.is_array() { &consumed[0] } else { &consumed });
        (call.operation, table, index)
    });
    calls
        .filter(|(operation, ..)| ["UpdateItem", "PutItem", "TransactWriteItems"].contains(&operation.as_str()))
        .collect()
}

/// `cargo test -p tests capacity -- --nocapture` prints the table of `docs/benchmarks.md`.
#[tokio::test]
async fn capacity_of_a_webhook_stays_within_nine_write_units() {
    let (world, tenant) = World::with_tenant().await;
    assert!(sample_body("sarah_ai", "call_ended").to_string().len() > 2000);
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", "+14155550199")).await; // warms the copy, opens the window
    world.send(&tenant, "payment_processor", &sample_body("payment_processor", "merchant_updated")).await;
    world.calls();
    println!("| webhook | call: units of the table + of the index | sum |\n| --- | --- | --- |");
    let samples = [
        ("sarah_ai", "call_ended"),
        ("sarah_ai", "call_started"),
        ("sarah_ai", "recording_available"),
        ("payment_processor", "payment_succeeded"),
    ];
    for (system, name) in samples {
        world.send(&tenant, system, &sample_body(system, name)).await;
        let calls = write_units(&world);
        let sum: f64 = calls.iter().map(|(_, table, index)| table + index).sum();
        let list: Vec<String> = calls.iter().map(|(name, table, index)| format!("{name} {table} + {index}")).collect();
        println!("| {system} {name} | {} | {sum} |", list.join(", "));
        assert!(sum <= 9.0, "{name}: {sum}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_telling_subscribers_takes() {
    let (world, tenant) = World::with_tenant().await;
    let subscription = json!({"url": "https://example.com/", "event_types": ["phone_number.interaction.*"]});
    world.subscribe(&tenant, &subscription).await;
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", "+14155550199")).await; // warms the copy
    world.calls();
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "call_ended")).await;
    assert_eq!(operations(&world), ["UpdateItem", "GetItem", "TransactWriteItems"], "is the number new?");
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let calls = write_units(&world);
    let sum: f64 = calls.iter().map(|(_, table, index)| table + index).sum();
    assert_eq!(calls.len(), 2, "a number that is known isn't looked up");
    assert!(sum <= 11.0, "two units more than without: {calls:?}");
    // Cold copies publish and deliver the first, warm ones the second.
    let records = world.aws.stream_records(10).await.unwrap();
    let publish = async |n: usize| {
        world.invoke("publish-events", json!({"Records": [records[n]]})).await.unwrap();
        operations(&world)
    };
    assert_eq!(publish(0).await, ["Query", "SendMessageBatch"]);
    assert_eq!(publish(1).await, ["SendMessageBatch"]);
    let messages = world.queued_deliveries().await;
    assert_eq!(messages.len(), 2);
    world.calls();
    let deliver = async |n: usize| {
        let batch = json!({"Records": [{"messageId": "1", "body": messages[n]}]});
        let answer = world.invoke("deliver-webhooks", batch).await.unwrap();
        assert_eq!(answer["batchItemFailures"], json!([]));
        world.calls()
    };
    let names = |calls: &[local::aws::Record]| calls.iter().map(|call| call.operation.clone()).collect::<Vec<_>>();
    assert_eq!(names(&deliver(0).await), ["Query", "GetSecretValue", "BatchWriteItem"]);
    let warm = deliver(1).await;
    assert_eq!(names(&warm), ["BatchWriteItem"]);
    assert!((warm[0].capacity_units() - 1.0).abs() < 0.1, "{:?}", warm[0]);
    assert_eq!(world.internet.take().len(), 2);
}
