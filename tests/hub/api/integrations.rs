//! Registering systems over the API.

use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use local::aws::Fault;
use serde_json::{Value, json};

use super::{NUMBER, world, wrong};
use crate::world::{
    PUBLIC_URL, TENANT, Tenant, World, call_ended,
    crm::{CRM_URL, Crm},
    sign,
};

/// The tenant with one more system.
async fn registered(world: &World, tenant: &Tenant, system: &str, wanted: &Value) -> Tenant {
    let answer = world.put(tenant, &format!("/v1/integrations/{system}"), wanted).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    tenant.clone().with(system, &answer.body["webhook_secret"], wanted)
}

fn erp() -> Value {
    json!({"signature": {"scheme": "custom"}, "limits": {"per_minute": 10, "per_day": 100},
        "mapping": {"event_id": "id", "event_type": "type", "events": {"order": {"interaction_type": "order", "fields": {
            "phone_number": {"path": "phone", "transform": "phone", "required": true}}}}}})
}

fn order(id: &str) -> Value {
    json!({"id": id, "type": "order", "phone": NUMBER})
}

#[tokio::test]
async fn a_system_that_is_registered_takes_webhooks_and_one_that_is_removed_doesnt() {
    let (world, tenant) = world().await;
    let tenant = registered(&world, &tenant, "erp", &erp()).await;
    assert_eq!(world.send(&tenant, "erp", &order("1")).await.text("/status"), "processed");
    // Limits and activity apply within 10 s.
    let mut changed = erp();
    changed["limits"] = json!({"per_minute": 1, "per_day": 1});
    assert_eq!(world.put(&tenant, "/v1/integrations/erp", &changed).await.status, 200);
    world.advance(10);
    assert_eq!(world.send(&tenant, "erp", &order("2")).await.status, 429);
    changed["active"] = false.into();
    world.put(&tenant, "/v1/integrations/erp", &changed).await;
    world.advance(10);
    assert_eq!(world.send(&tenant, "erp", &order("3")).await.status, 404);
    assert_eq!(world.put(&tenant, "/v1/integrations/erp", &erp()).await.status, 200);
    world.advance(10);
    assert_eq!(world.send(&tenant, "erp", &order("4")).await.status, 200, "with the secret that it had");
    assert_eq!(world.delete(&tenant, "/v1/integrations/erp").await.status, 204);
    world.advance(10);
    assert_eq!(world.send(&tenant, "erp", &order("5")).await.status, 404);
    assert_eq!(world.secrets_document(&tenant).await["systems"].get("erp"), None);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(world.as_key(method, tenant.key(), "/v1/integrations/erp", "").await.status, 404);
    }
    // What it sent stays.
    assert_eq!(world.interactions(&tenant, NUMBER).await.len(), 2);
}

#[tokio::test]
async fn an_integration_is_shown_whole_but_for_its_secrets() {
    let (world, tenant) = world().await;
    let outbound =
        json!({"preset": "generic", "base_url": CRM_URL, "auth": {"type": "bearer", "token": "s3cret-token"}});
    let wanted = json!({"direction": "bidirectional", "webhook_secret": "s3cret-webhook", "signature": {"scheme": "custom"},
        "outbound": outbound});
    let made = world.put(&tenant, "/v1/integrations/external_crm", &wanted).await;
    assert_eq!((made.status.as_u16(), made.text("/webhook_secret")), (201, "s3cret-webhook"));
    let shown = world.get(&tenant, "/v1/integrations/external_crm").await.body;
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    let expected = json!({"system_id": "external_crm", "direction": "bidirectional", "active": true, "batch": false,
        "signature": {"scheme": "custom"}, "limits": {"per_minute": 100, "per_day": 50000, "when_exceeded": "reject"},
        "retry": {"max_attempts": 2, "backoff_factor": 3.0, "base_delay_seconds": 10.0},
        "outbound": {"preset": "generic", "base_url": CRM_URL, "auth": {"type": "bearer"}},
        "webhook_url": format!("{PUBLIC_URL}/webhooks/{TENANT}/external_crm"),
        "public_url": format!("{PUBLIC_URL}/webhooks/{TENANT}/external_crm"),
        "created_at": "2026-01-15T12:00:00Z", "updated_at": "2026-01-15T12:00:00Z"});
    assert_eq!(shown, expected);
    assert!(!format!("{:?}", world.items().await).contains("s3cret"));
    // What was read can be written, and secrets stay.
    let before = world.secrets_document(&tenant).await;
    let again = world.put(&tenant, "/v1/integrations/external_crm", &shown).await;
    assert_eq!((again.status.as_u16(), again.body.get("webhook_secret")), (200, None), "{again:?}");
    assert_eq!(world.secrets_document(&tenant).await, before);
    let list = world.get(&tenant, "/v1/integrations").await.body;
    let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|i| &i["system_id"]).collect();
    assert_eq!(ids, ["external_crm", "sarah_ai"]);
    assert_eq!(list["data"][0], world.get(&tenant, "/v1/integrations/external_crm").await.body);
}

