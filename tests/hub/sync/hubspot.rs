//! HubSpot: a hundred records in one call, and its notifications, in batches of changes of single properties.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{TOKEN, contact, contacts, run};
use crate::world::{Behaviour, TENANT, Tenant, World};

const URL: &str = "https://api.hubapi.com";

/// Answers batches, by our id; the first hundred records are 1000, 1001, ….
fn portal(world: &World) {
    let ids: std::sync::Mutex<BTreeMap<String, String>> = std::sync::Mutex::default();
    let ids = Arc::new(ids);
    world.internet.answer_at(URL, move |arrival| {
        let mut ids = ids.lock().unwrap();
        let mut results = Vec::new();
        for input in arrival.json()["inputs"].as_array().unwrap() {
            let (given, count) = (input["id"].as_str().unwrap().to_owned(), ids.len());
            let id = if arrival.url.ends_with("upsert") {
                ids.entry(given.clone()).or_insert_with(|| (1000 + count).to_string()).clone()
            } else {
                given.clone()
            };
            let mut properties = input["properties"].clone();
            if arrival.url.ends_with("upsert") {
                properties["smrt_crm_id"] = given.into();
            }
            results.push(json!({"id": id, "properties": properties, "updatedAt": arrival.at.to_string(), "new": true}));
        }
        Behaviour::json(200, &json!({"status": "COMPLETE", "results": results}))
    });
}

async fn connected() -> (World, Tenant) {
    let world = World::new().await;
    portal(&world);
    let integration = json!({"system_id": "hubspot", "direction": "bidirectional",
        "signature": {"scheme": "template", "preset": "hubspot_v3"},
        "outbound": {"preset": "hubspot", "base_url": URL, "auth": {"type": "bearer", "token": TOKEN}}});
    let tenant = world.provision(TENANT, &[integration]).await;
    (world, tenant)
}

async fn put(world: &World, tenant: &Tenant, id: &str, fields: Value) {
    assert!(world.put(tenant, &format!("/v1/contacts/con_{id}"), &fields).await.status.is_success());
}

async fn sync(world: &World, tenant: &Tenant) -> Vec<(String, Value)> {
    world.internet.take();
    assert_eq!(world.post_json(tenant, "/v1/sync/hubspot/contact", "{}").await.status, 202);
    run(world, Duration::from_secs(5)).await;
    let arrivals = world.internet.take();
    arrivals.iter().map(|a| (a.url.strip_prefix(URL).unwrap().to_owned(), a.json())).collect()
}

/// A change of a property, as HubSpot tells it.
fn change(event: u64, object: u64, at: jiff::Timestamp, (name, value): (&str, &str)) -> Value {
    json!({"attemptNumber": 0, "sourceId": "userId:1", "eventId": event, "changeSource": "CRM_UI",
        "occurredAt": at.as_millisecond(), "subscriptionType": "contact.propertyChange", "propertyName": name,
        "propertyValue": value, "portalId": 48_975_575, "appId": 39_522_895, "subscriptionId": 6_527_612,
        "objectId": object})
}

fn about(event: u64, object: u64, at: jiff::Timestamp, kind: &str) -> Value {
    let mut told = change(event, object, at, ("", ""));
    told["subscriptionType"] = kind.into();
    let fields = told.as_object_mut().unwrap();
    fields.remove("propertyName");
    fields.remove("propertyValue");
    told
}

