//! What is logged: one line for each webhook, delivery and call, that counts it too; nothing in it that isn't anybody's
//! business; and one id by which all lines of one thing are found.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{ids::derived, mapping::BUILTIN_SYSTEMS, run::json_log};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::{
    sync::{sync, synced},
    world::{Behaviour, TENANT, Tenant, World, call_ended, sample_body},
};

const NUMBER: &str = "+14155550132";

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
    /// As the functions log on Lambda.
    fn begin(level: LevelFilter) -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = set_default(json_log(level, log.clone()));
        (log, guard)
    }

    /// The lines since the last time, those that count something after the others.
    fn take(&self, world: &World) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        let counts = world.metrics();
        counts.iter().for_each(check);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).chain(counts).collect();
        // Without a time, Lambda takes every line for INFO.
        let is_dated = |line: &Value| line["timestamp"].as_str().is_some_and(|at| at.parse::<Timestamp>().is_ok());
        assert!(lines.iter().all(|line| is_dated(line) && line["level"].is_string()), "{lines:?}");
        lines
    }
}

/// What CloudWatch asks of a line that counts something, and what keeps the bill small.
fn check(line: &Value) {
    assert!(line["_aws"]["Timestamp"].is_i64(), "{line}");
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "SmrtHub");
        for name in directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap()) {
            assert!(name == "stage" || name == "system", "{line}");
            assert!(line[name.as_str().unwrap()].as_str().is_some_and(|value| !value.is_empty()), "{line}");
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(!metrics.is_empty());
        for metric in metrics {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{line}");
            assert!(metric["Unit"] == "Count" || metric["Unit"] == "Milliseconds", "{line}");
        }
    }
    let system = line["system"].as_str().unwrap_or("registered");
    assert!(system == "registered" || BUILTIN_SYSTEMS.contains(&system), "{line}");
}

fn named<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

/// The messages of the lines with this id, sorted.
fn found_by<'a>(lines: &'a [Value], id: &str) -> Vec<&'a str> {
    let found = lines.iter().filter(|line| line["correlation_id"] == id);
    let mut messages: Vec<&str> = found.map(|line| line["message"].as_str().unwrap()).collect();
    messages.sort_unstable();
    messages
}

fn assert_discreet(lines: &[Value], secrets: &[&str]) {
    for (line, secret) in lines.iter().flat_map(|line| secrets.iter().map(move |secret| (line, secret))) {
        assert!(!line.to_string().contains(secret), "{secret} stands in the log: {line}");
    }
}

#[tokio::test]
async fn each_webhook_leaves_one_line_without_secrets_or_personal_data() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = World::with_tenant().await;
    let mut all = log.take(&world);
    let unknown =
        json!({"event_id": "e2", "event_type": "call.exploded", "call": {"id": "c", "destination_number": NUMBER}});
    let payment = sample_body("payment_processor", "payment_succeeded");
    let forged = [("x-webhook-signature", "sha256=00")];
    let path = format!("/webhooks/{TENANT}/sarah_ai");
    let call = call_ended("e", "c", NUMBER);
    let webhooks = [
        ("processed", "Processed", world.send(&tenant, "sarah_ai", &call).await, log.take(&world)),
        ("duplicate", "Duplicate", world.send(&tenant, "sarah_ai", &call).await, log.take(&world)),
        ("failed", "Failed", world.send(&tenant, "sarah_ai", &unknown).await, log.take(&world)),
        ("processed", "Processed", world.send(&tenant, "payment_processor", &payment).await, log.take(&world)),
        (
            "refused",
            "Refused",
            world.request(Method::POST, "/webhooks/nobody/sarah_ai", &[], "{}").await,
            log.take(&world),
        ),
        ("refused", "Refused", world.send_with(&tenant, "sarah_ai", &[], "not JSON").await, log.take(&world)),
        ("refused", "Refused", world.request(Method::POST, &path, &forged, "{}").await, log.take(&world)),
    ];
    for (status, metric, answer, lines) in webhooks {
        let own = named(&lines, "webhook");
        assert_eq!(own.len(), 1, "{answer:?}: {lines:?}");
        assert_eq!((&own[0]["status"], &own[0]["Webhooks"]), (&json!(status), &json!(1)));
        assert_eq!(own[0][format!("Webhooks{metric}")], 1, "{own:?}");
        assert!(own[0]["ms"].is_number() && own[0]["ms"] == own[0]["WebhookMilliseconds"], "{own:?}");
        assert!(own[0]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{own:?}");
        assert!(own[0].to_string().len() < 900, "each byte costs money: {}", own[0]);
        all.extend(lines);
    }
    for path in [format!("/v1/phone-numbers/{NUMBER}"), format!("/v1/{NUMBER}"), format!("/v1/contacts/{NUMBER}")] {
        world.get(&tenant, &path).await;
    }
    all.extend(log.take(&world));
    let routes: Vec<&Value> = named(&all, "api").into_iter().map(|line| &line["route"]).collect();
    assert_eq!(routes, [&json!("/v1/phone-numbers/{e164}"), &Value::Null, &json!("/v1/contacts/{id}")]);
    let secrets = [tenant.key(), tenant.secret("sarah_ai"), &NUMBER[1..], "5550132", "Sarah", "sha256=00", "whsec_"];
    assert_discreet(&all, &secrets);
}