#[tokio::test]
async fn what_we_show_a_system_is_never_sent_elsewhere() {
    let (world, tenant) = world().await;
    let at = |url: &str| json!({"direction": "outbound", "outbound": {"base_url": url, "auth": {"type": "bearer", "token": "s3cret"}}});
    assert_eq!(world.put(&tenant, "/v1/integrations/crm", &at(CRM_URL)).await.status, 201);
    let mut moved = at("https://attacker.example");
    moved["outbound"]["auth"].as_object_mut().unwrap().remove("token");
    assert_eq!(wrong(&world.put(&tenant, "/v1/integrations/crm", &moved).await), ["outbound.auth.token"]);
    assert_eq!(world.put(&tenant, "/v1/integrations/crm", &at("https://new.example")).await.status, 200);
}

#[tokio::test]
async fn all_that_is_wrong_is_said_field_by_field() {
    let (world, tenant) = world().await;
    let wanted = json!({"direction": "sideways", "limits": {"per_minute": "many", "per_day": 1}, "batch": 1, "colour": "red",
        "webhook_secret": ""});
    let answer = world.put(&tenant, "/v1/integrations/erp", &wanted).await;
    assert_eq!(wrong(&answer), ["webhook_secret", "batch", "colour", "direction", "limits"], "{answer:?}");
    let wanted = json!({"limits": {"per_minute": 0, "per_day": 1}, "retry": {"max_attempts": 99, "backoff_factor": 0.5},
        "signature": {"scheme": "template", "template": "{body}"}, "public_url": "ftp://x", "mapping": {"events": {"x": {
            "interaction_type": "y", "fields": {"phone_nubmer": {"path": "p"}}}}}});
    let answer = world.put(&tenant, "/v1/integrations/erp", &wanted).await;
    let fields = wrong(&answer);
    for field in ["limits", "retry.max_attempts", "retry.backoff_factor", "signature.signature_header", "public_url"] {
        assert!(fields.contains(&field), "{field}: {answer:?}");
    }
    assert!(fields.iter().any(|field| field.starts_with("mapping.events.x")), "{answer:?}");
    for system in ["Bad", "-x", "a%23b", &"a".repeat(65)] {
        assert_eq!(wrong(&world.put(&tenant, &format!("/v1/integrations/{system}"), &erp()).await), ["system_id"]);
    }
    let private = json!({"direction": "outbound", "outbound": {"base_url": "https://169.254.169.254/latest"}});
    assert_eq!(wrong(&world.put(&tenant, "/v1/integrations/erp", &private).await), ["outbound.base_url"]);
    assert_eq!(world.get(&tenant, "/v1/integrations/erp").await.status, 404);
}

