//! A person's number is erased with all that hangs on it.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::{operation::Operation, store::Item};

use super::{NUMBER, OTHER, administer, filled, items_of, run, table};
use crate::world::{Tenant, World, call_ended, payment};

fn order() -> Value {
    json!({"action": "erase_number", "tenant_id": "acme", "phone_number": NUMBER, "reason": "request 4711"})
}

/// Invokes it until it is done; gives how often, what was counted, and the names at CRMs.
async fn erase(world: &World, mut order: Value) -> (usize, u64, Vec<Value>) {
    let (mut calls, mut count, mut external): (_, _, Vec<Value>) = (0, 0, Vec::new());
    loop {
        let answer = administer(world, order.clone()).await;
        calls += 1;
        count += answer["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
        external.extend(answer["external_records"].as_array().unwrap().clone());
        assert_eq!(answer["left"], json!([]));
        assert_eq!(answer["done"], answer["next_cursor"].is_null());
        if let Some(cursor) = answer["next_cursor"].as_str() {
            order["cursor"] = cursor.into();
            continue;
        }
        external.sort_by_key(Value::to_string);
        external.dedup();
        return (calls, count, external);
    }
}

/// All that an item says, unpacked.
fn said(item: &Item) -> String {
    let mut text = String::new();
    for value in item.0.values() {
        match value {
            AttributeValue::S(own) | AttributeValue::N(own) => text.push_str(own),
            AttributeValue::B(own) => {
                let plain = shared::codec::unpack(own.as_ref(), 10_000_000).unwrap();
                text.push_str(&String::from_utf8(plain).unwrap());
            }
            _ => {}
        }
        text.push('\n');
    }
    if let Some(message) = item.get_text("msg")
        && let Ok(Operation::Inbound(waiting)) =
            Operation::from_message(message, "2026-01-16T00:00:00Z".parse().unwrap())
    {
        text.push_str(&waiting.event.body);
    }
    text
}

/// Whether a text has the number's digits, with anything but letters and digits in between.
fn has_digits(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '\n').collect();
    plain.contains(&NUMBER[2..])
}

async fn mentions(world: &World, tenant: &str) -> Vec<String> {
    let items = items_of(world, tenant).await;
    items.iter().map(said).filter(|text| has_digits(text) || text.contains("ada@example.com")).collect()
}

async fn view(world: &World, tenant: &Tenant, number: &str) -> (Value, Vec<Value>) {
    (world.phone(tenant, number).await, world.interactions(tenant, number).await)
}

