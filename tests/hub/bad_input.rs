//! Bad input and its answer (contract §2): bounded, clear, and nothing stored.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, TENANT, Tenant, World, call_ended, sign};
use shared::signature::SignatureConfig;

const URL: &str = "/webhooks/tenant_demo/sarah_ai";

/// Sends raw bytes with a good signature.
async fn signed(world: &World, tenant: &Tenant, body: impl Into<Bytes>, content_type: &str) -> Answer {
    let body: Bytes = body.into();
    let signature = shared_hmac(tenant.secret("sarah_ai"), &body);
    world.request(Method::POST, URL, &[("content-type", content_type), ("x-webhook-signature", &signature)], body).await
}

/// `custom` over bytes that needn't be text.
fn shared_hmac(secret: &str, body: &[u8]) -> String {
    let request = shared::signature::UnsignedRequest { method: "POST", url: "", body };
    let scheme = SignatureConfig::Custom {}.compile().unwrap();
    let headers = scheme.sign(&request, "", &[secret], jiff::Timestamp::UNIX_EPOCH).unwrap();
    headers[0].1.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn bodies() {
    let world = World::new().await;
    let tenant = world
        .provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": {"per_minute": 1000, "per_day": 1000}})])
        .await;
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let deep = |depth: usize| format!(r#"{{"event_id":"n","a":{}}}"#, nested(depth - 1));
    let event = |more: &str| {
        format!(
            r#"{{"event_id":"e{}","event_type":"call.ended","call":{{"id":"c","destination_number":"+14155550132"}}{more}}}"#,
            more.len()
        )
    };
    let refused: [(&str, Vec<u8>, u16, &str); 14] = [
        ("empty", vec![], 400, "invalid_body"),
        ("not UTF-8", b"{\"a\":\"\xff\"}".to_vec(), 400, "invalid_body"),
        ("not JSON", b"hello".to_vec(), 400, "invalid_body"),
        ("a scalar", b"42".to_vec(), 400, "invalid_body"),
        ("null", b"null".to_vec(), 400, "invalid_body"),
        ("an array without batch", b"[{}]".to_vec(), 400, "invalid_body"),
        ("nested 129 deep", deep(129).into_bytes(), 400, "invalid_body"),
        ("nested 10,000 deep", nested(10_000).into_bytes(), 400, "invalid_body"),
        ("100,000 open brackets", "[".repeat(100_000).into_bytes(), 400, "invalid_body"),
        ("a lone surrogate", event(r#","x":"\ud800""#).into_bytes(), 400, "invalid_body"),
        ("no double holds it", event(r#","x":1e400"#).into_bytes(), 400, "invalid_body"),
        ("not a number", event(r#","x":NaN"#).into_bytes(), 400, "invalid_body"),
        ("trailing garbage", [event("").into_bytes(), b"x".to_vec()].concat(), 400, "invalid_body"),
        ("256 KiB + 1", vec![b' '; 256 * 1024 + 1], 413, "body_too_large"),
    ];
    for (what, body, status, code) in refused {
        let answer = signed(&world, &tenant, body, "application/json").await;
        assert_eq!((answer.status.as_u16(), answer.text("/code")), (status, code), "{what}: {:?}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        assert_eq!(answer.body["status"], status, "{what}");
    }
    let taken = [
        ("nested 128 deep", deep(128), "failed"),
        ("duplicate keys", event(r#","x":1,"x":2"#), "processed"),
        ("a NUL", event(r#","x":"\u0000""#), "processed"),
        ("30 digits", event(r#","xy":123456789012345678901234567890"#), "processed"),
        ("256 KiB", event(&format!(r#","pad":"{}""#, "p".repeat(200_000))), "processed"),
    ];
    for (what, body, status) in taken {
        let answer = signed(&world, &tenant, body, "application/json").await;
        assert_eq!(answer.text("/status"), status, "{what}: {:?}", answer.body);
    }
    let binary = signed(&world, &tenant, event(r#","base64":1"#), "application/octet-stream").await;
    assert_eq!(binary.text("/status"), "processed", "the gateway encodes it in base64: {:?}", binary.body);
}

#[tokio::test]
async fn a_deep_value_in_a_mapped_field_is_stored_and_read_back() {
    let world = World::new().await;
    let mapping = json!({"system_id": "deep", "key": "id", "events": {"*": {"interaction_type": "x", "fields": {
        "phone_number": {"path": "phone", "transform": "phone"}, "metadata.v": {"path": "v"}}}}});
    let tenant = world.provision(TENANT, &[json!({"system_id": "deep", "mapping": mapping})]).await;
    for event in ["a", "b"] {
        let body = format!(
            r#"{{"event_id":"{event}","id":"1","phone":"+14155550132","v":{}1{}}}"#,
            "[".repeat(127),
            "]".repeat(127)
        );
        assert_eq!(world.send_with(&tenant, "deep", &[], &body).await.text("/status"), "processed");
        world.restart();
    }
    let id = world.send_with(&tenant, "deep", &[], r#"{"event_id":"c","id":"1","phone":"+14155550132"}"#).await;
    let interaction = world.get(&tenant, &format!("/v1/interactions/{}", id.text("/data/interaction_id"))).await;
    assert_eq!(interaction.status, 200);
}

#[tokio::test]
async fn names_that_dont_exist_all_get_the_same_answer() {
    let (world, tenant) = World::with_tenant().await;
    world.provision("tenant_other", &[json!({"system_id": "stripe"})]).await;
    world.provision("tenant_off", &[json!({"system_id": "sarah_ai", "active": false})]).await;
    let long = "x".repeat(10_000);
    let paths = [
        "/webhooks/nobody/sarah_ai".to_owned(),
        "/webhooks/tenant_demo/unknown".to_owned(),
        "/webhooks/tenant_other/sarah_ai".to_owned(),
        "/webhooks/tenant_off/sarah_ai".to_owned(),
        "/webhooks/../sarah_ai".to_owned(),
        "/webhooks/tenant_demo/..".to_owned(),
        "/webhooks/tenant_demo%00/sarah_ai".to_owned(),
        "/webhooks/tenant_demo%2F/sarah_ai".to_owned(),
        "/webhooks/TENANT_DEMO/sarah_ai".to_owned(),
        format!("/webhooks/{long}/sarah_ai"),
        format!("/webhooks/tenant_demo/{long}"),
    ];
    let body = call_ended("e", "c", "+14155550132").to_string();
    let headers = tenant.sign("sarah_ai", &body, world.now());
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut first: Option<Value> = None;
    for path in paths {
        let answer = world.request(Method::POST, &path, &headers, body.clone()).await;
        assert_eq!(answer.status, 404, "{path:.60}");
        assert_eq!(*first.get_or_insert_with(|| answer.body.clone()), answer.body, "{path:.60}");
    }
    for path in ["/webhooks/tenant_demo", "/webhooks/tenant_demo/sarah_ai/more", "/webhooks//sarah_ai", "/"] {
        assert_eq!(world.request(Method::POST, path, &headers, body.clone()).await.status, 404, "{path}");
    }
    assert_eq!(world.request(Method::GET, URL, &headers, "").await.status, 404, "only POST is routed");
}

#[tokio::test]
async fn signatures_that_arent_good_all_get_the_same_answer() {
    let (mut world, mut sources) = (World::new().await, 0);
    let systems = [("sarah_ai", "custom"), ("github", "github"), ("stripe", "stripe"), ("desk", "standard")];
    let integrations = systems.map(|(system, scheme)| json!({"system_id": system, "signature": {"scheme": scheme}, "limits": {"per_minute": 1000, "per_day": 1000}}));
    let tenant = world.provision(TENANT, &integrations).await;
    let other = world.provision("tenant_other", &integrations).await;
    let body = call_ended("e", "c", "+14155550132").to_string();
    let mut first: Option<Value> = None;
    for (system, scheme) in systems {
        let config: SignatureConfig = serde_json::from_value(json!({"scheme": scheme})).unwrap();
        let url = format!("/webhooks/{TENANT}/{system}");
        let good = tenant.sign(system, &body, world.now());
        let at = |seconds: i64| {
            sign(&config, tenant.secret(system), "", &body, world.now() + jiff::SignedDuration::from_secs(seconds))
        };
        let changed =
            |change: &dyn Fn(&str) -> String| good.iter().map(|(n, v)| (n.clone(), change(v))).collect::<Vec<_>>();
        let mut bad = vec![
            ("missing", vec![]),
            ("another tenant's", other.sign(system, &body, world.now())),
            ("truncated", changed(&|v| v[..v.len() - 1].to_owned())),
            ("doubled value", changed(&|v| format!("{v},{v}"))),
            ("doubled header", [good.clone(), good.clone()].concat()),
            ("empty", changed(&|_| String::new())),
            ("oversized", changed(&|v| v.repeat(10_000))),
            ("without prefix", changed(&|v| v.replace("sha256=", "").replace("v1,", "").replace("v1=", ""))),
        ];
        if matches!(scheme, "stripe" | "standard") {
            let time = |to: &str| changed(&|v| v.replace("17684", to));
            bad.extend([("too old", at(-301)), ("too new", at(301)), ("long ago", at(-1_768_000_000))]);
            bad.extend([
                ("not a number", time("x")),
                ("negative", time("-17684")),
                ("milliseconds", time("17684000")),
                ("huge", time("99999999999999999")),
            ]);
        }
        for (what, headers) in bad {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            sources += 1; // not to meet the limit of refused calls
            world.source = std::net::Ipv4Addr::from_bits(0x0A00_0000 + sources).into();
            let answer = world.request(Method::POST, &url, &headers, body.clone()).await;
            assert_eq!(answer.status, 401, "{scheme}: {what}: {:?}", answer.body);
            assert_eq!(*first.get_or_insert_with(|| answer.body.clone()), answer.body, "{scheme}: {what}");
        }
    }
    assert_eq!(world.get(&tenant, "/v1/inbound-events").await.body["data"], json!([]), "nothing was kept");
}

#[tokio::test]
async fn ids_of_any_kind() {
    let (world, tenant) = World::with_tenant().await;
    let event = |id: Value| {
        let mut body = call_ended("", "c", "+14155550132");
        body["event_id"] = id;
        body
    };
    let long = "i".repeat(5000);
    for id in [json!(12345), json!(""), json!(null), json!({"a": 1}), json!(long), json!("ä💥\u{0}"), json!("../x#y")]
    {
        let answer = world.send(&tenant, "sarah_ai", &event(id.clone())).await;
        assert_eq!(answer.text("/status"), "processed", "{id:.40}: {:?}", answer.body);
        assert!(answer.text("/event_id").len() < 300);
        assert_eq!(world.send(&tenant, "sarah_ai", &event(id)).await.text("/status"), "duplicate");
    }
}
