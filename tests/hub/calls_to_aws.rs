//! How many calls to AWS a webhook makes, and what they cost.

use serde_json::json;

use crate::world::{TENANT, World, call_ended, sample_body};

const NUMBER: &str = "+14155550132";

fn operations(world: &World) -> Vec<String> {
    world.calls().into_iter().map(|call| call.operation).collect()
}

#[tokio::test]
async fn a_warm_webhook_makes_two_calls() {
    let (world, tenant) = World::with_tenant().await;
    world.calls();
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", "+14155550199")).await;
    let first = ["BatchGetItem", "GetSecretValue", "UpdateItem", "UpdateItem", "TransactWriteItems"];
    assert_eq!(operations(&world), first, "configuration, secrets, the window's first count, the transaction");
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", "+14155550199")).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"]);
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "call_started")).await;
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "call_ended")).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"].repeat(2), "a later event of a call too");
    world.restart();
    world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", "recording_available")).await;
    let cold = ["BatchGetItem", "GetSecretValue", "UpdateItem", "TransactWriteItems", "TransactWriteItems"];
    assert_eq!(operations(&world), cold, "a copy that didn't see the call learns of it from the refusal");
}

#[tokio::test]
async fn configuration_is_looked_at_again_after_ten_seconds_and_secrets_after_five_minutes() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", NUMBER)).await;
    world.calls();
    world.advance(9);
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    assert_eq!(operations(&world), ["UpdateItem", "TransactWriteItems"]);
    world.advance(1);
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    assert_eq!(operations(&world), ["BatchGetItem", "UpdateItem", "TransactWriteItems"]);
    world.advance(290);
    world.send(&tenant, "sarah_ai", &call_ended("e3", "c3", NUMBER)).await;
    assert!(operations(&world).contains(&"GetSecretValue".to_owned()));
}

#[tokio::test]
async fn what_doesnt_exist_is_remembered() {
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai"})]).await;
    let unknown = async || {
        world.calls();
        world.request(http::Method::POST, &format!("/webhooks/{}/nothing", tenant.id), &[], "{}").await;
        operations(&world).into_iter().filter(|o| o == "BatchGetItem").count()
    };
    assert_eq!(unknown().await, 1);
    assert_eq!(unknown().await, 0);
    world.advance(10);
    assert_eq!(unknown().await, 1);
}

/// Write units of each call, by table and index.
fn capacity(world: &World) -> Vec<(String, f64, serde_json::Value)> {
    let calls = world.calls().into_iter();
    calls.map(|call| (call.operation.clone(), call.capacity_units(), call.consumed_capacity.unwrap_or_default())).collect()
}

#[tokio::test]
async fn the_sample_call_takes_at_most_nine_write_units() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e0", "c0", "+14155550199")).await; // warms the copy, opens the window
    world.calls();
    let body = sample_body("sarah_ai", "call_ended");
    assert!(body.to_string().len() > 2000);
    world.send(&tenant, "sarah_ai", &body).await;
    let alone = capacity(&world);
    println!("call.ended alone: {alone:#?}");
    assert!(alone.iter().map(|(_, units, _)| units).sum::<f64>() <= 9.0);
    let (world, tenant) = World::with_tenant().await;
    for name in ["call_started", "call_ended", "recording_available"] {
        world.send(&tenant, "sarah_ai", &sample_body("sarah_ai", name)).await;
        let units: f64 = capacity(&world).iter().filter(|(o, ..)| o != "BatchGetItem").map(|(_, units, _)| units).sum();
        println!("{name}: {units}");
    }
}
