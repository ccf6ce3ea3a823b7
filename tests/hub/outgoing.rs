//! Outgoing webhooks (contract §6): from a change in the CRM to a signed request at a tenant's endpoint, and what becomes of
//! it. Time is tokio's, and virtual.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use local::aws::{Fault, Service};
use serde_json::{Value, json};
use shared::outgoing::SendError;

use crate::world::{Arrival, Behaviour, Tenant, World, call_ended, payment, sample_body};

const NUMBER: &str = "+14155550132";
const URL: &str = "https://example.com/hooks";

/// A tenant that wants to be told of these events.
async fn subscribed(event_types: Value) -> (World, Tenant, Value) {
    let (world, tenant) = World::with_tenant().await;
    let subscription = world.subscribe(&tenant, &json!({"url": URL, "event_types": event_types})).await;
    (world, tenant, subscription)
}

/// Runs queues, stream and schedules for so long.
async fn run(world: &World, time: Duration) {
    let triggers = world.run_triggers();
    tokio::time::sleep(time).await;
    triggers.stop().await;
}

fn types(arrivals: &[Arrival]) -> Vec<String> {
    let mut types: Vec<_> = arrivals.iter().map(|a| a.header("x-webhook-event").to_owned()).collect();
    types.sort_unstable();
    types
}

#[tokio::test(start_paused = true)]
async fn a_call_is_told_in_the_contracts_form() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
    let answer = world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_secs(5)).await;
    let arrivals = world.internet.take();
    assert_eq!(types(&arrivals), ["phone_number.interaction.created"]);
    let (arrival, body) = (&arrivals[0], arrivals[0].json());
    assert_eq!(arrival.url, URL);
    assert_eq!(body["event_id"], arrival.id());
    assert_eq!(body["event_type"], "phone_number.interaction.created");
    assert_eq!((&body["source_system"], &body["tenant_id"]), (&json!("smrt_crm"), &json!(tenant.id)));
    assert_eq!(body["data"]["phone_number"], NUMBER);
    let interaction = &body["data"]["interaction"];
    assert_eq!(interaction["id"], answer.body["data"]["interaction_id"]);
    assert_eq!(interaction["type"], "outbound_call");
    assert_eq!((&interaction["outcome"], &interaction["duration_seconds"]), (&json!("interested"), &json!(180)));
    assert_eq!(body["metadata"]["retry_count"], 0);
    assert_eq!(body["metadata"]["signature"], arrival.header("x-webhook-signature"));
    let secret = subscription["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    assert!(!world.get(&tenant, "/v1/subscriptions").await.body.to_string().contains(secret), "it is shown once");
    // The event and its delivery can be read.
    let event = world.get(&tenant, &format!("/v1/events/{}", arrival.id())).await.body;
    assert_eq!(event["data"], body["data"]);
    let deliveries = world.deliveries(&tenant, &subscription).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["status"], "succeeded");
    assert_eq!(deliveries[0]["attempts"][0]["status_code"], 200);
    assert_eq!(deliveries[0]["attempts"][0]["response"], "thanks");
    let one = world.get(&tenant, &format!("/v1/deliveries/{}", deliveries[0]["id"].as_str().unwrap())).await;
    assert_eq!(one.body, deliveries[0]);
}

/// That the contact of the other samples was deleted.
fn deleted_contact() -> Value {
    let (mut body, other) =
        (sample_body("external_crm", "contact_deleted"), sample_body("external_crm", "contact_created"));
    body["data"]["contact"]["id"] = other["data"]["contact"]["id"].clone();
    body
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_change_is_told_once() {
    let (world, tenant, _) = subscribed(json!(["*"])).await;
    let table = [
        ("sarah_ai", call_ended("e1", "c1", NUMBER), vec!["phone_number.created", "phone_number.interaction.created"]),
        ("sarah_ai", call_ended("e1", "c1", NUMBER), vec![]), // a repeat
        ("sarah_ai", call_ended("e2", "c2", NUMBER), vec!["phone_number.interaction.created"]),
        ("payment_processor", payment(1, 4200, NUMBER), vec!["payment.recorded", "phone_number.interaction.created"]),
        ("payment_processor", payment(2, 4200, "+14155550199"), vec!["operation.failed"]),
        ("payment_processor", sample_body("payment_processor", "merchant_updated"), vec!["merchant.updated"]),
        ("external_crm", sample_body("external_crm", "contact_created"), vec!["contact.created"]),
        ("external_crm", sample_body("external_crm", "contact_updated"), vec!["contact.updated"]),
        ("external_crm", deleted_contact(), vec!["contact.deleted"]),
        ("external_crm", sample_body("external_crm", "company_created"), vec!["company.created"]),
        ("external_crm", sample_body("external_crm", "company_updated"), vec!["company.updated"]),
    ];
    for (system, body, expected) in table {
        world.send(&tenant, system, &body).await;
        run(&world, Duration::from_secs(5)).await;
        let told = types(&world.internet.take());
        // The number of a contact, company or merchant may be new to the CRM too.
        let told: Vec<_> = told.into_iter().filter(|t| system == "sarah_ai" || t != "phone_number.created").collect();
        assert_eq!(told, expected, "{system} {body}");
    }
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_subscriptions_pays_nothing_for_events() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let events = |items: Vec<shared::store::Item>| items.iter().filter(|i| i.get_text("outbox").is_some()).count();
    assert_eq!(events(world.items().await), 0);
    world.subscribe(&tenant, &json!({"url": URL, "event_types": ["*"]})).await;
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    assert_eq!(events(world.items().await), 1);
}

#[tokio::test(start_paused = true)]
async fn only_matching_and_own_subscriptions_are_told() {
    let (world, tenant) = World::with_tenant().await;
    let other = world.provision("other", &[json!({"system_id": "sarah_ai"})]).await;
    for (who, path, more) in [
        (&tenant, "all", json!({"event_types": ["*"]})),
        (&tenant, "payments", json!({"event_types": ["payment.*"]})),
        (
            &tenant,
            "sales",
            json!({"event_types": ["phone_number.interaction.created"], "filter": {"interaction.outcome": "sale"}}),
        ),
        (
            &tenant,
            "long",
            json!({"event_types": ["phone_number.*"], "filter": "data.interaction.duration_seconds > `100`"}),
        ),
        (&tenant, "off", json!({"event_types": ["*"], "is_active": false})),
        (&other, "other", json!({"event_types": ["*"]})),
    ] {
        let mut body = more;
        body["url"] = format!("https://example.com/{path}").into();
        body["headers"] = json!({"x-env": path});
        world.subscribe(who, &body).await;
    }
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_secs(5)).await;
    let arrivals = world.internet.take();
    let mut told: Vec<_> = arrivals.iter().map(|a| format!("{} {}", a.url, a.header("x-webhook-event"))).collect();
    told.sort_unstable();
    let expected = [
        "https://example.com/all phone_number.created",
        "https://example.com/all phone_number.interaction.created",
        "https://example.com/long phone_number.interaction.created",
    ];
    assert_eq!(told, expected);
    assert!(arrivals.iter().all(|a| a.url.ends_with(a.header("x-env"))), "its own headers");
}

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
