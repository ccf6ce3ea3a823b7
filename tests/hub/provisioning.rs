//! `provision-tenant` (contract §7).

use std::time::Duration;

use local::aws::Fault;
use serde_json::{Value, json};
use shared::{
    connector::Entity,
    ids::{SystemId, TenantId},
    registry::Registry,
};

use crate::world::{PUBLIC_URL, TENANT, World, call_ended};

fn order(systems: &[&str]) -> Value {
    let systems: Vec<Value> = systems.iter().map(|s| json!({"system_id": s})).collect();
    json!({"tenant_id": TENANT, "name": "Demo", "default_region": "US", "integrations": systems})
}

#[tokio::test]
async fn gives_keys_and_secrets_once() {
    let world = World::new().await;
    let first = world.invoke("provision-tenant", order(&["sarah_ai", "stripe"])).await.unwrap();
    assert!(first["api_key"].as_str().unwrap().starts_with("smrt_tenant_demo_"));
    let systems = first["integrations"].as_array().unwrap();
    assert_eq!(systems[0]["webhook_url"], format!("{PUBLIC_URL}/webhooks/{TENANT}/sarah_ai"));
    assert!(systems.iter().all(|s| s["webhook_secret"].as_str().unwrap().starts_with("whsec_")));
    assert_ne!(systems[0]["webhook_secret"], systems[1]["webhook_secret"]);
    let again = world.invoke("provision-tenant", order(&["sarah_ai", "github"])).await.unwrap();
    assert_eq!(again["api_key"], Value::Null);
    assert_eq!(again["integrations"][0]["webhook_secret"], Value::Null);
    assert!(again["integrations"][1]["webhook_secret"].is_string());
    let mut reissue = order(&[]);
    reissue["reissue_api_key"] = json!(true);
    let another = world.invoke("provision-tenant", reissue).await.unwrap();
    assert!(another["api_key"].is_string() && another["api_key"] != first["api_key"]);
}

#[tokio::test]
async fn takes_a_given_secret_and_configuration() {
    let world = World::new().await;
    let integration =
        json!({"system_id": "sarah_ai", "webhook_secret": "given", "limits": {"per_minute": 1, "per_day": 5}});
    let tenant = world.provision(TENANT, &[integration]).await;
    assert_eq!(tenant.secret("sarah_ai"), "given");
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("a", "a", "+14155550132")).await.status, 200);
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("b", "b", "+14155550132")).await.status, 429);
}

