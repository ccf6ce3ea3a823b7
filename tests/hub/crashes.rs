//! Processing is cut off at every AWS call in turn; after the sender's repeat there is exactly one effect.

use local::aws::Fault;
use serde_json::{Value, json};
use shared::operation::{Operation, Waiting};

use crate::world::{Tenant, World, call_ended, sample_body};

const NUMBER: &str = "+14155550132";

/// Every way in which one call to AWS goes wrong. Times are the SDK's, and virtual.
const FAULTS: [Fault; 5] = [
    Fault::Refuse { status: 400, code: "ProvisionedThroughputExceededException" },
    Fault::Refuse { status: 500, code: "InternalServerError" },
    Fault::Disconnect,
    Fault::TimeOut,
    Fault::LoseAnswer,
];

async fn outcome(world: &World, tenant: &Tenant) -> Value {
    let phone = world.phone(tenant, NUMBER).await;
    let interactions = world.interactions(tenant, NUMBER).await;
    json!({"phone": phone, "interactions": interactions.len()})
}

/// Sends `prelude`, then `event` with the AWS calls from number `from` on (to the end, or only that one) meeting `fault`,
/// then repeats it in copies that remember nothing. Gives the effect, and how many calls the faulty attempt made.
async fn attempt(
    prelude: &[(&str, &Value)],
    event: (&str, &Value),
    from: usize,
    fault: Fault,
    to_the_end: bool,
) -> (Value, usize) {
    let (world, tenant) = World::with_tenant().await;
    for (system, body) in prelude {
        assert_eq!(world.send(&tenant, system, body).await.status, 200);
    }
    world.calls();
    world.fail(move |number| if number == from || (to_the_end && number > from) { fault } else { Fault::None });
    let first = world.send(&tenant, event.0, event.1).await;
    let calls = world.calls().len();
    assert!([200, 202, 503].contains(&first.status.as_u16()), "{:?}", first.body);
    assert_ne!(first.body["status"], "failed", "{:?}", first.body);
    world.fail(|_| Fault::None);
    world.restart();
    let again = world.send(&tenant, event.0, event.1).await;
    assert_eq!(again.status, 200, "{:?}", again.body);
    assert!(["processed", "duplicate"].contains(&again.text("/status")), "{:?}", again.body);
    if first.body["status"] == "processed" {
        assert_eq!(again.body["status"], "duplicate");
        assert_eq!(again.body["data"], first.body["data"]);
    }
    (outcome(&world, &tenant).await, calls)
}

async fn cut_off_everywhere(prelude: &[(&str, &Value)], event: (&str, &Value)) {
    let (expected, calls) = attempt(prelude, event, usize::MAX, Fault::None, false).await;
    assert!(calls >= 2, "the event makes no calls");
    for fault in FAULTS {
        for to_the_end in [false, true] {
            // A fault makes retries, so there may be more calls than without.
            for from in 0..calls + 2 {
                let (found, _) = attempt(prelude, event, from, fault, to_the_end).await;
                assert_eq!(found, expected, "{fault:?} at call {from}, to the end: {to_the_end}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_event_of_a_call() {
    cut_off_everywhere(&[], ("sarah_ai", &call_ended("evt_1", "call_1", NUMBER))).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_event_of_a_call() {
    let started = sample_body("sarah_ai", "call_started");
    let ended = sample_body("sarah_ai", "call_ended");
    cut_off_everywhere(&[("sarah_ai", &started)], ("sarah_ai", &ended)).await;
}

#[tokio::test(start_paused = true)]
async fn a_payment() {
    let call = call_ended("evt_1", "call_1", NUMBER);
    let payment = sample_body("payment_processor", "payment_succeeded");
    cut_off_everywhere(&[("sarah_ai", &call)], ("payment_processor", &payment)).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_table_is_down_events_are_queued_and_with_the_queue_down_refused() {
    let (world, tenant) = World::with_tenant().await;
    let body = call_ended("evt_1", "call_1", NUMBER);
    world.send(&tenant, "sarah_ai", &call_ended("evt_0", "call_0", NUMBER)).await; // fills the caches
    world.fail_tables();
    let queued = world.send(&tenant, "sarah_ai", &body).await;
    assert_eq!(
        (queued.status.as_u16(), &queued.body),
        (202, &json!({"success": true, "status": "queued", "event_id": "evt_1"}))
    );
    let messages = world.queued().await;
    assert_eq!(messages.len(), 1);
    let Ok(Operation::Inbound(Waiting { event, .. })) = Operation::from_message(&messages[0], world.now()) else {
        panic!("not an event: {}", messages[0])
    };
    assert_eq!(
        (event.body, event.system_id.as_str(), event.tenant_id.as_str()),
        (body.to_string(), "sarah_ai", tenant.id.as_str())
    );
    world.fail(|_| Fault::Disconnect);
    let refused = world.send(&tenant, "sarah_ai", &body).await;
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (503, "unavailable"));
    assert!(refused.headers.contains_key("retry-after"));
    // Copies that have cached nothing can't read the configuration.
    world.restart();
    assert_eq!(world.send(&tenant, "sarah_ai", &body).await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_the_last_known_configuration_counts_for_an_hour() {
    let (world, tenant) = World::with_tenant().await;
    let send = |n: u32| {
        let (world, tenant) = (&world, &tenant);
        async move { world.send(tenant, "sarah_ai", &call_ended(&format!("evt_{n}"), "call", NUMBER)).await }
    };
    assert_eq!(send(0).await.status, 200);
    world.fail(|_| Fault::Disconnect);
    world.advance(59 * 60);
    // Everything fails, so nothing is stored; but the sender isn't told that there is no such system or signature.
    assert_eq!(send(1).await.status, 503);
    world.fail(|_| Fault::None);
    world.fail_tables();
    assert_eq!(send(1).await.text("/status"), "queued");
    world.advance(61);
    assert_eq!(send(2).await.status, 503);
}