/// What becomes of each.
async fn tell(world: &World, tenant: &Tenant, events: &[Value]) -> Vec<String> {
    let answer = world.send(tenant, "hubspot", &Value::from(events.to_vec())).await;
    let results = answer.body["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    results.iter().map(|result| result["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_go_out_in_batches() {
    let (world, tenant) = connected().await;
    for n in 0..50 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "A", "email": format!("a{n}@example.com")})).await;
    }
    let sent = sync(&world, &tenant).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].0, "/crm/v3/objects/contacts/batch/upsert");
    let inputs = sent[0].1["inputs"].as_array().unwrap();
    assert_eq!(inputs.len(), 50);
    assert!(inputs.iter().all(|input| input["idProperty"] == "smrt_crm_id" && input["properties"]["firstname"] == "A"));
    world.advance(1);
    for n in 0..3 {
        put(&world, &tenant, &n.to_string(), json!({"first_name": "B"})).await;
    }
    let sent = sync(&world, &tenant).await;
    assert_eq!((sent.len(), &sent[0].0[..]), (1, "/crm/v3/objects/contacts/batch/update"), "{sent:?}");
    // What was emptied is emptied in HubSpot's way.
    assert_eq!(sent[0].1["inputs"][0]["properties"], json!({"firstname": "B", "email": ""}));
    assert!(sync(&world, &tenant).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn changes_over_there_come_in_batches_and_change_ours() {
    let (world, tenant) = connected().await;
    put(&world, &tenant, "ada", json!({"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}))
        .await;
    sync(&world, &tenant).await;
    world.advance(60);
    let now = world.now();
    let ada = change(1, 1000, now, ("lastname", "King"));
    let batch = [
        ada.clone(),
        about(2, 2000, now, "contact.creation"),
        change(3, 2000, now, ("firstname", "Eve")),
        change(4, 2000, now, ("lifecyclestage", "lead")),
        about(5, 3000, now, "contact.associationChange"),
    ];
    assert_eq!(tell(&world, &tenant, &batch).await, ["processed", "processed", "processed", "processed", "ignored"]);
    let ours = contact(&world, &tenant, "con_ada").await;
    assert_eq!(
        (&ours["first_name"], &ours["last_name"], &ours["email"]),
        (&json!("Ada"), &json!("King"), &json!("ada@example.com"))
    );
    let all = contacts(&world, &tenant).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().any(|contact| contact["first_name"] == "Eve"));
    assert_eq!(tell(&world, &tenant, std::slice::from_ref(&ada)).await, ["duplicate"]);
    // A retry says how often it was tried, so it is another body; that it is the same news changes nothing.
    let before = contact(&world, &tenant, "con_ada").await;
    let mut again = ada;
    again["attemptNumber"] = 1.into();
    assert_eq!(tell(&world, &tenant, &[again]).await, ["processed"]);
    assert_eq!(contact(&world, &tenant, "con_ada").await["last_name"], before["last_name"]);
    assert_eq!(tell(&world, &tenant, &[change(8, 1000, now, ("email", ""))]).await, ["processed"]);
    assert_eq!(contact(&world, &tenant, "con_ada").await["email"], Value::Null);
    // Nothing of it is sent back.
    assert!(sync(&world, &tenant).await.is_empty());
    let gone = about(9, 1000, world.now(), "contact.deletion");
    assert_eq!(tell(&world, &tenant, &[gone]).await, ["processed"]);
    assert_eq!(contact(&world, &tenant, "con_ada").await, Value::Null);
    assert!(sync(&world, &tenant).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_what_we_sent_changes_nothing() {
    let (world, tenant) = connected().await;
    put(&world, &tenant, "ada", json!({"first_name": "Ada", "email": "ada@example.com"})).await;
    sync(&world, &tenant).await;
    let then = world.now();
    world.advance(60);
    put(&world, &tenant, "ada", json!({"first_name": "Countess", "email": "ada@example.com"})).await;
    sync(&world, &tenant).await;
    let before = contact(&world, &tenant, "con_ada").await;
    let echoes = [
        change(1, 1000, world.now(), ("firstname", "Countess")),
        about(2, 1000, then, "contact.creation"),
        change(3, 1000, then, ("email", "ada@example.com")),
        change(4, 1000, then, ("firstname", "Ada")),
    ];
    assert_eq!(tell(&world, &tenant, &echoes).await, ["processed"; 4]);
    let after = contact(&world, &tenant, "con_ada").await;
    for name in ["first_name", "last_name", "email", "phone_number", "company_name"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(contacts(&world, &tenant).await.len(), 1);
    assert!(sync(&world, &tenant).await.is_empty());
}
