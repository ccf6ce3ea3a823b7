//! How attempts are made, judged and scheduled.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shared::outgoing::SendError;

use super::{NUMBER, URL, run, subscribed};
use crate::world::{Behaviour, World, call_ended};

#[tokio::test(start_paused = true)]
async fn what_fails_follows_the_schedule_and_is_then_among_the_failures() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.created"])).await;
    world.internet.answer(|_| Behaviour::status(503));
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_hours(36)).await;
    let arrivals = world.internet.take();
    let waits: Vec<f64> = arrivals.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at).as_secs_f64()).collect();
    let schedule = [5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0];
    assert_eq!(waits.len(), schedule.len(), "{waits:?}");
    for (wait, planned) in waits.iter().zip(schedule) {
        assert!((planned * 0.8..planned * 1.2 + 2.0).contains(wait), "{wait} for {planned}");
    }
    assert!(arrivals.iter().all(|a| a.id() == arrivals[0].id()), "webhook-id stays");
    let counts: Vec<_> = arrivals.iter().map(|a| a.json()["metadata"]["retry_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 1, 2, 3, 4, 5, 6, 7]);
    let signature = arrivals[0].header("x-webhook-signature");
    assert!(arrivals.iter().all(|a| a.header("x-webhook-signature") == signature), "it signs the data only");
    let delivery = &world.deliveries(&tenant, &subscription).await[0];
    assert_eq!((&delivery["status"], delivery["attempts"].as_array().unwrap().len()), (&json!("exhausted"), 8));
    let failures = world.get(&tenant, "/v1/failures").await.body;
    let failure = &failures["data"][0];
    assert_eq!((&failure["operation"], &failure["code"]), (&json!("make_delivery"), &json!("delivery_exhausted")));
    assert_eq!((&failure["attempts"], &failure["payload"]["event_id"]), (&json!(8), &delivery["event_id"]));
    assert_eq!(world.metrics().iter().filter(|m| m["ExhaustedDeliveries"] == 1).count(), 1);
    // Repaired, and retried out of the failures: it is gone from there.
    world.internet.answer(|_| Behaviour::status(204));
    world.post(&tenant, &format!("/v1/failures/{}/retry", failure["id"].as_str().unwrap())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.internet.take().len(), 1);
    triggers.stop().await;
    assert_eq!(world.get(&tenant, "/v1/failures").await.body["data"], json!([]));
    assert_eq!(world.deliveries(&tenant, &subscription).await[0]["status"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_judged_as_the_contract_says() {
    let (world, tenant) = World::with_tenant().await;
    let policy = json!({"schedule_seconds": [60]});
    let subscription = world
        .subscribe(&tenant, &json!({"url": URL, "event_types": ["phone_number.interaction.*"], "retry_policy": policy}))
        .await;
    let table: Vec<(Behaviour, bool, &str)> = vec![
        (Behaviour::status(200), true, ""),
        (Behaviour::status(202), true, ""),
        (Behaviour::status(299), true, ""),
        (Behaviour::status(200).after(Duration::from_secs(29)), true, ""),
        (Behaviour::status(200).after(Duration::from_secs(31)), false, "timed_out"),
        (Behaviour::status(302), false, "http_status"),
        (Behaviour::status(400), false, "http_status"),
        (Behaviour::status(404), false, "http_status"),
        (Behaviour::status(500), false, "http_status"),
        (Behaviour::error(SendError::NameNotFound), false, "name_not_found"),
    ];
    let triggers = world.run_triggers();
    for (n, (behaviour, succeeds, code)) in table.into_iter().enumerate() {
        world.internet.answer(move |_| behaviour.clone());
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        let delivery = &world.deliveries(&tenant, &subscription).await[0];
        let status = if succeeds { "succeeded" } else { "pending" };
        assert_eq!(delivery["status"], status, "{n}: {delivery}");
        let error = delivery["attempts"][0]["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(code), "{n}: {error}");
        assert_eq!(delivery.get("next_attempt_at").is_some(), !succeeds);
    }
    triggers.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let (world, tenant, _) = subscribed(json!(["phone_number.interaction.*"])).await;
    world.internet.answer(|_| Behaviour::status(429).retry_after(100));
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_secs(150)).await;
    let at: Vec<Timestamp> = world.internet.take().iter().map(|a| a.at).collect();
    assert_eq!(at.len(), 2);
    let wait = at[1].duration_since(at[0]).as_secs_f64();
    assert!((100.0..103.0).contains(&wait), "{wait}");
}

#[tokio::test(start_paused = true)]
async fn one_slow_endpoint_delays_nobody() {
    let (world, tenant, _) = subscribed(json!(["phone_number.interaction.*"])).await;
    world
        .subscribe(&tenant, &json!({"url": "https://example.com/slow", "event_types": ["phone_number.interaction.*"]}))
        .await;
    world.internet.answer(|a| {
        let slow = a.url.ends_with("slow");
        Behaviour::status(200).after(Duration::from_secs(if slow { 29 } else { 0 }))
    });
    let triggers = world.run_triggers();
    for n in 0..100 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let quick: Vec<_> = world.internet.take().into_iter().filter(|a| a.url == URL).collect();
    triggers.stop().await;
    assert_eq!(quick.len(), 100);
    for arrival in quick {
        let happened: Timestamp = arrival.json()["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(arrival.at.duration_since(happened).as_secs_f64() < 0.5, "{arrival:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_in_every_second() {
    let (world, tenant) = World::with_tenant().await;
    let body = json!({"url": URL, "event_types": ["phone_number.interaction.created"], "rate_per_second": 4});
    let subscription = world.subscribe(&tenant, &body).await;
    for n in 0..40 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
    }
    run(&world, Duration::from_mins(1)).await;
    let arrivals = world.internet.take();
    assert_eq!(arrivals.len(), 40);
    let times: Vec<i64> = arrivals.iter().map(|a| a.at.as_millisecond()).collect();
    assert!(times.is_sorted());
    for window in times.windows(5) {
        assert!(window[4] - window[0] >= 999, "five within {} ms", window[4] - window[0]);
    }
    let span = times[39] - times[0];
    assert!((9_000..20_000).contains(&span), "{span} ms: not much slower than it may be");
    assert!(world.deliveries(&tenant, &subscription).await.iter().all(|d| d["status"] == "succeeded"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_waited_for_its_turn_is_not_posted_again() {
    let (world, tenant) = World::with_tenant().await;
    let body = json!({"url": URL, "event_types": ["phone_number.interaction.created"], "rate_per_second": 0.5});
    world.subscribe(&tenant, &body).await;
    world.let_time_flow();
    for n in 0..3 {
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
    }
    let records = world.aws.stream_records(10).await.unwrap();
    world.invoke("publish-events", json!({"Records": records})).await.unwrap();
    let deliver = async |messages: &[String]| {
        let records: Vec<_> = messages.iter().map(|body| json!({"messageId": body, "body": body})).collect();
        world.invoke("deliver-webhooks", json!({"Records": records})).await.unwrap();
    };
    deliver(&world.queued_deliveries().await).await;
    assert_eq!(world.internet.take().len(), 2, "the third waits for its turn in the queue");
    let mut waiting = world.queued_deliveries().await;
    waiting.retain(|message| message.contains("\"turn\""));
    assert_eq!(waiting.len(), 1);
    deliver(&waiting).await;
    deliver(&waiting).await;
    assert_eq!(world.internet.take().len(), 1);
}
