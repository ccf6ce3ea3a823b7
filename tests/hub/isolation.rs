//! No tenant sees anything of another's (contract §8).

use http::Method;
use serde_json::json;

use crate::world::{World, call_ended, sample_body};

const NUMBER: &str = "+14155550132";

#[tokio::test]
async fn another_tenants_key_shows_nothing() {
    let world = World::new().await;
    let systems = [json!({"system_id": "sarah_ai"}), json!({"system_id": "payment_processor"})];
    let (a, b) = (world.provision("tenant_a", &systems).await, world.provision("tenant_b", &systems).await);
    let call = world.send(&a, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    let merchant = world.send(&a, "payment_processor", &sample_body("payment_processor", "merchant_updated")).await;
    let interaction = call.text("/data/interaction_id");
    let merchant = merchant.text("/data/merchant_id");
    let inbound = world.get(&a, "/v1/inbound-events").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let paths = [
        format!("/v1/phone-numbers/{NUMBER}"),
        format!("/v1/phone-numbers/%2B{}", &NUMBER[1..]),
        format!("/v1/interactions/{interaction}"),
        format!("/v1/merchants/{merchant}"),
        "/v1/merchants/mer_brightroof".to_owned(),
        format!("/v1/inbound-events/{inbound}"),
    ];
    for path in &paths {
        assert_eq!(world.get(&a, path).await.status, 200, "{path}");
        let foreign = world.get(&b, path).await;
        assert_eq!(foreign.status, 404, "{path}: {:?}", foreign.body);
        let last = path.rsplit('/').next().unwrap();
        let unknown =
            world.get(&b, &path.replace(last, if path.contains("phone") { "+14155559999" } else { "x_unknown" })).await;
        assert_eq!(foreign.body, unknown.body, "the same as for an unknown one");
    }
    for path in [format!("/v1/phone-numbers/{NUMBER}/interactions"), "/v1/inbound-events".to_owned()] {
        assert_ne!(world.get(&a, &path).await.body["data"], json!([]), "{path}");
        assert_eq!(world.get(&b, &path).await.body["data"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_tenant_leads_nowhere_else() {
    let world = World::new().await;
    let systems = [json!({"system_id": "sarah_ai"})];
    let (a, b) = (world.provision("tenant_a", &systems).await, world.provision("tenant_b", &systems).await);
    for tenant in [&a, &b] {
        for n in 0..3 {
            world.send(tenant, "sarah_ai", &call_ended(&format!("{}-{n}", tenant.id), &format!("c{n}"), NUMBER)).await;
        }
    }
    let cursor = world.get(&a, "/v1/inbound-events?limit=1").await.text("/next_cursor").to_owned();
    let page = world.get(&b, &format!("/v1/inbound-events?cursor={cursor}")).await;
    assert!([200, 400].contains(&page.status.as_u16()), "{:?}", page.body);
    let elsewhere = world.get(&a, &format!("/v1/failures?cursor={cursor}")).await;
    assert!([200, 400].contains(&elsewhere.status.as_u16()), "{:?}", elsewhere.body);
    let events = page.body["data"].as_array().cloned().unwrap_or_default();
    assert!(events.iter().all(|e| e["event_id"].as_str().unwrap().starts_with("tenant_b")), "{events:?}");
}

#[tokio::test]
async fn lists_page_through_everything_once() {
    let (world, tenant) = World::with_tenant().await;
    for n in 0..7 {
        let mut body = call_ended(&format!("e{n}"), &format!("c{n}"), NUMBER);
        body["timestamp"] = json!(format!("2026-01-15T10:0{n}:00Z"));
        world.send(&tenant, "sarah_ai", &body).await;
        world.advance(1);
    }
    for list in [format!("/v1/phone-numbers/{NUMBER}/interactions"), "/v1/inbound-events".to_owned()] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.get(&tenant, &format!("{list}?limit=3{cursor}")).await.body;
            seen.extend(page["data"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (7, 7), "{list}");
    }
    let newest = world.interactions(&tenant, NUMBER).await;
    assert_eq!(newest[0]["occurred_at"], "2026-01-15T10:06:00Z");
    let since = world.get(&tenant, "/v1/inbound-events?since=2026-01-15T12:00:05Z").await.body;
    assert_eq!(since["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn keys_that_arent_good_open_nothing() {
    let (world, tenant) = World::with_tenant().await;
    let key = tenant.key().to_owned();
    let changed = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let other = key.replacen("tenant_demo", "tenant_other", 1);
    let bad = [
        String::new(),
        format!("Bearer {changed}"),
        format!("Bearer {other}"),
        format!("Basic {key}"),
        "Bearer ".to_owned(),
        "Bearer smrt__".to_owned(),
        format!("Bearer {}", "x".repeat(5000)),
        "Bearer smrt_../x_0".to_owned(),
    ];
    for authorization in bad {
        let answer = world.request(Method::GET, "/v1/inbound-events", &[("authorization", &authorization)], "").await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{authorization:.40}: {:?}", answer.body);
    }
    assert_eq!(world.request(Method::GET, "/v1/inbound-events", &[], "").await.status, 401);
    let direct = world.invoke("management-api", json!({"version": "2.0", "routeKey": "$default", "rawPath": "/v1/inbound-events", "rawQueryString": "",
        "headers": {"authorization": format!("Bearer {key}")}, "requestContext": {"http": {"method": "GET", "path": "/v1/inbound-events"}}, "isBase64Encoded": false}));
    assert_eq!(direct.await.unwrap()["statusCode"], 401, "only what the authorizer says counts");
    assert_eq!(world.get(&tenant, "/v1/inbound-events").await.status, 200);
}

#[tokio::test]
async fn requests_that_arent_right_say_what_is_wrong() {
    let (world, tenant) = World::with_tenant().await;
    let table = [
        ("/v1/phone-numbers/abc", 400, "/errors/0/field", "phone_number"),
        ("/v1/inbound-events?limit=0", 400, "/errors/0/field", "limit"),
        ("/v1/inbound-events?limit=1000000", 400, "/errors/0/field", "limit"),
        ("/v1/inbound-events?status=great", 400, "/errors/0/field", "status"),
        ("/v1/inbound-events?since=yesterday", 400, "/errors/0/field", "since"),
        ("/v1/inbound-events?cursor=%00", 400, "/errors/0/field", "cursor"),
        ("/v1/inbound-events?colour=red", 400, "/errors/0/field", "colour"),
        ("/v1/nothing", 404, "/code", "no_such_route"),
        ("/v1/interactions/int_nothing", 404, "/code", "not_found"),
    ];
    for (path, status, pointer, expected) in table {
        let answer = world.get(&tenant, path).await;
        assert_eq!((answer.status.as_u16(), answer.text(pointer)), (status, expected), "{path}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn a_mapping_is_previewed_without_storing_anything() {
    let (world, tenant) = World::with_tenant().await;
    let authorization = format!("Bearer {}", tenant.key());
    let preview = async |body: serde_json::Value| {
        world
            .request(Method::POST, "/v1/mappings/preview", &[("authorization", &authorization)], body.to_string())
            .await
    };
    let mapping = json!({"system_id": "sarah_ai", "event_id": "event_id", "event_type": "event_type", "events": {"call.ended": {"interaction_type": "outbound_call",
        "fields": {"phone_number": {"path": "call.destination_number", "transform": "phone", "required": true},
            "duration_seconds": {"path": "call.duration_seconds", "transform": "duration"},
            "outcome": {"path": "call.disposition", "transform": {"lookup": {"INTERESTED": "interested"}, "default": "other"}},
            "metadata.mail": {"path": "call.mail", "validate": "email"}}}}});
    let mut payload = call_ended("e", "c", "(415) 555-0132");
    payload["call"]["mail"] = json!("nobody");
    let answer = preview(json!({"mapping": mapping, "payload": payload})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (answer.text("/event_id"), answer.text("/event_type"), answer.text("/interaction_type")),
        ("e", "call.ended", "outbound_call")
    );
    assert_eq!(answer.body["fields"]["phone_number"], NUMBER);
    assert_eq!(
        (&answer.body["fields"]["duration_seconds"], &answer.body["fields"]["outcome"]),
        (&json!(180), &json!("interested"))
    );
    assert!(answer.body["warnings"].to_string().contains("mail"), "{:?}", answer.body);
    assert_eq!(answer.body["errors"], json!([]));
    let broken = preview(json!({"mapping": {"system_id": "x", "events": {"a": {"colour": 1}}}, "payload": {}})).await;
    assert_ne!(broken.body["errors"], json!([]));
    assert_eq!(preview(json!({"mapping": mapping})).await.status, 400);
    assert_eq!(world.get(&tenant, "/v1/inbound-events").await.body["data"], json!([]));
}
