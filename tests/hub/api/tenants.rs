//! All routes, with two tenants: neither sees, changes, counts or times what is the other's (contract §8).

use http::Method;
use serde_json::{Value, json};
use shared::store::Item;

use super::NUMBER;
use crate::world::{Answer, Tenant, World, call_ended, sample_body};

/// Something of everything, for one tenant; gives the ids by the names of the path's parameters.
async fn fill(world: &World, name: &str) -> (Tenant, Vec<(&'static str, String)>) {
    let systems = [
        json!({"system_id": "sarah_ai"}),
        json!({"system_id": "payment_processor"}),
        json!({"system_id": "crm", "direction": "outbound", "outbound": {"base_url": "https://crm.example"}}),
    ];
    let tenant = world.provision(name, &systems).await;
    let subscription = json!({"url": format!("https://example.com/{name}"), "event_types": ["*"], "description": name});
    let subscription = world.subscribe(&tenant, &subscription).await["id"].as_str().unwrap().to_owned();
    world.put(&tenant, &format!("/v1/contacts/con_{name}"), &json!({"first_name": name})).await;
    world.put(&tenant, &format!("/v1/companies/com_{name}"), &json!({"name": name})).await;
    let call = world.send(&tenant, "sarah_ai", &call_ended(name, name, NUMBER)).await;
    let merchant =
        world.send(&tenant, "payment_processor", &sample_body("payment_processor", "merchant_updated")).await;
    let payment = crate::world::payment(1, 100, "+14155559999");
    let failure = world.send(&tenant, "payment_processor", &payment).await.text("/failure_id").to_owned();
    let triggers = world.run_triggers();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    triggers.stop().await;
    let first = async |path: &str| {
        let list = world.get(&tenant, path).await;
        list.body["data"][0].clone()
    };
    let delivery = first(&format!("/v1/subscriptions/{subscription}/deliveries")).await;
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
    let ids = vec![
        ("contacts", format!("con_{name}")),
        ("companies", format!("com_{name}")),
        ("interactions", call.text("/data/interaction_id").to_owned()),
        ("merchants", merchant.text("/data/merchant_id").to_owned()),
        ("subscriptions", subscription),
        ("deliveries", text(&delivery["id"])),
        ("events", text(&delivery["event_id"])),
        ("failures", failure),
        ("inbound-events", text(&first("/v1/inbound-events").await["id"])),
        ("api-keys", text(&first("/v1/api-keys").await["id"])),
    ];
    (tenant, ids)
}

/// The call that adds up a key's calls, of which one in 25 makes it; none of those here makes another one of its kind.
const COUNTING: &str = "UpdateItem";

/// Without what is said of the one thing that was asked for.
fn plain(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.body.clone())
}

#[tokio::test(start_paused = true)]
async fn neither_sees_changes_counts_or_times_the_others() {
    let world = World::new().await;
    let (own, ids) = fill(&world, "own").await;
    let (stranger, _) = fill(&world, "stranger").await;
    let call = async |tenant: &Tenant, method: &str, path: &str| {
        world.as_key(method.parse::<Method>().unwrap(), tenant.key(), path, "{}").await
    };
    // What a call costs is what it takes: the calls to AWS, and what they read.
    let costing = async |tenant: &Tenant, method: &str, path: &str| {
        world.calls();
        let answer = call(tenant, method, path).await;
        let calls = world.calls().into_iter().map(|call| (call.operation, call.consumed_capacity));
        (answer, calls.filter(|(operation, _)| operation != COUNTING).collect::<Vec<_>>())
    };
    let before = world.items().await;
    let routes = |kind: &str, id: &str| -> Vec<(&str, String)> {
        let one = format!("/v1/{kind}/{id}");
        let more: &[(&str, &str)] = match kind {
            "contacts" | "companies" => &[("GET", ""), ("DELETE", "")],
            "subscriptions" => &[
                ("GET", ""),
                ("PATCH", ""),
                ("DELETE", ""),
                ("POST", "/test"),
                ("POST", "/rotate-secret"),
                ("GET", "/deliveries"),
            ],
            "deliveries" | "failures" => &[("GET", ""), ("POST", "/retry")],
            "inbound-events" => &[("GET", ""), ("POST", "/replay")],
            "api-keys" => &[("DELETE", "")],
            _ => &[("GET", "")],
        };
        more.iter().map(|(method, rest)| (*method, format!("{one}{rest}"))).collect()
    };
    for (kind, id) in &ids {
        // Of the same form.
        let (start, end) = id.split_at(id.len() - 1);
        let unknown = format!("{start}{}", if end == "0" { "1" } else { "0" });
        for ((method, path), (_, unknown)) in routes(kind, id).into_iter().zip(routes(kind, &unknown)) {
            let (foreign, foreign_calls) = costing(&stranger, method, &path).await;
            let (none, calls) = costing(&stranger, method, &unknown).await;
            assert_eq!(foreign.status, 404, "{method} {path}: {foreign:?}");
            assert_eq!(plain(&foreign), plain(&none), "{method} {path}: as for one that nobody has");
            assert_eq!(foreign_calls, calls, "{method} {path}: it takes as long as for one that nobody has");
        }
    }
    let changed: Vec<_> = world.items().await.into_iter().filter(|item| !before.contains(item)).collect();
    let changed: Vec<_> = changed.iter().filter(|item| !item.get_text("pk").unwrap().ends_with("#limit")).collect();
    assert!(changed.is_empty(), "{changed:?}");
    // Both have the same number, and each its own history of it.
    for (tenant, other) in [(&own, "stranger"), (&stranger, "own")] {
        for list in ["contacts", "companies", "subscriptions", "failures", "inbound-events", "api-keys", "integrations"]
        {
            let shown = call(tenant, "GET", &format!("/v1/{list}")).await;
            let rows = shown.body["data"].as_array().unwrap();
            assert!(!rows.is_empty(), "{list}");
            let text = shown.body.to_string();
            assert!(!text.contains(&format!("_{other}\"")) && !text.contains(&format!("/{other}")), "{list}: {text}");
        }
        assert_eq!(world.phone(tenant, NUMBER).await["statistics"]["total_calls"], 1);
        assert_eq!(world.interactions(tenant, NUMBER).await.len(), 1);
        assert_eq!(call(tenant, "GET", "/v1/sync/crm").await.body["data"][0]["waiting"], 1);
    }
    // What one does to everything of its own leaves the other's as it is.
    for (kind, id) in &ids {
        for (method, path) in routes(kind, id) {
            if method != "GET" && *kind != "api-keys" {
                call(&own, method, &path).await;
            }
        }
    }
    call(&own, "DELETE", "/v1/integrations/sarah_ai").await;
    let of_stranger = |items: Vec<Item>| -> Vec<Item> {
        let is_mine = |pk: &str| pk.starts_with("stranger#") && !pk.ends_with("#limit");
        items.into_iter().filter(|item| is_mine(item.get_text("pk").unwrap())).collect()
    };
    let (before, after) = (of_stranger(before), of_stranger(world.items().await));
    let differing: Vec<&Item> = after.iter().filter(|item| !before.contains(item)).collect();
    assert!(differing.is_empty() && before.len() == after.len(), "{differing:?}");
}
