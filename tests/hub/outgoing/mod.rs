//! Outgoing webhooks (contract §6): from a change in the CRM to a signed request at a tenant's endpoint, and what becomes of
//! it. Time is tokio's, and virtual.

mod attempts;
mod recovery;
mod told;

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Arrival, Tenant, World};

const NUMBER: &str = "+14155550132";
const URL: &str = "https://example.com/hooks";

/// A tenant that wants to be told of these events.
async fn subscribed(event_types: Value) -> (World, Tenant, Value) {
    let (world, tenant) = World::with_tenant().await;
    let subscription = world.subscribe(&tenant, &json!({"url": URL, "event_types": event_types})).await;
    (world, tenant, subscription)
}

/// Runs queues, stream and schedules for so long.
async fn run(world: &World, time: Duration) {
    let triggers = world.run_triggers();
    tokio::time::sleep(time).await;
    triggers.stop().await;
}

fn types(arrivals: &[Arrival]) -> Vec<String> {
    let mut types: Vec<_> = arrivals.iter().map(|a| a.header("x-webhook-event").to_owned()).collect();
    types.sort_unstable();
    types
}
