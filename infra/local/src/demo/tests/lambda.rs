//! `events/lambda/`: for each function an event to invoke it with, as API Gateway makes it of a request.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Request;
use shared::connector::Entity;
use shared::event::{self, Event, EventType};
use shared::hub::Settings;
use shared::ids::{SystemId, TenantId, sortable};
use shared::operation::{Deliver, Operation, Reason, SyncJob, SyncTask, Waiting};
use shared::signature::SignatureConfig;
use shared::store::Write;

use super::*;
use crate::functions::Functions;
use crate::gateway::Gateway;
use crate::lambda::Lambda;
use crate::template::Template;
use crate::testing::{clock_at, function};

/// Seconds from 1970 to [`SIGNED_AT`].
const SIGNED_AT_SECONDS: u64 = 1_768_500_000;
/// A tenant's own system, which `provision-tenant.json` registers and `webhook-custom.json` comes from.
const OWN_SYSTEM: &str = "field_helpdesk";

/// A request that becomes a function's event: its system, the sample that it repeats, what identifies that sample (its
/// event id; GitHub signs none, so anything in its body), and how it is signed. `custom` and `github` sign no time, so
/// what they sign is valid for ever; Stripe's signatures are valid for five minutes.
type Webhook = (&'static str, &'static str, &'static str, SignatureConfig);

fn webhooks() -> [Webhook; 6] {
    let custom = || SignatureConfig::Custom {};
    [
        ("sarah_ai", include_str!("../../../../../events/sarah_ai/call_ended.json"), "evt_sarah_01HZX4VH9Q", custom()),
        (
            "payment_processor",
            include_str!("../../../../../events/payment_processor/payment_succeeded.json"),
            "evt_cc_5002",
            custom(),
        ),
        (
            "stripe",
            include_str!("../../../../../events/stripe/charge_succeeded.json"),
            "evt_3QhXa2LkdIwHu7ix1oKaY0004",
            SignatureConfig::Stripe {},
        ),
        (
            "github",
            include_str!("../../../../../events/github/issues_opened.json"),
            "I_kwDOKbXk4c6nAAAq",
            SignatureConfig::Github {},
        ),
        (
            "external_crm",
            include_str!("../../../../../events/external_crm/contact_created.json"),
            "crm_evt_7003",
            custom(),
        ),
        (OWN_SYSTEM, include_str!("../../../../../events/helpdesk/ticket_created.json"), "hd_evt_1", custom()),
    ]
}

#[tokio::test]
async fn samples_for_every_function_are_what_the_gateway_makes() {
    let events = events_of_requests().await;
    let folder = super::events().join("lambda");
    for (name, event) in &events {
        keep(&folder.join(format!("{name}.json")), &format!("{event:#}\n"));
    }
    let kept: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(kept.len(), events.len(), "{} holds files of no function: {kept:?}", folder.display());
}

/// What each function is invoked with, by its name.
async fn events_of_requests() -> BTreeMap<String, Value> {
    let template = Template::bundled("http://127.0.0.1:9001").unwrap();
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let functions = template.functions.iter().fold(Functions::default(), |functions, spec| {
        let (seen, name) = (Arc::clone(&seen), spec.name.clone());
        let record = function(move |event, _| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), event);
            let caller = json!({"tenant_id": TENANT, "key_id": "key_demo", "scopes": "read"});
            std::future::ready(Ok(json!({"statusCode": 200, "isAuthorized": true, "context": caller})))
        });
        functions.with(&spec.name, record)
    });
    let clock = clock_at(SIGNED_AT_SECONDS);
    let lambda = Arc::new(Lambda::new(&template, functions, Arc::clone(&clock), 1).unwrap());
    let gateway = Gateway::new(&template, Arc::clone(&lambda), clock);
    lambda.invoke("provision-tenant", provisioning()).await.unwrap();
    lambda.invoke("process-retries", waiting()).await.unwrap();
    for request in webhooks().iter().map(webhook).chain([reading()]) {
        gateway.handle(request, IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
    }
    lambda.invoke("release-waiting", every("EveryMinute")).await.unwrap();
    lambda.invoke("sweep-events", every("EveryHour")).await.unwrap();
    lambda.invoke("schedule-syncs", every("EveryFiveMinutes")).await.unwrap();
    for (entity, function, queue) in [
        (Entity::Contact, "sync-contacts", "SyncContactsQueue"),
        (Entity::Company, "sync-companies", "SyncCompaniesQueue"),
        (Entity::Interaction, "sync-interactions", "SyncInteractionsQueue"),
    ] {
        lambda.invoke(function, sync_job(entity, queue)).await.unwrap();
    }
    lambda.invoke("publish-events", outbox()).await.unwrap();
    lambda.invoke("deliver-webhooks", delivery()).await.unwrap();
    lambda.invoke("administer-tenant", json!({"action": "list_failures", "limit": 10})).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    assert!(template.functions.iter().all(|function| seen.contains_key(&function.name)), "{:?}", seen.keys());
    seen
}

