//! Outcomes of webhooks that pass the checks (contract §2).

use http::Method;
use serde_json::{Value, json};

use crate::world::{TENANT, World, call_ended, sample, sample_body, sign};
use shared::signature::SignatureConfig;

const NUMBER: &str = "+14155550132";

#[tokio::test]
async fn a_call_is_stored_with_its_number_and_its_record() {
    let (world, tenant) = World::with_tenant().await;
    let body = sample_body("sarah_ai", "call_ended");
    let answer = world.send(&tenant, "sarah_ai", &body).await;
    let id = answer.text("/data/interaction_id").to_owned();
    assert_eq!(
        answer.body,
        json!({"success": true, "status": "processed", "event_id": body["event_id"], "data": {"interaction_id": id}})
    );
    let interaction = world.get(&tenant, &format!("/v1/interactions/{id}")).await.body;
    assert_eq!(
        interaction,
        json!({"id": id, "phone_number": NUMBER, "system_id": "sarah_ai", "interaction_type": "outbound_call", "outcome": "interested",
            "duration_seconds": 180, "agent_name": "Sarah", "occurred_at": "2026-01-15T10:27:00Z",
            "created_at": "2026-01-15T12:00:00Z", "updated_at": "2026-01-15T12:00:00Z",
            "metadata": {"sarah_call_id": "call_01HZX4T8K3", "call_quality_score": 0.94, "recording_url": body["recording"]["url"]}})
    );
    assert_eq!(world.interactions(&tenant, NUMBER).await, [interaction]);
    let events = world.get(&tenant, "/v1/inbound-events?system_id=sarah_ai&status=processed").await.body;
    let event = &events["data"][0];
    assert_eq!(
        (&event["event_id"], &event["payload"], &event["interaction_id"]),
        (&body["event_id"], &body, &json!(id))
    );
    assert_eq!(event["received_at"], "2026-01-15T12:00:00Z");
    let one = world.get(&tenant, &format!("/v1/inbound-events/{}", event["id"].as_str().unwrap())).await.body;
    assert_eq!(one, *event);
}

#[tokio::test]
async fn what_cant_be_applied_is_kept_as_a_failure_with_one_id() {
    let (world, tenant) = World::with_tenant().await;
    let payment = |metadata: Value| json!({"id": "p1", "type": "payment.succeeded", "data": {"object": {"id": "pay", "amount": 1, "currency": "USD", "metadata": metadata}}});
    let table = [
        (
            "sarah_ai",
            json!({"event_id": "a", "event_type": "call.exploded", "call": {"id": "c"}}),
            "unknown_event_type",
        ),
        ("sarah_ai", json!({"event_id": "b", "call": {"id": "c"}}), "no_event_type"),
        (
            "sarah_ai",
            json!({"event_id": "c", "event_type": "call.ended", "call": {"id": "c", "destination_number": "12"}}),
            "invalid_phone_number",
        ),
        ("payment_processor", payment(json!({})), "no_customer_phone"),
        (
            "payment_processor",
            {
                let mut p = payment(json!({"customer_phone": NUMBER}));
                p["id"] = json!("p2");
                p
            },
            "unknown_phone_number",
        ),
        ("stripe", json!({"id": "e", "type": "invoice.paid", "data": {"object": {}}}), "unknown_event_type"),
    ];
    for (system, body, code) in &table {
        let answer = world.send(&tenant, system, body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["success"], answer.text("/status"), answer.text("/code")),
            (202, &json!(false), "failed", *code),
            "{body}"
        );
        assert!(answer.text("/failure_id").starts_with("fail_") && !answer.text("/error").is_empty());
        let again = world.send(&tenant, system, body).await;
        assert_eq!(again.body, answer.body, "a repeat gets the first answer's facts");
    }
    let events = world.get(&tenant, "/v1/inbound-events?status=failed").await.body;
    assert_eq!(events["data"].as_array().unwrap().len(), table.len());
    let failures = world.get(&tenant, "/v1/failures").await.body["data"].clone();
    assert_eq!(failures.as_array().unwrap().len(), table.len(), "one each, however often it came");
    for event in events["data"].as_array().unwrap() {
        let failure = world.get(&tenant, &format!("/v1/failures/{}", event["failure_id"].as_str().unwrap())).await.body;
        assert_eq!((&failure["payload"], &failure["error"]), (&event["payload"], &event["error"]));
        assert_eq!((&failure["operation"], &failure["attempts"]), (&json!("process_inbound_event"), &json!(1)));
        assert_eq!(failure["inbound_event_id"], event["id"]);
    }
    let of_stripe =
        world.get(&tenant, "/v1/failures?system_id=stripe&since=2026-01-15T00:00:00Z").await.body["data"].clone();
    assert_eq!((of_stripe.as_array().unwrap().len(), &of_stripe[0]["code"]), (1, &json!("unknown_event_type")));
    assert_eq!(
        world.get(&tenant, &format!("/v1/phone-numbers/{NUMBER}")).await.status,
        404,
        "a payment makes no number"
    );
}

