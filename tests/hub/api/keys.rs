//! API keys: scopes, expiry and revocation.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{world, wrong};
use crate::world::{Tenant, World};

async fn make(world: &World, tenant: &Tenant, wanted: Value) -> Value {
    let answer = world.post_json(tenant, "/v1/api-keys", &wanted.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body
}

async fn status(world: &World, key: &Value, method: Method, path: &str) -> u16 {
    world.as_key(method, key["key"].as_str().unwrap(), path, "{}").await.status.as_u16()
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_its_hash() {
    let (world, tenant) = world().await;
    let made = make(&world, &tenant, json!({"name": "CI"})).await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("smrt_tenant_demo_"), "{key}");
    assert_eq!(status(&world, &made, Method::GET, "/v1/failures").await, 200);
    let list = world.get(&tenant, "/v1/api-keys").await;
    let keys = list.body["data"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "the provisioned one, and this one: {keys:?}");
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("key");
    assert!(keys.contains(&shown), "{keys:?}");
    assert_eq!(shown["scopes"], json!(["read", "write"]));
    let random = key.rsplit('_').next().unwrap();
    assert!(!world.items().await.iter().any(|item| format!("{item:?}").contains(random)));
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let (world, tenant) = world().await;
    let reader = make(&world, &tenant, json!({"scopes": ["read"]})).await;
    let writer = make(&world, &tenant, json!({"scopes": ["write"]})).await;
    for (key, method, path, expected) in [
        (&reader, Method::GET, "/v1/contacts", 200),
        (&reader, Method::PUT, "/v1/contacts/con_1", 403),
        (&reader, Method::POST, "/v1/api-keys", 403),
        (&reader, Method::POST, "/v1/mappings/preview", 400),
        (&writer, Method::PUT, "/v1/contacts/con_1", 201),
        (&writer, Method::GET, "/v1/contacts/con_1", 403),
    ] {
        assert_eq!(status(&world, key, method.clone(), path).await, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_ends_when_it_expires_or_is_revoked() {
    let (world, tenant) = world().await;
    let end = world.now() + SignedDuration::from_mins(10);
    let short = make(&world, &tenant, json!({"expires_at": end})).await;
    let other = make(&world, &tenant, json!({})).await;
    let good = async |key: &Value| status(&world, key, Method::GET, "/v1/failures").await;
    assert_eq!((good(&short).await, good(&other).await), (200, 200));
    world.advance(600);
    assert_eq!((good(&short).await, good(&other).await), (403, 200), "as API Gateway refuses");
    let path = format!("/v1/api-keys/{}", other["id"].as_str().unwrap());
    assert_eq!(world.delete(&tenant, &path).await.status, 204);
    // So long the gateway may remember that it was good.
    world.advance(60);
    assert_eq!(good(&other).await, 403);
    assert_eq!(world.delete(&tenant, &path).await.status, 404, "it was");
    let list = world.get(&tenant, "/v1/api-keys").await;
    let shown = list.body["data"].as_array().unwrap().iter().find(|key| key["id"] == other["id"]).unwrap();
    assert!(shown["revoked_at"].is_string(), "{shown}");
}

#[tokio::test]
async fn bad_keys_and_wishes_are_refused() {
    let (world, tenant) = world().await;
    let good = tenant.key();
    let (begin, end) = good.split_at(good.len() - 1);
    let nearly = format!("{begin}{}", if end == "0" { "1" } else { "0" });
    let long = format!("{good}{}", "0".repeat(5_000));
    for key in ["", "smrt_", "smrt_tenant_demo_", &nearly, &good.to_uppercase(), &long, &good.replace("demo", "dem")] {
        let answer = world.as_key(Method::GET, key, "/v1/failures", "").await;
        assert_eq!(answer.status, 403, "{key:.30}");
    }
    for (wanted, fields) in [
        (json!({"scopes": []}), vec!["scopes"]),
        (json!({"scopes": ["admin"]}), vec!["scopes"]),
        (json!({"scope": ["read"]}), vec!["scope"]),
        (json!({"name": "n".repeat(101), "expires_at": "2020-01-01T00:00:00Z"}), vec!["name", "expires_at"]),
        (json!({"name": 7, "expires_at": "soon"}), vec!["expires_at", "name"]),
    ] {
        let answer = world.post_json(&tenant, "/v1/api-keys", &wanted.to_string()).await;
        assert_eq!(wrong(&answer), fields, "{wanted}: {answer:?}");
    }
    for id in ["key_000000000000", "key_", "con_1", "key_zzz"] {
        assert_eq!(world.delete(&tenant, &format!("/v1/api-keys/{id}")).await.status, 404, "{id}");
    }
}