/// A sample's request, repeated as another event, so that `cargo local --demo` hasn't applied it yet.
fn webhook((system, sample, id, scheme): &Webhook) -> Request<Bytes> {
    assert!(sample.contains(id), "{system}'s sample has no {id}");
    let sample: Value = serde_json::from_str(&sample.replace(id, &format!("{id}-lambda"))).unwrap();
    let body = sample["body"].to_string();
    let mut request = Request::post(format!("/webhooks/{TENANT}/{system}")).header("host", "127.0.0.1:9002");
    for (name, value) in sample["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    let unsigned = UnsignedRequest { method: "POST", url: URL, body: body.as_bytes() };
    let scheme = scheme.compile().unwrap();
    for (name, value) in scheme.sign(&unsigned, "lambda", &[&secret(system)], SIGNED_AT.parse().unwrap()).unwrap() {
        request = request.header(name, value);
    }
    request.body(body.into()).unwrap()
}

/// A look at what the other requests did. Its key is nobody's: put one that `provision-tenant` gave.
fn reading() -> Request<Bytes> {
    let path = format!("/v1/phone-numbers/{}", NUMBER.replace('+', "%2B"));
    let request =
        Request::get(path).header("host", "127.0.0.1:9002").header("authorization", "Bearer smrt_put_your_key_here");
    request.body(Bytes::new()).unwrap()
}

/// A batch of one event that waits: a call of Sarah AI, as the retry queue holds it.
fn waiting() -> Value {
    let call = json!({"event_id": "evt_waiting", "event_type": "call.ended", "timestamp": "2026-01-15T10:30:00Z",
        "call": {"id": "call_waiting", "destination_number": NUMBER, "duration_seconds": 30, "disposition": "BUSY"}});
    let event =
        json!({"tenant_id": TENANT, "system_id": "sarah_ai", "received_at": SIGNED_AT, "body": call.to_string()});
    let event = serde_json::from_value(event).unwrap();
    let due = SIGNED_AT.parse().unwrap();
    let message = Operation::Inbound(Waiting { event, attempt: 0, reason: Reason::Unavailable, due }).to_message().body;
    message_from("RetryQueue", &message)
}

/// A batch of one message.
fn message_from(queue: &str, message: &str) -> Value {
    json!({"Records": [{"messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78", "receiptHandle": "handle", "body": message,
        "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}, "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:smrt-local-{queue}"), "awsRegion": "us-east-1"}]})
}

/// A batch of one event of the outbox: a number became known.
fn outbox() -> Value {
    let var = |name: &str| ["TABLE_NAME", "SECRETS_PREFIX"].contains(&name).then(String::new);
    let settings = Settings::from_env(var).unwrap();
    let (tenant, at) = (TenantId::parse(TENANT).unwrap(), SIGNED_AT.parse().unwrap());
    let draft = event::phone_created(&NUMBER.to_owned().try_into().unwrap());
    let Some(Write::Put { item, .. }) = event::outbox(&tenant, &[draft], (at, 7), &settings, None) else {
        panic!("no event")
    };
    let text = |name: &str| json!({"S": item.get_text(name).unwrap()});
    let number = |name: &str| json!({"N": item.get_number(name).unwrap().to_string()});
    let image = json!({"pk": text("pk"), "sk": text("sk"), "outbox": text("outbox"), "at": number("at"), "ttl": number("ttl"),
        "events": {"B": BASE64.encode(item.get_bytes("events").unwrap())}});
    json!({"Records": [{"eventID": "c4ca4238a0b923820dcc509a6f75849b", "eventName": "INSERT", "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
        "dynamodb": {"ApproximateCreationDateTime": SIGNED_AT_SECONDS, "Keys": {"pk": text("pk"), "sk": text("sk")},
            "NewImage": image, "SequenceNumber": "100000000000000000001", "SizeBytes": 200, "StreamViewType": "NEW_IMAGE"},
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/smrt-local-HubTable/stream/2026-01-15T18:00:00.000"}]})
}

/// A batch of one delivery to a subscription that is nobody's.
fn delivery() -> Value {
    let (tenant, at) = (TenantId::parse(TENANT).unwrap(), SIGNED_AT.parse().unwrap());
    let (subscription, event) = (sortable("sub", at, 7), event::transient_id(at, 7));
    let number = json!({"phone_number": NUMBER});
    let event_itself = Some(Event::transient(EventType::PhoneNumberCreated, at, &number));
    let delivery = Deliver { event: event_itself, ..Deliver::first(&tenant, &subscription, &event) };
    message_from("DeliveryQueue", &Operation::Deliver(Box::new(delivery)).to_message().body)
}

/// A batch of one job: what is marked is to be sent to a CRM that the demo tenant doesn't have.
fn sync_job(entity: Entity, queue: &str) -> Value {
    let (tenant_id, system_id) = (TenantId::parse(TENANT).unwrap(), SystemId::parse("external_crm").unwrap());
    let job = SyncJob { tenant_id, system_id, entity, task: SyncTask::Send, due: None, correlation_id: None };
    message_from(queue, &Operation::Sync(job).to_message().body)
}

/// What EventBridge Scheduler sends.
fn every(schedule: &str) -> Value {
    json!({"version": "0", "id": "b3d0a2f4-9c55-4d1e-8d52-7b1c6a9e0f11", "detail-type": "Scheduled Event",
        "source": "aws.scheduler", "account": "000000000000", "time": SIGNED_AT, "region": "us-east-1",
        "resources": [format!("arn:aws:scheduler:us-east-1:000000000000:schedule/default/{schedule}")], "detail": "{}"})
}

/// Adds a system of its own to the demo tenant: the sample help desk, but signing with `custom`.
fn provisioning() -> Value {
    let mut system = own_integration("helpdesk").unwrap().unwrap();
    system["mapping"]["system_id"] = OWN_SYSTEM.into();
    system.insert("system_id".to_owned(), OWN_SYSTEM.into());
    system.insert("signature".to_owned(), json!({"scheme": "custom"}));
    system.insert("webhook_secret".to_owned(), secret(OWN_SYSTEM).into());
    json!({"tenant_id": TENANT, "name": "Demo", "default_region": "US", "integrations": [system]})
}
