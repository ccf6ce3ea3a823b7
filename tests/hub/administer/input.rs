//! What isn't valid is refused, all of it at once, in sentences that say what to do.

use serde_json::{Value, json};

use super::{administer, refused, table};
use crate::world::World;

#[tokio::test]
async fn each_mistake_is_named() {
    let world = World::new().await;
    world.provision("acme", &[]).await;
    let before = table(&world).await;
    let rows: Vec<(Value, &[&str])> = vec![
        (json!([]), &["request: must be a JSON object"]),
        (json!({}), &["action: is required: one of suspend, resume,"]),
        (json!({"action": 1}), &["action: must be text: one of"]),
        (json!({"action": "suspnd"}), &["action: is not an action; did you mean `suspend`?"]),
        (json!({"action": "suspend"}), &["tenant_id: is required"]),
        (json!({"action": "suspend", "tenant_id": "A/B"}), &["tenant_id: `tenant_id` must be 1 to 64 characters"]),
        (json!({"action": "suspend", "tenant_id": "nobody"}), &["there is no such tenant; check `tenant_id`"]),
        (
            json!({"action": "suspend", "tenant_id": "acme", "dryrun": true}),
            &["dryrun: is not a field of `suspend`; did you mean `dry_run`?"],
        ),
        (
            json!({"action": "suspend", "tenant_id": 1, "dry_run": "yes", "reason": "x".repeat(501), "limit": 1}),
            &[
                "tenant_id: must be text",
                "dry_run: must be true or false",
                "reason: must be text of at most 500",
                "limit: is not a field of",
            ],
        ),
        (
            json!({"action": "reissue_key", "tenant_id": "acme", "scopes": ["red"], "name": "x".repeat(101), "expires_at": "2020-01-01T00:00:00Z", "revoke_others": 1}),
            &[
                "scopes: must name `read`, `write` or both",
                "name: must be text of at most 100",
                "expires_at: must be a time in the future",
                "revoke_others: must be",
            ],
        ),
        (json!({"action": "reissue_key", "tenant_id": "acme", "scopes": []}), &["scopes: must name"]),
        (
            json!({"action": "list_failures", "since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z", "limit": 101}),
            &["until: must not be before `since`", "limit: must be a whole number from 1 to 100"],
        ),
        (json!({"action": "list_failures", "limit": 0, "since": "soon"}), &["limit: must be", "since: must be a time"]),
        (
            json!({"action": "list_failures", "cursor": "???"}),
            &["cursor: is no `next_cursor` that this action answered"],
        ),
        (json!({"action": "export", "tenant_id": "acme", "cursor": "e30"}), &["cursor: is no `next_cursor`"]),
        (json!({"action": "delete", "tenant_id": "acme"}), &["confirm: must be the tenant's id once more"]),
        (
            json!({"action": "delete", "tenant_id": "acme", "confirm": "other"}),
            &["confirm: must be the tenant's id once more"],
        ),
        (
            json!({"action": "delete", "tenant_id": "acme", "confirm": "acme", "cursor": "x"}),
            &["cursor: is for a dry run"],
        ),
        (json!({"action": "erase_number", "tenant_id": "acme"}), &["phone_number: is required"]),
        (
            json!({"action": "erase_number", "tenant_id": "acme", "phone_number": "415-555-0132"}),
            &["phone_number: must be in E.164 form"],
        ),
        (
            json!({"action": "erase_number", "tenant_id": "nobody", "phone_number": "+14155550132"}),
            &["there is no such tenant"],
        ),
    ];
    for (order, parts) in rows {
        let error = refused(&world, order.clone()).await;
        for part in parts {
            assert!(error.contains(part), "{order}: {part} is not in: {error}");
        }
        assert!(!error.contains("0132"), "{error}");
    }
    assert_eq!(table(&world).await, before);
}

#[tokio::test]
async fn tenants_are_listed_those_from_before_the_list_once_it_is_made() {
    let world = World::new().await;
    for name in ["b", "a", "a-1", "c"] {
        world.provision(name, &[]).await;
    }
    let list = async |order: Value| {
        let answer = administer(&world, order).await;
        let names: Vec<String> =
            answer["data"].as_array().unwrap().iter().map(|t| t["tenant_id"].as_str().unwrap().to_owned()).collect();
        (names, answer["next_cursor"].clone())
    };
    assert_eq!(
        list(json!({"action": "list_tenants"})).await,
        (["a", "a-1", "b", "c"].map(str::to_owned).into(), Value::Null)
    );
    let (names, cursor) = list(json!({"action": "list_tenants", "limit": 3})).await;
    assert_eq!(names, ["a", "a-1", "b"]);
    assert_eq!(
        list(json!({"action": "list_tenants", "limit": 3, "cursor": cursor})).await,
        (vec!["c".into()], Value::Null)
    );
    // One that was made before there was a list.
    let store = world.store();
    let key = shared::registry::tenant_key(&"b".to_owned().try_into().unwrap());
    let mut old = store.get(&key).await.unwrap().unwrap();
    old.0.retain(|name, _| !name.starts_with("due_"));
    store.put(old, "", Vec::new()).await.unwrap().unwrap();
    assert_eq!(list(json!({"action": "list_tenants"})).await.0, ["a", "a-1", "c"]);
    let counted = administer(&world, json!({"action": "index_tenants", "dry_run": true})).await;
    assert_eq!((&counted["tenants"], &counted["added"]), (&json!(4), &json!(1)));
    administer(&world, json!({"action": "index_tenants"})).await;
    assert_eq!(list(json!({"action": "list_tenants"})).await.0, ["a", "a-1", "b", "c"]);
    assert_eq!(administer(&world, json!({"action": "index_tenants"})).await["added"], 0);
}
