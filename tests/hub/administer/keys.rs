//! A new key for a tenant that lost its own.

use http::Method;
use serde_json::json;

use super::{administer, refused, table};
use crate::world::{TENANT, World};

#[tokio::test]
async fn a_new_key_is_given_once_and_may_end_the_others() {
    let (world, tenant) = World::with_tenant().await;
    let get = async |key: &str| world.as_key(Method::GET, key, "/v1/failures", "").await.status.as_u16();
    let key =
        administer(&world, json!({"action": "reissue_key", "tenant_id": TENANT, "scopes": ["read"], "name": "ops"}))
            .await;
    let first = key["api_key"].as_str().unwrap().to_owned();
    assert!(first.starts_with("smrt_tenant_demo_") && key["id"].as_str().unwrap().starts_with("key_"));
    assert_eq!((&key["name"], &key["scopes"], &key["revoked"]), (&json!("ops"), &json!(["read"]), &json!(0)));
    assert_eq!((get(&first).await, get(tenant.key()).await), (200, 200));
    assert_eq!(world.as_key(Method::PUT, &first, "/v1/contacts/con_1", "{}").await.status, 403);
    let before = table(&world).await;
    let dry = json!({"action": "reissue_key", "tenant_id": TENANT, "revoke_others": true, "dry_run": true});
    assert_eq!(administer(&world, dry).await["revoked"], 2);
    assert_eq!(table(&world).await, before);
    let end = "2026-02-01T00:00:00Z";
    let order = json!({"action": "reissue_key", "tenant_id": TENANT, "revoke_others": true, "expires_at": end});
    let key = administer(&world, order).await;
    assert_eq!((&key["revoked"], &key["expires_at"]), (&json!(2), &json!(end)));
    world.advance(61);
    let second = key["api_key"].as_str().unwrap();
    assert_eq!((get(&first).await, get(tenant.key()).await, get(second).await), (403, 403, 200));
}

#[tokio::test]
async fn there_are_never_more_keys_than_a_tenant_may_have() {
    let (world, _) = World::with_tenant().await;
    let order = json!({"action": "reissue_key", "tenant_id": TENANT});
    for _ in 1..100 {
        administer(&world, order.clone()).await;
    }
    let error = refused(&world, order).await;
    assert!(error.contains("the tenant has 100 API keys") && error.contains("\"revoke_others\": true"), "{error}");
    let key = administer(&world, json!({"action": "reissue_key", "tenant_id": TENANT, "revoke_others": true})).await;
    let list = world.as_key(Method::GET, key["api_key"].as_str().unwrap(), "/v1/api-keys?limit=100", "").await;
    let keys = list.body["data"].as_array().unwrap();
    assert_eq!((keys.len(), keys.iter().filter(|key| key["revoked_at"].is_null()).count()), (100, 1));
    let error = refused(&world, json!({"action": "reissue_key", "tenant_id": "nobody"})).await;
    assert!(error.contains("there is no such tenant"), "{error}");
}
