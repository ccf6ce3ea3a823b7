//! However often, in whatever order and however concurrently: one effect.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{TENANT, World, call_ended, sample_body};

const NUMBER: &str = "+14155550132";

#[tokio::test]
async fn sixty_four_copies_at_once_are_one() {
    let (world, tenant) = World::with_tenant().await;
    let tenant_b = world
        .provision("tenant_b", &[json!({"system_id": "sarah_ai", "limits": {"per_minute": 1000, "per_day": 1000}})])
        .await;
    drop(tenant);
    let body = call_ended("evt_1", "call_1", NUMBER);
    let answers = join_all((0..64).map(|_| world.send(&tenant_b, "sarah_ai", &body))).await;
    let count = |status: &str| answers.iter().filter(|a| a.body["status"] == status).count();
    assert_eq!(
        (count("processed"), count("duplicate")),
        (1, 63),
        "{:?}",
        answers.iter().map(|a| &a.body).collect::<Vec<_>>()
    );
    let id = &answers[0].body["data"]["interaction_id"];
    assert!(id.as_str().unwrap().starts_with("int_"));
    assert!(
        answers
            .iter()
            .all(|a| a.status == 200 && a.body["data"]["interaction_id"] == *id && a.body["event_id"] == "evt_1")
    );
    assert_eq!(world.interactions(&tenant_b, NUMBER).await.len(), 1);
    let phone = world.phone(&tenant_b, NUMBER).await;
    let expected = json!({"total_interactions": 1, "total_calls": 1, "total_duration_seconds": 180, "outcomes": {"interested": 1},
        "success_rate": 1.0, "first_contact_at": "2026-01-15T10:30:00Z", "last_contact_at": "2026-01-15T10:30:00Z"});
    assert_eq!(phone["statistics"], expected);
}

#[tokio::test]
async fn many_calls_with_one_number_at_once_all_count() {
    let world = World::new().await;
    let tenant = world
        .provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": {"per_minute": 1000, "per_day": 1000}})])
        .await;
    let bodies: Vec<Value> = (0..32)
        .map(|i| {
            let mut body = call_ended(&format!("evt_{i}"), &format!("call_{i}"), NUMBER);
            body["timestamp"] = json!(format!("2026-01-15T10:{:02}:00Z", (i * 37) % 60));
            body
        })
        .collect();
    let answers = join_all(bodies.iter().chain(&bodies).map(|body| world.send(&tenant, "sarah_ai", body))).await;
    assert!(answers.iter().all(|a| a.status == 200), "{:?}", answers.iter().map(|a| &a.body).collect::<Vec<_>>());
    let statistics = &world.phone(&tenant, NUMBER).await["statistics"];
    assert_eq!(statistics["total_calls"], 32);
    assert_eq!(statistics["total_interactions"], 32);
    assert_eq!(statistics["total_duration_seconds"], 32 * 180);
    let minutes: Vec<u32> = (0..32).map(|i| (i * 37) % 60).collect();
    let at = |minute: &u32| format!("2026-01-15T10:{minute:02}:00Z");
    assert_eq!(statistics["first_contact_at"], json!(minutes.iter().min().map(at)));
    assert_eq!(statistics["last_contact_at"], json!(minutes.iter().max().map(at)));
}

#[tokio::test]
async fn many_events_of_one_call_at_once_all_join() {
    let world = World::new().await;
    let limits = json!({"per_minute": 1000, "per_day": 1000});
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": limits})]).await;
    let transfer = |n: usize| {
        json!({"event_id": format!("t{n}"), "event_type": "call.transferred", "timestamp": format!("2026-01-15T10:{n:02}:00Z"),
            "call": {"id": "c", "destination_number": NUMBER}, "transfer": {"to": format!("agent {n}"), "at": format!("2026-01-15T10:{n:02}:00Z")}})
    };
    let events: Vec<Value> = (0..16).map(transfer).chain([call_ended("e", "c", NUMBER)]).collect();
    let answers = join_all(events.iter().map(|event| world.send(&tenant, "sarah_ai", event))).await;
    assert!(answers.iter().all(|a| a.body["status"] == "processed"), "{answers:?}");
    let interactions = world.interactions(&tenant, NUMBER).await;
    assert_eq!(interactions.len(), 1);
    let transfers = interactions[0]["metadata"]["transfers"].as_array().unwrap();
    let to: Vec<String> = transfers.iter().map(|t| t["to"].as_str().unwrap().to_owned()).collect();
    assert_eq!(to, (0..16).map(|n| format!("agent {n}")).collect::<Vec<_>>());
    let statistics = &world.phone(&tenant, NUMBER).await["statistics"];
    assert_eq!((&statistics["total_interactions"], &statistics["total_calls"]), (&json!(1), &json!(1)));
}