#[tokio::test]
async fn each_event_of_a_batch_is_a_webhook_and_its_request_is_timed_once() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let world = World::new().await;
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "batch": true})]).await;
    let calls = ["1", "2", "3"].map(|n| call_ended(n, n, NUMBER));
    let answer = world.send(&tenant, "sarah_ai", &json!(calls)).await;
    assert_eq!(answer.body["results"].as_array().map(Vec::len), Some(3), "{answer:?}");
    let lines = log.take(&world);
    let own = named(&lines, "webhook");
    assert_eq!(
        own.iter().map(|line| line["WebhookMilliseconds"].is_number()).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(own.iter().all(|line| line["Webhooks"] == 1 && line["WebhooksProcessed"] == 1), "{own:?}");
    assert!(own.iter().all(|line| line["system"] == "sarah_ai" && line["bytes"] == own[0]["bytes"]), "{own:?}");
}

#[tokio::test]
async fn what_a_caller_invents_is_no_dimension() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = World::with_tenant().await;
    for path in [format!("/webhooks/{}/invented", tenant.id), "/webhooks/nobody/invented-2".to_owned()] {
        world.request(Method::POST, &path, &[], "{}").await;
    }
    let lines = log.take(&world);
    let own = named(&lines, "webhook");
    assert_eq!(own.len(), 2);
    assert!(own.iter().all(|line| line["system"] == "registered" && line["WebhooksRefused"] == 1), "{own:?}");
    assert_eq!(own[1]["system_id"], "invented-2", "it is there for who looks for it");
}

/// What is logged while queues, stream and schedules are worked off.
async fn run(world: &World, log: &Log, time: Duration) -> Vec<Value> {
    let triggers = world.run_triggers();
    tokio::time::sleep(time).await;
    triggers.stop().await;
    log.take(world)
}

fn inbound_id(system: &str, event: &str) -> String {
    derived("inb", &[TENANT, system, event])
}

/// Somebody who wants to know all, and whose endpoint fails at first.
async fn subscribed() -> (World, Tenant) {
    let (world, tenant) = World::with_tenant().await;
    let types = json!(["phone_number.interaction.*", "operation.failed", "contact.created"]);
    world.subscribe(&tenant, &json!({"url": "https://example.com/hooks", "event_types": types})).await;
    let failed_once = AtomicBool::new(false);
    world
        .internet
        .answer(move |_| Behaviour::status(if failed_once.swap(true, Ordering::Relaxed) { 200 } else { 500 }));
    (world, tenant)
}

