//! Hard isolation (docs/isolation.md): every call for a tenant carries that tenant's session. What stands for IAM refuses all
//! others, and a world that had one refused fails when it ends.

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use local::aws::Fault;
use serde_json::json;

use crate::world::{BY_OWN_ROLE, ROLE_ARN, Tenant, World, call_ended, crm::Crm, opens};

const NUMBER: &str = "+14155550132";

/// A tenant with Sarah AI, whose events wait for long, and a CRM.
async fn tenant(world: &World, id: &str) -> Tenant {
    let url = format!("https://{id}.example/api");
    Crm::at(world, &url);
    let retry = json!({"max_attempts": 2, "backoff_factor": 2, "base_delay_seconds": 1_000});
    let crm = json!({"system_id": "external_crm", "direction": "bidirectional", "signature": {"scheme": "custom"},
        "outbound": {"preset": "generic", "base_url": url, "auth": {"type": "bearer", "token": "t"}}});
    world.provision(id, &[json!({"system_id": "sarah_ai", "retry": retry}), crm]).await
}

/// What a tenant and its operator do in a day, of every kind.
async fn a_day(world: &World, tenant: &Tenant) {
    let made = world.subscribe(tenant, &json!({"url": "https://example.com/hooks", "event_types": ["*"]})).await;
    let subscription = format!("/v1/subscriptions/{}", made["id"].as_str().unwrap());
    let nothing = format!("/webhooks/{}/nothing", tenant.id);
    assert_eq!(world.request(Method::POST, &nothing, &[], "{}").await.status, 404);
    assert_eq!(world.send(tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await.text("/status"), "processed");
    let refusal = Fault::Refuse { status: 400, code: "ThrottlingException" };
    world.weather(move |_, call| if call.operation == "TransactWriteItems" { refusal } else { Fault::None }.into());
    assert_eq!(world.send(tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await.text("/status"), "queued");
    world.fail(|_| Fault::None);
    for (path, body) in [
        ("/v1/contacts/con_a", json!({"first_name": "A", "phone_number": NUMBER})),
        ("/v1/companies/com_a", json!({"name": "A"})),
    ] {
        assert!(world.put(tenant, path, &body).await.status.is_success(), "{path}");
    }
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(11)).await;
    let read = [
        "inbound-events",
        "contacts",
        "companies",
        "failures",
        "subscriptions",
        "integrations",
        "api-keys",
        "sync/external_crm",
    ];
    let read = read.iter().map(|list| format!("/v1/{list}")).chain([
        format!("/v1/phone-numbers/{NUMBER}"),
        format!("/v1/phone-numbers/{NUMBER}/interactions"),
        format!("{subscription}/deliveries"),
    ]);
    for path in read {
        assert_eq!(world.get(tenant, &path).await.status, 200, "{path}");
    }
    let since = json!({"since": "2026-01-15T11:00:00Z"}).to_string();
    for path in [format!("{subscription}/replay"), "/v1/sync/external_crm/contact".to_owned()] {
        let body = if path.ends_with("replay") { since.as_str() } else { "{}" };
        assert_eq!(world.post_json(tenant, &path, body).await.status, 202, "{path}");
    }
    tokio::time::sleep(Duration::from_mins(12)).await;
    triggers.stop().await;
    world.invoke("sweep-events", json!({})).await.unwrap();
    assert_eq!(world.phone(tenant, NUMBER).await["statistics"]["total_calls"], 2, "what waited for long too");
}

/// An operator's acts on it, the last of which deletes it.
async fn administered(world: &World, tenant: &Tenant) {
    for action in ["list_tenants", "index_tenants", "list_failures"] {
        world.invoke("administer-tenant", json!({"action": action, "reason": "test"})).await.unwrap();
    }
    for action in ["suspend", "resume", "reissue_key", "export", "delete"] {
        let mut order = json!({"action": action, "tenant_id": tenant.id, "reason": "test"});
        if action == "delete" {
            order["confirm"] = json!(tenant.id);
        }
        world.invoke("administer-tenant", order.clone()).await.unwrap_or_else(|error| panic!("{order}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_function_reaches_a_tenants_data_by_its_session_and_little_else() {
    let world = World::with_sessions().await;
    let (a, b) = (tenant(&world, "tenant_a").await, tenant(&world, "tenant_b").await);
    for tenant in [&a, &b] {
        a_day(&world, tenant).await;
    }
    for tenant in [&a, &b] {
        administered(&world, tenant).await;
    }
    let reached = world.guard().reached();
    let by_functions = reached.iter().filter(|(who, _)| !who.starts_with("tenant_"));
    let of_function = |(who, what): &(String, String)| {
        let (name, _) = BY_OWN_ROLE.iter().find(|(name, _)| who.starts_with(name)).unwrap_or_else(|| panic!("{who}"));
        ((*name).to_owned(), what.clone())
    };
    let table = BY_OWN_ROLE
        .iter()
        .flat_map(|(name, places)| places.iter().map(|place| ((*name).to_owned(), (*place).to_owned())));
    assert_eq!(
        by_functions.map(of_function).collect::<BTreeSet<_>>(),
        table.collect(),
        "docs/isolation.md has this table"
    );
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_another_tenant_open_nothing() {
    let world = World::with_sessions().await;
    world.provision("tenant_a", &[json!({"system_id": "sarah_ai"})]).await;
    let session = world.aws.session("ASIALOCAL0").unwrap();
    assert_eq!(session.role_arn, ROLE_ARN);
    assert_eq!(session.tags.iter().collect::<Vec<_>>(), [(&"tenant".to_owned(), &"tenant_a".to_owned())]);
    assert_eq!((session.name.as_str(), session.seconds.as_str()), ("t-tenant_a", "3600"));
    for (key, is_opened) in
        [("tenant_a#in", true), ("tenant_b#in", false), ("tenant_a", false), ("tenant_ab#in", false)]
    {
        assert_eq!(opens(&session, key), is_opened, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_stored_by_its_tenants_session() {
    let world = World::with_sessions().await;
    let a = world.provision("tenant_a", &[json!({"system_id": "sarah_ai"})]).await;
    let b = world.provision("tenant_b", &[json!({"system_id": "sarah_ai"})]).await;
    world.guard().sessions();
    for (n, tenant) in [&a, &b, &a, &b].into_iter().enumerate() {
        let answer = world.send(tenant, "sarah_ai", &call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER)).await;
        assert_eq!(answer.text("/status"), "processed", "{answer:?}");
    }
    let begun = world.guard().sessions();
    assert_eq!(begun, ["webhook-sarah-ai"; 2], "one for each tenant");
    let reached = world.guard().reached();
    let by = |who: &str| reached.iter().filter(|(by, _)| by == who).map(|(_, what)| what.as_str()).collect::<Vec<_>>();
    assert_eq!(by("webhook-sarah-ai"), ["config"], "what is read before the signature is verified");
    for tenant in ["tenant_a", "tenant_b"] {
        assert!(
            BTreeSet::from_iter(by(tenant)).is_superset(&BTreeSet::from(["in", "int", "limit", "phone"])),
            "{reached:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_before_it_ends_and_used_while_it_cant_be() {
    let world = World::with_sessions().await;
    let tenant = world.provision("tenant_a", &[json!({"system_id": "sarah_ai"})]).await;
    let mut count = 0;
    let mut begun = async |seconds| {
        world.advance(seconds);
        world.guard().sessions();
        count += 1;
        let event = call_ended(&format!("e{count}"), &format!("c{count}"), NUMBER);
        let status = world.send(&tenant, "sarah_ai", &event).await.text("/status").to_owned();
        (status, world.guard().sessions().len())
    };
    let stored = |sessions| ("processed".to_owned(), sessions);
    assert_eq!(begun(0).await, stored(1));
    assert_eq!(begun(44 * 60).await, stored(0));
    assert_eq!(begun(60).await, stored(1));
    assert_eq!(begun(44 * 60).await, stored(0));
    world.guard().fail_sessions(true);
    let (status, tries) = begun(60).await;
    assert_eq!(status, "processed", "the old one still counts");
    assert!(tries >= 1, "it was tried");
    assert_eq!(begun(15 * 60).await.0, "queued", "it has ended, and there is no other");
}

#[tokio::test(start_paused = true)]
async fn without_a_session_a_webhook_waits_in_the_queue() {
    let world = World::with_sessions().await;
    let tenant = world.provision("tenant_a", &[json!({"system_id": "sarah_ai"})]).await;
    world.guard().fail_sessions(true);
    let answer = world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    assert_eq!((answer.status.as_u16(), answer.text("/status")), (202, "queued"));
    assert_eq!(world.get(&tenant, "/v1/inbound-events").await.status, 503, "the API says to try again");
    world.guard().fail_sessions(false);
    world.advance(2);
    let [message] = <[String; 1]>::try_from(world.queued().await).unwrap();
    let batch = json!({"Records": [{"messageId": "1", "body": message}]});
    world.advance(15 * 60);
    let answer = world.invoke("process-retries", batch).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([]));
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_calls"], 1);
}