#[tokio::test]
async fn both_secrets_count_during_a_rotation() {
    let (world, tenant) = world().await;
    let tenant = registered(&world, &tenant, "erp", &erp()).await;
    let rotate =
        async |body: Value| world.post_json(&tenant, "/v1/integrations/erp/rotate-secret", &body.to_string()).await;
    let rotated = rotate(json!({"overlap_hours": 2})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    assert_eq!(rotated.text("/old_secret_expires_at"), (world.now() + SignedDuration::from_hours(2)).to_string());
    let new = rotated.text("/secret");
    assert_ne!(new, tenant.secret("erp"));
    let send = async |id: &str, secret: &str| {
        let (body, url) = (order(id).to_string(), format!("/webhooks/{TENANT}/erp"));
        let config = serde_json::from_value(json!({"scheme": "custom"})).unwrap();
        let signed = sign(&config, secret, &url, &body, world.now());
        let headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        world.request(Method::POST, &url, &headers, body).await.status.as_u16()
    };
    let old = tenant.secret("erp");
    assert_eq!((send("1", new).await, send("2", old).await), (200, 200));
    world.advance(2 * 3_600);
    assert_eq!((send("3", new).await, send("4", old).await), (200, 401));
    assert_eq!(rotate(json!({"secret": "mine"})).await.text("/secret"), "mine");
    assert_eq!(wrong(&rotate(json!({"secret": "", "overlap_hour": 1})).await), ["overlap_hour"]);
    assert_eq!(wrong(&rotate(json!({"secret": ""})).await), ["secret"]);
    assert_eq!(wrong(&rotate(json!({"overlap_hours": 1_000})).await), ["overlap_hours"]);
    let unknown = world.post_json(&tenant, "/v1/integrations/nothing/rotate-secret", "{}").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_crm_that_is_registered_gets_what_there_is_and_one_that_is_removed_costs_nothing() {
    let (world, tenant) = world().await;
    let crm = Crm::at(&world, CRM_URL);
    let put = async |id: &str| world.put(&tenant, &format!("/v1/contacts/con_{id}"), &json!({"first_name": "A"})).await;
    put("1").await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let wanted =
        json!({"direction": "outbound", "outbound": {"base_url": CRM_URL, "auth": {"type": "bearer", "token": "t"}}});
    assert_eq!(world.put(&tenant, "/v1/integrations/crm", &wanted).await.status, 201);
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((crm.records("contacts").len(), crm.records("interactions").len()), (1, 1));
    // Only what is switched on.
    let mut less = wanted.clone();
    less["outbound"]["entities"] = json!({"interaction": false});
    assert_eq!(world.put(&tenant, "/v1/integrations/crm", &less).await.status, 200);
    tokio::time::sleep(Duration::from_secs(10)).await;
    put("2").await;
    world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await;
    tokio::time::sleep(Duration::from_mins(6)).await;
    assert_eq!((crm.records("contacts").len(), crm.records("interactions").len()), (2, 1));
    put("3").await;
    assert_eq!(world.delete(&tenant, "/v1/integrations/crm").await.status, 204);
    put("4").await;
    tokio::time::sleep(Duration::from_mins(6)).await;
    assert_eq!((crm.records("contacts").len(), world.marks().await.len()), (2, 0));
    // Registered again, it goes on where it was.
    assert_eq!(world.put(&tenant, "/v1/integrations/crm", &wanted).await.status, 201);
    tokio::time::sleep(Duration::from_mins(6)).await;
    triggers.stop().await;
    assert_eq!((crm.records("contacts").len(), crm.records("interactions").len()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn two_who_register_at_once_take_turns_and_a_death_in_between_is_mended() {
    let (world, tenant) = world().await;
    let erp = erp();
    let (one, other) = tokio::join!(
        world.put(&tenant, "/v1/integrations/one", &erp),
        world.put(&tenant, "/v1/integrations/other", &erp)
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (201, 201), "{one:?} {other:?}");
    let document = world.secrets_document(&tenant).await;
    for (name, answer) in [("one", &one), ("other", &other)] {
        assert_eq!(document["systems"][name]["webhook"][0]["secret"], answer.body["webhook_secret"]);
    }
    // It dies after the secret was written; whoever tries again gets that secret, or another one, and it counts.
    world.weather(|_, call| if call.operation == "TransactWriteItems" { Fault::Hang } else { Fault::None }.into());
    let dead = world.put(&tenant, "/v1/integrations/third", &erp);
    assert!(tokio::time::timeout(Duration::from_secs(1), dead).await.is_err());
    world.fail(|_| Fault::None);
    world.advance(61);
    let given = json!({"webhook_secret": "mine"});
    let mut wanted = erp.clone();
    wanted.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    let tenant = registered(&world, &tenant, "third", &wanted).await;
    assert_eq!(world.send(&tenant, "third", &order("1")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_at_the_end_doesnt_hold_up_the_next() {
    let (world, tenant) = world().await;
    world.put(&tenant, "/v1/integrations/erp", &erp()).await;
    // Both saw the same before, so that one comes too late.
    let changes = [1, 2].map(|n| json!({"limits": {"per_minute": n, "per_day": n}}));
    let [one, other] = changes.each_ref().map(|change| world.put(&tenant, "/v1/integrations/erp", change));
    let (one, other) = tokio::join!(one, other);
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(world.put(&tenant, "/v1/integrations/erp", &erp()).await.status, 200);
}
