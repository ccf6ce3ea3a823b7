//! A tenant is deleted with all that it has, and with nothing of another's.

use std::{collections::BTreeMap, time::Duration};

use local::aws::Fault;
use serde_json::{Value, json};

use super::{NUMBER, administer, filled, items_of, refused, run, table};
use crate::world::{Tenant, World, call_ended};

fn order() -> Value {
    json!({"action": "delete", "tenant_id": "acme", "confirm": "acme", "reason": "contract ended"})
}

/// Invokes it until it is done; gives how often, and how many items went.
async fn delete(world: &World, order: &Value) -> (usize, u64) {
    let (mut calls, mut deleted) = (0, 0);
    loop {
        let answer = administer(world, order.clone()).await;
        calls += 1;
        deleted += answer["deleted"].as_u64().unwrap();
        if answer["done"] == true {
            return (calls, deleted);
        }
        world.advance(answer["wait_seconds"].as_u64().unwrap_or_default());
    }
}

async fn others(world: &World) -> BTreeMap<String, shared::store::Item> {
    let mut items = table(world).await;
    // Nobody's are the counts of refused calls to what isn't known to exist.
    items.retain(|_, item| !["acme#", "_unknown#"].iter().any(|own| item.get_text("pk").unwrap().starts_with(own)));
    items
}

async fn two(world: &World) -> Tenant {
    let (tenant, _) = filled(world, "acme").await;
    filled(world, "other").await;
    tenant
}

#[tokio::test(start_paused = true)]
async fn nothing_of_it_is_left_and_all_of_the_other() {
    let world = World::new().await;
    let tenant = two(&world).await;
    let (before, all) = (others(&world).await, table(&world).await);
    let own = items_of(&world, "acme").await.len();
    // It counts first.
    let dry = json!({"action": "delete", "tenant_id": "acme", "dry_run": true});
    let counted = administer(&world, dry).await;
    let count: u64 = counted["counts"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((usize::try_from(count).unwrap(), &counted["next_cursor"]), (own, &Value::Null));
    assert_eq!(table(&world).await, all);
    // A part of it: nothing comes in from then on.
    let mut part = order();
    part["limit"] = 1.into();
    let answer = administer(&world, part).await;
    assert_eq!((&answer["done"], &answer["deleted"]), (&json!(false), &json!(1)));
    world.advance(61);
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("x", "x", NUMBER)).await.status, 404);
    assert_ne!(world.get(&tenant, "/v1/failures").await.status, 200);
    for action in ["resume", "reissue_key"] {
        let error = refused(&world, json!({"action": action, "tenant_id": "acme"})).await;
        assert!(error.contains("the tenant is being deleted; invoke the action `delete`"), "{error}");
    }
    let error = world.invoke("provision-tenant", json!({"tenant_id": "acme"})).await.unwrap_err();
    assert!(error.contains("this tenant is being deleted"), "{error}");
    let (calls, deleted) = delete(&world, &order()).await;
    assert_eq!(calls, 2, "once for all of it, and once for what may have been under way");
    // The mark that it is suspended was made by the deletion itself.
    assert!(deleted >= own as u64 - 2, "{deleted} of {own}");
    assert!(items_of(&world, "acme").await.is_empty(), "{:?}", items_of(&world, "acme").await);
    assert_eq!(others(&world).await, before);
    // Once more, it is done.
    assert_eq!(delete(&world, &order()).await, (1, 1), "the lease that it takes");
    assert!(items_of(&world, "acme").await.is_empty());
    assert_eq!(others(&world).await, before);
    let list = administer(&world, json!({"action": "list_tenants"})).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    // Made anew, it has nothing of before, and other secrets.
    let again = world
        .provision(
            "acme",
            &[
                json!({"system_id": "sarah_ai"}),
                json!({"system_id": "external_crm", "signature": {"scheme": "custom"}}),
            ],
        )
        .await;
    assert_ne!((again.key(), again.secret("sarah_ai")), (tenant.key(), tenant.secret("sarah_ai")));
    world.advance(61);
    assert_ne!(world.get(&tenant, "/v1/failures").await.status, 200, "the old key counts no more");
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("x", "x", NUMBER)).await.status, 401);
    for path in ["failures", "contacts", "companies", "inbound-events", "subscriptions"] {
        assert_eq!(world.get(&again, &format!("/v1/{path}")).await.body["data"], json!([]), "{path}");
    }
    assert_eq!(world.get(&again, &format!("/v1/phone-numbers/{NUMBER}")).await.status, 404);
    assert_eq!(world.send(&again, "sarah_ai", &call_ended("e1", "call-1", NUMBER)).await.text("/status"), "processed");
    assert_eq!(world.phone(&again, NUMBER).await["statistics"]["total_calls"], 1);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_cut_off_after_any_page() {
    let world = World::new().await;
    two(&world).await;
    let before = others(&world).await;
    let mut order = order();
    order["limit"] = 3.into();
    let own = items_of(&world, "acme").await.len();
    let (mut calls, mut left) = (0, own);
    loop {
        let answer = administer(&world, order.clone()).await;
        calls += 1;
        let now = items_of(&world, "acme").await.len();
        assert!(now <= left + 1, "{now} after {left}");
        left = now;
        // A copy that remembers nothing goes on.
        world.restart();
        if answer["done"] == true {
            break;
        }
        world.advance(answer["wait_seconds"].as_u64().unwrap_or_default());
    }
    assert!(calls >= own / 3, "{calls} calls for {own} items");
    assert!(items_of(&world, "acme").await.is_empty());
    assert_eq!(others(&world).await, before);
}