#[tokio::test]
async fn what_nobody_mapped_is_ignored_and_kept() {
    let (world, tenant) = World::with_tenant().await;
    for name in ["ping", "push", "issues_opened", "pull_request", "star"] {
        let sample = sample("github", name);
        let event = sample["headers"]["x-github-event"].as_str().unwrap().to_owned();
        let answer = world
            .send_with(
                &tenant,
                "github",
                &[("x-github-event", &event), ("x-github-delivery", "d-1")],
                &sample["body"].to_string(),
            )
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.text("/status"), &answer.body["success"]),
            (200, "ignored", &json!(true)),
            "{name}"
        );
        assert!(answer.text("/event_id").starts_with("sha256:"), "GitHub's delivery id isn't signed");
    }
    assert_eq!(world.get(&tenant, "/v1/inbound-events?status=ignored").await.body["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn github_events_that_a_mapping_names_become_interactions() {
    let world = World::new().await;
    let mapping = json!({"system_id": "github", "events": {"issues.opened": {"interaction_type": "issue", "fields": {
        "phone_number": {"transform": {"constant": NUMBER}}, "metadata.title": {"path": "issue.title"}}}}});
    let tenant = world.provision(TENANT, &[json!({"system_id": "github", "mapping": mapping})]).await;
    let sample = sample("github", "issues_opened");
    let answer = world.send_with(&tenant, "github", &[("x-github-event", "issues")], &sample["body"].to_string()).await;
    assert_eq!(answer.body["status"], "processed", "{:?}", answer.body);
    assert_eq!(world.interactions(&tenant, NUMBER).await[0]["metadata"]["title"], sample["body"]["issue"]["title"]);
}

#[tokio::test]
async fn the_type_may_stand_in_any_header() {
    let world = World::new().await;
    let mapping = json!({"system_id": "shop", "event_type": {"header": "X-Shop-Topic"}, "events": {"orders/paid": {"interaction_type": "order",
        "fields": {"phone_number": {"path": "phone", "transform": "phone"}}}}});
    let signature = json!({"scheme": "template", "preset": "shopify"});
    let tenant =
        world.provision(TENANT, &[json!({"system_id": "shop", "signature": signature, "mapping": mapping})]).await;
    let body = json!({"id": 1, "phone": NUMBER}).to_string();
    let answer = world.send_with(&tenant, "shop", &[("x-shop-topic", "orders/paid")], &body).await;
    assert_eq!(answer.text("/status"), "processed", "{:?}", answer.body);
}

#[tokio::test]
async fn a_registered_system_does_what_its_mapping_says() {
    let world = World::new().await;
    let mut integration = sample("helpdesk", "integration");
    integration["system_id"] = json!("helpdesk");
    let tenant = world.provision(TENANT, &[integration]).await;
    let [created, closed] = ["ticket_created", "ticket_closed"].map(|name| sample_body("helpdesk", name));
    for body in [&created, &closed] {
        let answer = world.send(&tenant, "helpdesk", body).await;
        assert_eq!(answer.body["status"], "processed", "{:?}", answer.body);
    }
    let unnamed = world.send(&tenant, "helpdesk", &json!({"id": "x", "type": "ticket.sneezed"})).await;
    assert_eq!(unnamed.body["status"], "ignored");
}

#[tokio::test]
async fn a_form_and_a_challenge_of_slack() {
    let world = World::new().await;
    let mapping = json!({"system_id": "slack", "event_type": "command", "event_id": "trigger_id", "events": {"/call": {"interaction_type": "slash",
        "fields": {"phone_number": {"path": "text", "transform": "phone"}}}}});
    let signature = json!({"scheme": "template", "preset": "slack"});
    let tenant =
        world.provision(TENANT, &[json!({"system_id": "slack", "signature": signature, "mapping": mapping})]).await;
    let form = "command=%2Fcall&text=%2B14155550132&trigger_id=1.2";
    let signed = tenant.sign("slack", form, world.now());
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(signed.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let answer = world.request(Method::POST, &format!("/webhooks/{TENANT}/slack"), &headers, form).await;
    assert_eq!((answer.text("/status"), answer.text("/event_id")), ("processed", "1.2"), "{:?}", answer.body);
    let event = world.get(&tenant, "/v1/inbound-events").await.body["data"][0]["payload"].clone();
    assert_eq!(event, json!({"command": "/call", "text": NUMBER, "trigger_id": "1.2"}));
    let challenge = world.send(&tenant, "slack", &json!({"type": "url_verification", "challenge": "abc"})).await;
    assert_eq!((challenge.status.as_u16(), challenge.body), (200, json!({"challenge": "abc"})));
}

#[tokio::test]
async fn a_batch_is_answered_event_by_event() {
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "batch": true})]).await;
    let good = call_ended("evt_1", "call_1", NUMBER);
    let bad = json!({"event_id": "evt_2", "event_type": "call.exploded"});
    let answer = world.send(&tenant, "sarah_ai", &json!([good, bad, good])).await;
    assert_eq!((answer.status.as_u16(), &answer.body["success"]), (200, &json!(false)));
    let statuses: Vec<&str> =
        answer.body["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["processed", "failed", "duplicate"]);
}

