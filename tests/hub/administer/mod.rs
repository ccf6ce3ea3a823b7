//! `administer-tenant`: what operators do with tenants that are there. Time is tokio's, and virtual.

mod delete;
mod erase;
mod export;
mod failures;
mod input;
mod keys;
mod layout;
mod standing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Method;
use local::aws::Fault;
use serde_json::{Value, json};
use shared::{ids::TenantId, partitions::Partition, store::Item};

use crate::world::{Behaviour, Tenant, World, call_ended, crm::Crm, payment, sample_body};

/// The number of the person whose data is erased, and another one of the same tenants.
const NUMBER: &str = "+14155550132";
const OTHER: &str = "+14155550177";

/// Invokes the function.
async fn administer(world: &World, order: Value) -> Value {
    world.invoke("administer-tenant", order.clone()).await.unwrap_or_else(|error| panic!("{order}: {error}"))
}

async fn refused(world: &World, order: Value) -> String {
    world.invoke("administer-tenant", order).await.unwrap_err()
}

/// Runs queues, stream and schedules for so long.
async fn run(world: &World, time: Duration) {
    let triggers = world.run_triggers();
    tokio::time::sleep(time).await;
    triggers.stop().await;
}

/// A tenant's items.
async fn items_of(world: &World, tenant: &str) -> Vec<Item> {
    let prefix = format!("{tenant}#");
    let items = world.items().await.into_iter();
    items.filter(|item| item.get_text("pk").is_some_and(|pk| pk.starts_with(&prefix))).collect()
}

/// The table, in an order of its own.
async fn table(world: &World) -> BTreeMap<String, Item> {
    let name = |item: &Item| format!("{:?}", item.key().unwrap());
    world.items().await.into_iter().map(|item| (name(&item), item)).collect()
}

fn kind_of(item: &Item) -> (TenantId, Partition) {
    let pk = item.get_text("pk").unwrap();
    Partition::of_key(pk).unwrap_or_else(|| panic!("{pk} is in no partition of shared::partitions"))
}

fn crm_url(name: &str) -> String {
    format!("https://{name}.example/api")
}

/// A tenant with something of everything: systems and a CRM, records, what came in, failed, waits, and was told.
async fn filled(world: &World, name: &str) -> (Tenant, Arc<Crm>) {
    let outbound =
        |base: &str| json!({"preset": "generic", "base_url": base, "auth": {"type": "bearer", "token": "t"}});
    let (url, old_url) = (crm_url(name), crm_url(&format!("old-{name}")));
    let (crm, _) = (Crm::at(world, &url), Crm::at(world, &old_url));
    let crm_of = |system: &str, base: &str| json!({"system_id": system, "direction": "bidirectional", "signature": {"scheme": "custom"}, "outbound": outbound(base)});
    let patient = json!({"max_attempts": 2, "backoff_factor": 2, "base_delay_seconds": 36_000});
    let systems = [
        json!({"system_id": "sarah_ai", "retry": patient}),
        json!({"system_id": "payment_processor"}),
        crm_of("external_crm", &url),
        crm_of("old_crm", &old_url),
    ];
    let tenant = world.provision(name, &systems).await;
    // Endpoints repeat what they are told.
    world.internet.answer(|arrival| Behaviour::text(200, &arrival.body));
    let hook = json!({"url": format!("https://example.com/{name}"), "event_types": ["*"], "rate_per_second": 50});
    world.subscribe(&tenant, &hook).await;
    let gone = world.subscribe(&tenant, &hook).await;
    for (id, number) in [("ada", NUMBER), ("bob", OTHER)] {
        let fields = json!({"first_name": id, "email": format!("{id}@example.com"), "phone_number": number,
            "custom_fields": {"note": "calls at night"}});
        assert!(world.put(&tenant, &format!("/v1/contacts/con_{id}"), &fields).await.status.is_success());
    }
    let company = json!({"name": "Engines", "phone_number": NUMBER, "domain": "engines.example"});
    assert!(world.put(&tenant, "/v1/companies/com_engines", &company).await.status.is_success());
    for (n, number) in [(1, NUMBER), (2, OTHER)] {
        let call = format!("call-{n}");
        let started = json!({"event_id": format!("s{n}"), "event_type": "recording.available",
            "call": {"id": call}, "recording": {"url": "https://r.example/1"}});
        world.send(&tenant, "sarah_ai", &started).await;
        let ended = call_ended(&format!("e{n}"), &call, number);
        assert_eq!(world.send(&tenant, "sarah_ai", &ended).await.text("/status"), "processed");
        assert_eq!(world.send(&tenant, "sarah_ai", &ended).await.text("/status"), "duplicate");
        let odd = json!({"event_id": format!("o{n}"), "event_type": "call.exploded",
            "call": {"id": "c", "destination_number": number.replace("+1415", "(415) ")}});
        assert_eq!(world.send(&tenant, "sarah_ai", &odd).await.text("/status"), "failed");
        assert_eq!(
            world.send(&tenant, "payment_processor", &payment(n, 4200, number)).await.text("/status"),
            "processed"
        );
        let body = json!({"mapping": {"system_id": "x", "events": {"a": {"interaction_type": "x", "fields":
            {"phone_number": {"path": "phone", "transform": "phone"}}}}}, "payload": {"event_type": "a", "phone": number}});
        let (authorization, id) = (format!("Bearer {}", tenant.key()), format!("preview-{n}"));
        let headers = [("authorization", authorization.as_str()), ("idempotency-key", id.as_str())];
        let preview = world.request(Method::POST, "/v1/mappings/preview", &headers, body.to_string()).await;
        assert_eq!(preview.status, 200, "{preview:?}");
    }
    // Somebody else's call, transferred to the number.
    let transferred = json!({"event_id": "t1", "event_type": "call.transferred", "timestamp": "2026-01-15T10:31:00Z",
        "call": {"id": "call-2"}, "transfer": {"to": NUMBER, "number": NUMBER, "transferred_to": NUMBER}});
    world.send(&tenant, "sarah_ai", &transferred).await;
    world.send(&tenant, "payment_processor", &sample_body("payment_processor", "merchant_updated")).await;
    // A call with a wrong signature, of a source that is counted.
    let path = format!("/webhooks/{name}/sarah_ai");
    world.request(Method::POST, &path, &[("x-webhook-signature", "sha256=00")], "{}").await;
    run(world, Duration::from_mins(11)).await;
    assert_eq!(world.delete(&tenant, &format!("/v1/subscriptions/{}", gone["id"].as_str().unwrap())).await.status, 204);
    assert_eq!(world.delete(&tenant, "/v1/integrations/old_crm").await.status, 204);
    // What can't be stored for the moment waits in the table.
    let refusal = Fault::Refuse { status: 400, code: "ThrottlingException" };
    world.weather(move |_, call| if call.operation == "TransactWriteItems" { refusal } else { Fault::None }.into());
    for (n, number) in [(8, NUMBER), (9, OTHER)] {
        let waits = call_ended(&format!("w{n}"), &format!("call-{n}"), number);
        assert_eq!(world.send(&tenant, "sarah_ai", &waits).await.text("/status"), "queued");
    }
    world.fail(|_| Fault::None);
    (tenant, crm)
}
