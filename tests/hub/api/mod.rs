//! The tenants' own API (contract §7): what all its routes have in common, and the routes that no other part here has.

mod idempotency;
mod integrations;
mod keys;
mod page;
mod preconditions;
mod records;
mod tenants;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, TENANT, Tenant, World, call_ended};

const NUMBER: &str = "+14155550132";

async fn world() -> (World, Tenant) {
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await;
    (world, tenant)
}

/// A call with headers of its own.
async fn call(
    world: &World,
    tenant: &Tenant,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let authorization = format!("Bearer {}", tenant.key());
    let mut all = vec![("authorization", authorization.as_str()), ("content-type", "application/json")];
    all.extend(headers);
    world.request(method, path, &all, body.to_string()).await
}

/// The fields that an answer says are wrong.
fn wrong(answer: &Answer) -> Vec<&str> {
    assert_eq!((answer.status.as_u16(), answer.text("/code")), (400, "invalid_request"), "{answer:?}");
    let errors = answer.body["errors"].as_array().unwrap();
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_nearly_right_is_told_what_would_be() {
    let (world, tenant) = world().await;
    for (path, body, field, hint) in [
        ("/v1/contacts/con_1", json!({"first_nmae": "Ada"}), "first_nmae", "did you mean `first_name`?"),
        ("/v1/integrations/erp", json!({"limit": {}}), "limit", "did you mean `limits`?"),
        ("/v1/integrations/erp", json!({"webhookSecret": "x"}), "webhookSecret", "did you mean `webhook_secret`?"),
        ("/v1/contacts/con_1", json!({"last_name": false}), "last_name", "must be text"),
        ("/v1/integrations/erp", json!({"colour": "red"}), "colour", "There are: direction, active,"),
    ] {
        let answer = world.put(&tenant, path, &body).await;
        assert_eq!(wrong(&answer), [field]);
        assert!(answer.text("/errors/0/message").contains(hint), "{answer:?}");
    }
    let answer = world.get(&tenant, "/v1/failures?sinse=2026-01-01T00:00:00Z&colour=red").await;
    assert_eq!(wrong(&answer), ["colour", "sinse"]);
    assert!(answer.text("/errors/1/message").contains("did you mean `since`?"), "{answer:?}");
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_point_but_an_amount_is_another_one_then() {
    let (world, tenant) = world().await;
    let limits = json!({"limits": {"per_minute": 7.0, "per_day": 8e1}});
    let integration = world.put(&tenant, "/v1/integrations/erp", &limits).await;
    assert_eq!(integration.body["limits"]["per_minute"], 7, "{integration:?}");
    let mapping = json!({"events": {"*": {"interaction_type": "order", "fields": {
        "phone_number": {"path": "phone"}, "metadata.paid": {"path": "paid", "transform": "money"}}}}});
    for (paid, minor) in [(json!(42.0), 4_200), (json!(42), 42)] {
        let body = json!({"mapping": mapping, "payload": {"phone": NUMBER, "paid": paid}}).to_string();
        let preview = world.post_json(&tenant, "/v1/mappings/preview", &body).await;
        assert_eq!(preview.body["fields"]["metadata"]["paid"], minor, "{preview:?}");
    }
}

#[tokio::test]
async fn what_no_route_takes_is_refused() {
    let (world, tenant) = world().await;
    for (method, path, status, code) in [
        (Method::POST, "/v1/contacts/con_1", 405, "method_not_allowed"),
        (Method::GET, "/v1/nothing", 404, "no_such_route"),
        (Method::PUT, "/v1/contacts/con_1", 413, "body_too_large"),
    ] {
        let body = if status == 413 { json!({"first_name": "A".repeat(300_000)}) } else { json!({}) };
        let answer = call(&world, &tenant, (method, path), &[], &body).await;
        assert_eq!((answer.status.as_u16(), answer.text("/code")), (status, code), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(
            answer.headers.get("allow").map(|v| v.to_str().unwrap()),
            (status == 405).then_some("PUT, GET, DELETE")
        );
    }
    for body in ["", "[]", "{", "\"a\"", "{\"a\": 1, \"a\": 2}"] {
        let answer = world.as_key(Method::PUT, tenant.key(), "/v1/integrations/erp", body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_ends_before_it_begins_is_empty() {
    let (world, tenant) = world().await;
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    let subscription =
        world.subscribe(&tenant, &json!({"url": "https://receiver.example/", "event_types": ["*"]})).await;
    let times = "since=2026-01-15T12:00:00Z&until=2026-01-15T11:59:59Z";
    let deliveries = format!("/v1/subscriptions/{}/deliveries", subscription["id"].as_str().unwrap());
    for list in ["/v1/inbound-events", "/v1/failures", &deliveries] {
        let answer = world.get(&tenant, &format!("{list}?{times}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["data"]), (200, &json!([])), "{list}: {answer:?}");
    }
    // A job for such a time is done at once.
    let replay = format!("/v1/subscriptions/{}/replay", subscription["id"].as_str().unwrap());
    let future = json!({"since": "2026-01-16T12:00:00Z"}).to_string();
    assert_eq!(world.post_json(&tenant, &replay, &future).await.status, 202);
    assert_eq!(world.post_json(&tenant, "/v1/failures/retry", &future).await.status, 202);
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_hours(1)).await; // virtual: long enough to be a dead letter
    triggers.stop().await;
    assert_eq!(world.delivery_dead_letters().await.len() + world.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn each_answer_tells_what_is_left_of_the_keys_limit() {
    let (world, tenant) = world().await;
    let mut left = 6_000;
    for path in ["/v1/failures", "/v1/nothing", "/v1/failures?limit=x"] {
        left -= 1;
        let answer = world.get(&tenant, path).await;
        assert_eq!(answer.headers["ratelimit-policy"], "\"key\";q=6000;w=60", "{answer:?}");
        assert_eq!(answer.headers["ratelimit"], format!("\"key\";r={left};t=60").as_str(), "{path}");
    }
}

#[tokio::test]
async fn a_key_may_make_6000_calls_a_minute() {
    let (world, tenant) = world().await;
    let get = async || world.get(&tenant, "/v1/integrations").await;
    for _ in 0..5_990 {
        assert_eq!(get().await.status, 200);
    }
    // Another copy knows of them, but for the last few.
    world.restart();
    let mut more = 0;
    let refused = loop {
        let answer = get().await;
        if answer.status != 200 {
            break answer;
        }
        more += 1;
    };
    assert!((10..=35).contains(&more), "{more}");
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (429, "rate_limited"), "{refused:?}");
    assert_eq!(
        (&refused.headers["retry-after"], &refused.headers["ratelimit"]),
        (&"60".parse().unwrap(), &"\"key\";r=0;t=60".parse().unwrap())
    );
    // Another key of the tenant has its own, and so has the next minute.
    let key = world.invoke("provision-tenant", json!({"tenant_id": TENANT, "reissue_api_key": true})).await.unwrap();
    let other = world.as_key(Method::GET, key["api_key"].as_str().unwrap(), "/v1/integrations", "").await;
    assert_eq!(other.status, 200);
    world.advance(60);
    assert_eq!(get().await.status, 200);
}

#[tokio::test]
async fn most_calls_cost_one_read() {
    let (world, tenant) = world().await;
    world.put(&tenant, "/v1/contacts/con_1", &json!({"first_name": "Ada"})).await;
    let reads = [
        ("/v1/contacts/con_1", "GetItem"),
        ("/v1/contacts", "Query"),
        ("/v1/integrations/sarah_ai", "GetItem"),
        ("/v1/integrations", "Query"),
        ("/v1/api-keys", "Query"),
        ("/v1/inbound-events", "Query"),
        ("/v1/failures", "Query"),
    ];
    for (path, operation) in reads {
        world.get(&tenant, path).await;
        world.calls();
        assert_eq!(world.get(&tenant, path).await.status, 200);
        let calls: Vec<String> = world.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(calls, ["BatchGetItem", operation], "the authorizer's, of key and tenant, and {path}'s own");
    }
}

#[tokio::test]
async fn cursors_count_for_their_own_list() {
    let (world, tenant) = world().await;
    for n in 0..5 {
        world.put(&tenant, &format!("/v1/contacts/con_{n}"), &json!({"first_name": "A"})).await;
        world.put(&tenant, &format!("/v1/companies/com_{n}"), &json!({"name": "A"})).await;
    }
    let first = world.get(&tenant, "/v1/contacts?limit=2").await;
    let cursor = first.text("/next_cursor").to_owned();
    let second = world.get(&tenant, &format!("/v1/contacts?limit=2&cursor={cursor}")).await;
    let ids = |answer: &Answer| -> Vec<String> {
        answer.body["data"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (ids(&first), ids(&second)),
        (vec!["con_0".into(), "con_1".into()], vec!["con_2".into(), "con_3".into()])
    );
    let mut forged = cursor.clone().into_bytes();
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for path in [
        format!("/v1/companies?cursor={cursor}"),
        format!("/v1/failures?cursor={cursor}"),
        format!("/v1/contacts?cursor={forged}"),
        "/v1/contacts?cursor=".to_owned(),
        "/v1/contacts?limit=0".to_owned(),
        "/v1/contacts?limit=101".to_owned(),
        "/v1/contacts?limit=9999999999999999999".to_owned(),
    ] {
        assert_eq!(wrong(&world.get(&tenant, &path).await).len(), 1, "{path}");
    }
    let last = world.get(&tenant, &format!("/v1/contacts?limit=2&cursor={}", second.text("/next_cursor"))).await;
    assert_eq!((ids(&last), &last.body["next_cursor"]), (vec!["con_4".into()], &Value::Null));
}
