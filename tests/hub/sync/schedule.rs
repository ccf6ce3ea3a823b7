//! When what is sent, what the API says of it, and what that takes.

use std::time::Duration;

use local::aws::Service;
use serde_json::{Value, json};

use super::{NUMBER, ask, batch, integration, put, run, state, sync, synced, synced_with};
use crate::world::{
    Behaviour, World, call_ended,
    crm::{Crm, Fate},
};

fn operations(world: &World) -> Vec<String> {
    world.calls().into_iter().map(|call| call.operation).collect()
}

async fn schedule(world: &World) -> (Value, Vec<String>) {
    world.calls();
    let answer = world.invoke("schedule-syncs", json!({})).await.unwrap();
    (answer["jobs"].clone(), operations(world))
}

#[tokio::test(start_paused = true)]
async fn jobs_are_made_for_what_has_something_to_send() {
    let (world, tenant, _) = synced().await;
    let _other_crm = Crm::at(&world, "https://other.example");
    let other = world.provision("other", &[integration("https://other.example", json!({}), json!({}))]).await;
    world.provision("idle", &[integration("https://idle.example", json!({}), json!({}))]).await;
    let looks = vec!["Query".to_owned(); 12]; // three entities in four partitions
    assert_eq!(schedule(&world).await, (json!(0), looks));
    for n in 0..120 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A"})).await;
    }
    put(&world, &other, "1", json!({"first_name": "A"})).await;
    world.put(&other, "/v1/companies/com_1", &json!({"name": "Engines"})).await;
    let (jobs, calls) = schedule(&world).await;
    assert_eq!(jobs, 3);
    let count = |name: &str| calls.iter().filter(|call| *call == name).count();
    assert_eq!(count("Query"), 15, "one more for each, however many are marked");
    assert!((2..=3).contains(&count("SendMessageBatch")), "{calls:?}");
    assert_eq!(calls.len(), 15 + count("SendMessageBatch"));
}

#[tokio::test(start_paused = true)]
async fn the_schedule_sends_what_changed_within_five_minutes() {
    let (world, tenant, crm) = synced().await;
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    world.send(&tenant, "sarah_ai", &call_ended("e1", "c1", NUMBER)).await;
    let triggers = world.run_triggers();
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert!(crm.asked().is_empty());
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!((crm.only("contacts")["first_name"].as_str(), crm.records("interactions").len()), (Some("Ada"), 1));
    crm.asked();
    tokio::time::sleep(Duration::from_hours(1)).await;
    triggers.stop().await;
    assert!(crm.asked().is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn the_state_says_what_waits_and_why() {
    let (world, tenant, crm) = synced().await;
    let fresh = state(&world, &tenant, "contact").await;
    let expected = json!({"system_id": "external_crm", "entity_type": "contact", "last_run_at": null, "sent": 0,
        "failed": 0, "waiting": 0});
    assert_eq!(fresh, expected);
    put(&world, &tenant, "ada", json!({"first_name": "Ada"})).await;
    world.advance(5);
    put(&world, &tenant, "bob", json!({"first_name": "Bob"})).await;
    let waiting = state(&world, &tenant, "contact").await;
    assert_eq!(
        (&waiting["waiting"], &waiting["oldest_waiting_at"]),
        (&json!(2), &json!("2026-01-15T12:00:00Z")),
        "{waiting}"
    );
    // Bob isn't taken, and after him nothing is.
    crm.script(|_, asked| match asked.body["first_name"].as_str() {
        Some("Bob") => {
            let refusal = Behaviour::json(422, &json!({"message": "no surname"}));
            Fate::Instead(refusal.after(Duration::from_secs(1)))
        }
        _ => Fate::Served,
    });
    sync(&world, &tenant, "contact").await;
    let sent = state(&world, &tenant, "contact").await;
    assert_eq!((&sent["sent"], &sent["failed"], &sent["waiting"]), (&json!(1), &json!(1), &json!(0)), "{sent}");
    assert!(sent["last_error"].as_str().unwrap().contains("no surname"), "{sent}");
    assert!(sent["last_run_at"].is_string() && sent.get("oldest_waiting_at").is_none(), "{sent}");
    crm.well();
    put(&world, &tenant, "bob", json!({"first_name": "Bobby"})).await;
    sync(&world, &tenant, "contact").await;
    let well = state(&world, &tenant, "contact").await;
    assert_eq!((&well["sent"], &well["failed"], &well["waiting"]), (&json!(2), &json!(0), &json!(0)), "{well}");
    assert_eq!(well.get("last_error"), None, "{well}");
    for (path, status) in [("/v1/sync/sarah_ai", 404), ("/v1/sync/nothing", 404), ("/v1/sync/external_crm/thing", 405)]
    {
        assert_eq!(world.get(&tenant, path).await.status, status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_on_demand_is_asked_for_in_the_right_words() {
    let (world, tenant, crm) = synced_with(json!({}), json!({"entities": {"interaction": {"list": null}}})).await;
    let table = [
        ("external_crm/contact", json!({}), 202, ""),
        ("external_crm/contact", json!({"direction": "outbound", "full": true}), 202, ""),
        ("external_crm/contact", json!({"direction": "inbound"}), 400, "add \\\"full\\\": true"),
        ("external_crm/contact", json!({"direction": "bidirectional"}), 400, "outbound or inbound"),
        ("external_crm/contact", json!({"colour": "red"}), 400, "colour"),
        ("external_crm/interaction", json!({"direction": "inbound", "full": true}), 400, "has no `list`"),
        ("external_crm/thing", json!({}), 400, "contact, company or interaction"),
        ("sarah_ai/contact", json!({}), 404, "outbound"),
        ("nothing/contact", json!({}), 404, "outbound"),
    ];
    for (path, body, status, text) in table {
        let answer = world.post_json(&tenant, &format!("/v1/sync/{path}"), &body.to_string()).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        assert!(answer.body.to_string().contains(text), "{path} {body}: {answer:?}");
    }
    assert!(crm.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_run_looks_at_all_and_sends_what_differs() {
    let (world, tenant, crm) = synced().await;
    for n in 0..60 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A"})).await;
    }
    sync(&world, &tenant, "contact").await;
    assert_eq!(crm.asked().len(), 60);
    ask(&world, &tenant, "contact", json!({"full": true})).await;
    run(&world, Duration::from_mins(2)).await;
    assert!(crm.asked().is_empty());
    assert_eq!(state(&world, &tenant, "contact").await["waiting"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_new_records_takes_at_most_two_calls_each() {
    let (world, tenant, crm) = synced().await;
    for n in 0..50 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A", "phone_number": NUMBER})).await;
    }
    world.calls();
    let answer = world.invoke("sync-contacts", batch(&tenant)).await.unwrap();
    assert_eq!(answer["batchItemFailures"], json!([]));
    assert_eq!(crm.records("contacts").len(), 50);
    let calls = world.calls();
    let transactions = calls.iter().filter(|call| call.operation == "TransactWriteItems").count();
    assert!(calls.iter().all(|call| call.service != Service::Sqs), "nothing is left to do");
    assert_eq!(transactions, 50);
    assert!(calls.len() <= 70, "{} calls, few for each page beside one for each record", calls.len());
    // Nothing to do: no call of more than a few.
    assert_eq!(world.invoke("sync-contacts", batch(&tenant)).await.unwrap()["batchItemFailures"], json!([]));
    assert!(world.calls().len() <= 8);
    assert_eq!(crm.asked().len(), 50);
}
