//! Events that had to wait are applied by themselves (contract §2 and §4). Time is tokio's, and virtual.

use std::time::Duration;

use local::aws::Fault;
use serde_json::{Value, json};
use shared::operation::Reason;

use crate::world::{TENANT, Tenant, World, call_ended, payment, waiting};

const NUMBER: &str = "+14155550132";

async fn status(world: &World, tenant: &Tenant, event: &str) -> Option<String> {
    let events = world.get(tenant, "/v1/inbound-events").await.body["data"].clone();
    let found = events.as_array()?.iter().find(|e| e["event_id"] == event)?;
    found["status"].as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_in_an_outage_is_applied_when_it_ends() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    world.fail_tables();
    for n in 0..20 {
        let answer = world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}x"), NUMBER)).await;
        assert_eq!(answer.text("/status"), "queued");
    }
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_hours(1)).await; // far beyond the policy: while nothing can be kept, it waits
    world.fail(|_| Fault::None);
    tokio::time::sleep(Duration::from_mins(20)).await;
    triggers.stop().await;
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"], 21);
    assert_eq!(status(&world, &tenant, "e7").await.as_deref(), Some("processed"));
    assert!(world.queued().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_fails_at_every_try_becomes_a_failure() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    // Three writes: the event's own transaction always fails; the failure's two writes go through.
    world.fail_transactions_of(3);
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await.text("/status"), "queued");
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(5)).await;
    triggers.stop().await;
    assert_eq!(status(&world, &tenant, "e1").await.as_deref(), Some("failed"));
    world.fail(|_| Fault::None);
    let again = world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    assert_eq!((again.text("/status"), again.text("/code")), ("failed", "retries_exhausted"));
}

#[tokio::test(start_paused = true)]
async fn a_call_over_its_limit_is_applied_when_the_window_allows() {
    let world = World::new().await;
    let limits = json!({"per_minute": 2, "per_day": 1000, "when_exceeded": "queue"});
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": limits})]).await;
    let mut answers = Vec::new();
    for n in 0..5 {
        let answer = world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        answers.push(answer.text("/status").to_owned());
    }
    assert_eq!(answers, ["processed", "processed", "queued", "queued", "queued"]);
    let triggers = world.run_triggers();
    let mut calls = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        calls.push(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"].clone());
    }
    triggers.stop().await;
    assert_eq!(calls, [4, 5, 5], "two a minute, never more");
}

#[tokio::test(start_paused = true)]
async fn a_bad_message_ends_in_the_dead_letters_and_holds_nobody_up() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("warm", "c0", NUMBER)).await;
    world.fail_tables();
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    world.fail(|_| Fault::None);
    for bad in ["hello", "{}", r#"{"v":9,"kind":"inbound_event"}"#] {
        world.enqueue(bad).await;
    }
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(status(&world, &tenant, "e1").await.as_deref(), Some("processed"));
    tokio::time::sleep(Duration::from_hours(1)).await;
    triggers.stop().await;
    assert_eq!(world.dead_letters().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_system_is_gone_is_kept_as_a_failure() {
    let world = World::new().await;
    let (here, other) =
        (world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await, world.provision("tenant_b", &[]).await);
    let body = call_ended("e1", "c1", NUMBER).to_string();
    let event = json!({"tenant_id": other.id, "system_id": "sarah_ai", "received_at": world.now(), "body": body});
    world.enqueue(&waiting(event, 0, Reason::Unavailable, world.now())).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(1)).await;
    triggers.stop().await;
    let events = world.get(&other, "/v1/inbound-events?status=failed").await.body["data"].clone();
    assert!(events[0]["error"].as_str().unwrap().contains("removed"), "{events}");
    assert_eq!(events[0]["payload"]["event_id"], "e1");
    assert_eq!(world.get(&here, "/v1/inbound-events").await.body["data"], Value::from_iter(Vec::<Value>::new()));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_replayed_once_its_cause_is_gone() {
    let (world, tenant) = World::with_tenant().await;
    let failed = world.send(&tenant, "payment_processor", &payment(1, 4200, NUMBER)).await;
    let failure = failed.text("/failure_id").to_owned();
    let retry = format!("/v1/failures/{failure}/retry");
    let triggers = world.run_triggers();
    assert_eq!(world.post(&tenant, &retry).await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let failures = world.get(&tenant, "/v1/failures").await.body["data"].clone();
    assert_eq!(
        (failures.as_array().unwrap().len(), failures[0]["id"].as_str()),
        (1, Some(failure.as_str())),
        "it failed again"
    );
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    assert_eq!(world.post(&tenant, &retry).await.status, 202);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.post(&tenant, &retry).await.status, 404, "the failure is gone");
    triggers.stop().await;
    let phone = world.phone(&tenant, NUMBER).await;
    assert_eq!((&phone["payments"]["succeeded"], &phone["payments"]["totals"]), (&json!(1), &json!({"USD": 4200})));
    assert_eq!(status(&world, &tenant, "p1").await.as_deref(), Some("processed"));
    assert_eq!(world.get(&tenant, "/v1/failures").await.body["data"], json!([]));
    assert_eq!(world.send(&tenant, "payment_processor", &payment(1, 4200, NUMBER)).await.text("/status"), "duplicate");
}

#[tokio::test(start_paused = true)]
async fn replaying_an_applied_event_changes_nothing() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    let event = world.get(&tenant, "/v1/inbound-events").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let before = (world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await);
    let triggers = world.run_triggers();
    for _ in 0..3 {
        let answer = world.post(&tenant, &format!("/v1/inbound-events/{event}/replay")).await;
        assert_eq!((answer.status.as_u16(), answer.text("/status")), (202, "queued"));
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    triggers.stop().await;
    assert_eq!((world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await), before);
}

#[tokio::test]
async fn what_isnt_there_cant_be_replayed() {
    let (world, tenant) = World::with_tenant().await;
    let other = world.provision("tenant_b", &[]).await;
    let failure =
        world.send(&tenant, "payment_processor", &payment(1, 4200, NUMBER)).await.text("/failure_id").to_owned();
    assert_eq!(world.post(&other, &format!("/v1/failures/{failure}/retry")).await.status, 404);
    assert_eq!(world.post(&tenant, "/v1/failures/fail_nothing/retry").await.status, 404);
    assert_eq!(world.post(&tenant, "/v1/inbound-events/inb_nothing/replay").await.status, 404);
    let retry = format!("/v1/failures/{failure}/retry");
    assert_eq!(world.get(&tenant, &retry).await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_system_is_gone_stays_the_event_that_it_was() {
    let world = World::new().await;
    let tenant = world.provision("tenant_b", &[]).await;
    let event = json!({"tenant_id": tenant.id, "system_id": "sarah_ai", "received_at": world.now(), "body": "{}",
        "replay": {"event_id": "e1", "failure_id": "fail_1"}});
    world.enqueue(&waiting(event, 0, Reason::Replay, world.now())).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(1)).await;
    triggers.stop().await;
    let events = world.get(&tenant, "/v1/inbound-events").await.body["data"].clone();
    assert_eq!((&events[0]["event_id"], &events[0]["failure_id"]), (&json!("e1"), &json!("fail_1")));
}
