//! All that a tenant has, as lines of JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{NUMBER, administer, filled, items_of, table};
use crate::world::{Tenant, World};

async fn exported(world: &World, limit: Option<usize>) -> (Vec<Value>, usize) {
    let mut order = json!({"action": "export", "tenant_id": "acme"});
    if let Some(limit) = limit {
        order["limit"] = limit.into();
    }
    let (mut lines, mut pages) = (Vec::new(), 0);
    loop {
        let answer = administer(world, order.clone()).await;
        pages += 1;
        let text = answer["lines"].as_str().unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        match answer["next_cursor"].as_str() {
            Some(cursor) => order["cursor"] = cursor.into(),
            None => return (lines, pages),
        }
    }
}

async fn listed(world: &World, tenant: &Tenant, path: &str) -> Vec<Value> {
    let answer = world.get(tenant, &format!("{path}?limit=100")).await;
    answer.body["data"].as_array().unwrap_or_else(|| panic!("{path}: {answer:?}")).clone()
}

#[tokio::test(start_paused = true)]
async fn it_holds_all_that_the_api_shows_and_all_else() {
    let world = World::new().await;
    let (tenant, crm) = filled(&world, "acme").await;
    filled(&world, "other").await;
    let before = table(&world).await;
    let (lines, pages) = exported(&world, None).await;
    assert_eq!(table(&world).await, before, "an export changes nothing");
    assert_eq!(pages, 1);
    for limit in [1, 7, 100] {
        let (again, count) = exported(&world, Some(limit)).await;
        assert_eq!(again, lines, "{limit}");
        assert!(count >= items_of(&world, "acme").await.len().div_ceil(limit));
    }
    let mut by_id: BTreeMap<(String, String), &Value> = BTreeMap::new();
    for line in &lines {
        let name = |field: &str| line[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}")).to_owned();
        let is_new = by_id.insert((name("kind"), format!("{} {}", name("id"), line["system_id"])), line).is_none();
        assert!(is_new, "twice: {line}");
    }
    let find = |kind: &str, id: &str| {
        let found = lines.iter().find(|line| line["kind"] == kind && line["id"] == id);
        found.unwrap_or_else(|| panic!("no {kind} {id}")).clone()
    };
    let subscription = listed(&world, &tenant, "/v1/subscriptions").await[0]["id"].as_str().unwrap().to_owned();
    let lists = [
        ("integration", "system_id", "/v1/integrations".to_owned()),
        ("api_key", "id", "/v1/api-keys".to_owned()),
        ("contact", "id", "/v1/contacts".to_owned()),
        ("company", "id", "/v1/companies".to_owned()),
        ("interaction", "id", format!("/v1/phone-numbers/{NUMBER}/interactions")),
        ("inbound_event", "id", "/v1/inbound-events".to_owned()),
        ("failure", "id", "/v1/failures".to_owned()),
        ("subscription", "id", "/v1/subscriptions".to_owned()),
        ("delivery", "id", format!("/v1/subscriptions/{subscription}/deliveries")),
    ];
    for (kind, id, path) in lists {
        let shown = listed(&world, &tenant, &path).await;
        assert!(!shown.is_empty(), "{path}");
        for entry in shown {
            let name = entry[id].as_str().unwrap();
            let mut line =
                find(kind, &if kind == "integration" { format!("integration#{name}") } else { name.to_owned() });
            let fields = line.as_object_mut().unwrap();
            fields.remove("kind");
            if kind == "integration" {
                fields.remove("id");
            }
            assert_eq!(line, entry, "{kind}");
        }
    }
    let number = world.phone(&tenant, NUMBER).await;
    assert_eq!(find("phone_number", NUMBER)["statistics"], number["statistics"]);
    let link = lines.iter().find(|line| line["kind"] == "sync_link" && line["record_id"] == "con_ada").unwrap();
    let over_there = crm.records("contacts").into_iter().find(|record| record["first_name"] == "ada").unwrap();
    assert_eq!(link["external_id"], over_there["id"]);
    let kinds: BTreeSet<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    for kind in
        ["tenant", "merchant", "event", "waiting", "idempotent_answer", "limit_counter", "removed", "external_id"]
    {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
    // Nothing secret, nothing of the other tenant, and something of each item.
    let text = lines.iter().map(Value::to_string).collect::<String>();
    let hash = shared::ids::sha256_hex(tenant.key().as_bytes());
    for secret in
        [tenant.secret("sarah_ai"), tenant.secret("external_crm"), tenant.key(), &hash, "whsec_", "other.example"]
    {
        assert!(!text.contains(secret), "{secret}");
    }
    let counted = administer(&world, json!({"action": "export", "tenant_id": "acme", "dry_run": true})).await;
    let count: u64 = counted["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(count).unwrap(), items_of(&world, "acme").await.len());
    assert!(counted.get("lines").is_none() && counted["next_cursor"].is_null());
    assert_eq!(table(&world).await, before);
}