#[tokio::test]
async fn a_different_tenant_in_the_body_is_a_warning() {
    let (world, tenant) = World::with_tenant().await;
    let mut body = call_ended("evt_1", "call_1", NUMBER);
    body["tenant_id"] = json!("tenant_other");
    assert_eq!(world.send(&tenant, "sarah_ai", &body).await.body["status"], "processed");
    let warnings = world.get(&tenant, "/v1/inbound-events").await.body["data"][0]["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("tenant_id"), "{warnings}");
}

#[tokio::test]
async fn both_secrets_of_a_rotation_verify_at_once_and_the_old_one_ends() {
    let (world, tenant) = World::with_tenant().await;
    let url = format!("/webhooks/{TENANT}/sarah_ai");
    let send = async |event: &str, secret: &str| {
        let body = call_ended(event, event, NUMBER).to_string();
        let signed = sign(&SignatureConfig::Custom {}, secret, "", &body, world.now());
        let headers: Vec<(&str, &str)> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        world.request(Method::POST, &url, &headers, body.clone()).await.status.as_u16()
    };
    let old = tenant.secret("sarah_ai").to_owned();
    assert_eq!(send("e1", &old).await, 200);
    assert_eq!(send("e2", "new").await, 401);
    world.advance(31); // a failed signature looks at the secrets once in 30 s
    world.rotate(&tenant, "sarah_ai", "new", world.now() + std::time::Duration::from_hours(1)).await;
    assert_eq!(send("e3", "new").await, 200, "the cached secrets are looked at again");
    assert_eq!(send("e4", &old).await, 200);
    world.advance(3600);
    assert_eq!(send("e5", &old).await, 401);
    assert_eq!(send("e6", "new").await, 200);
}

#[tokio::test]
async fn failed_signatures_look_at_the_secrets_once_in_30_seconds() {
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    world.calls();
    let looks = async || {
        for _ in 0..5 {
            let headers =
                [("x-webhook-signature", "sha256=0000000000000000000000000000000000000000000000000000000000000000")];
            assert_eq!(
                world.request(Method::POST, &format!("/webhooks/{TENANT}/sarah_ai"), &headers, "{}").await.status,
                401
            );
        }
        world.calls().iter().filter(|call| call.operation == "GetSecretValue").count()
    };
    assert_eq!(looks().await, 1);
    world.advance(29);
    assert_eq!(looks().await, 0);
    world.advance(1);
    assert_eq!(looks().await, 1);
}

#[tokio::test]
async fn every_scheme_and_preset_verifies_end_to_end() {
    let world = World::new().await;
    let preset = |name: &str| json!({"scheme": "template", "preset": name});
    let own = json!({"scheme": "template", "algorithm": "sha512", "template": "{id}|{timestamp}|{method}|{url}|{body}", "signature_header": "x-own",
        "prefix": "v9=", "encoding": "base64", "id_header": "x-own-id", "timestamp_header": "x-own-time", "timestamp_unit": "milliseconds"});
    let mut schemes: Vec<(String, Value)> = ["hubspot_v3", "slack", "shopify", "square", "retell", "vapi"]
        .map(|name| (name.to_owned(), preset(name)))
        .into();
    schemes
        .extend(["custom", "github", "stripe", "standard"].map(|name| (format!("my_{name}"), json!({"scheme": name}))));
    schemes.push(("own".to_owned(), own));
    let mapping = |system: &str| {
        json!({"system_id": system, "events": {"*": {"interaction_type": "note", "fields": {
        "phone_number": {"path": "phone", "transform": "phone", "required": true}}}}})
    };
    let integrations: Vec<Value> = schemes
        .iter()
        .map(|(system, signature)| json!({"system_id": system, "signature": signature, "mapping": mapping(system)}))
        .collect();
    let tenant = world.provision(TENANT, &integrations).await;
    for (system, _) in &schemes {
        let body = json!({"id": format!("{system}-1"), "phone": "(415) 555-0132"});
        assert_eq!(world.send(&tenant, system, &body).await.text("/status"), "processed", "{system}");
        let signed = tenant.sign(system, &body.to_string(), world.now());
        let headers: Vec<(&str, &str)> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let other = body.to_string().replace("0132", "0133");
        let forged = world.request(Method::POST, &format!("/webhooks/{TENANT}/{system}"), &headers, other).await;
        assert_eq!(forged.status, 401, "{system}");
    }
    assert_eq!(world.phone(&tenant, NUMBER).await["statistics"]["total_interactions"], schemes.len());
}

#[tokio::test]
async fn auto_takes_the_scheme_whose_header_is_there() {
    let world = World::new().await;
    let mapping = json!({"system_id": "any", "events": {"*": {"interaction_type": "note", "fields": {"phone_number": {"path": "phone", "transform": "phone"}}}}});
    let tenant = world.provision(TENANT, &[json!({"system_id": "any", "mapping": mapping})]).await;
    for (n, scheme) in ["custom", "github", "stripe", "standard"].into_iter().enumerate() {
        let config: SignatureConfig = serde_json::from_value(json!({"scheme": scheme})).unwrap();
        let body = json!({"id": n, "phone": NUMBER}).to_string();
        let signed = sign(&config, tenant.secret("any"), "", &body, world.now());
        let headers: Vec<(&str, &str)> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let answer = world.request(Method::POST, &format!("/webhooks/{TENANT}/any"), &headers, body).await;
        assert_eq!(answer.text("/status"), "processed", "{scheme}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn an_event_without_an_id_is_known_by_its_signed_id_or_its_body() {
    let world = World::new().await;
    let mapping = |system: &str| json!({"system_id": system, "events": {"*": {"interaction_type": "note", "fields": {"phone_number": {"path": "phone", "transform": "phone"}}}}});
    let systems = ["standard", "custom"]
        .map(|scheme| json!({"system_id": scheme, "signature": {"scheme": scheme}, "mapping": mapping(scheme)}));
    let tenant = world.provision(TENANT, &systems).await;
    let body = json!({"phone": NUMBER});
    let standard = world.send(&tenant, "standard", &body).await;
    assert!(standard.text("/event_id").starts_with("msg_"), "{:?}", standard.body);
    let custom = world.send(&tenant, "custom", &body).await;
    assert!(custom.text("/event_id").starts_with("sha256:"), "{:?}", custom.body);
    assert_eq!(world.send(&tenant, "custom", &body).await.text("/status"), "duplicate");
}

#[tokio::test]
async fn numbers_are_read_in_the_tenants_region() {
    let world = World::new().await;
    let request = json!({"tenant_id": "uk", "default_region": "GB", "integrations": [{"system_id": "sarah_ai", "webhook_secret": "s"}]});
    world.invoke("provision-tenant", request).await.unwrap();
    let body = call_ended("e", "c", "020 7946 0958").to_string();
    let signed = sign(&SignatureConfig::Custom {}, "s", "", &body, world.now());
    let headers: Vec<(&str, &str)> = signed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let answer = world.request(Method::POST, "/webhooks/uk/sarah_ai", &headers, body).await;
    assert_eq!(answer.text("/status"), "processed");
    let key = world.invoke("provision-tenant", json!({"tenant_id": "uk", "reissue_api_key": true})).await.unwrap();
    let authorization = format!("Bearer {}", key["api_key"].as_str().unwrap());
    let phone =
        world.request(Method::GET, "/v1/phone-numbers/+442079460958", &[("authorization", &authorization)], "").await;
    assert_eq!(phone.body["statistics"]["total_calls"], 1);
}