/// All orders of `items`.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |first: &usize| {
        let rest: Vec<usize> = items.iter().copied().filter(|i| i != first).collect();
        permutations(&rest).into_iter().map(move |tail| [vec![*first], tail].concat()).collect::<Vec<_>>()
    };
    items.iter().flat_map(with_first).collect()
}

/// What doesn't depend on when something was received.
fn timeless(mut interaction: Value) -> Value {
    let fields = interaction.as_object_mut().unwrap();
    fields.retain(|name, _| !["id", "created_at", "updated_at"].contains(&name.as_str()));
    interaction
}

async fn every_order_gives_one(events: &[Value], expected: Value, statistics: Value) {
    let indexes: Vec<usize> = (0..events.len()).collect();
    let world = World::new().await;
    for (round, order) in permutations(&indexes).into_iter().enumerate() {
        let tenant = world
            .provision(
                &format!("t{round}"),
                &[json!({"system_id": "sarah_ai"}), json!({"system_id": "payment_processor"})],
            )
            .await;
        for (step, index) in order.iter().enumerate() {
            if round % 2 == 0 {
                world.restart(); // other copies, that have seen nothing
            }
            let answer = world.send(&tenant, "sarah_ai", &events[*index]).await;
            assert_eq!(answer.body["status"], "processed", "{order:?}: {:?}", answer.body);
            let again = &events[order[round % (step + 1)]];
            assert_eq!(world.send(&tenant, "sarah_ai", again).await.body["status"], "duplicate", "{order:?}");
        }
        let interactions = world.interactions(&tenant, NUMBER).await;
        assert_eq!(interactions.len(), 1, "{order:?}");
        assert_eq!(timeless(interactions[0].clone()), expected, "{order:?}");
        assert_eq!(world.phone(&tenant, NUMBER).await["statistics"], statistics, "{order:?}");
    }
}

#[tokio::test]
async fn a_calls_events_in_every_order_with_repeats_make_one_interaction() {
    let events = ["call_started", "call_transferred", "call_ended", "recording_available"]
        .map(|name| sample_body("sarah_ai", name));
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await;
    for event in &events {
        assert_eq!(world.send(&tenant, "sarah_ai", event).await.body["status"], "processed");
    }
    let straight = timeless(world.interactions(&tenant, NUMBER).await.remove(0));
    assert_eq!(straight["interaction_type"], "outbound_call");
    assert_eq!((&straight["outcome"], &straight["duration_seconds"]), (&json!("interested"), &json!(180)));
    assert_eq!(straight["metadata"]["sarah_call_id"], events[0]["call"]["id"]);
    assert_eq!(straight["metadata"]["transfers"].as_array().map(Vec::len), Some(1));
    assert!(straight["metadata"]["recording_url"].is_string());
    let statistics = world.phone(&tenant, NUMBER).await["statistics"].clone();
    assert_eq!((&statistics["total_calls"], &statistics["total_interactions"]), (&json!(1), &json!(1)));
    every_order_gives_one(&events, straight, statistics).await;
}

#[tokio::test]
async fn events_that_name_no_number_wait_until_one_does() {
    let number =
        json!({"event_id": "s", "event_type": "call.started", "call": {"id": "c", "destination_number": NUMBER}});
    let ended = json!({"event_id": "e", "event_type": "call.ended", "timestamp": "2026-01-15T10:30:00Z", "call": {"id": "c", "duration": 42, "disposition": "BUSY"}});
    let recording = json!({"event_id": "r", "event_type": "recording.available", "timestamp": "2026-01-15T10:31:00Z", "call": {"id": "c"}, "recording": {"url": "https://x.example/r"}});
    let expected = json!({"phone_number": NUMBER, "system_id": "sarah_ai", "interaction_type": "outbound_call", "outcome": "busy", "duration_seconds": 42,
        "agent_name": null, "metadata": {"sarah_call_id": "c", "recording_url": "https://x.example/r"}, "occurred_at": "2026-01-15T10:30:00Z"});
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await;
    let answer = world.send(&tenant, "sarah_ai", &ended).await;
    assert_eq!(answer.body["status"], "processed");
    let waiting = world.get(&tenant, &format!("/v1/interactions/{}", answer.text("/data/interaction_id"))).await;
    assert_eq!((waiting.status.as_u16(), &waiting.body["phone_number"]), (200, &Value::Null));
    world.send(&tenant, "sarah_ai", &recording).await;
    world.send(&tenant, "sarah_ai", &number).await;
    assert_eq!(timeless(world.interactions(&tenant, NUMBER).await.remove(0)), expected);
    let statistics = world.phone(&tenant, NUMBER).await["statistics"].clone();
    assert_eq!((&statistics["total_calls"], &statistics["outcomes"]), (&json!(1), &json!({"busy": 1})));
}

