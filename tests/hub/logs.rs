//! One line for each webhook, and nothing in it that isn't anybody's business.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{Behaviour, TENANT, World, call_ended, sample_body};

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[tokio::test]
async fn each_webhook_leaves_one_line_without_secrets_or_personal_data() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (world, tenant) = World::with_tenant().await;
    let mut all = log.take();
    let number = "+14155550132";
    let unknown =
        json!({"event_id": "e2", "event_type": "call.exploded", "call": {"id": "c", "destination_number": number}});
    let payment = sample_body("payment_processor", "payment_succeeded");
    let webhooks = [
        ("processed", world.send(&tenant, "sarah_ai", &call_ended("e", "c", number)).await, log.take()),
        ("duplicate", world.send(&tenant, "sarah_ai", &call_ended("e", "c", number)).await, log.take()),
        ("failed", world.send(&tenant, "sarah_ai", &unknown).await, log.take()),
        ("processed", world.send(&tenant, "payment_processor", &payment).await, log.take()),
        ("refused", world.request(Method::POST, "/webhooks/nobody/sarah_ai", &[], "{}").await, log.take()),
        ("refused", world.send_with(&tenant, "sarah_ai", &[], "not JSON").await, log.take()),
        (
            "refused",
            world
                .request(
                    Method::POST,
                    &format!("/webhooks/{TENANT}/sarah_ai"),
                    &[("x-webhook-signature", "sha256=00")],
                    "{}",
                )
                .await,
            log.take(),
        ),
    ];
    for (status, answer, lines) in webhooks {
        let own: Vec<&str> = lines.lines().filter(|line| line.contains("webhook tenant=")).collect();
        assert_eq!(own.len(), 1, "{answer:?}: {lines}");
        assert!(own[0].contains(&format!("status=\"{status}\"")) && own[0].contains("ms="), "{lines}");
        all.push_str(&lines);
    }
    world.get(&tenant, &format!("/v1/phone-numbers/{number}")).await;
    all.push_str(&log.take());
    for secret in [tenant.key(), tenant.secret("sarah_ai"), &number[1..], "5550132", "Sarah", "sha256=00", "whsec_"] {
        assert!(!all.contains(secret), "{secret} stands in the log:\n{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_logged_with_its_outcome_and_nothing_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (world, tenant) = World::with_tenant().await;
    let number = "+14155550132";
    let subscription = json!({"url": "https://example.com/hooks/token-of-mine", "event_types": ["phone_number.interaction.*"],
        "headers": {"authorization": "Bearer of-good-news"}, "description": "for-our-eyes"});
    let subscription = world.subscribe(&tenant, &subscription).await;
    world.internet.answer(|_| Behaviour::status(500));
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", number)).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_secs(3)).await;
    triggers.stop().await;
    let all = log.take();
    let own: Vec<&str> = all.lines().filter(|line| line.contains("delivery tenant=")).collect();
    assert_eq!(own.len(), 1, "{all}");
    assert!(own[0].contains("succeeded=false") && own[0].contains("http_status=500"), "{own:?}");
    let secret = subscription["secret"].as_str().unwrap();
    for secret in
        [secret, "token-of-mine", "of-good-news", "for-our-eyes", &number[1..], "Sarah", "sha256=", "whsec_", "thanks"]
    {
        assert!(!all.contains(secret), "{secret} stands in the log:\n{all}");
    }
}

#[tokio::test]
async fn each_act_of_an_operator_leaves_one_line_without_keys_and_numbers() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", "+14155550132")).await;
    log.take();
    let orders = [
        (json!({"action": "suspend", "tenant_id": TENANT, "dry_run": true}), "audit=\"suspend\""),
        (json!({"action": "reissue_key", "tenant_id": TENANT, "reason": "ticket 4711"}), "reason=\"ticket 4711\""),
        (
            json!({"action": "erase_number", "tenant_id": TENANT, "phone_number": "+14155550132"}),
            "number=\"+1•••••••132\"",
        ),
        (json!({"action": "export", "tenant_id": "nobody"}), "audit=\"export\""),
        (json!({"action": "resume", "tenant_id": "nobody"}), "there is no such tenant"),
        (json!({"action": "erase_number", "phone_number": "+14155550132"}), "audit=\"refused\""),
    ];
    for (order, part) in orders {
        let answer = world.invoke("administer-tenant", order.clone()).await;
        let lines = log.take();
        let own: Vec<&str> = lines.lines().filter(|line| line.contains("audit=")).collect();
        assert_eq!(own.len(), 1, "{order}: {lines}");
        assert!(own[0].contains(part), "{lines}");
        let key = answer.ok().and_then(|answer| answer["api_key"].as_str().map(str::to_owned));
        assert!(!lines.contains("4155550132") && key.is_none_or(|key| !lines.contains(&key)), "{lines}");
    }
}