#[tokio::test]
async fn says_everything_that_is_wrong_at_once() {
    let world = World::new().await;
    let request = json!({"tenant_id": "Bad/Name", "default_region": "XX", "integrations": [
        {"system_id": "sarah_ai", "limits": {"per_minute": 0, "per_day": 1}, "retry": {"max_attempts": 99, "backoff_factor": 0.5}},
        {"system_id": "../x"},
        {"system_id": "a", "colour": "red"},
        {"system_id": "b", "signature": {"scheme": "template", "template": "{body}"}},
        {"system_id": "c", "signature": {"scheme": "standard"}, "webhook_secret": "!not base64!"},
        {"system_id": "d", "mapping": {"events": {"x": {"interaction_type": "y", "fields": {"phone_nubmer": {"path": "p"}}}}}},
        {}]});
    let error = world.invoke("provision-tenant", request).await.unwrap_err();
    for part in [
        "tenant_id",
        "default_region",
        "integrations[0].limits",
        "integrations[0].retry.max_attempts",
        "integrations[0].retry.backoff_factor",
        "integrations[1].system_id",
        "colour",
        "integrations[3].signature.signature_header",
        "integrations[4].webhook_secret",
        "phone_number",
        "integrations[6].system_id",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(!error.contains("!not base64!"), "{error}");
}

fn crm(system: &str, direction: &str, auth: &Value) -> Value {
    json!({"system_id": system, "direction": direction, "outbound": {"base_url": "https://crm.example/api", "auth": auth}})
}

#[tokio::test]
async fn what_is_secret_of_a_crm_is_kept_apart() {
    let world = World::new().await;
    let auth = [
        (
            "a",
            json!({"type": "api_key", "header": "x-api-key", "value": "secret-a"}),
            json!({"type": "api_key", "value": "secret-a"}),
        ),
        ("b", json!({"type": "bearer", "token": "secret-b"}), json!({"type": "bearer", "token": "secret-b"})),
        (
            "c",
            json!({"type": "basic", "username": "u", "password": "secret-c"}),
            json!({"type": "basic", "password": "secret-c"}),
        ),
        (
            "d",
            json!({"type": "oauth2", "token_url": "https://auth.example/", "client_id": "i", "client_secret": "secret-d"}),
            json!({"type": "oauth2", "client_secret": "secret-d"}),
        ),
        ("e", Value::Null, Value::Null),
    ];
    let systems: Vec<_> = auth.iter().map(|(system, auth, _)| crm(system, "bidirectional", auth)).collect();
    let tenant = world.provision(TENANT, &systems).await;
    let document = world.secrets_document(&tenant).await;
    for (system, _, kept) in &auth {
        assert_eq!(document["systems"][system]["credentials"], *kept);
    }
    let stored: Vec<_> = world.items().await.iter().map(|item| format!("{item:?}")).collect();
    assert!(
        stored.iter().any(|item| item.contains("x-api-key")) && !stored.iter().any(|item| item.contains("secret-"))
    );
    // Provisioned again, it is as it was.
    let mut changed = systems.clone();
    changed[1]["outbound"]["auth"]["token"] = json!("other");
    world.provision(TENANT, &changed).await;
    assert_eq!(world.secrets_document(&tenant).await, document);
}

#[tokio::test]
async fn a_system_that_is_only_sent_to_is_found_only_by_who_sends() {
    let world = World::new().await;
    let none = Value::Null;
    let systems = [crm("out", "outbound", &none), crm("both", "bidirectional", &none), json!({"system_id": "in"})];
    let tenant = world.provision(TENANT, &systems).await;
    let (registry, store) = (Registry::new(Duration::from_secs(10)), world.store());
    let id = TenantId::parse(TENANT).unwrap();
    for (system, inbound, outbound) in
        [("out", false, true), ("both", true, true), ("in", true, false), ("none", false, false)]
    {
        let system = SystemId::parse(system).unwrap();
        for _ in 0..2 {
            let sends = registry.find(&store, &id, &system, world.now()).await.unwrap();
            assert_eq!(sends.is_some(), inbound, "{system}");
            assert_eq!(registry.knows(&id, &system), inbound, "{system}");
            let target = registry.find_outbound(&store, &id, &system, world.now()).await.unwrap();
            assert_eq!(target.is_some(), outbound, "{system}");
            let plan = target.as_ref().and_then(|t| t.integration.outbound.as_ref()?.entity(Entity::Contact));
            assert_eq!(plan.is_some(), outbound);
        }
    }
    assert_eq!(world.send(&tenant, "out", &json!({"id": "1"})).await.status, 404);
    assert_ne!(world.send(&tenant, "both", &json!({"id": "1"})).await.status, 404);
}

#[tokio::test]
async fn a_crm_that_cant_be_called_is_refused() {
    let world = World::new().await;
    let bearer = json!({"type": "bearer", "token": "secret"});
    let mut internal = crm("d", "outbound", &bearer);
    internal["outbound"]["base_url"] = json!("http://10.0.0.1/");
    let mut wrong = crm("e", "outbound", &json!({"type": "bearer", "token": "se\ncret"}));
    wrong["outbound"]["entities"] =
        json!({"contact": {"fields": {"nam": {"path": "x"}, "smrt_crm_id": {"path": "y"}}}});
    let request = json!({"tenant_id": TENANT, "integrations": [
        {"system_id": "a", "direction": "outbound"},
        crm("b", "inbound", &bearer),
        crm("c", "outbound", &json!({"type": "bearer"})),
        internal,
        wrong]});
    let error = world.invoke("provision-tenant", request).await.unwrap_err();
    for part in [
        "integrations[0].outbound: is required where data flows outward",
        "integrations[1].outbound: needs `direction` to be outbound or bidirectional",
        "integrations[2].outbound.auth.token: is required",
        "integrations[3].outbound.base_url: the URL must begin with https://",
        "integrations[4].outbound.auth.token: must be text",
        "integrations[4].outbound.entities.contact.fields.nam: there is no field",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_dies_anywhere_can_be_made_again() {
    for from in 0..14 {
        for fault in [Fault::Disconnect, Fault::LoseAnswer] {
            let world = World::new().await;
            world.fail(move |number| if number >= from { fault } else { Fault::None });
            let first = world.invoke("provision-tenant", order(&["sarah_ai", "stripe"])).await;
            world.fail(|_| Fault::None);
            world.advance(61); // the dead call's lease ends
            let mut request = order(&["sarah_ai", "stripe"]);
            request["reissue_api_key"] = json!(first.is_err()); // the first key may have been made and lost
            let again =
                world.invoke("provision-tenant", request).await.unwrap_or_else(|e| panic!("{from} {fault:?}: {e}"));
            assert_eq!(again["api_key"].is_string(), first.is_err(), "{from} {fault:?}");
        }
    }
}

#[tokio::test]
async fn two_calls_at_once_dont_mix() {
    let world = World::new().await;
    let calls = (0..8).map(|_| world.invoke("provision-tenant", order(&["sarah_ai", "stripe"])));
    let answers = futures_util::future::join_all(calls).await;
    let keys = answers.iter().flatten().filter(|a| a["api_key"].is_string()).count();
    assert_eq!(keys, 1, "{answers:?}");
    assert!(answers.iter().filter_map(|a| a.as_ref().err()).all(|e| e.contains("try again")), "{answers:?}");
}
