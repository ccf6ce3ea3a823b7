//! Subscriptions over the API (contract §6, §7). Time is tokio's, and virtual.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use shared::{outgoing::SendError, signature::SignatureConfig, signature::SignedRequest};

use crate::world::{Arrival, Behaviour, TENANT, Tenant, World, call_ended};

const NUMBER: &str = "+14155550132";

async fn create(world: &World, tenant: &Tenant, body: &Value) -> crate::world::Answer {
    world.post_json(tenant, "/v1/subscriptions", &body.to_string()).await
}

fn id(subscription: &Value) -> &str {
    subscription["id"].as_str().unwrap()
}

/// Whether a Standard Webhooks receiver that knows this secret takes a request.
fn verifies(arrival: &Arrival, secret: &str) -> bool {
    let request = SignedRequest { method: "POST", url: "", headers: &arrival.headers, body: arrival.body.as_bytes() };
    SignatureConfig::Standard {}.compile().unwrap().verify(&request, &[secret], arrival.at).is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_made_tested_read_changed_and_deleted() {
    let (world, tenant) = World::with_tenant().await;
    let body = json!({"url": "https://example.com/hooks", "event_types": ["phone_number.*"], "description": "ours",
        "filter": {"interaction.outcome": "sale"}, "headers": {"X-Env": "prod"}, "rate_per_second": 5,
        "retry_policy": {"schedule_seconds": [1, 2]}});
    let made = create(&world, &tenant, &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let subscription = &made.body;
    assert!(id(subscription).starts_with("sub_"));
    assert_eq!(subscription["is_active"], true);
    assert_eq!(subscription["created_at"], "2026-01-15T12:00:00Z");
    assert!(subscription.get("warnings").is_none());
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&subscription[name], value);
    }
    // One signed test was posted.
    let arrivals = world.internet.take();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].header("x-webhook-event"), "webhook.test");
    assert_eq!(arrivals[0].header("x-env"), "prod");
    let secret = subscription["secret"].as_str().unwrap();
    assert!(verifies(&arrivals[0], secret));
    assert_eq!(world.deliveries(&tenant, subscription).await, [] as [Value; 0], "a test leaves no record");
    let path = format!("/v1/subscriptions/{}", id(subscription));
    let read = world.get(&tenant, &path).await.body;
    assert!(read.get("secret").is_none());
    assert_eq!(world.get(&tenant, "/v1/subscriptions").await.body, json!({"data": [read], "next_cursor": null}));
    let changed = world.patch(&tenant, &path, &json!({"filter": null, "event_types": ["*"]})).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!((changed.body.get("filter"), &changed.body["event_types"]), (None, &json!(["*"])));
    assert_eq!(changed.body["description"], "ours");
    let deleted = world.delete(&tenant, &path).await;
    assert_eq!((deleted.status, deleted.body), (StatusCode::NO_CONTENT, Value::Null));
    for answer in [
        world.get(&tenant, &path).await,
        world.delete(&tenant, &path).await,
        world.patch(&tenant, &path, &json!({})).await,
    ] {
        assert_eq!((answer.status, answer.text("/code")), (StatusCode::NOT_FOUND, "not_found"));
    }
    assert_eq!(world.get(&tenant, "/v1/subscriptions").await.body["data"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_its_test_is_a_warning() {
    let (world, tenant) = World::with_tenant().await;
    let body = json!({"url": "https://example.com/hooks", "event_types": ["*"]});
    world.internet.answer(|_| Behaviour::status(200).after(Duration::from_secs(6)));
    let made = create(&world, &tenant, &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let warning = made.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("timed_out"), "{warning}");
    assert_eq!(world.internet.take().len(), 1, "once");
    // By hand, it says what came of it.
    let path = format!("/v1/subscriptions/{}/test", id(&made.body));
    world.internet.answer(|_| Behaviour::status(500));
    let tested = world.post(&tenant, &path).await;
    assert_eq!(
        (tested.status, &tested.body["success"], &tested.body["status_code"]),
        (StatusCode::OK, &json!(false), &json!(500))
    );
    world.internet.answer(|_| Behaviour::status(204));
    let tested = world.post(&tenant, &path).await.body;
    assert_eq!((&tested["success"], &tested["status_code"]), (&json!(true), &json!(204)));
    let arrivals = world.internet.take();
    assert!(arrivals.iter().all(|arrival| verifies(arrival, made.body["secret"].as_str().unwrap())));
}

#[tokio::test(start_paused = true)]
async fn during_a_rotation_both_secrets_verify_and_after_it_only_the_new_one() {
    let (world, tenant) = World::with_tenant().await;
    let body = json!({"url": "https://example.com/hooks", "event_types": ["phone_number.interaction.*"]});
    let subscription = world.subscribe(&tenant, &body).await;
    let old = subscription["secret"].as_str().unwrap().to_owned();
    let triggers = world.run_triggers();
    let n = std::cell::Cell::new(0);
    let told = async || {
        n.set(n.get() + 1);
        world.send(&tenant, "sarah_ai", &call_ended(&format!("e{}", n.get()), &format!("c{}", n.get()), NUMBER)).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.internet.take().pop().unwrap()
    };
    let before = told().await;
    assert!(verifies(&before, &old));
    let rotated = world.post(&tenant, &format!("/v1/subscriptions/{}/rotate-secret", id(&subscription))).await;
    assert_eq!(rotated.status, StatusCode::OK);
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    // Changes of configuration apply within 10 s, whatever secrets are remembered.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let during = told().await;
    assert!(verifies(&during, &old) && verifies(&during, &new));
    let own = |arrival: &Arrival, secret: &str| {
        let data = shared::signature::canonical_json(arrival.json()["data"].to_string().as_bytes()).unwrap();
        let request = SignedRequest { method: "POST", url: "", headers: &arrival.headers, body: &data };
        SignatureConfig::Custom {}.compile().unwrap().verify(&request, &[secret], arrival.at).is_ok()
    };
    assert!(own(&before, &old) && own(&during, &new) && !own(&during, &old), "X-Webhook-Signature is the newest's");
    tokio::time::sleep(Duration::from_hours(24)).await;
    let after = told().await;
    triggers.stop().await;
    assert!(verifies(&after, &new) && !verifies(&after, &old));
    // One's own secret, at once.
    let own_secret = "whsec_bmV3IHNlY3JldCBvZiAyNCBieXRlcyEh";
    let path = format!("/v1/subscriptions/{}/rotate-secret", id(&subscription));
    let body = json!({"secret": own_secret, "overlap_hours": 0}).to_string();
    assert_eq!(world.post_json(&tenant, &path, &body).await.body["secret"], own_secret);
    world.post(&tenant, &format!("/v1/subscriptions/{}/test", id(&subscription))).await;
    let tested = world.internet.take().pop().unwrap();
    assert!(verifies(&tested, own_secret) && !verifies(&tested, &new));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said_field_by_field() {
    let (world, tenant) = World::with_tenant().await;
    let answer =
        create(&world, &tenant, &json!({"url": "http://10.0.0.1/", "event_types": ["rocket.launched"], "colour": 1}))
            .await;
    assert_eq!((answer.status, answer.text("/code")), (StatusCode::BAD_REQUEST, "invalid_request"));
    let fields: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["colour", "url", "event_types[0]"]);
    for (body, field) in [("{}", "url"), ("", "body"), ("[]", "body"), ("{", "body"), ("nonsense", "body")] {
        let answer = world.post_json(&tenant, "/v1/subscriptions", body).await;
        assert_eq!((answer.status, answer.text("/errors/0/field")), (StatusCode::BAD_REQUEST, field), "{body}");
    }
    let subscription = world.subscribe(&tenant, &json!({"url": "https://example.com/", "event_types": ["*"]})).await;
    let path = format!("/v1/subscriptions/{}", id(&subscription));
    for (path, body) in [
        (format!("{path}/replay"), "{}"),
        (format!("{path}/replay"), r#"{"since": "yesterday"}"#),
        (format!("{path}/replay"), r#"{"since": "2026-01-15T00:00:00Z", "colour": 1}"#),
        (format!("{path}/rotate-secret"), r#"{"overlap_hours": 1000}"#),
        (format!("{path}/rotate-secret"), r#"{"secret": "short"}"#),
    ] {
        let answer = world.post_json(&tenant, &path, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}: {answer:?}");
    }
    assert_eq!(world.patch(&tenant, &path, &json!({"secret": "x"})).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.get(&tenant, &format!("{path}/deliveries?status=lost")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.post(&tenant, &path).await.status, StatusCode::METHOD_NOT_ALLOWED);
    for path in [
        "/v1/deliveries/dlv_1",
        "/v1/events/evt_1",
        "/v1/events/x",
        "/v1/subscriptions/sweep",
        "/v1/subscriptions/sub_1/deliveries",
    ] {
        assert_eq!(world.get(&tenant, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_tenants_subscriptions_events_and_deliveries_are_not_there() {
    let (world, tenant) = World::with_tenant().await;
    let other = world.provision("other", &[json!({"system_id": "sarah_ai"})]).await;
    let subscription = world.subscribe(&tenant, &json!({"url": "https://example.com/", "event_types": ["*"]})).await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_secs(5)).await;
    triggers.stop().await;
    let delivery = world.deliveries(&tenant, &subscription).await[0].clone();
    let (sub, dlv, evt) = (id(&subscription), id(&delivery), delivery["event_id"].as_str().unwrap());
    for path in [
        format!("subscriptions/{sub}"),
        format!("subscriptions/{sub}/deliveries"),
        format!("deliveries/{dlv}"),
        format!("events/{evt}"),
    ] {
        let (own, theirs) =
            (world.get(&tenant, &format!("/v1/{path}")).await, world.get(&other, &format!("/v1/{path}")).await);
        assert_eq!((own.status, theirs.status), (StatusCode::OK, StatusCode::NOT_FOUND), "{path}");
    }
    for path in [
        format!("subscriptions/{sub}/replay"),
        format!("subscriptions/{sub}/test"),
        format!("subscriptions/{sub}/rotate-secret"),
        format!("deliveries/{dlv}/retry"),
    ] {
        let answer = world
            .post_json(
                &other,
                &format!("/v1/{path}"),
                if path.ends_with("replay") { r#"{"since":"2026-01-01T00:00:00Z"}"# } else { "" },
            )
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(world.delete(&other, &format!("/v1/subscriptions/{sub}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&other, "/v1/subscriptions").await.body["data"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_all_made_and_paged_and_their_number_is_bounded() {
    let (world, tenant) = World::with_tenant().await;
    world.let_time_flow();
    let body = |n: usize| json!({"url": format!("https://example.com/{n}"), "event_types": ["*"]});
    let bodies: Vec<Value> = (0..8).map(body).collect();
    let made = join_all(bodies.iter().map(|body| create(&world, &tenant, body))).await;
    assert!(made.iter().all(|answer| answer.status == StatusCode::CREATED), "{made:?}");
    // Each has its own secret, and none got lost in the tenant's document.
    for answer in &made {
        world.internet.take();
        world.post(&tenant, &format!("/v1/subscriptions/{}/test", id(&answer.body))).await;
        assert!(verifies(&world.internet.take()[0], answer.body["secret"].as_str().unwrap()));
    }
    // A cursor of another list.
    let other = world.get(&tenant, "/v1/inbound-events?limit=1").await.body["next_cursor"].clone();
    let forged = other.as_str().unwrap_or("aW50CmludAppbnRfMQ");
    let refused = world.get(&tenant, &format!("/v1/subscriptions?cursor={forged}")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.get(&tenant, &format!("/v1/subscriptions?limit=3{cursor}")).await.body;
        seen.extend(page["data"].as_array().unwrap().iter().map(|s| id(s).to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted());
    for n in 8..100 {
        assert_eq!(create(&world, &tenant, &body(n)).await.status, StatusCode::CREATED);
    }
    let refused = create(&world, &tenant, &body(100)).await;
    assert_eq!((refused.status, refused.text("/code")), (StatusCode::CONFLICT, "too_many_subscriptions"));
}

#[tokio::test(start_paused = true)]
async fn event_types_come_with_schema_and_example() {
    let (world, tenant) = World::with_tenant().await;
    let types = world.get(&tenant, "/v1/event-types").await.body;
    let names: Vec<_> = types["data"].as_array().unwrap().iter().map(|t| t["event_type"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 14);
    let created = types["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["event_type"] == "phone_number.interaction.created")
        .unwrap();
    assert_eq!(created["example"]["data"]["interaction"]["type"], "outbound_call");
    assert_eq!(created["example"]["metadata"]["version"], "1.0");
    assert_eq!(created["schema"]["properties"]["event_type"]["const"], "phone_number.interaction.created");
}

#[tokio::test(start_paused = true)]
async fn provisioning_again_keeps_subscriptions_and_their_secrets() {
    let (world, tenant) = World::with_tenant().await;
    let subscription = world.subscribe(&tenant, &json!({"url": "https://example.com/", "event_types": ["*"]})).await;
    world.provision(TENANT, &[json!({"system_id": "helpdesk"})]).await;
    world.restart();
    world.internet.answer(|_| Behaviour::error(SendError::ConnectionFailed));
    let tested = world.post(&tenant, &format!("/v1/subscriptions/{}/test", id(&subscription))).await;
    assert_eq!((tested.status, &tested.body["success"]), (StatusCode::OK, &json!(false)));
    assert!(verifies(&world.internet.take()[0], subscription["secret"].as_str().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_systems_can_subscribe_too() {
    let world = World::new().await;
    let tenant = world.provision("bare", &[]).await;
    let made = create(&world, &tenant, &json!({"url": "https://example.com/", "event_types": ["*"]})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert!(verifies(&world.internet.take()[0], made.body["secret"].as_str().unwrap()));
}
