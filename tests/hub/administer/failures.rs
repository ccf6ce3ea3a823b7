//! Failures of all tenants.

use serde_json::{Value, json};

use super::administer;
use crate::world::{World, payment};

async fn three_tenants() -> World {
    let world = World::new().await;
    for name in ["a", "b", "quiet", "z"] {
        let tenant = world.provision(name, &[json!({"system_id": "payment_processor"})]).await;
        for n in 0..if name == "quiet" { 0 } else { 3 } {
            let body = payment(n, 100, "+14155550132");
            assert_eq!(world.send(&tenant, "payment_processor", &body).await.text("/status"), "failed");
            world.advance(60);
        }
    }
    world
}

async fn pages(world: &World, mut order: Value) -> (Vec<(String, String)>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    loop {
        let answer = administer(world, order.clone()).await;
        pages += 1;
        for entry in answer["data"].as_array().unwrap() {
            let text = |name: &str| entry[name].as_str().unwrap().to_owned();
            assert!(entry.get("payload").is_none() && !entry.to_string().contains("4155550132"), "{entry}");
            assert_eq!(
                (&entry["code"], &entry["system_id"]),
                (&json!("unknown_phone_number"), &json!("payment_processor"))
            );
            assert!(entry["error"].is_string() && entry["id"].is_string() && entry["operation"].is_string(), "{entry}");
            all.push((text("tenant_id"), text("last_failed_at")));
        }
        match answer["next_cursor"].as_str() {
            Some(cursor) => order["cursor"] = cursor.into(),
            None => return (all, pages),
        }
    }
}

#[tokio::test]
async fn all_are_listed_tenant_by_tenant_the_newest_first() {
    let world = three_tenants().await;
    let (all, _) = pages(&world, json!({"action": "list_failures"})).await;
    let names: Vec<&str> = all.iter().map(|(tenant, _)| tenant.as_str()).collect();
    assert_eq!(names, ["a", "a", "a", "b", "b", "b", "z", "z", "z"]);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0 || pair[0].1 > pair[1].1), "{all:?}");
    for limit in [1, 2, 3, 4, 9, 10] {
        let (paged, count) = pages(&world, json!({"action": "list_failures", "limit": limit})).await;
        assert_eq!(paged, all, "{limit}");
        assert!(count >= 9usize.div_ceil(limit), "{count} pages of {limit}");
    }
    let (one, _) = pages(&world, json!({"action": "list_failures", "tenant_id": "b", "limit": 2})).await;
    assert_eq!(one, all[3..6]);
    let since = all[4].1.clone();
    let (later, _) = pages(&world, json!({"action": "list_failures", "since": since})).await;
    assert_eq!(later, [&all[3..5], &all[6..]].concat());
    let (earlier, _) = pages(&world, json!({"action": "list_failures", "until": since})).await;
    assert_eq!(earlier, [&all[..3], &all[4..6]].concat());
    assert!(pages(&world, json!({"action": "list_failures", "tenant_id": "nobody"})).await.0.is_empty());
}