#[tokio::test(start_paused = true)]
async fn one_id_leads_from_a_webhook_to_each_attempt_of_its_delivery() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = subscribed().await;
    log.take(&world);
    let id = inbound_id("sarah_ai", "e1");
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let mut lines = log.take(&world);
    assert_eq!((found_by(&lines, &id), &named(&lines, "webhook")[0]["inbound_id"]), (vec!["webhook"], &json!(id)));
    lines.extend(run(&world, &log, Duration::from_secs(20)).await);
    assert_eq!(found_by(&lines, &id), ["delivery", "delivery", "published", "webhook"]);
    let attempts: Vec<_> =
        named(&lines, "delivery").iter().map(|l| (l["attempt"].clone(), l["succeeded"].clone())).collect();
    assert_eq!(attempts, [(json!(0), json!(false)), (json!(1), json!(true))]);
    let told = &named(&lines, "delivery")[1];
    assert_eq!(
        (&told["Deliveries"], &told["DeliveriesFailed"], &told["http_status"]),
        (&json!(1), &json!(0), &json!(200))
    );
    assert!(told["DeliveryMilliseconds"].is_number() && told.to_string().len() < 800, "{told}");
    // A repeat is the same thing; and so is what is sent again on request.
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    assert_eq!(found_by(&log.take(&world), &id), ["webhook"]);
    let delivery = world.get(&tenant, "/v1/subscriptions").await.body["data"][0].clone();
    let delivery = world.deliveries(&tenant, &delivery).await[0]["id"].as_str().unwrap().to_owned();
    world.post(&tenant, &format!("/v1/deliveries/{delivery}/retry")).await;
    assert_eq!(found_by(&run(&world, &log, Duration::from_secs(20)).await, &id), ["delivery"]);
    // Subscribers aren't told what only we know it by.
    assert!(world.internet.take().iter().all(|arrival| !arrival.json().to_string().contains(&id)));
}

#[tokio::test(start_paused = true)]
async fn the_same_id_leads_through_the_retry_queue() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = subscribed().await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    run(&world, &log, Duration::from_secs(20)).await;
    let id = inbound_id("sarah_ai", "e2");
    world.fail_tables();
    assert_eq!(world.send(&tenant, "sarah_ai", &call_ended("e2", "c2", NUMBER)).await.text("/status"), "queued");
    let lines = log.take(&world);
    assert_eq!(found_by(&lines, &id), ["an event can't be applied now", "webhook"]);
    let first = run(&world, &log, Duration::from_secs(30)).await;
    assert!(!named(&first, "retry").is_empty());
    assert!(named(&first, "retry").iter().all(|line| line["correlation_id"] == id), "{first:?}");
    world.fail(|_| local::aws::Fault::None);
    let lines = run(&world, &log, Duration::from_mins(10)).await;
    assert_eq!(found_by(&lines, &id), ["delivery", "published", "retry"]);
    assert_eq!(named(&lines, "retry")[0]["status"], "processed");
}

