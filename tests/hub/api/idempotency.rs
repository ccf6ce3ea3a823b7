//! `Idempotency-Key` on POST (contract §7).

use http::Method;
use local::aws::Fault;
use serde_json::{Value, json};

use super::{call, world};
use crate::world::{Answer, Tenant, World};

async fn post(world: &World, tenant: &Tenant, path: &str, key: &str, body: &Value) -> Answer {
    call(world, tenant, (Method::POST, path), &[("idempotency-key", key)], body).await
}

async fn subscriptions(world: &World, tenant: &Tenant) -> usize {
    world.get(tenant, "/v1/subscriptions").await.body["data"].as_array().unwrap().len()
}

fn wanted() -> Value {
    json!({"url": "https://example.com/hooks", "event_types": ["*"]})
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_time_and_does_nothing() {
    let (world, tenant) = world().await;
    let first = post(&world, &tenant, "/v1/subscriptions", "k1", &wanted()).await;
    assert_eq!((first.status.as_u16(), first.headers.get("idempotent-replayed")), (201, None));
    let again = post(&world, &tenant, "/v1/subscriptions", "k1", &wanted()).await;
    assert_eq!((again.status.as_u16(), &again.headers["idempotent-replayed"]), (201, &"true".parse().unwrap()));
    // What is secret is shown once.
    let mut shown = first.body.clone();
    shown.as_object_mut().unwrap().remove("secret").unwrap();
    assert_eq!(again.body, shown);
    assert!(!world.items().await.iter().any(|item| format!("{item:?}").contains(first.text("/secret"))));
    assert_eq!(subscriptions(&world, &tenant).await, 1);
    // Another key, none, or a day later: another one.
    post(&world, &tenant, "/v1/subscriptions", "k2", &wanted()).await;
    world.post_json(&tenant, "/v1/subscriptions", &wanted().to_string()).await;
    assert_eq!(subscriptions(&world, &tenant).await, 3);
    world.advance(24 * 3_600 + 1);
    post(&world, &tenant, "/v1/subscriptions", "k1", &wanted()).await;
    assert_eq!(subscriptions(&world, &tenant).await, 4);
}

#[tokio::test]
async fn a_key_is_bound_to_what_was_asked_for() {
    let (world, tenant) = world().await;
    post(&world, &tenant, "/v1/subscriptions", "k1", &wanted()).await;
    let mut other = wanted();
    other["description"] = "another".into();
    for (path, body) in [("/v1/subscriptions", &other), ("/v1/failures/retry", &wanted()), ("/v1/api-keys", &json!({}))]
    {
        let refused = post(&world, &tenant, path, "k1", body).await;
        assert_eq!((refused.status.as_u16(), refused.text("/code")), (422, "idempotency_key_reused"), "{refused:?}");
    }
    // Another tenant's keys are its own.
    let stranger = world.provision("stranger", &[]).await;
    assert_eq!(post(&world, &stranger, "/v1/subscriptions", "k1", &other).await.status, 201);
    for key in ["", &"k".repeat(256)] {
        assert_eq!(post(&world, &tenant, "/v1/subscriptions", key, &wanted()).await.status, 400);
    }
    assert_eq!(subscriptions(&world, &tenant).await, 1);
}

#[tokio::test]
async fn what_failed_may_be_sent_again() {
    let (world, tenant) = world().await;
    let refused = post(&world, &tenant, "/v1/subscriptions", "k1", &json!({"url": "http://10.0.0.1"})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(post(&world, &tenant, "/v1/subscriptions", "k1", &wanted()).await.status, 201, "mended");
    world.fail(|_| Fault::None);
    world.weather(|_, call| {
        let is_secret = call.service == local::aws::Service::SecretsManager;
        if is_secret { Fault::Refuse { status: 500, code: "InternalServiceError" } } else { Fault::None }.into()
    });
    assert_eq!(post(&world, &tenant, "/v1/subscriptions", "k2", &wanted()).await.status, 503);
    world.fail(|_| Fault::None);
    world.advance(61); // the lease that the failed one took
    assert_eq!(post(&world, &tenant, "/v1/subscriptions", "k2", &wanted()).await.status, 201);
    assert_eq!(subscriptions(&world, &tenant).await, 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_worked_on_is_told_so() {
    let (world, tenant) = world().await;
    world.weather(|_, call| {
        if call.service == local::aws::Service::SecretsManager { Fault::Hang } else { Fault::None }.into()
    });
    let wanted = wanted();
    let first = post(&world, &tenant, "/v1/subscriptions", "k1", &wanted);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), first).await.is_err(), "it died");
    world.fail(|_| Fault::None);
    let busy = post(&world, &tenant, "/v1/subscriptions", "k1", &wanted).await;
    assert_eq!((busy.status.as_u16(), busy.text("/code")), (409, "idempotency_in_progress"), "{busy:?}");
    assert_eq!(busy.headers["retry-after"], "1");
    world.advance(61);
    assert_eq!(post(&world, &tenant, "/v1/subscriptions", "k1", &wanted).await.status, 201);
    assert_eq!(subscriptions(&world, &tenant).await, 1);
}
