//! What is made up for: after a death, an outage, a loss, or a repair of the endpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use local::aws::{Fault, Service};
use serde_json::json;
use shared::outgoing::SendError;

use super::{NUMBER, URL, run, subscribed, types};
use crate::world::{Arrival, Behaviour, call_ended};

#[tokio::test(start_paused = true)]
async fn a_410_disables_and_tells_the_others() {
    let (world, tenant, gone) = subscribed(json!(["phone_number.*"])).await;
    world
        .subscribe(&tenant, &json!({"url": "https://example.com/ops", "event_types": ["subscription.disabled"]}))
        .await;
    world.internet.answer(|a| Behaviour::status(if a.url == URL { 410 } else { 200 }));
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_mins(1)).await;
    let arrivals = world.internet.take();
    let told: Vec<_> = arrivals.iter().filter(|a| a.url.ends_with("ops")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["data"]["subscription"]["disabled_reason"], "gone");
    assert_eq!(told[0].json()["data"]["subscription"]["id"], gone["id"]);
    let now = world.get(&tenant, &format!("/v1/subscriptions/{}", gone["id"].as_str().unwrap())).await.body;
    assert_eq!((&now["is_active"], &now["disabled_reason"]), (&json!(false), &json!("gone")));
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    run(&world, Duration::from_mins(1)).await;
    assert!(world.internet.take().iter().all(|a| a.url != URL), "nothing more");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_for_six_days_is_disabled_and_gets_its_events_in_order_once_repaired() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.created"])).await;
    world
        .subscribe(&tenant, &json!({"url": "https://example.com/ops", "event_types": ["subscription.disabled"]}))
        .await;
    world
        .internet
        .answer(|a| if a.url == URL { Behaviour::error(SendError::ConnectionFailed) } else { Behaviour::status(200) });
    let triggers = world.run_triggers();
    for n in 0..24 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        tokio::time::sleep(Duration::from_hours(6)).await;
    }
    let path = format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap());
    let disabled = world.get(&tenant, &path).await.body;
    assert_eq!((&disabled["is_active"], &disabled["disabled_reason"]), (&json!(false), &json!("failing")));
    let told: Vec<_> = world.internet.take().into_iter().filter(|a| a.url.ends_with("ops")).collect();
    assert_eq!(told.len(), 1);
    // Nothing is sent to it any more, but its events are kept.
    world.send(&tenant, "sarah_ai", &call_ended("late", "late", NUMBER)).await;
    tokio::time::sleep(Duration::from_hours(40)).await;
    assert!(world.internet.take().is_empty());
    let refused = world
        .post_json(&tenant, &format!("{path}/replay"), &json!({"since": "2026-01-15T00:00:00Z"}).to_string())
        .await;
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (409, "subscription_disabled"));
    world.internet.answer(|_| Behaviour::status(200).after(Duration::from_millis(50)));
    assert_eq!(world.patch(&tenant, &path, &json!({"is_active": true})).await.status, 200);
    tokio::time::sleep(Duration::from_mins(5)).await;
    // Asking for the same once more changes nothing.
    let again = world
        .post_json(&tenant, &format!("{path}/replay"), &json!({"since": "2026-01-15T00:00:00Z"}).to_string())
        .await;
    assert_eq!(again.status, 202);
    tokio::time::sleep(Duration::from_mins(5)).await;
    triggers.stop().await;
    let arrivals = world.internet.take();
    let ids: Vec<&str> = arrivals.iter().map(Arrival::id).collect();
    assert_eq!(ids.len(), 25, "each once");
    assert!(ids.is_sorted(), "in the order of time");
    let times: Vec<String> = arrivals.iter().map(|a| a.json()["timestamp"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted());
    let deliveries = world.deliveries(&tenant, &subscription).await;
    assert!(deliveries.iter().all(|delivery| delivery["status"] == "succeeded"), "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn two_replays_at_once_send_nothing_twice() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.created"])).await;
    let path = format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap());
    world.patch(&tenant, &path, &json!({"is_active": false})).await;
    world.advance(10);
    for n in 0..10 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        world.advance(1);
    }
    run(&world, Duration::from_secs(5)).await;
    assert!(world.internet.take().is_empty());
    world.internet.answer(|_| Behaviour::status(200).after(Duration::from_millis(500)));
    world.patch(&tenant, &path, &json!({"is_active": true})).await;
    let since = json!({"since": "2026-01-15T00:00:00Z"}).to_string();
    for _ in 0..2 {
        world.post_json(&tenant, &format!("{path}/replay"), &since).await;
    }
    run(&world, Duration::from_mins(3)).await;
    let arrivals = world.internet.take();
    assert_eq!(arrivals.len(), 10);
    assert!(arrivals.iter().map(Arrival::id).is_sorted());
    // All of them, also those that it has.
    let all = json!({"since": "2026-01-15T00:00:00Z", "all": true}).to_string();
    world.post_json(&tenant, &format!("{path}/replay"), &all).await;
    run(&world, Duration::from_mins(3)).await;
    assert_eq!(world.internet.take().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_dies_right_after_the_commit_still_leads_to_the_event() {
    let (world, tenant, _) = subscribed(json!(["phone_number.interaction.*"])).await;
    // The transaction is done, and its function never hears of it.
    let (seen, lost) = (AtomicUsize::new(0), "TransactWriteItems");
    world.weather(move |_, call| {
        let first = call.operation == lost && seen.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Fault::HangAfter } else { Fault::None }.into()
    });
    let body = call_ended("e1", "c1", NUMBER);
    let dying = tokio::time::timeout(Duration::from_secs(1), world.send(&tenant, "sarah_ai", &body)).await;
    assert!(dying.is_err());
    world.restart();
    run(&world, Duration::from_secs(5)).await;
    assert_eq!(types(&world.internet.take()), ["phone_number.interaction.created"]);
    assert_eq!(world.send(&tenant, "sarah_ai", &body).await.text("/status"), "duplicate");
    run(&world, Duration::from_secs(5)).await;
    assert!(world.internet.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn events_wait_while_sqs_or_the_table_fails() {
    for service in [Service::Sqs, Service::DynamoDb] {
        let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
        world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
        world.weather(move |_, call| {
            let refusal = Fault::Refuse { status: 500, code: "InternalServerError" };
            if call.service == service { refusal } else { Fault::None }.into()
        });
        let triggers = world.run_triggers();
        tokio::time::sleep(Duration::from_mins(10)).await;
        world.fail(|_| Fault::None);
        tokio::time::sleep(Duration::from_mins(10)).await;
        triggers.stop().await;
        let arrivals = world.internet.take();
        assert!(!arrivals.is_empty(), "{service:?}");
        assert!(arrivals.iter().all(|a| a.id() == arrivals[0].id()));
        assert_eq!(world.deliveries(&tenant, &subscription).await[0]["status"], "succeeded", "{service:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_of_the_table_makes_no_dead_letters_and_few_repeats() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    // The delivery is on its way, and then nothing of it can be recorded.
    let published = Arc::new(AtomicBool::new(false));
    let posted = Arc::clone(&published);
    world.internet.answer(move |_| {
        posted.store(true, Ordering::Relaxed);
        Behaviour::status(200)
    });
    world.weather(move |_, call| {
        let out = published.load(Ordering::Relaxed) && call.service == Service::DynamoDb;
        if out { Fault::Refuse { status: 500, code: "InternalServerError" } } else { Fault::None }.into()
    });
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(90)).await;
    let repeats = world.internet.take().len();
    assert!((1..=8).contains(&repeats), "{repeats} posts in an hour and a half");
    world.fail(|_| Fault::None);
    tokio::time::sleep(Duration::from_mins(20)).await;
    triggers.stop().await;
    assert_eq!(world.deliveries(&tenant, &subscription).await[0]["status"], "succeeded");
    assert!(world.delivery_dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_lost_is_found_by_the_sweep() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
    for n in 0..120 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        world.advance(2);
    }
    // The stream's records go, as after 24 hours; but for some that are published.
    let records = world.aws.stream_records(1000).await.unwrap();
    let numbers: Vec<&str> = records.iter().map(|r| r["dynamodb"]["SequenceNumber"].as_str().unwrap()).collect();
    world.invoke("publish-events", json!({"Records": &records[..20]})).await.unwrap();
    world.aws.stream_done(&numbers).await.unwrap();
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(50)).await;
    assert_eq!(world.internet.take().len(), 20);
    tokio::time::sleep(Duration::from_hours(2)).await;
    let found = world.internet.take().len();
    tokio::time::sleep(Duration::from_hours(3)).await;
    triggers.stop().await;
    assert_eq!(found, records.len() - 20, "each once");
    assert!(world.internet.take().is_empty(), "and only once");
    let deliveries = world.deliveries(&tenant, &subscription).await;
    assert!(deliveries.iter().all(|delivery| delivery["status"] == "succeeded"));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_can_be_retried_by_hand() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_secs(5)).await;
    let first = world.internet.take();
    let id = world.deliveries(&tenant, &subscription).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.post(&tenant, &format!("/v1/deliveries/{id}/retry")).await.status, 202);
    run(&world, Duration::from_secs(5)).await;
    let second = world.internet.take();
    assert_eq!((second.len(), second[0].id()), (1, first[0].id()));
    assert_eq!(second[0].json()["metadata"]["retry_count"], 1);
    let delivery = world.get(&tenant, &format!("/v1/deliveries/{id}")).await.body;
    assert_eq!((&delivery["status"], delivery["attempts"].as_array().unwrap().len()), (&json!("succeeded"), 2));
}
