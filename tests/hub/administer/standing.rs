//! A tenant that is suspended: nothing comes in or goes out, and nothing is lost.

use std::time::Duration;

use local::aws::Fault;
use serde_json::{Value, json};

use super::{NUMBER, administer, run, table};
use crate::world::{TENANT, Tenant, World, call_ended, crm::Crm};

const CRM: &str = "https://crm.example/api";
const HOOK: &str = "https://example.com/hooks";

async fn synced() -> (World, Tenant, std::sync::Arc<Crm>) {
    let world = World::new().await;
    let crm = Crm::at(&world, CRM);
    let outbound = json!({"preset": "generic", "base_url": CRM, "auth": {"type": "bearer", "token": "t"}});
    let systems = [
        json!({"system_id": "sarah_ai"}),
        json!({"system_id": "external_crm", "direction": "bidirectional", "signature": {"scheme": "custom"}, "outbound": outbound}),
    ];
    let tenant = world.provision(TENANT, &systems).await;
    world.subscribe(&tenant, &json!({"url": HOOK, "event_types": ["phone_number.interaction.created"]})).await;
    (world, tenant, crm)
}

async fn set(world: &World, action: &str) -> Value {
    administer(world, json!({"action": action, "tenant_id": TENANT, "reason": "unpaid"})).await
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_in_or_goes_out_and_what_waited_goes_on() {
    let (world, tenant, crm) = synced().await;
    // A contact that is to be sent, an import that is asked for, an event that is told, and one that waits.
    world.put(&tenant, "/v1/contacts/con_ada", &json!({"first_name": "Ada"})).await;
    crm.edit("contacts", "x1", &json!({"first_name": "Grace"}), world.now());
    let import = json!({"direction": "inbound", "full": true}).to_string();
    assert_eq!(world.post_json(&tenant, "/v1/sync/external_crm/contact", &import).await.status, 202);
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let refusal = Fault::Refuse { status: 400, code: "ThrottlingException" };
    world.weather(move |_, call| if call.operation == "TransactWriteItems" { refusal } else { Fault::None }.into());
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await.text("/status"), "queued");
    world.fail(|_| Fault::None);
    world.internet.take();
    let answer = set(&world, "suspend").await;
    assert_eq!((&answer["active"], &answer["changed"]), (&json!(false), &json!(true)));
    assert_eq!(set(&world, "suspend").await["changed"], false, "a second time changes nothing");
    world.advance(61);
    let unknown = world.send(&tenant, "sarah_ai", &call_ended("e3", "c3", NUMBER)).await;
    let nobody = world.request(http::Method::POST, "/webhooks/nobody/sarah_ai", &[], "{}").await;
    assert_eq!((unknown.status.as_u16(), &unknown.body), (404, &nobody.body));
    let refused = world.get(&tenant, "/v1/failures").await;
    assert!([401, 403].contains(&refused.status.as_u16()), "{refused:?}");
    run(&world, Duration::from_hours(3)).await;
    assert!(world.internet.take().is_empty(), "nothing is delivered");
    assert!(crm.calls().is_empty(), "nothing is sent or asked for");
    let resumed = set(&world, "resume").await;
    assert_eq!((&resumed["active"], &resumed["changed"]), (&json!(true), &json!(true)));
    assert_eq!(set(&world, "resume").await["changed"], false);
    run(&world, Duration::from_mins(40)).await;
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"], 2, "the call that waited is applied");
    let told: Vec<String> = world.internet.take().iter().filter(|a| a.url == HOOK).map(|a| a.id().to_owned()).collect();
    assert_eq!(told.len(), 2, "both calls are told of, each once: {told:?}");
    let calls = crm.calls();
    assert!(calls.contains(&"GET /contacts".into()) && calls.contains(&"POST /contacts".into()), "{calls:?}");
    assert_eq!(world.get(&tenant, "/v1/failures").await.body["data"], json!([]));
    assert_eq!(world.get(&tenant, "/v1/contacts").await.body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (world, tenant) = World::with_tenant().await;
    let before = table(&world).await;
    let answer = administer(&world, json!({"action": "suspend", "tenant_id": TENANT, "dry_run": true})).await;
    assert_eq!((&answer["changed"], &answer["dry_run"]), (&json!(true), &json!(true)));
    assert_eq!(table(&world).await, before);
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await.status, 200);
}

#[tokio::test]
async fn a_key_is_checked_in_one_call() {
    let (world, tenant) = World::with_tenant().await;
    world.get(&tenant, "/v1/failures").await;
    world.advance(61);
    world.calls();
    world.get(&tenant, "/v1/failures").await;
    let calls: Vec<String> = world.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["BatchGetItem", "Query"]);
}