#[tokio::test(start_paused = true)]
async fn it_can_die_at_any_call_to_aws() {
    for (from, fault) in (0..60).step_by(3).zip([Fault::Disconnect, Fault::LoseAnswer].into_iter().cycle()) {
        let world = World::new().await;
        let tenant = world.provision("acme", &[json!({"system_id": "sarah_ai"})]).await;
        world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
        administer(&world, order()).await;
        world.advance(3_600);
        world.fail(move |number| if number >= from { fault } else { Fault::None });
        let first = world.invoke("administer-tenant", order()).await;
        world.fail(|_| Fault::None);
        if let Err(error) = &first {
            assert!(error.contains("invoke it again"), "{error}");
        }
        world.advance(61); // the lease of the call that died ends
        delete(&world, &order()).await;
        assert!(items_of(&world, "acme").await.is_empty(), "{from}");
        let again = world.provision("acme", &[json!({"system_id": "sarah_ai"})]).await;
        assert_ne!(again.secret("sarah_ai"), tenant.secret("sarah_ai"), "{from}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_in_queues_is_dropped() {
    let world = World::new().await;
    let tenant = two(&world).await;
    // An event in the retry queue, a job of a sync and a delivery are under way when it begins.
    let refusal = Fault::Refuse { status: 400, code: "ThrottlingException" };
    world.weather(move |_, call| if call.operation == "TransactWriteItems" { refusal } else { Fault::None }.into());
    let body = crate::world::payment(77, 100, NUMBER);
    assert_eq!(world.send(&tenant, "payment_processor", &body).await.text("/status"), "queued");
    world.fail(|_| Fault::None);
    assert_eq!(world.post_json(&tenant, "/v1/sync/external_crm/contact", r#"{"full": true}"#).await.status, 202);
    world.put(&tenant, "/v1/contacts/con_new", &json!({"first_name": "New"})).await;
    administer(&world, order()).await;
    run(&world, Duration::from_mins(30)).await;
    delete(&world, &order()).await;
    run(&world, Duration::from_hours(13)).await;
    assert!(items_of(&world, "acme").await.is_empty(), "{:?}", items_of(&world, "acme").await);
    assert!(world.dead_letters().await.is_empty());
    assert!(world.queued().await.iter().all(|message| !message.contains("\"acme\"")));
}