#[tokio::test(start_paused = true)]
async fn no_item_names_it_and_other_numbers_are_as_before() {
    let world = World::new().await;
    let (tenant, crm) = filled(&world, "acme").await;
    filled(&world, "other").await;
    assert!(mentions(&world, "acme").await.len() > 20, "{:?}", mentions(&world, "acme").await.len());
    let (before, bob) = (view(&world, &tenant, OTHER).await, world.get(&tenant, "/v1/contacts/con_bob").await.body);
    let others = items_of(&world, "other").await.len();
    let untouched = mentions(&world, "other").await.len();
    // It counts first.
    let all = table(&world).await;
    let mut dry = order();
    dry["dry_run"] = true.into();
    let (_, planned, names) = erase(&world, dry).await;
    assert_eq!(table(&world).await, all);
    let (calls, done, external) = erase(&world, order()).await;
    assert!(calls >= 2, "what is over there is named before it is forgotten");
    assert_eq!((planned, &names), (done, &external));
    let contact = external.iter().find(|r| r["entity_type"] == "contact" && r["system_id"] == "external_crm").unwrap();
    let over_there = crm.records("contacts").into_iter().find(|record| record["first_name"] == "ada").unwrap();
    assert_eq!(
        *contact,
        json!({"system_id": "external_crm", "entity_type": "contact", "record_id": "con_ada", "external_id": over_there["id"]})
    );
    let left = mentions(&world, "acme").await;
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(world.get(&tenant, &format!("/v1/phone-numbers/{NUMBER}")).await.status, 404);
    assert_eq!(world.get(&tenant, "/v1/contacts/con_ada").await.status, 404);
    assert_eq!(world.get(&tenant, "/v1/contacts?email=ada@example.com").await.body["data"], json!([]));
    // The others: the same but for the mention.
    let after = view(&world, &tenant, OTHER).await;
    assert_eq!((&after.0, after.1.len()), (&before.0, before.1.len()));
    assert_eq!(world.get(&tenant, "/v1/contacts/con_bob").await.body, bob);
    let company = world.get(&tenant, "/v1/companies/com_engines").await.body;
    assert_eq!((&company["name"], &company["phone_number"]), (&json!("Engines"), &Value::Null));
    assert_eq!((items_of(&world, "other").await.len(), mentions(&world, "other").await.len()), (others, untouched));
    // Nothing brings it back: schedules, streams, queues, and not a second time.
    run(&world, Duration::from_hours(30)).await;
    assert!(mentions(&world, "acme").await.is_empty());
    assert_eq!(erase(&world, order()).await.1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_was_said_before_has_no_effect() {
    let world = World::new().await;
    let (tenant, _) = filled(&world, "acme").await;
    erase(&world, order()).await;
    for days in [0, 1, 100] {
        world.advance(days * 86_400);
        if days == 100 {
            // Time to live: what may go is gone.
            let now = world.now().as_second();
            for item in items_of(&world, "acme").await {
                if item.get_number("ttl").is_some_and(|end| end < now) {
                    world.store().delete(&item.key().unwrap()).await.unwrap();
                }
            }
        }
        world.restart();
        let count = items_of(&world, "acme").await.len();
        let odd = json!({"event_id": "o1", "event_type": "call.exploded",
            "call": {"id": "c", "destination_number": NUMBER.replace("+1415", "(415) ")}});
        let bodies = [
            ("sarah_ai", call_ended("e1", "call-1", NUMBER)),
            ("sarah_ai", call_ended("w8", "call-8", NUMBER)),
            ("sarah_ai", odd),
            ("payment_processor", payment(1, 4200, NUMBER)),
        ];
        for (system, body) in bodies {
            let answer = world.send(&tenant, system, &body).await;
            assert_eq!((answer.status.as_u16(), answer.text("/status")), (200, "duplicate"), "{body}: {answer:?}");
        }
        assert_eq!(world.get(&tenant, &format!("/v1/phone-numbers/{NUMBER}")).await.status, 404);
        assert!(mentions(&world, "acme").await.is_empty(), "{days}");
        let now = items_of(&world, "acme").await.len();
        assert!(now <= count + 2, "counters of limits at most: {now} of {count}");
    }
    // What happens from now on is taken in.
    let answer = world.send(&tenant, "sarah_ai", &call_ended("new", "call-new", NUMBER)).await;
    assert_eq!(answer.text("/status"), "processed");
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"], 1);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_cut_off_after_any_page() {
    let world = World::new().await;
    let (tenant, _) = filled(&world, "acme").await;
    let before = view(&world, &tenant, OTHER).await;
    let mut small = order();
    small["limit"] = 4.into();
    // Twice given up half-way, and begun anew.
    for pages in [3, 9] {
        let mut order = small.clone();
        for _ in 0..pages {
            let answer = administer(&world, order.clone()).await;
            order["cursor"] = answer["next_cursor"].clone();
            world.restart();
        }
    }
    let (calls, _, external) = erase(&world, small).await;
    assert!(calls > 10, "{calls}");
    assert!(external.iter().any(|record| record["record_id"] == "con_ada"), "it is said again: {external:?}");
    assert!(mentions(&world, "acme").await.is_empty(), "{:#?}", mentions(&world, "acme").await);
    assert_eq!(view(&world, &tenant, OTHER).await.0, before.0);
}

#[tokio::test(start_paused = true)]
async fn what_names_it_in_the_tenants_own_configuration_is_said_and_left() {
    let (world, tenant) = World::with_tenant().await;
    let hook = json!({"url": "https://example.com/hook", "event_types": ["*"], "description": "for (415) 555-0132"});
    let id = world.subscribe(&tenant, &hook).await["id"].clone();
    let order = json!({"action": "erase_number", "tenant_id": tenant.id, "phone_number": NUMBER});
    let answer = administer(&world, order).await;
    assert_eq!((&answer["left"], &answer["done"]), (&json!([{"kind": "subscription", "id": id}]), &json!(true)));
    assert_eq!(answer["repeat_after_seconds"], 900);
}
