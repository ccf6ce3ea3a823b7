//! Tries by the integration's policy, and records that become failures (contract §4).

use std::time::Duration;

use serde_json::{Value, json};

use super::{ask, kept, put, run, state, sync, synced, synced_with};
use crate::world::{
    Behaviour,
    crm::{Asked, Fate},
};

/// The contact whose name is this, as a request says.
fn is(asked: &Asked, name: &str) -> bool {
    asked.body["first_name"] == name
}

fn refusal() -> Behaviour {
    Behaviour::json(422, &json!({"message": "a surname is required"}))
}

/// Times between requests, in seconds.
fn waits(asked: &[Asked]) -> Vec<i64> {
    asked.windows(2).map(|two| two[1].at.duration_since(two[0].at).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_tried_by_the_policy_and_then_becomes_a_failure() {
    let policy = json!({"retry": {"max_attempts": 3, "backoff_factor": 2, "base_delay_seconds": 20}});
    let (world, tenant, crm) = synced_with(policy, json!({})).await;
    crm.script(|_, asked| if is(asked, "Bad") { Fate::Instead(Behaviour::status(503)) } else { Fate::Served });
    put(&world, &tenant, "bad", json!({"first_name": "Bad"})).await;
    let triggers = world.run_triggers();
    ask(&world, &tenant, "contact", json!({})).await;
    // The system is well: others go through all the while.
    for n in 0..40 {
        put(&world, &tenant, &format!("good{n}"), json!({"first_name": "Good"})).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    tokio::time::sleep(Duration::from_mins(10)).await;
    triggers.stop().await;
    let asked = crm.asked();
    let tries: Vec<Asked> = asked.iter().filter(|asked| is(asked, "Bad")).cloned().collect();
    let waits = waits(&tries);
    assert_eq!(waits.len(), 3, "{waits:?}");
    for (wait, least) in waits.iter().zip([20, 40, 80]) {
        // Up to a fifth more, and the queue's polling.
        assert!((least..=least * 6 / 5 + 2).contains(wait), "{waits:?}");
    }
    let failures = kept(&world, &tenant).await;
    assert_eq!(
        (failures.len(), &failures[0]["code"], &failures[0]["attempts"]),
        (1, &json!("server_error"), &json!(4))
    );
    assert_eq!(crm.records("contacts").len(), 40);
    assert_eq!(state(&world, &tenant, "contact").await["failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    for status in [429, 503] {
        let (world, tenant, crm) = synced().await;
        crm.script(move |n, _| match n {
            0 => Fate::Instead(Behaviour::status(status).retry_after(400)),
            _ => Fate::Served,
        });
        put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
        ask(&world, &tenant, "contact", json!({})).await;
        run(&world, Duration::from_mins(15)).await;
        let asked = crm.asked();
        let wait = waits(&asked)[0];
        // The schedule comes every five minutes.
        assert!((400..=700).contains(&wait), "{status}: {wait}");
        crm.only("contacts");
    }
}

#[tokio::test(start_paused = true)]
async fn what_isnt_taken_is_a_failure_at_once_and_holds_nobody_up() {
    let (world, tenant, crm) = synced().await;
    let subscription = json!({"url": "https://example.com/hooks", "event_types": ["operation.failed"]});
    world.subscribe(&tenant, &subscription).await;
    crm.script(|_, asked| if is(asked, "Bad") { Fate::Instead(refusal()) } else { Fate::Served });
    for n in 0..20 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": if n % 5 == 0 { "Bad" } else { "Good" }})).await;
    }
    world.metrics();
    sync(&world, &tenant, "contact").await;
    assert_eq!((crm.records("contacts").len(), crm.asked().len()), (16, 20));
    let failures = kept(&world, &tenant).await;
    assert_eq!(failures.len(), 4);
    for failure in &failures {
        assert_eq!(
            (&failure["operation"], &failure["system_id"], &failure["code"], &failure["attempts"]),
            (&json!("sync_record"), &json!("external_crm"), &json!("invalid_record"), &json!(1))
        );
        assert!(failure["error"].as_str().unwrap().contains("a surname is required"), "{failure}");
        assert_eq!(failure["payload"]["first_name"], "Bad");
        let path = format!("/v1/failures/{}", failure["id"].as_str().unwrap());
        assert_eq!(world.get(&tenant, &path).await.body, *failure);
    }
    let told: Vec<Value> =
        world.internet.take().iter().filter(|a| a.url.contains("/hooks")).map(crate::world::Arrival::json).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|event| event["event_type"] == "operation.failed"));
    assert!(told.iter().all(|event| failures.iter().any(|f| event.to_string().contains(f["id"].as_str().unwrap()))));
    let metrics = world.metrics();
    let counted: Vec<&Value> = metrics.iter().filter(|line| line["FailedSyncs"] == 1).collect();
    assert_eq!(counted.len(), 4, "{metrics:?}");
    assert!(counted.iter().all(|line| line["tenant"] == tenant.id.as_str() && line["code"] == "invalid_record"));
    run(&world, Duration::from_mins(30)).await;
    assert!(crm.asked().is_empty(), "it isn't tried again by itself");
}

#[tokio::test(start_paused = true)]
async fn failures_are_sent_through_again_one_or_many() {
    let (world, tenant, crm) = synced().await;
    crm.down(refusal());
    for n in 0..12 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A"})).await;
    }
    sync(&world, &tenant, "contact").await;
    let failures = kept(&world, &tenant).await;
    assert_eq!(failures.len(), 12);
    assert_eq!(crm.asked().len(), 12);
    // Still not taken: the same failure, with one more try.
    let retry = format!("/v1/failures/{}/retry", failures[0]["id"].as_str().unwrap());
    world.advance(60);
    assert_eq!(world.post(&tenant, &retry).await.status, 202);
    run(&world, Duration::from_secs(30)).await;
    let again = world.get(&tenant, &format!("/v1/failures/{}", failures[0]["id"].as_str().unwrap())).await.body;
    assert_eq!((kept(&world, &tenant).await.len(), crm.asked().len()), (12, 1));
    assert_ne!(again["last_failed_at"], failures[0]["last_failed_at"], "{again}");
    assert_eq!(again["first_failed_at"], failures[0]["first_failed_at"], "{again}");
    assert_eq!(again["attempts"], 2, "{again}");
    crm.well();
    assert_eq!(world.post(&tenant, &retry).await.status, 202);
    run(&world, Duration::from_secs(30)).await;
    assert_eq!((kept(&world, &tenant).await.len(), crm.records("contacts").len()), (11, 1));
    assert_eq!(world.post(&tenant, &retry).await.status, 404, "it is gone");
    assert_eq!(world.post(&tenant, "/v1/failures/retry").await.status, 202);
    run(&world, Duration::from_mins(2)).await;
    assert_eq!((kept(&world, &tenant).await.len(), crm.records("contacts").len()), (0, 12));
    assert_eq!(state(&world, &tenant, "contact").await["failed"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_later_change_that_is_taken_ends_the_failure() {
    let (world, tenant, crm) = synced().await;
    crm.script(|_, asked| if is(asked, "Bad") { Fate::Instead(refusal()) } else { Fate::Served });
    put(&world, &tenant, "ada", json!({"first_name": "Bad"})).await;
    sync(&world, &tenant, "contact").await;
    let first = kept(&world, &tenant).await;
    assert_eq!(first.len(), 1);
    // One that isn't taken either is the same failure.
    world.advance(1);
    put(&world, &tenant, "ada", json!({"first_name": "Bad", "last_name": "Worse"})).await;
    sync(&world, &tenant, "contact").await;
    let second = kept(&world, &tenant).await;
    assert_eq!((second.len(), &second[0]["id"]), (1, &first[0]["id"]));
    assert_eq!(second[0]["payload"]["last_name"], "Worse");
    world.advance(1);
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    sync(&world, &tenant, "contact").await;
    assert!(kept(&world, &tenant).await.is_empty());
    assert_eq!(crm.only("contacts")["first_name"], "Ada");
    // What is deleted has no failure any more either.
    world.advance(1);
    put(&world, &tenant, "bob", json!({"first_name": "Bad"})).await;
    sync(&world, &tenant, "contact").await;
    assert_eq!(kept(&world, &tenant).await.len(), 1);
    world.advance(1);
    world.delete(&tenant, "/v1/contacts/con_bob").await;
    sync(&world, &tenant, "contact").await;
    assert!(kept(&world, &tenant).await.is_empty(), "there is nothing left to send");
    assert_eq!(state(&world, &tenant, "contact").await["failed"], 0);
}
