//! `provision-tenant` (contract §7).

use local::aws::Fault;
use serde_json::{Value, json};

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
