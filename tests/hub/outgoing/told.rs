//! Who is told of what, and in which form.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NUMBER, URL, run, subscribed, types};
use crate::world::{World, call_ended, payment, sample_body};

#[tokio::test(start_paused = true)]
async fn a_call_is_told_in_the_contracts_form() {
    let (world, tenant, subscription) = subscribed(json!(["phone_number.interaction.*"])).await;
    let answer = world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, Duration::from_secs(5)).await;
    let arrivals = world.internet.take();
    assert_eq!(types(&arrivals), ["phone_number.interaction.created"]);
    let (arrival, body) = (&arrivals[0], arrivals[0].json());
    assert_eq!((arrival.method.as_str(), arrival.url.as_str()), ("POST", URL));
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
