//! Waits of any length, failures and what can be done with them (contract §4). Time is tokio's, and virtual.

use std::time::Duration;

use local::aws::{Fault, Service};
use serde_json::{Value, json};
use shared::operation::Reason;

use crate::world::{TENANT, Tenant, World, call_ended, payment, waiting};

const NUMBER: &str = "+14155550132";

/// A tenant whose Sarah AI is tried again after so many hours, and then twice as many.
async fn patient(hours: u32) -> (World, Tenant) {
    let world = World::new().await;
    let retry = json!({"max_attempts": 2, "backoff_factor": 2, "base_delay_seconds": hours * 3600});
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "retry": retry})]).await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    (world, tenant)
}

async fn calls(world: &World, tenant: &Tenant) -> Value {
    world.phone(tenant, NUMBER).await["statistics"]["total_calls"].clone()
}

async fn failures(world: &World, tenant: &Tenant, query: &str) -> Vec<Value> {
    let answer = world.get(tenant, &format!("/v1/failures{query}")).await;
    answer.body["data"].as_array().cloned().unwrap_or_else(|| panic!("no list: {answer:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_ten_hours_ends_on_time_and_doesnt_hop() {
    let (world, tenant) = patient(10).await;
    // Only the event's own transaction fails: the wait has the table.
    world.fail_transactions_of(3);
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await.text("/status"), "queued");
    world.fail(|_| Fault::None);
    let triggers = world.run_triggers();
    world.calls();
    tokio::time::sleep(Duration::from_hours(10)).await;
    assert_eq!(calls(&world, &tenant).await, 1, "not before its time");
    // Up to 20 % of jitter, and a second of rounding.
    tokio::time::sleep(Duration::from_secs(7_205)).await;
    assert_eq!(calls(&world, &tenant).await, 2);
    triggers.stop().await;
    let made = world.calls();
    let count = |operation: &str| made.iter().filter(|call| call.operation == operation).count();
    let sent = (count("SendMessage"), count("SendMessageBatch"), count("BatchWriteItem"), count("TransactWriteItems"));
    assert_eq!(sent, (0, 1, 1, 1), "once out of the table, and once applied");
    assert!(world.queued().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_the_table_is_down_a_long_wait_hops_and_still_isnt_early() {
    let (world, tenant) = patient(1).await;
    world.fail_tables();
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await.text("/status"), "queued");
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(20)).await;
    world.fail(|_| Fault::None);
    tokio::time::sleep(Duration::from_mins(40)).await;
    assert_eq!(calls(&world, &tenant).await, 1, "not before its time");
    let hops = world.calls().iter().filter(|call| call.operation == "SendMessage").count();
    assert_eq!(hops, 2, "at receipt and after a quarter of an hour; then the table was up again");
    tokio::time::sleep(Duration::from_secs(725)).await;
    triggers.stop().await;
    assert_eq!(calls(&world, &tenant).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_dies_between_its_steps_loses_and_doubles_nothing() {
    let (world, tenant) = patient(1).await;
    world.fail_transactions_of(3);
    for n in 0..3 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}x"), NUMBER)).await;
    }
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(50)).await;
    // Each call of the releases around the due time fails now and then, before or after it took effect.
    world.fail(|n| match n % 5 {
        1 => Fault::LoseAnswer,
        3 => Fault::TimeOut,
        _ => Fault::None,
    });
    tokio::time::sleep(Duration::from_mins(30)).await;
    world.fail(|_| Fault::None);
    tokio::time::sleep(Duration::from_hours(3)).await;
    triggers.stop().await;
    assert_eq!(calls(&world, &tenant).await, 4);
    assert!(world.queued().await.is_empty() && world.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_limit_of_the_day_wait_for_the_next_without_hopping() {
    let world = World::new().await;
    let limits = json!({"per_minute": 100, "per_day": 3, "when_exceeded": "queue"});
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": limits})]).await;
    world.advance(11 * 3600);
    for n in 0..5 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
    }
    world.calls();
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!(calls(&world, &tenant).await, 3);
    tokio::time::sleep(Duration::from_mins(2)).await;
    triggers.stop().await;
    assert_eq!(calls(&world, &tenant).await, 5, "a minute after midnight");
    let sends = world.calls().iter().filter(|call| call.operation.starts_with("SendMessage")).count();
    assert!((1..=2).contains(&sends), "{sends} messages for 2 events");
}

#[tokio::test(start_paused = true)]
async fn many_failures_are_sent_through_again_at_once_by_system_and_time() {
    let limits = json!({"per_minute": 5_000, "per_day": 5_000});
    let world = World::new().await;
    let systems = [
        json!({"system_id": "payment_processor", "limits": limits}),
        json!({"system_id": "sarah_ai"}),
        json!({"system_id": "stripe"}),
    ];
    let tenant = world.provision(TENANT, &systems).await;
    let other = world.provision("tenant_b", &systems).await;
    for n in 0..230 {
        assert_eq!(world.send(&tenant, "payment_processor", &payment(n, 100, NUMBER)).await.text("/status"), "failed");
    }
    world.advance(60);
    let later = world.now();
    world.send(&tenant, "payment_processor", &payment(1_000, 100, NUMBER)).await;
    world.send(&other, "payment_processor", &payment(1, 100, NUMBER)).await;
    let triggers = world.run_triggers();
    let paid = async || world.phone(&tenant, NUMBER).await["payments"]["succeeded"].clone();
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    world.send(&other, "sarah_ai", &call_ended("e", "c", NUMBER)).await;

    let body = json!({"system_id": "stripe"}).to_string();
    assert_eq!(world.post_json(&tenant, "/v1/failures/retry", &body).await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(paid().await, 0, "not this system's");

    let body = json!({"system_id": "payment_processor", "since": later}).to_string();
    let answer = world.post_json(&tenant, "/v1/failures/retry", &body).await;
    assert_eq!((answer.status.as_u16(), answer.text("/status")), (202, "queued"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(paid().await, 1, "only the late one");

    assert_eq!(world.post(&tenant, "/v1/failures/retry").await.status, 202);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(paid().await, 231);
    assert!(failures(&world, &tenant, "").await.is_empty());
    assert_eq!(failures(&world, &other, "").await.len(), 1, "another tenant's failures are its own");
    triggers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_copy_whose_clock_was_fast_are_sent_through_again_too() {
    let (world, tenant) = World::with_tenant().await;
    world.advance(3600);
    world.send(&tenant, "payment_processor", &payment(1, 100, NUMBER)).await;
    world.rewind(3600);
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    let triggers = world.run_triggers();
    let body = json!({"until": "2099-01-01T00:00:00Z"}).to_string();
    assert_eq!(world.post_json(&tenant, "/v1/failures/retry", &body).await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    triggers.stop().await;
    assert!(failures(&world, &tenant, "").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_bad_selection_of_failures_is_explained_and_retries_nothing() {
    let (world, tenant) = World::with_tenant().await;
    for body in ["{", "[]", r#"{"system": "stripe"}"#, r#"{"since": "yesterday"}"#, r#"{"system_id": "A B"}"#] {
        let answer = world.post_json(&tenant, "/v1/failures/retry", body).await;
        assert_eq!((answer.status.as_u16(), answer.text("/code")), (400, "invalid_request"), "{body}");
    }
    assert_eq!(world.get(&tenant, "/v1/failures/retry").await.status, 405, "there is no failure of this id");
    assert!(world.queued().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_outlives_its_event_counts_its_tries_and_a_metric_counts_it() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "payment_processor", &payment(1, 100, NUMBER)).await;
    let line = &world.metrics()[0];
    let metric = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!((&metric["Namespace"], &metric["Metrics"][0]["Name"]), (&json!("SmrtHub"), &json!("Failures")));
    assert_eq!(metric["Dimensions"], json!([["stage"], ["stage", "system"]]));
    assert_eq!(
        (&line["Failures"], &line["system"], &line["tenant"]),
        (&json!(1), &json!("payment_processor"), &json!(TENANT))
    );
    assert!(!line.to_string().contains(NUMBER));

    world.forget(&tenant, "payment_processor", "p1").await;
    world.advance(86_400);
    let triggers = world.run_triggers();
    assert_eq!(world.post(&tenant, "/v1/failures/retry").await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let failed = failures(&world, &tenant, "?system_id=payment_processor").await;
    assert_eq!((failed.len(), &failed[0]["attempts"]), (1, &json!(2)));
    assert!(failed[0]["first_failed_at"].as_str() < failed[0]["last_failed_at"].as_str(), "{failed:?}");
    assert!(failures(&world, &tenant, "?until=2026-01-01T00:00:00Z").await.is_empty());
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    assert_eq!(world.post(&tenant, "/v1/failures/retry").await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    triggers.stop().await;
    assert_eq!(world.phone(&tenant, NUMBER).await["payments"]["succeeded"], 1);
    assert!(failures(&world, &tenant, "").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_aws_refuses_for_good_isnt_tried_again() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    // The event's own transaction comes second, after the limit's count.
    world.fail(|n| if n == 1 { Fault::Refuse { status: 400, code: "AccessDeniedException" } } else { Fault::None });
    let answer = world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    assert_eq!((answer.status.as_u16(), answer.text("/status")), (202, "failed"));
    assert!(answer.text("/error").contains("an operator must look"), "{}", answer.text("/error"));
    assert_eq!(failures(&world, &tenant, "").await[0]["code"], "aws_denied");
    // Where not even the failure may be kept, nothing is lost either.
    world.fail(|n| if n > 0 { Fault::Refuse { status: 400, code: "AccessDeniedException" } } else { Fault::None });
    world.restart();
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_absurd_counts_or_times_ends_somewhere() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    let message = |id: &str, attempt, due: &str| {
        let body = call_ended(id, id, NUMBER).to_string();
        let event = json!({"tenant_id": TENANT, "system_id": "sarah_ai", "received_at": world.now(), "body": body});
        waiting(event, attempt, Reason::Unavailable, due.parse().unwrap())
    };
    world.enqueue(&message("many", u32::MAX, "2026-01-15T12:00:00Z")).await;
    world.enqueue(&message("past", 0, "-009998-01-01T00:00:00Z")).await;
    world.enqueue(&message("future", 0, "9999-12-30T00:00:00Z")).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_hours(1)).await;
    triggers.stop().await;
    assert_eq!(calls(&world, &tenant).await, 3, "the first two are applied");
    assert_eq!(world.dead_letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_put_back_by_one_command() {
    let (world, _) = World::with_tenant().await;
    world.enqueue("hello").await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_hours(1)).await;
    triggers.stop().await;
    world.redrive().await;
    assert_eq!(world.queued().await, ["hello"]);
    assert!(world.calls().iter().any(|call| call.service == Service::Sqs));
}

#[tokio::test(start_paused = true)]
async fn everything_that_passes_has_its_time_and_nothing_else_has() {
    let (world, tenant) = patient(1).await;
    let system = json!({"system_id": "payment_processor"});
    world.provision(TENANT, &[system]).await;
    world.send(&tenant, "sarah_ai", &json!({"event_id": "e", "event_type": "call.unknown"})).await;
    world.fail_transactions_of(3);
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    world.fail(|_| Fault::None);
    let start = world.now().as_second();
    let midnight = 12 * 3600;
    let mut seen = std::collections::BTreeSet::new();
    for item in world.items().await {
        let kind = item.get_text("pk").unwrap().split_once('#').unwrap().1.to_owned();
        let days = item.get_number("ttl").map(|ttl| ttl - start);
        let expected = match kind.as_str() {
            "in" => Some(30 * 86_400),
            "fail" => Some(90 * 86_400),
            "limit" => Some(midnight + 2 * 86_400),
            _ => None,
        };
        assert_eq!(days, expected, "{kind}");
        seen.insert(kind);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["config", "fail", "in", "int", "key", "limit", "phone", "wait"]);
}