#[tokio::test]
async fn a_payment_that_failed_and_then_succeeded_counts_in_its_last_state() {
    let payment = |event: &str, kind: &str, at: &str| {
        json!({"id": event, "type": kind, "created_at": at,
        "data": {"object": {"id": "pay_1", "amount": 4200, "currency": "USD", "metadata": {"customer_phone": NUMBER}}}})
    };
    let failed = payment("p1", "payment.failed", "2026-01-15T11:00:00Z");
    let succeeded = payment("p2", "payment.succeeded", "2026-01-15T11:05:00Z");
    for order in [[&failed, &succeeded], [&succeeded, &failed]] {
        let (world, tenant) = World::with_tenant().await;
        world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
        for event in order.into_iter().chain(order) {
            let answer = world.send(&tenant, "payment_processor", event).await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
        }
        let phone = world.phone(&tenant, NUMBER).await;
        let payments = &phone["payments"];
        assert_eq!(
            (&payments["succeeded"], &payments["failed"], &payments["totals"]),
            (&json!(1), &json!(0), &json!({"USD": 4200}))
        );
        let interactions = world.interactions(&tenant, NUMBER).await;
        let payment: Vec<&Value> =
            interactions.iter().filter(|i| i["interaction_type"] == "payment_processed").collect();
        assert_eq!(payment.len(), 1);
        assert_eq!(payment[0]["outcome"], "payment_successful");
        assert_eq!(payment[0]["metadata"]["processor"], "card_connect");
        assert_eq!(phone["statistics"]["outcomes"], json!({"interested": 1, "payment_successful": 1}));
    }
}

#[tokio::test]
async fn stripe_reports_of_one_payment_count_once_in_every_order() {
    let names = ["payment_intent_succeeded", "charge_succeeded", "charge_refunded"];
    let events = names.map(|name| sample_body("stripe", name));
    let mut seen = Vec::new();
    for order in permutations(&[0, 1, 2]) {
        let (world, tenant) = World::with_tenant().await;
        world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
        for index in order {
            let answer = world.send(&tenant, "stripe", &events[index]).await;
            assert_eq!(answer.body["status"], "processed", "{:?}", answer.body);
            assert_eq!(world.send(&tenant, "stripe", &events[index]).await.body["status"], "duplicate");
        }
        seen.push(world.phone(&tenant, NUMBER).await);
    }
    assert!(seen.iter().all(|phone| *phone == seen[0]), "{seen:#?}");
    let payments = &seen[0]["payments"];
    assert_eq!((&payments["succeeded"], &payments["failed"]), (&json!(1), &json!(0)));
    let refunded = &events[2]["data"]["object"]["amount_refunded"];
    assert_eq!(payments["totals"]["USD"], events[0]["data"]["object"]["amount"]);
    assert_eq!(payments["refunded"]["USD"], *refunded);
}

#[tokio::test]
async fn the_same_id_with_another_body_is_kept_as_a_conflict() {
    let (world, tenant) = World::with_tenant().await;
    let first = call_ended("evt_1", "call_1", NUMBER);
    let mut other = first.clone();
    other["call"]["disposition"] = json!("SALE");
    world.send(&tenant, "sarah_ai", &first).await;
    let conflict = world.send(&tenant, "sarah_ai", &other).await;
    assert_eq!(
        (conflict.status.as_u16(), &conflict.body["status"], &conflict.body["code"]),
        (202, &json!("failed"), &json!("event_conflict"))
    );
    let again = world.send(&tenant, "sarah_ai", &other).await;
    assert_eq!(again.body["failure_id"], conflict.body["failure_id"]);
    assert_eq!(world.send(&tenant, "sarah_ai", &first).await.body["status"], "duplicate");
    // The same event written with other white space is the same event.
    let spaced = serde_json::to_string_pretty(&first).unwrap();
    assert_eq!(world.send_with(&tenant, "sarah_ai", &[], &spaced).await.body["status"], "duplicate");
    assert_eq!(world.interactions(&tenant, NUMBER).await[0]["outcome"], "interested");
}

#[tokio::test]
async fn a_repeat_years_later_still_changes_nothing() {
    let (world, tenant) = World::with_tenant().await;
    let body = call_ended("evt_1", "call_1", NUMBER);
    world.send(&tenant, "sarah_ai", &body).await;
    world.send(&tenant, "sarah_ai", &call_ended("evt_2", "call_1", NUMBER)).await;
    let before = (world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await.len());
    world.advance(3 * 365 * 86_400);
    world.restart();
    world.forget(&tenant, "sarah_ai", "evt_1").await; // its record's time to live is over
    let answer = world.send(&tenant, "sarah_ai", &body).await;
    assert_eq!(answer.body["status"], "duplicate");
    assert_eq!((world.phone(&tenant, NUMBER).await, world.interactions(&tenant, NUMBER).await.len()), before);
}
