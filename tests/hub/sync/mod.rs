//! In step with an external CRM, both ways (contract §5). Time is tokio's, and virtual.

mod answers;
mod config;
mod down;
mod failures;
mod hubspot;
mod import;
mod inbound;
mod lost;
mod schedule;
mod sent;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use shared::{
    connector::Entity,
    ids::{SystemId, TenantId},
    operation::{Operation, SyncTask},
    sync::{schedule::job, state::Scope},
};

use crate::world::{
    TENANT, Tenant, World,
    crm::{CRM_URL, Crm},
};

const NUMBER: &str = "+14155550132";
/// What the CRM knows the tenant by.
const TOKEN: &str = "crm-token-8d1f";

/// The tenant's CRM at `base`, with `more` over the integration and `outbound` over its part of that name.
fn integration(base: &str, more: Value, outbound: Value) -> Value {
    let mut integration = json!({"system_id": "external_crm", "direction": "bidirectional", "signature": {"scheme": "custom"},
        "outbound": {"preset": "generic", "base_url": base, "auth": {"type": "bearer", "token": TOKEN}}});
    let merge = |target: &mut Value, more: Value| {
        let fields = target.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
    };
    merge(&mut integration["outbound"], outbound);
    merge(&mut integration, more);
    integration
}

/// A tenant with Sarah AI and a CRM.
async fn synced_with(more: Value, outbound: Value) -> (World, Tenant, Arc<Crm>) {
    let world = World::new().await;
    let crm = Crm::at(&world, CRM_URL);
    let systems = [json!({"system_id": "sarah_ai"}), integration(CRM_URL, more, outbound)];
    let tenant = world.provision(TENANT, &systems).await;
    (world, tenant, crm)
}

pub async fn synced() -> (World, Tenant, Arc<Crm>) {
    synced_with(json!({}), json!({})).await
}

/// Runs queues, stream and schedules for so long.
async fn run(world: &World, time: Duration) {
    let triggers = world.run_triggers();
    tokio::time::sleep(time).await;
    triggers.stop().await;
}

/// Has what changed sent now.
pub async fn sync(world: &World, tenant: &Tenant, entity: &str) {
    ask(world, tenant, entity, json!({})).await;
    run(world, Duration::from_secs(5)).await;
}

async fn ask(world: &World, tenant: &Tenant, entity: &str, wanted: Value) {
    let answer = world.post_json(tenant, &format!("/v1/sync/external_crm/{entity}"), &wanted.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.text("/status")), (202, "queued"), "{answer:?}");
}

/// Makes or changes a contact, `con_{id}`.
async fn put(world: &World, tenant: &Tenant, id: &str, fields: Value) {
    let answer = world.put(tenant, &format!("/v1/contacts/con_{id}"), &fields).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// What the API says of a sync.
async fn state(world: &World, tenant: &Tenant, entity: &str) -> Value {
    let answer = world.get(tenant, "/v1/sync/external_crm").await;
    let states = answer.body["data"].as_array().unwrap_or_else(|| panic!("no states: {answer:?}"));
    states.iter().find(|state| state["entity_type"] == entity).unwrap().clone()
}

async fn kept(world: &World, tenant: &Tenant) -> Vec<Value> {
    world.get(tenant, "/v1/failures").await.body["data"].as_array().unwrap().clone()
}

/// A contact of ours, with what matters of it.
async fn contact(world: &World, tenant: &Tenant, id: &str) -> Value {
    let answer = world.get(tenant, &format!("/v1/contacts/{id}")).await;
    if answer.status == 404 { Value::Null } else { answer.body }
}

/// All contacts of ours that aren't deleted.
async fn contacts(world: &World, tenant: &Tenant) -> Vec<Value> {
    let partition = format!("{}#con", tenant.id);
    let items = world.items().await;
    let mut contacts = Vec::new();
    for item in items.iter().filter(|item| item.get_text("pk") == Some(&partition)) {
        contacts.push(contact(world, tenant, item.get_text("sk").unwrap()).await);
    }
    contacts.retain(|contact| !contact.is_null());
    contacts
}

/// A job, as the queue gives it to `sync-contacts`.
fn batch(tenant: &Tenant) -> Value {
    let scope = Scope {
        tenant: TenantId::parse(&tenant.id).unwrap(),
        system: SystemId::parse("external_crm").unwrap(),
        entity: Entity::Contact,
    };
    json!({"Records": [{"messageId": "1", "body": Operation::Sync(job(&scope, SyncTask::Send, None, None)).to_message().body}]})
}