#[tokio::test(start_paused = true)]
async fn the_same_id_leads_to_a_failure_and_its_retries() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = subscribed().await;
    log.take(&world);
    let id = inbound_id("sarah_ai", "e1");
    let unknown = json!({"event_id": "e1", "event_type": "call.exploded", "call": {"id": "c"}});
    world.send(&tenant, "sarah_ai", &unknown).await;
    let lines = run(&world, &log, Duration::from_secs(20)).await;
    assert_eq!(found_by(&lines, &id), ["delivery", "delivery", "failure", "published", "webhook"]);
    assert_eq!(named(&lines, "failure")[0]["Failures"], 1);
    world.post(&tenant, "/v1/failures/retry").await;
    let lines = run(&world, &log, Duration::from_secs(20)).await;
    assert_eq!(found_by(&lines, &id), ["delivery", "failure", "published", "retry"]);
    // Another body under the same identity belongs to the same story, though it has a record of its own.
    world.send(&tenant, "sarah_ai", &json!({"event_id": "e1", "event_type": "call.ended"})).await;
    let lines = log.take(&world);
    assert_eq!(found_by(&lines, &id), ["failure", "webhook"]);
    assert_ne!(named(&lines, "webhook")[0]["inbound_id"], json!(id));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_of_the_api_starts_is_found_by_the_gateways_id_of_the_call() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = subscribed().await;
    log.take(&world);
    world.put(&tenant, "/v1/contacts/con_ada", &json!({"first_name": "Ada"})).await;
    world.get(&tenant, "/v1/contacts/con_ada").await;
    let lines = run(&world, &log, Duration::from_secs(20)).await;
    let calls = named(&lines, "api");
    let id = calls[0]["request_id"].as_str().unwrap();
    assert_eq!(found_by(&lines, id), ["api", "delivery", "delivery", "published"]);
    assert_eq!((&calls[0]["method"], &calls[0]["route"]), (&json!("PUT"), &json!("/v1/contacts/{id}")));
    assert_eq!((&calls[0]["status"], &calls[0]["tenant"]), (&json!(201), &json!(TENANT)));
    assert!(calls[0]["ms"].is_number() && calls[0]["key_id"].as_str().is_some_and(|id| !id.is_empty()), "{calls:?}");
    assert!(calls[1]["correlation_id"].is_null() && calls[1]["request_id"] != calls[0]["request_id"], "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_id_leads_to_the_crm() {
    let (log, _guard) = Log::begin(LevelFilter::DEBUG);
    let (world, tenant, crm) = synced().await;
    let id = inbound_id("sarah_ai", "e1");
    crm.down(Behaviour::json(422, &json!({"message": "a surname is required"})));
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    sync(&world, &tenant, "interaction").await;
    let lines = log.take(&world);
    assert_eq!(found_by(&lines, &id), ["a record couldn't be sent", "a sync failed", "webhook"]);
    let run = named(&lines, "sync");
    let asked = named(&lines, "api").into_iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!((run.len(), &run[0]["RecordsSynced"], &run[0]["system"]), (1, &json!(0), &json!("external_crm")));
    assert_eq!(run[0]["correlation_id"], asked["request_id"], "the run is the call's");
    // Mended, and retried out of the failures.
    crm.well();
    world.post(&tenant, "/v1/failures/retry").await;
    sync(&world, &tenant, "interaction").await;
    let lines = log.take(&world);
    assert_eq!(found_by(&lines, &id), ["a record was sent"]);
    assert_eq!(named(&lines, "sync").iter().filter_map(|line| line["RecordsSynced"].as_i64()).sum::<i64>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_logged_with_its_outcome_and_nothing_secret() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = World::with_tenant().await;
    let subscription = json!({"url": "https://example.com/hooks/token-of-mine", "event_types": ["phone_number.interaction.*"],
        "headers": {"authorization": "Bearer of-good-news"}, "description": "for-our-eyes"});
    let subscription = world.subscribe(&tenant, &subscription).await;
    world.internet.answer(|_| Behaviour::status(500));
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", NUMBER)).await;
    let all = run(&world, &log, Duration::from_secs(3)).await;
    let own = named(&all, "delivery");
    assert_eq!(own.len(), 1, "{all:?}");
    assert_eq!((&own[0]["succeeded"], &own[0]["http_status"]), (&json!(false), &json!(500)));
    let secret = subscription["secret"].as_str().unwrap();
    let others =
        ["token-of-mine", "of-good-news", "for-our-eyes", &NUMBER[1..], "Sarah", "sha256=", "whsec_", "thanks"];
    assert_discreet(&all, &[&[secret], &others[..]].concat());
}

#[tokio::test]
async fn each_act_of_an_operator_leaves_one_line_without_keys_and_numbers() {
    let (log, _guard) = Log::begin(LevelFilter::INFO);
    let (world, tenant) = World::with_tenant().await;
    world.send(&tenant, "sarah_ai", &call_ended("e", "c", "+14155550132")).await;
    log.take(&world);
    let orders = [
        (json!({"action": "suspend", "tenant_id": TENANT, "dry_run": true}), ("audit", "suspend")),
        (json!({"action": "reissue_key", "tenant_id": TENANT, "reason": "ticket 4711"}), ("reason", "ticket 4711")),
        (
            json!({"action": "erase_number", "tenant_id": TENANT, "phone_number": "+14155550132"}),
            ("number", "+1•••••••132"),
        ),
        (json!({"action": "export", "tenant_id": "nobody"}), ("audit", "export")),
        (json!({"action": "resume", "tenant_id": "nobody"}), ("outcome", "there is no such tenant")),
        (json!({"action": "erase_number", "phone_number": "+14155550132"}), ("audit", "refused")),
    ];
    for (order, (field, value)) in orders {
        let answer = world.invoke("administer-tenant", order.clone()).await;
        let lines = log.take(&world);
        let own: Vec<&Value> = lines.iter().filter(|line| line["audit"].is_string()).collect();
        assert_eq!(own.len(), 1, "{order}: {lines:?}");
        assert!(own[0][field].as_str().is_some_and(|text| text.contains(value)), "{lines:?}");
        let key = answer.ok().and_then(|answer| answer["api_key"].as_str().map(str::to_owned));
        assert_discreet(&lines, &["4155550132", key.as_deref().unwrap_or("4155550132")]);
    }
}
